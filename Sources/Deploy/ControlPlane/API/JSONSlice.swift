/// A value inside a JSON text that has been checked, where it stands: for what is passed on as it was written, with its members
/// in their order and numbers of any length.
struct JSONSlice {
    private let bytes: ArraySlice<UInt8>

    /// - Parameter text: One JSON text that `JSON` has accepted.
    init?(_ text: [UInt8]) {
        guard let start = text.firstIndex(where: { !$0.isJSONSpace }) else { return nil }
        bytes = text[start..<Self.end(of: text[...], from: start)]
    }

    private init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

    /// The value of an object's last member with that name.
    func member(_ name: String) -> JSONSlice? {
        guard bytes.first == UInt8(ascii: "{") else { return nil }
        var found: JSONSlice?
        let parts = parts()
        while let key = parts.next(), let value = parts.next() {
            if JSON(Array(key.bytes))?.text == name { found = value }
        }
        return found
    }

    /// The elements of an array.
    var items: [JSONSlice] {
        guard bytes.first == UInt8(ascii: "[") else { return [] }
        return Array(parts())
    }

    /// The value without the spaces between its tokens.
    var compact: [UInt8] {
        var compact: [UInt8] = []
        compact.reserveCapacity(bytes.count)
        var (isInString, isEscaped) = (false, false)
        for byte in bytes {
            if !isInString && byte.isJSONSpace { continue }
            compact.append(byte)
            if isEscaped {
                isEscaped = false
            } else if isInString && byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isInString.toggle()
            }
        }
        return compact
    }

    // MARK: Inside

    /// The values of an object or an array, names among them, in order.
    private func parts() -> AnyIterator<JSONSlice> {
        let bytes = bytes
        var index = bytes.startIndex + 1
        return AnyIterator {
            // What stands between them are spaces, commas and colons, and at the end the bracket.
            while index < bytes.endIndex,
                bytes[index].isJSONSpace || bytes[index] == UInt8(ascii: ",")
                    || bytes[index] == UInt8(ascii: ":")
            {
                index += 1
            }
            guard index < bytes.endIndex - 1 else { return nil }
            let end = Self.end(of: bytes, from: index)
            defer { index = end }
            return JSONSlice(bytes[index..<end])
        }
    }

    /// Behind the value that begins at `start`.
    private static func end(of bytes: ArraySlice<UInt8>, from start: Int) -> Int {
        var (depth, index, isInString) = (0, start, false)
        while index < bytes.endIndex {
            let byte = bytes[index]
            if isInString {
                if byte == UInt8(ascii: "\\") { index += 1 }
                if byte == UInt8(ascii: "\"") {
                    isInString = false
                    if depth == 0 { return index + 1 }
                }
            } else if byte == UInt8(ascii: "\"") {
                isInString = true
            } else if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") {
                depth += 1
            } else if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") {
                // A number or a word ends where what has it ends.
                if depth == 0 { return index }
                depth -= 1
                if depth == 0 { return index + 1 }
            } else if depth == 0, byte == UInt8(ascii: ",") || byte.isJSONSpace {
                return index
            }
            index += 1
        }
        return bytes.endIndex
    }
}

extension UInt8 {
    fileprivate var isJSONSpace: Bool { self == 0x20 || self == 0x0A || self == 0x0D || self == 0x09 }
}
