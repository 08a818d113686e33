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

/// A value in the form that a name asked for.
public enum KVValue: Sendable {
    case text(String)
    /// JSON text, as it was stored.
    case json(String)
    case bytes([UInt8])
    case stream(ByteStream)
}

extension KVValueType where Value == KVValue {
    /// The form called `text`, `json`, `arrayBuffer` or `stream`, for a name that is known at run time only.
    ///
    /// Another name is an error where there is a value, a `CallFailure` named `TypeError`, and none where there isn't. Of
    /// several keys at once the store refuses it before it looks.
    public static func named(_ name: String) -> KVValueType {
        KVValueType(name: name) { content in
            switch name {
            case "text": return .text(String(decoding: try await content.collect(), as: UTF8.self))
            case "json":
                let bytes = try await content.collect()
                guard JSONGrammar.accepts(bytes[...]) else {
                    throw CallFailure("value is not valid JSON", name: "SyntaxError")
                }
                return .json(String(decoding: bytes, as: UTF8.self))
            case "arrayBuffer": return .bytes(try await content.collect())
            case "stream": return .stream(content)
            default:
                content.cancel()
                throw CallFailure(
                    #"Unknown response type. Possible types are "text", "arrayBuffer", "json", and "stream"."#,
                    name: "TypeError")
            }
        }
    }
}
