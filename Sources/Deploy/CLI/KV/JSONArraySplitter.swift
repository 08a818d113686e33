/// Cuts the text of a JSON array into its items while it is read, so that a file of any length can be sent in portions. It
/// finds where items end and nothing else: whether they are JSON, the node says.
struct JSONArraySplitter {
    struct Malformed: Error, CustomStringConvertible {
        var description: String { "the file is not one JSON array" }
    }

    private enum Place { case start, inArray, end }

    private var place = Place.start
    private var item: [UInt8] = []
    private var depth = 0
    private var isInString = false
    private var isEscaped = false

    init() {}

    /// The items that end in `bytes`.
    mutating func take(_ bytes: [UInt8]) throws(Malformed) -> [[UInt8]] {
        var items: [[UInt8]] = []
        for byte in bytes {
            switch place {
            case .start:
                if byte == UInt8(ascii: "[") { place = .inArray } else if !Self.isSpace(byte) { throw Malformed() }
            case .end: guard Self.isSpace(byte) else { throw Malformed() }
            case .inArray: if let ended = try take(byte) { items.append(ended) }
            }
        }
        return items
    }

    func finish() throws(Malformed) { guard place == .end else { throw Malformed() } }

    /// The item that ends before `byte`.
    private mutating func take(_ byte: UInt8) throws(Malformed) -> [UInt8]? {
        if isInString {
            item.append(byte)
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isInString = false
            }
            return nil
        }
        switch byte {
        case UInt8(ascii: ",") where depth == 0:
            guard !item.isEmpty else { throw Malformed() }
            return takeItem()
        case UInt8(ascii: "]") where depth == 0:
            place = .end
            return item.isEmpty ? nil : takeItem()
        case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
        case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
        case UInt8(ascii: "\""): isInString = true
        default: if Self.isSpace(byte) { return nil }
        }
        guard depth >= 0 else { throw Malformed() }
        item.append(byte)
        return nil
    }

    private mutating func takeItem() -> [UInt8] {
        defer { item = [] }
        return item
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }
}
