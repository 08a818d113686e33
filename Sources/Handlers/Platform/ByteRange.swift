/// What a `Range` header asks for, of something with a known size (RFC 9110 §14.1.2).
package enum ByteRange: Equatable, Sendable {
    /// All of it: the header names several ranges, another unit, or nothing that can be read.
    case whole
    /// No byte of it: 416.
    case unsatisfiable
    /// `length` bytes from `offset`, all of them there.
    case part(offset: Int64, length: Int64)

    package init(_ header: String, size: Int64) {
        self = .whole
        guard header.utf8.count <= 128, header.lowercased().hasPrefix("bytes=") else { return }
        let ends = String(header.dropFirst("bytes=".count)).trimmingWhitespace()
            .split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2 else { return }
        if ends[0].isEmpty {
            guard let suffix = Self.number(ends[1]) else { return }
            let length = min(suffix, size)
            self = length == 0 ? .unsatisfiable : .part(offset: size - length, length: length)
            return
        }
        guard let first = Self.number(ends[0]),
            let last = ends[1].isEmpty ? Int64.max : Self.number(ends[1]), last >= first
        else { return }
        self = first >= size ? .unsatisfiable : .part(offset: first, length: min(last, size - 1) - first + 1)
    }

    /// Digits alone; a number that is too large for us is larger than any size.
    private static func number(_ text: Substring) -> Int64? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int64(text) ?? .max
    }
}
