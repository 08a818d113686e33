/// The form in which a value is wanted: `.text`, `.bytes`, `.json(User.self)` or `.stream`.
public struct KVValueType<Value>: Sendable {
    /// As the product names it: what a store is told.
    let name: String
    let read: @Sendable (ByteStream) async throws -> Value
}

extension KVValueType where Value == String {
    /// UTF-8; bytes that are none are replaced by U+FFFD.
    public static var text: KVValueType {
        KVValueType(name: "text") { String(decoding: try await $0.collect(), as: UTF8.self) }
    }
}

extension KVValueType where Value == [UInt8] {
    public static var bytes: KVValueType {
        KVValueType(name: "arrayBuffer") { try await $0.collect() }
    }
}

extension KVValueType where Value == ByteStream {
    /// Read as it arrives; nothing is transferred that isn't read.
    public static var stream: KVValueType { KVValueType(name: "stream") { $0 } }
}

extension KVValueType where Value: Decodable & SendableMetatype {
    /// Decoded from JSON.
    ///
    /// A value that isn't JSON fails with a `CallFailure` named `SyntaxError`; JSON of another shape with the
    /// decoder's `DecodingError`.
    public static func json(_ type: Value.Type = Value.self) -> KVValueType {
        KVValueType(name: "json") { try JSONText.decode(try await $0.collect()) }
    }
}
