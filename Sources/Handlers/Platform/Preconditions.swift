package import Workers

/// The conditions of a GET or HEAD request, judged in the order of RFC 9110 §13.2.2.
///
/// Tags and dates that can't be read match nothing: they fail `If-Match` and leave the others without effect.
package struct Preconditions: Sendable {
    package enum Verdict: Sendable {
        case proceed
        /// 304
        case notModified
        /// 412
        case failed
    }

    private let match: String?
    private let noneMatch: String?
    private let modifiedSince: String?
    private let unmodifiedSince: String?

    package init(_ headers: Headers) {
        match = headers["if-match"]
        noneMatch = headers["if-none-match"]
        modifiedSince = headers["if-modified-since"]
        unmodifiedSince = headers["if-unmodified-since"]
    }

    package var isEmpty: Bool {
        match == nil && noneMatch == nil && modifiedSince == nil && unmodifiedSince == nil
    }

    /// - Parameters:
    ///   - etag: What the resource has, strong, with its quotes.
    ///   - lastModified: Seconds since 1970.
    package func verdict(etag: String, lastModified: Int64) -> Verdict {
        if let match {
            guard Self.names(match, etag, weakly: false) else { return .failed }
        } else if let date = Self.seconds(unmodifiedSince, near: lastModified), lastModified > date {
            return .failed
        }
        if let noneMatch {
            return Self.names(noneMatch, etag, weakly: true) ? .notModified : .proceed
        }
        if let date = Self.seconds(modifiedSince, near: lastModified), lastModified <= date { return .notModified }
        return .proceed
    }

    /// - Parameter time: What years of two digits are close to.
    private static func seconds(_ text: String?, near time: Int64) -> Int64? {
        text.flatMap { HTTPDate($0, now: HTTPDate(unixSeconds: time)) }?.unixSeconds
    }

    /// Whether `*` or `etag` is in the list. Our tags have no comma in them, so splitting a list there can't
    /// make one of them out of parts of others.
    private static func names(_ list: String, _ etag: String, weakly: Bool) -> Bool {
        list.split(separator: ",").contains { part in
            let tag = String(part).trimmingWhitespace()
            return tag == "*" || tag == etag || weakly && tag == "W/" + etag
        }
    }
}
