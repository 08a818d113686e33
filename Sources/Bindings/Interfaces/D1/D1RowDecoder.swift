/// Reads Swift values out of rows: a keyed container over the columns of a row, a single one over a value.
struct D1ValueDecoder: Decoder {
    enum Source {
        case row(D1Row)
        case value(D1Value)
    }
    let source: Source
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    static func decode<Value: Decodable>(_ type: Value.Type, from row: D1Row) throws -> Value {
        let decoder = D1ValueDecoder(source: .row(row), codingPath: [])
        if type == [UInt8].self, let first = row.values.first {
            return try decodeValue(type, first, [])
        }
        return try Value(from: decoder)
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .row(let row) = source else {
            throw mismatch([String: D1Value].self, "a column holds one value, no object")
        }
        return KeyedDecodingContainer(D1KeyedContainer<Key>(row: row, codingPath: codingPath))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        throw mismatch([D1Value].self, "a row is read by column names; only a blob is an array, of UInt8")
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer {
        switch source {
        case .value(let value): return D1SingleContainer(value: value, codingPath: codingPath)
        case .row(let row):
            guard let first = row.values.first else { throw mismatch(D1Value.self, "the row has no column") }
            return D1SingleContainer(value: first, codingPath: codingPath)
        }
    }

    private func mismatch(_ type: Any.Type, _ what: String) -> DecodingError {
        .typeMismatch(type, .init(codingPath: codingPath, debugDescription: what))
    }

    /// The value as `type`: the types that SQLite knows directly, every other by its own `init(from:)`.
    static func decodeValue<Value: Decodable>(
        _ type: Value.Type, _ value: D1Value, _ path: [any CodingKey]
    ) throws -> Value {
        if let direct = direct(type, value) as? Value { return direct }
        switch type {
        case is Bool.Type, is String.Type, is Double.Type, is Float.Type, is [UInt8].Type, is D1Value.Type,
            is any FixedWidthInteger.Type:
            if value.isNull {
                throw DecodingError.valueNotFound(
                    type, .init(codingPath: path, debugDescription: "the column is NULL"))
            }
            throw DecodingError.typeMismatch(
                type, .init(codingPath: path, debugDescription: "the column holds \(value)"))
        default:
            return try Value(from: D1ValueDecoder(source: .value(value), codingPath: path))
        }
    }

    private static func direct(_ type: Any.Type, _ value: D1Value) -> Any? {
        switch type {
        case is D1Value.Type: value
        case is String.Type: value.text
        case is [UInt8].Type: value.blob
        case is Bool.Type: value.bool
        case is Double.Type: value.real
        case is Float.Type: value.real.map { Float($0) }
        case let type as any FixedWidthInteger.Type: integer(type, value)
        default: nil
        }
    }

    private static func integer<Value: FixedWidthInteger>(_ type: Value.Type, _ value: D1Value) -> Value? {
        value.integer.flatMap { Value(exactly: $0) }
    }
}

extension D1Value: Decodable {
    /// Only for rows: `decode` reads it directly; any other decoder gives what single value it has.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let own = container as? D1SingleContainer {
            self = own.value
        } else if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {
            self = .real(value)
        } else {
            self = .text(try container.decode(String.self))
        }
    }
}

private struct D1KeyedContainer<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let row: D1Row
    let codingPath: [any CodingKey]
    var allKeys: [Key] { row.columns.distinctNames.compactMap { Key(stringValue: $0) } }

    func contains(_ key: Key) -> Bool { row.columns.lastIndex(of: key.stringValue) != nil }
    func decodeNil(forKey key: Key) throws -> Bool { try value(key).isNull }

    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
        try D1ValueDecoder.decodeValue(type, try value(key), codingPath + [key])
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> { throw nested(key) }
    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer { throw nested(key) }
    func superDecoder() throws -> any Decoder { D1ValueDecoder(source: .row(row), codingPath: codingPath) }
    func superDecoder(forKey key: Key) throws -> any Decoder {
        D1ValueDecoder(source: .value(try value(key)), codingPath: codingPath + [key])
    }

    private func value(_ key: Key) throws -> D1Value {
        guard let value = row[key.stringValue] else {
            throw DecodingError.keyNotFound(
                key,
                .init(codingPath: codingPath, debugDescription: "the row has no column \(key.stringValue)"))
        }
        return value
    }

    private func nested(_ key: Key) -> DecodingError {
        .typeMismatch(
            [String: D1Value].self,
            .init(codingPath: codingPath + [key], debugDescription: "a column holds one value"))
    }
}

private struct D1SingleContainer: SingleValueDecodingContainer {
    let value: D1Value
    let codingPath: [any CodingKey]

    func decodeNil() -> Bool { value.isNull }
    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        try D1ValueDecoder.decodeValue(type, value, codingPath)
    }
}
