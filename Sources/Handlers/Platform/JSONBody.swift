internal import FoundationEssentials
package import Workers

extension Request {
    /// The body read as JSON into `type`.
    ///
    /// - Throws: 415 for another content type, 413 beyond `limit`, 400 for what isn't JSON, 422 naming the
    ///   field that has another type.
    package func decodeJSON<Value: Decodable>(
        as type: Value.Type = Value.self, upTo limit: Int = 64 << 10
    ) async throws -> Value {
        // Without a content type the bytes speak for themselves (RFC 9110 §8.3).
        let mediaType = headers["content-type"]?.prefix { $0 != ";" } ?? "application/json"
        guard String(mediaType).trimmingWhitespace().lowercased() == "application/json" else {
            throw APIError.unsupportedMediaType("the body must be application/json")
        }
        if let length = body?.length, length > limit { throw APIError.tooLarge(limit: limit) }
        return try decodingJSON(type, from: try await bytes(upTo: limit))
    }
}

/// - Throws: `APIError` 400 or 422.
package func decodingJSON<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws(APIError) -> Value {
    do {
        return try JSONDecoder().decode(type, from: Data(bytes))
    } catch let error as DecodingError {
        let (path, message): ([any CodingKey], String)
        switch error {
        case .keyNotFound(let key, let context): (path, message) = (context.codingPath + [key], "is required")
        case .valueNotFound(_, let context): (path, message) = (context.codingPath, "must not be null")
        case .typeMismatch(_, let context): (path, message) = (context.codingPath, "has another type")
        case .dataCorrupted(let context): (path, message) = (context.codingPath, "is malformed")
        @unknown default: (path, message) = ([], "is malformed")
        }
        guard !path.isEmpty else {
            throw .badRequest("the body is not the JSON object expected", code: "invalid_json")
        }
        let name = path.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
        throw .validation([name: message])
    } catch {
        throw .badRequest("the body is not the JSON object expected", code: "invalid_json")
    }
}

/// A member of a patch: left out (keep), `null` (clear) or a value (replace).
package enum PatchField<Value: Decodable & Sendable>: Decodable, Sendable {
    case keep
    case clear
    case replace(Value)

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        self = container.decodeNil() ? .clear : .replace(try container.decode(Value.self))
    }

    package var value: Value? {
        guard case .replace(let value) = self else { return nil }
        return value
    }
}

extension KeyedDecodingContainer {
    /// Found by synthesised decoding, so that a member that is left out is `keep` and no error.
    package func decode<Value>(
        _ type: PatchField<Value>.Type, forKey key: Key
    ) throws -> PatchField<Value> {
        guard contains(key) else { return .keep }
        return try decodeNil(forKey: key) ? .clear : .replace(decode(Value.self, forKey: key))
    }
}
