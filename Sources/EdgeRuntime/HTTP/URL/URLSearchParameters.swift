/// Names and values as a query or a form carries them: `application/x-www-form-urlencoded`
/// (https://url.spec.whatwg.org/#urlencoded-parsing).
public struct URLSearchParameters: Hashable, Sendable {
    private struct Pair: Hashable, Sendable {
        var name: String
        var value: String
    }
    private var pairs: [Pair]

    public init() { pairs = [] }

    public init(_ pairs: some Sequence<(String, String)>) {
        self.pairs = pairs.map { Pair(name: $0.0, value: $0.1) }
    }

    /// Reads a query; one question mark in front is skipped. Never fails: what is no escape stays as it is.
    public init(_ query: String) {
        let utf8 = query.utf8
        self.init(decoding: utf8.first == 0x3F ? utf8.dropFirst() : utf8[...])
    }

    /// Reads the body of a form.
    public init(decoding bytes: some Collection<UInt8>) {
        pairs = bytes.split(separator: 0x26).map { piece in
            let equals = piece.firstIndex(of: 0x3D)
            let value = equals.map { piece[piece.index(after: $0)...] }
            return Pair(
                name: Self.decode(piece[..<(equals ?? piece.endIndex)]), value: value.map(Self.decode) ?? "")
        }
    }

    private static func decode(_ bytes: some Collection<UInt8>) -> String {
        let spaced = bytes.map { $0 == 0x2B ? 0x20 : $0 }
        return String(decoding: PercentEncoding.decode(spaced), as: UTF8.self)
    }

    public var isEmpty: Bool { pairs.isEmpty }

    public func has(_ name: String) -> Bool { pairs.contains { $0.name == name } }

    /// The first value of `name`.
    public func get(_ name: String) -> String? { pairs.first { $0.name == name }?.value }

    public func getAll(_ name: String) -> [String] { pairs.filter { $0.name == name }.map(\.value) }

    /// `get`.
    public subscript(_ name: String) -> String? {
        get { self.get(name) }
    }

    public mutating func append(_ name: String, _ value: String) {
        pairs.append(Pair(name: name, value: value))
    }

    /// Gives `name` one value, at the place of its first one.
    public mutating func set(_ name: String, _ value: String) {
        guard let first = pairs.firstIndex(where: { $0.name == name }) else { return append(name, value) }
        pairs[first].value = value
        let rest = pairs[(first + 1)...].filter { $0.name != name }
        pairs.replaceSubrange((first + 1)..., with: rest)
    }

    public mutating func delete(_ name: String) { pairs.removeAll { $0.name == name } }

    /// Removes the pairs of `name` with this value only.
    public mutating func delete(_ name: String, value: String) {
        pairs.removeAll { $0.name == name && $0.value == value }
    }

    /// Sorts by name, in the order of UTF-16 code units; values of one name keep their order.
    public mutating func sort() { pairs.sort { $0.name.utf16.lexicographicallyPrecedes($1.name.utf16) } }
}

extension URLSearchParameters: Sequence {
    public func makeIterator() -> AnyIterator<(name: String, value: String)> {
        var iterator = pairs.makeIterator()
        return AnyIterator { iterator.next().map { ($0.name, $0.value) } }
    }
}

extension URLSearchParameters: CustomStringConvertible {
    /// As it stands in a query or a form's body.
    public var description: String {
        var text: [UInt8] = []
        for (index, pair) in pairs.enumerated() {
            if index > 0 { text.append(0x26) }
            Self.encode(pair.name, into: &text)
            text.append(0x3D)
            Self.encode(pair.value, into: &text)
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func encode(_ string: String, into text: inout [UInt8]) {
        for byte in string.utf8 {
            if byte == 0x20 { text.append(0x2B) } else { text.append(byte, encoding: .form) }
        }
    }
}
