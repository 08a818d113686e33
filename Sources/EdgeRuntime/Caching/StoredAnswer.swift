package import HTTP

/// What a request gets from a stored, complete response (RFC 9110 §13, §14; RFC 9111 §4.3.2).
package enum StoredAnswer: Equatable, Sendable {
    case full
    case notModified
    case part(offset: Int64, length: Int64)
    case unsatisfiable

    /// - Parameter length: of the stored body.
    package init(to request: Headers, status: Int, headers: Headers, length: Int64) {
        guard status == 200 else {
            self = .full
            return
        }
        if let wanted = request["if-none-match"] {
            // RFC 9110 §13.1.3: with it, If-Modified-Since means nothing.
            if Self.matches(wanted, headers["etag"]) {
                self = .notModified
                return
            }
        } else if let since = Self.date(request["if-modified-since"], headers),
            // Without the one, what is as old as the response itself is known to be unchanged (RFC 9111 §4.3.2).
            let modified = Self.date(headers["last-modified"] ?? headers["date"], headers), modified <= since
        {
            self = .notModified
            return
        }
        guard let range = request["range"], Self.rangeHolds(request["if-range"], headers) else {
            self = .full
            return
        }
        self = Self.part(range, length)
    }

    /// Years of two digits count from the response's own date.
    private static func date(_ text: String?, _ headers: Headers) -> HTTPDate? {
        text.flatMap { HTTPDate($0, now: headers["date"].flatMap { HTTPDate($0) } ?? HTTPDate(unixSeconds: 1_767_225_600)) }
    }

    /// Weak comparison (RFC 9110 §8.8.3.2).
    private static func matches(_ list: String, _ etag: String?) -> Bool {
        let trimmed = list.filter { $0 != " " && $0 != "\t" }
        if trimmed == "*" { return true }
        guard let etag else { return false }
        return entityTags(list).contains(opaque(etag[...]))
    }

    private static func opaque(_ tag: Substring) -> Substring { tag.hasPrefix("W/") ? tag.dropFirst(2) : tag }

    /// The tags of a list, without `W/`. A comma may stand inside of one.
    private static func entityTags(_ list: String) -> [Substring] {
        var tags: [Substring] = []
        var rest = list[...]
        while let start = rest.utf8.firstIndex(of: 0x22) {
            let behind = rest.utf8.index(after: start)
            guard let end = rest[behind...].utf8.firstIndex(of: 0x22) else { break }
            tags.append(rest[start...end])
            rest = rest[rest.utf8.index(after: end)...]
        }
        return tags
    }

    /// Whether `If-Range` lets the range be answered: its validator must be strong and the stored one (RFC 9110 §13.1.5).
    private static func rangeHolds(_ condition: String?, _ headers: Headers) -> Bool {
        guard let condition else { return true }
        if condition.hasPrefix("\"") { return condition == headers["etag"] }
        return !condition.hasPrefix("W/") && condition == headers["last-modified"]
    }

    /// One range of bytes. Several are answered with everything; another unit means nothing.
    private static func part(_ text: String, _ length: Int64) -> StoredAnswer {
        let compact = text.filter { $0 != " " && $0 != "\t" }
        guard compact.lowercased().hasPrefix("bytes=") else { return .full }
        let ranges = compact.dropFirst(6).split(separator: ",", omittingEmptySubsequences: false)
        guard ranges.count == 1, let range = ranges.first else { return .full }
        let ends = range.split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2 else { return .unsatisfiable }
        let (first, last) = (DecimalText.parse(ends[0]), DecimalText.parse(ends[1]))
        if let first {
            guard first < length, last != nil || ends[1].isEmpty else { return .unsatisfiable }
            let end = min(last ?? length - 1, length - 1)
            return first <= end ? .part(offset: first, length: end - first + 1) : .unsatisfiable
        }
        guard ends[0].isEmpty, let suffix = last, suffix > 0, length > 0 else { return .unsatisfiable }
        let count = min(suffix, length)
        return .part(offset: length - count, length: count)
    }
}

private enum DecimalText {
    /// Numbers beyond 2^63 are as good as the largest.
    static func parse(_ text: Substring) -> Int64? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int64(text) ?? .max
    }
}
