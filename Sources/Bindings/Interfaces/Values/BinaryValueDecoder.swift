/// Reads what `BinaryValueEncoder` wrote.
package enum BinaryValueDecoder {
    /// - Throws: `DecodingError` that names the place, for bytes that are no value and for values of another type.
    package static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
        let value: BinaryValue
        do throws(BinaryValueError) { value = try BinaryValue(decoding: bytes) } catch {
            throw DecodingError.dataCorrupted(.init(codingPath: [], debugDescription: "the stored value is damaged: \(error)"))
        }
        return try ValueDecoder(value: value, codingPath: []).decode(type)
    }
}

private struct ValueDecoder: Decoder {
    let value: BinaryValue
    let codingPath: [any CodingKey]
    let userInfo: [CodingUserInfoKey: Any] = [:]

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        if type == [UInt8].self, case .bytes(let bytes) = value, let bytes = bytes as? Value { return bytes }
        if let scalar = try scalar(type) { return scalar }
        return try Value(from: self)
    }

    func mismatch(_ type: Any.Type) -> DecodingError {
        DecodingError.typeMismatch(
            type, .init(codingPath: codingPath, debugDescription: "expected \(type), found \(value.kind)"))
    }

    /// `nil`: the type is no scalar.
    private func scalar<Value: Decodable>(_ type: Value.Type) throws -> Value? {
        switch type {
        case is Bool.Type:
            guard case .bool(let bool) = value else { throw mismatch(type) }
            return bool as? Value
        case is String.Type:
            guard case .text(let text) = value else { throw mismatch(type) }
            return text as? Value
        case is Double.Type:
            return try number() as? Value
        case is Float.Type:
            return Float(try number()) as? Value
        case let integer as any FixedWidthInteger.Type:
            return try self.integer(integer) as? Value
        default: return nil
        }
    }

    private func number() throws -> Double {
        switch value {
        case .double(let number): return number
        case .unsigned(let number): return Double(number)
        case .negative(let number): return -1 - Double(number)
        default: throw mismatch(Double.self)
        }
    }

    private func integer<Number: FixedWidthInteger>(_ type: Number.Type) throws -> Number {
        let found: Number?
        switch value {
        case .unsigned(let number): found = Number(exactly: number)
        case .negative(let number): found = Int64(exactly: number).flatMap { Number(exactly: -1 - $0) }
        case .double(let number): found = Number(exactly: number)
        default: throw mismatch(type)
        }
        guard let found else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: codingPath, debugDescription: "the number does not fit \(type)"))
        }
        return found
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .map(let entries) = value else { throw mismatch([String: Any].self) }
        return KeyedDecodingContainer(KeyedReader<Key>(codingPath: codingPath, entries: entries))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        switch value {
        case .array(let elements): return UnkeyedReader(codingPath: codingPath, elements: elements)
        // A type that reads bytes one by one.
        case .bytes(let bytes):
            return UnkeyedReader(codingPath: codingPath, elements: bytes.map { .unsigned(UInt64($0)) })
        default: throw mismatch([Any].self)
        }
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer { SingleReader(decoder: self) }
}

extension BinaryValue {
    fileprivate var kind: String {
        switch self {
        case .null: "nothing"
        case .bool: "a truth value"
        case .unsigned, .negative: "an integer"
        case .double: "a number"
        case .text: "text"
        case .bytes: "bytes"
        case .array: "an array"
        case .map: "an object"
        }
    }
}

private struct KeyedReader<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let codingPath: [any CodingKey]
    private let values: [String: BinaryValue]
    let allKeys: [Key]

    init(codingPath: [any CodingKey], entries: [(key: String, value: BinaryValue)]) {
        self.codingPath = codingPath
        values = Dictionary(entries.map { ($0.key, $0.value) }) { _, last in last }
        allKeys = entries.compactMap { Key(stringValue: $0.key) }
    }

    func contains(_ key: Key) -> Bool { values[key.stringValue] != nil }

    func decodeNil(forKey key: Key) throws -> Bool {
        if case .null = try value(key) { return true }
        return false
    }

    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
        try ValueDecoder(value: try value(key), codingPath: codingPath + [key]).decode(type)
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> {
        try superDecoder(forKey: key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try superDecoder(forKey: key).unkeyedContainer()
    }

    func superDecoder() throws -> any Decoder {
        let key = PlainKey("super")
        return ValueDecoder(value: values[key.stringValue] ?? .null, codingPath: codingPath + [key])
    }

    func superDecoder(forKey key: Key) throws -> any Decoder {
        ValueDecoder(value: try value(key), codingPath: codingPath + [key])
    }

    private func value(_ key: Key) throws -> BinaryValue {
        guard let value = values[key.stringValue] else {
            throw DecodingError.keyNotFound(
                key, .init(codingPath: codingPath, debugDescription: "there is no \"\(key.stringValue)\""))
        }
        return value
    }
}

private struct UnkeyedReader: UnkeyedDecodingContainer {
    let codingPath: [any CodingKey]
    let elements: [BinaryValue]
    var currentIndex = 0
    var count: Int? { elements.count }
    var isAtEnd: Bool { currentIndex >= elements.count }

    init(codingPath: [any CodingKey], elements: [BinaryValue]) {
        self.codingPath = codingPath
        self.elements = elements
    }

    mutating func decodeNil() throws -> Bool {
        guard case .null = try current() else { return false }
        currentIndex += 1
        return true
    }

    mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        let value = try ValueDecoder(value: try current(), codingPath: codingPath + [PlainKey(currentIndex)]).decode(type)
        currentIndex += 1
        return value
    }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) throws -> KeyedDecodingContainer<Nested> {
        try superDecoder().container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer { try superDecoder().unkeyedContainer() }

    mutating func superDecoder() throws -> any Decoder {
        let decoder = ValueDecoder(value: try current(), codingPath: codingPath + [PlainKey(currentIndex)])
        currentIndex += 1
        return decoder
    }

    private func current() throws -> BinaryValue {
        guard !isAtEnd else {
            throw DecodingError.valueNotFound(
                Any.self, .init(codingPath: codingPath + [PlainKey(currentIndex)], debugDescription: "the array has ended"))
        }
        return elements[currentIndex]
    }
}

private struct SingleReader: SingleValueDecodingContainer {
    let decoder: ValueDecoder
    var codingPath: [any CodingKey] { decoder.codingPath }

    func decodeNil() -> Bool {
        if case .null = decoder.value { return true }
        return false
    }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try decoder.decode(type) }
}
