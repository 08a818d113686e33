/// A value in the form that it is stored and sent in: CBOR (RFC 8949), of which it is the part that `Codable` needs.
///
/// Integers keep 64 bits, bytes stay bytes, and equal values have equal bytes but for the order of a dictionary's keys.
package indirect enum BinaryValue: Equatable, Sendable {
    case null
    case bool(Bool)
    case unsigned(UInt64)
    /// -1 - n, so that the smallest `Int64` has its place.
    case negative(UInt64)
    case double(Double)
    case text(String)
    case bytes([UInt8])
    case array([BinaryValue])
    case map([(key: String, value: BinaryValue)])

    package static func == (a: BinaryValue, b: BinaryValue) -> Bool { a.encoded() == b.encoded() }

    /// Deeper values are refused: each level costs stack.
    package static let depthMax = 128

    init(_ value: Int64) { self = value >= 0 ? .unsigned(UInt64(value)) : .negative(UInt64(-1 - value)) }
}

// MARK: Writing

extension BinaryValue {
    private enum Major: UInt8 { case unsigned, negative, bytes, text, array, map, tag, simple }

    package func encoded() -> [UInt8] {
        var output: [UInt8] = []
        write(to: &output)
        return output
    }

    private func write(to output: inout [UInt8]) {
        switch self {
        case .null: output.append(0xF6)
        case .bool(let value): output.append(value ? 0xF5 : 0xF4)
        case .unsigned(let value): Self.writeHead(.unsigned, value, to: &output)
        case .negative(let value): Self.writeHead(.negative, value, to: &output)
        case .double(let value):
            output.append(0xFB)
            Self.writeInteger(value.bitPattern, byteCount: 8, to: &output)
        case .text(let text):
            Self.writeHead(.text, UInt64(text.utf8.count), to: &output)
            output.append(contentsOf: text.utf8)
        case .bytes(let bytes):
            Self.writeHead(.bytes, UInt64(bytes.count), to: &output)
            output.append(contentsOf: bytes)
        case .array(let elements):
            Self.writeHead(.array, UInt64(elements.count), to: &output)
            for element in elements { element.write(to: &output) }
        case .map(let entries):
            Self.writeHead(.map, UInt64(entries.count), to: &output)
            for entry in entries {
                BinaryValue.text(entry.key).write(to: &output)
                entry.value.write(to: &output)
            }
        }
    }

    private static func writeHead(_ major: Major, _ value: UInt64, to output: inout [UInt8]) {
        let kind = major.rawValue << 5
        switch value {
        case ..<24: output.append(kind | UInt8(value))
        case ...0xFF:
            output.append(kind | 24)
            output.append(UInt8(value))
        case ...0xFFFF:
            output.append(kind | 25)
            writeInteger(value, byteCount: 2, to: &output)
        case ...0xFFFF_FFFF:
            output.append(kind | 26)
            writeInteger(value, byteCount: 4, to: &output)
        default:
            output.append(kind | 27)
            writeInteger(value, byteCount: 8, to: &output)
        }
    }

    private static func writeInteger(_ value: UInt64, byteCount: Int, to output: inout [UInt8]) {
        for shift in stride(from: (byteCount - 1) * 8, through: 0, by: -8) {
            output.append(UInt8(truncatingIfNeeded: value >> UInt64(shift)))
        }
    }
}

// MARK: Reading

/// Bytes that are no value of ours.
package struct BinaryValueError: Error, Equatable, Sendable, CustomStringConvertible {
    package let reason: String
    package let offset: Int

    package var description: String { "\(reason) at byte \(offset)" }
}

extension BinaryValue {
    /// - Throws: when `bytes` are cut off, hold more than one value, or something that isn't written here.
    package init(decoding bytes: [UInt8]) throws(BinaryValueError) {
        var reader = Reader(bytes: bytes)
        self = try reader.value(depth: 0)
        guard reader.offset == bytes.count else { throw reader.error("more bytes behind the value") }
    }

    private struct Reader {
        let bytes: [UInt8]
        var offset = 0

        func error(_ reason: String) -> BinaryValueError { BinaryValueError(reason: reason, offset: offset) }

        mutating func value(depth: Int) throws(BinaryValueError) -> BinaryValue {
            guard depth < BinaryValue.depthMax else { throw error("values nested too deeply") }
            guard offset < bytes.count else { throw error("the value is cut off") }
            let first = bytes[offset]
            guard let major = Major(rawValue: first >> 5) else { throw error("no value") }
            if major == .simple { return try simple(first) }
            offset += 1
            let argument = try argument(first & 0x1F)
            switch major {
            case .unsigned: return .unsigned(argument)
            case .negative: return .negative(argument)
            case .bytes: return .bytes(Array(try take(argument)))
            case .text:
                guard let text = String(validating: try take(argument), as: UTF8.self) else {
                    throw error("text that is no UTF-8")
                }
                return .text(text)
            case .array:
                var elements: [BinaryValue] = []
                for _ in 0..<(try count(argument)) { elements.append(try value(depth: depth + 1)) }
                return .array(elements)
            case .map:
                var entries: [(key: String, value: BinaryValue)] = []
                for _ in 0..<(try count(argument)) {
                    guard case .text(let key) = try value(depth: depth + 1) else { throw error("a key that is no text") }
                    entries.append((key, try value(depth: depth + 1)))
                }
                return .map(entries)
            case .tag, .simple: throw error("a kind of value that is not in use")
            }
        }

        private mutating func simple(_ byte: UInt8) throws(BinaryValueError) -> BinaryValue {
            switch byte {
            case 0xF4, 0xF5:
                offset += 1
                return .bool(byte == 0xF5)
            case 0xF6:
                offset += 1
                return .null
            case 0xFB:
                offset += 1
                return .double(Double(bitPattern: try integer(byteCount: 8)))
            default: throw error("a kind of value that is not in use")
            }
        }

        private mutating func argument(_ short: UInt8) throws(BinaryValueError) -> UInt64 {
            switch short {
            case ..<24: UInt64(short)
            case 24...27: try integer(byteCount: 1 << Int(short - 24))
            default: throw error("a length that is not in use")
            }
        }

        private mutating func integer(byteCount: Int) throws(BinaryValueError) -> UInt64 {
            guard bytes.count - offset >= byteCount else { throw error("the value is cut off") }
            defer { offset += byteCount }
            return bytes[offset..<offset + byteCount].reduce(0) { $0 << 8 | UInt64($1) }
        }

        /// Each element takes a byte at least: a count that can't be true costs no memory.
        private func count(_ argument: UInt64) throws(BinaryValueError) -> Int {
            guard let count = Int(exactly: argument), count <= bytes.count - offset else { throw error("the value is cut off") }
            return count
        }

        private mutating func take(_ argument: UInt64) throws(BinaryValueError) -> ArraySlice<UInt8> {
            let count = try count(argument)
            defer { offset += count }
            return bytes[offset..<offset + count]
        }
    }
}
