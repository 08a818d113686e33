package import HTTP

/// What goes out of the cache: status, headers, and which part of the stored body.
package struct ServedResponse: Sendable {
    package var status: Int
    package var headers: Headers
    /// `nil`: none. One of no bytes is a body all the same.
    package var body: (offset: Int64, byteCount: Int64)?
    package var isEncoded: Bool

    /// - Parameter request: the headers of the request that is answered: its conditions and its range count.
    package init(
        _ stored: StoredResponse, to request: Headers, isHead: Bool = false, as cacheStatus: CacheStatus, at now: Int64
    ) {
        status = stored.status
        isEncoded = stored.isEncoded
        headers = stored.headers
        headers.delete(TargetedCacheControl.ownName)
        let length = stored.bodyByteCount
        var range: String?
        switch StoredAnswer(to: request, status: stored.status, headers: stored.headers, length: length) {
        case .full: body = (0, length)
        case .notModified:
            status = 304
        case .part(let offset, let count):
            status = 206
            range = "bytes \(offset)-\(offset + count - 1)/\(length)"
            body = (offset, count)
        case .unsatisfiable:
            status = 416
            range = "bytes */\(length)"
            for name in ["content-type", "content-encoding"] { headers.delete(name) }
        }
        // Texts of digits and words can stand in a header.
        if let range { try? headers.set("content-range", range) }
        if isHead, let size = body?.byteCount {
            try? headers.set("content-length", "\(size)")
            body = nil
        }
        if [204, 205, 304].contains(status) { body = nil }
        headers.setCacheStatus(cacheStatus)
        if cacheStatus.hasAge { try? headers.set("age", "\(stored.age(at: now))") }
    }
}

extension Headers {
    package mutating func setCacheStatus(_ status: CacheStatus) { try? set("cf-cache-status", status.rawValue) }
}
