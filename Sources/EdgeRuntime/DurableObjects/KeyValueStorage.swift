internal import Interfaces

/// Keys and values of an object, read and written at once (spec: durable-objects, section 3.2): the same ones that the
/// asynchronous calls of `ObjectStorage` have.
public final class KeyValueStorage {
    private let everyTable: KeyValueTable
    private let isAvailable: Bool

    init(_ table: KeyValueTable, isAvailable: Bool) {
        everyTable = table
        self.isAvailable = isAvailable
    }

    private var table: KeyValueTable {
        get throws {
            guard isAvailable else { throw SQLStorage.notAvailable }
            return everyTable
        }
    }

    /// The value of a key; `nil` when there is none.
    ///
    /// - Throws: `DecodingError` when it is of another type.
    public func get<Value: Decodable>(_ key: String, as type: Value.Type = Value.self) throws -> Value? {
        try table.get(key).map { try BinaryValueDecoder.decode(type, from: $0) }
    }

    /// Stores anything `Encodable`. `[UInt8]` stays bytes; integers keep 64 bits.
    public func put(_ key: String, _ value: some Encodable) throws { try table.put(key, BinaryValueEncoder.encode(value)) }

    /// - Returns: whether there was one.
    @discardableResult
    public func delete(_ key: String) throws -> Bool { try table.delete(key) }

    /// - Throws: `DecodingError` when one of the values is of another type.
    public func list<Value: Decodable>(
        _ options: ObjectListOptions = ObjectListOptions(), as type: Value.Type = Value.self
    ) throws -> [(key: String, value: Value)] {
        try table.list(options).map { ($0.key, try BinaryValueDecoder.decode(type, from: $0.value)) }
    }
}
