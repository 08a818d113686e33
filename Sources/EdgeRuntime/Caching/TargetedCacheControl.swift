package import HTTP

/// The response's fields that speak to caches like this one and to no other (RFC 9213; the product's own name for itself
/// comes first). Where one of them is there and valid, `Cache-Control` and `Expires` mean nothing here.
package enum TargetedCacheControl {
    /// For this cache alone: it goes no further.
    package static let ownName = "cloudflare-cdn-cache-control"
    private static let names = [ownName, "cdn-cache-control"]

    package static func find(in headers: Headers) -> CacheControl? {
        for name in names {
            if let control = headers[name].flatMap(CacheControl.init(targeted:)) { return control }
        }
        return nil
    }
}

/// A dictionary of structured fields (RFC 8941 §3.2), as far as directives need one: values by key, of two members with one
/// key the last. Parameters, and values that no directive has, are read and dropped.
struct StructuredDictionary {
    enum Value: Equatable {
        case boolean(Bool)
        case integer(Int64)
        /// A token or a string.
        case text(String)
        case other
    }
    private(set) var members: [(key: String, value: Value)] = []

    /// `nil` for what breaks the grammar anywhere: nothing of it counts then (RFC 8941 §4.2).
    init?(_ text: String) {
        var parser = Parser(bytes: Array(text.utf8))
        guard parser.parseDictionary() else { return nil }
        members = parser.members
    }

    private struct Parser {
        let bytes: [UInt8]
        var offset = 0
        var members: [(key: String, value: Value)] = []

        private var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

        mutating func parseDictionary() -> Bool {
            skip([0x20])
            while next != nil {
                guard let key = key(), let value = memberValue() else { return false }
                members.removeAll { $0.key == key }
                members.append((key, value))
                skip([0x20, 0x09])
                guard next != nil else { return true }
                guard take(0x2C) else { return false }
                skip([0x20, 0x09])
                // A comma must have a member behind it.
                guard next != nil else { return false }
            }
            return true
        }

        private mutating func memberValue() -> Value? {
            guard take(0x3D) else { return parameters() ? .boolean(true) : nil }
            guard let value = next == 0x28 ? innerList() : item() else { return nil }
            return value
        }

        private mutating func innerList() -> Value? {
            guard take(0x28) else { return nil }
            while true {
                skip([0x20])
                if take(0x29) { return parameters() ? .other : nil }
                guard item() != nil, next == 0x20 || next == 0x29 else { return nil }
            }
        }

        private mutating func item() -> Value? {
            guard let value = bareItem(), parameters() else { return nil }
            return value
        }

        private mutating func parameters() -> Bool {
            while take(0x3B) {
                skip([0x20])
                guard key() != nil else { return false }
                if take(0x3D), bareItem() == nil { return false }
            }
            return true
        }

        private mutating func bareItem() -> Value? {
            switch next {
            case 0x22: return string()
            case 0x3A: return byteSequence()
            case 0x3F:
                offset += 1
                if take(0x31) { return .boolean(true) }
                return take(0x30) ? .boolean(false) : nil
            case let byte? where byte == 0x2D || Self.isDigit(byte): return number()
            case let byte? where byte == 0x2A || Self.isLetter(byte):
                return .text(run { Self.isTokenByte($0) || $0 == 0x3A || $0 == 0x2F })
            default: return nil
            }
        }

        /// At most 15 digits, or 12 and 3 behind a point (RFC 8941 §4.2.4).
        private mutating func number() -> Value? {
            let sign: Int64 = take(0x2D) ? -1 : 1
            let whole = run(Self.isDigit)
            guard !whole.isEmpty, let number = Int64(whole) else { return nil }
            guard take(0x2E) else { return whole.utf8.count <= 15 ? .integer(sign * number) : nil }
            let fraction = run(Self.isDigit)
            return whole.utf8.count <= 12 && (1...3).contains(fraction.utf8.count) ? .other : nil
        }

        private mutating func string() -> Value? {
            offset += 1
            var text: [UInt8] = []
            while let byte = next {
                offset += 1
                switch byte {
                case 0x22: return .text(String(decoding: text, as: UTF8.self))
                case 0x5C:
                    guard let escaped = next, escaped == 0x22 || escaped == 0x5C else { return nil }
                    offset += 1
                    text.append(escaped)
                case 0x20...0x7E: text.append(byte)
                default: return nil
                }
            }
            return nil
        }

        private mutating func byteSequence() -> Value? {
            offset += 1
            _ = run { Self.isDigit($0) || Self.isLetter($0) || [0x2B, 0x2F, 0x3D].contains($0) }
            return take(0x3A) ? .other : nil
        }

        private mutating func key() -> String? {
            guard let first = next, first == 0x2A || (0x61...0x7A).contains(first) else { return nil }
            return run { (0x61...0x7A).contains($0) || Self.isDigit($0) || [0x5F, 0x2D, 0x2E, 0x2A].contains($0) }
        }

        private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
        private static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte | 0x20) }
        private static func isTokenByte(_ byte: UInt8) -> Bool {
            isDigit(byte) || isLetter(byte) || "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }

        private mutating func take(_ byte: UInt8) -> Bool {
            guard next == byte else { return false }
            offset += 1
            return true
        }

        private mutating func skip(_ skipped: [UInt8]) {
            while let byte = next, skipped.contains(byte) { offset += 1 }
        }

        private mutating func run(_ condition: (UInt8) -> Bool) -> String {
            let start = offset
            while let byte = next, condition(byte) { offset += 1 }
            return String(decoding: bytes[start..<offset], as: UTF8.self)
        }
    }
}
