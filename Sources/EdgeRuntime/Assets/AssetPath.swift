internal import HTTP

/// Paths of requests and of files.
package enum AssetPath {
    /// The path of a request as files are named: escapes replaced, each run of slashes one.
    ///
    /// - Note: An escape that is malformed, or that makes no UTF-8, leaves its segment as it is.
    package static func decode(_ path: some StringProtocol) -> String {
        if isPlain(path) { return String(path) }
        var decoded: [UInt8] = []
        decoded.reserveCapacity(path.utf8.count)
        for segment in path.utf8.split(separator: slash, omittingEmptySubsequences: false).dropFirst() {
            decoded.append(slash)
            decoded += decodeSegment(Array(segment))
        }
        var collapsed: [UInt8] = []
        collapsed.reserveCapacity(decoded.count)
        // Afterwards: a slash may have come out of an escape.
        for byte in decoded where byte != slash || collapsed.last != slash { collapsed.append(byte) }
        return collapsed.isEmpty ? "/" : String(decoding: collapsed, as: UTF8.self)
    }

    /// Whether a path is written the one way there is, escapes or not being no question: most are.
    static func isPlain(_ path: some StringProtocol) -> Bool {
        var last: UInt8 = 0
        for byte in path.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                break
            case slash: if last == slash { return false }
            default: return false
            }
            if last == 0, byte != slash { return false }
            last = byte
        }
        return last != 0
    }

    /// How a URL writes the path of a file: the one way that isn't redirected.
    package static func encode(_ path: String) -> String {
        if isPlain(path) { return path }
        var encoded = ""
        for (index, segment) in path.utf8.split(separator: slash, omittingEmptySubsequences: false).enumerated() {
            if index > 0 { encoded += "/" }
            encoded += PercentEncoding.encodeComponent(String(decoding: Array(segment), as: UTF8.self))
        }
        return encoded
    }

    private static let slash = UInt8(ascii: "/")

    private static func decodeSegment(_ segment: [UInt8]) -> [UInt8] {
        guard segment.contains(UInt8(ascii: "%")) else { return segment }
        var decoded: [UInt8] = []
        var index = 0
        while index < segment.count {
            guard segment[index] == UInt8(ascii: "%") else {
                decoded.append(segment[index])
                index += 1
                continue
            }
            guard index + 2 < segment.count, let high = digit(segment[index + 1]), let low = digit(segment[index + 2]) else {
                return segment
            }
            decoded.append(high << 4 | low)
            index += 3
        }
        return String(validating: decoded, as: UTF8.self) == nil ? segment : decoded
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
