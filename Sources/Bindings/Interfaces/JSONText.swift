internal import FoundationEssentials

/// JSON as the product's runtime reads and writes it.
enum JSONText {
    static func decode<Value: Decodable>(_ bytes: [UInt8]) throws -> Value {
        do {
            return try JSONDecoder().decode(Value.self, from: Data(bytes))
        } catch DecodingError.dataCorrupted(let context) where context.codingPath.isEmpty {
            throw CallFailure("value is not valid JSON: \(context.debugDescription)", name: "SyntaxError")
        }
    }

    /// Compact, keys in a stable order, slashes as they are.
    static func encode(_ value: any Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        return Array(try encoder.encode(value))
    }
}
