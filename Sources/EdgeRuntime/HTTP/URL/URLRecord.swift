/// A URL in its parts, while it is parsed or changed (https://url.spec.whatwg.org/#concept-url).
struct URLRecord {
    enum Path {
        case opaque([UInt8])
        case segments([[UInt8]])
    }

    var scheme: [UInt8] = []
    var username: [UInt8] = []
    var password: [UInt8] = []
    var host: [UInt8]?
    var port: UInt16?
    var path: Path = .segments([])
    var query: [UInt8]?
    var fragment: [UInt8]?

    var isSpecial: Bool { Self.isSpecial(scheme) }
    var isFile: Bool { scheme.elementsEqual("file".utf8) }

    static func isSpecial(_ scheme: [UInt8]) -> Bool {
        switch String(decoding: scheme, as: UTF8.self) {
        case "http", "https", "ws", "wss", "ftp", "file": true
        default: false
        }
    }

    static func defaultPort(_ scheme: some Sequence<UInt8>) -> UInt16? {
        switch String(decoding: Array(scheme), as: UTF8.self) {
        case "http", "ws": 80
        case "https", "wss": 443
        case "ftp": 21
        default: nil
        }
    }

    /// Removes the last segment, but not a drive letter of a file.
    mutating func shortenPath() {
        guard case .segments(var segments) = path, let last = segments.last else { return }
        if isFile, segments.count == 1, last.count == 2, Self.isDriveLetter(last[...]), last[1] == 0x3A {
            return
        }
        segments.removeLast()
        path = .segments(segments)
    }

    mutating func appendSegment(_ segment: [UInt8]) {
        guard case .segments(var segments) = path else { return }
        path = .opaque([])
        segments.append(segment)
        path = .segments(segments)
    }

    var pathIsEmpty: Bool {
        guard case .segments(let segments) = path else { return false }
        return segments.isEmpty
    }

    /// A letter, then `:` or `|`.
    static func isDriveLetter(_ text: ArraySlice<UInt8>) -> Bool {
        guard text.count == 2, let first = text.first, let second = text.last else { return false }
        return first.isASCIILetter && (second == 0x3A || second == 0x7C)
    }

    /// Whether `text` starts with a drive letter that ends there or before `/`, `\`, `?` or `#`.
    static func startsWithDriveLetter(_ text: ArraySlice<UInt8>) -> Bool {
        guard isDriveLetter(text.prefix(2)) else { return false }
        guard let next = text.dropFirst(2).first else { return true }
        return next == 0x2F || next == 0x5C || next == 0x3F || next == 0x23
    }
}
