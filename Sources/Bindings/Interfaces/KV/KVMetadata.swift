/// The metadata of an entry: any JSON value of at most 1,024 bytes, kept as the text it came as.
public struct KVMetadata: Equatable, Sendable, Encodable {
    public let json: String

    public init(json: String) { self.json = json }

    public func decode<Value: Decodable>(as type: Value.Type = Value.self) throws -> Value {
        try JSONText.decode(Array(json.utf8))
    }

    /// A placeholder: `put` takes the text itself.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(json)
    }
}

/// A value with what was stored beside it. For a key that does not exist, both are `nil`.
public struct KVValueWithMetadata<Value> {
    public var value: Value?
    public var metadata: KVMetadata?

    public init(value: Value?, metadata: KVMetadata?) {
        self.value = value
        self.metadata = metadata
    }

    /// Where a cache answered; this node has none in front of its stores.
    public var cacheStatus: String? { nil }
}

extension KVValueWithMetadata: Equatable where Value: Equatable {}
extension KVValueWithMetadata: Sendable where Value: Sendable {}

/// One page of a listing.
public struct KVListing: Equatable, Sendable {
    public struct Key: Equatable, Sendable {
        public var name: String
        /// Seconds since 1970; `nil` when it never expires.
        public var expiration: Int64?
        public var metadata: KVMetadata?

        public init(name: String, expiration: Int64?, metadata: KVMetadata?) {
            self.name = name
            self.expiration = expiration
            self.metadata = metadata
        }
    }
    public var keys: [Key]
    /// Where the next page begins; `nil` when this one is the last.
    public var cursor: String?
    public var isComplete: Bool { cursor == nil }
    /// Where a cache answered; lists are never cached.
    public var cacheStatus: String? { nil }

    public init(keys: [Key], cursor: String?) {
        self.keys = keys
        self.cursor = cursor
    }
}
