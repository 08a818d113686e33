public import FoundationEssentials

extension R2ObjectBody {
    /// The bytes read as JSON.
    public func json<Value: Decodable>(
        as type: Value.Type = Value.self, decoder: JSONDecoder = JSONDecoder()
    ) async throws -> Value {
        try decoder.decode(type, from: Data(try await bytes()))
    }
}
