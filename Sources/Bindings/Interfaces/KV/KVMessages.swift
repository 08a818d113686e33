package import Wire

// The messages of KV calls. Keys are UTF-8; a value that is the last part of a message has no length of its own.

/// The message of `kvGet`.
package struct KVGetMessage: Equatable, Sendable {
    package var key: [UInt8]
    package var cacheTtl: Int64?
    package var withMetadata: Bool

    package init(key: [UInt8], cacheTtl: Int64? = nil, withMetadata: Bool = false) {
        self.key = key
        self.cacheTtl = cacheTtl
        self.withMetadata = withMetadata
    }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: key.count + 14)
        encoder.put(key)
        encoder.put(cacheTtl)
        encoder.put(withMetadata)
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        key = try decoder.takeBytes()
        cacheTtl = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeInt64() }
        withMetadata = try decoder.takeBool()
        try decoder.finish()
    }
}

/// The reply to `kvGet`.
package struct KVGetReply: Equatable, Sendable {
    package enum Content: Equatable, Sendable {
        case missing
        case inline([UInt8])
        /// The value is the body of the reply.
        case body
    }
    package var content: Content
    /// JSON text; only when it was asked for.
    package var metadata: String?

    package init(content: Content, metadata: String? = nil) {
        self.content = content
        self.metadata = metadata
    }

    /// Writes the reply for a value at hand, without an intermediate copy.
    package static func encoded(value: [UInt8]?, metadata: String?) -> [UInt8] {
        guard let value else { return [0] }
        let isInline = value.count <= KVLimits.inlineByteCountMax
        var encoder = WireEncoder(capacity: (isInline ? value.count : 0) + (metadata?.utf8.count ?? 0) + 6)
        encoder.put(UInt8(isInline ? 1 : 2))
        encoder.put(metadata)
        if isInline { encoder.putRest(value) }
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        switch try decoder.takeUInt8() {
        case 0:
            content = .missing
            try decoder.finish()
        case 1:
            metadata = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeString() }
            content = .inline(decoder.takeRest())
        case 2:
            metadata = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeString() }
            content = .body
            try decoder.finish()
        default: throw .invalidValue("KV content", offset: decoder.offset - 1)
        }
    }
}

/// The message of `kvPut`. The reply is empty.
package struct KVPutMessage: Equatable, Sendable {
    package var key: [UInt8]
    package var expiration: Int64?
    package var expirationTtl: Int64?
    /// JSON text.
    package var metadata: String?
    /// `nil`: the value is the body of the call.
    package var value: ArraySlice<UInt8>?

    package init(
        key: [UInt8], value: ArraySlice<UInt8>?, expiration: Int64? = nil, expirationTtl: Int64? = nil,
        metadata: String? = nil
    ) {
        self.key = key
        self.value = value
        self.expiration = expiration
        self.expirationTtl = expirationTtl
        self.metadata = metadata
    }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(
            capacity: key.count + (value?.count ?? 0) + (metadata?.utf8.count ?? 0) + 28)
        encoder.put(key)
        encoder.put(expiration)
        encoder.put(expirationTtl)
        encoder.put(metadata)
        encoder.put(value != nil)
        if let value { encoder.putRest(Array(value)) }
        return encoder.bytes
    }

    /// Decodes a whole message; the value is a slice of it, not a copy.
    package init(decoding message: [UInt8]) throws(WireError) {
        var decoder = WireDecoder(message)
        key = try decoder.takeBytes()
        expiration = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeInt64() }
        expirationTtl = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeInt64() }
        metadata = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeString() }
        if try decoder.takeBool() {
            value = message[decoder.offset...]
        } else {
            try decoder.finish()
        }
    }
}

/// The message of `kvDelete`. The reply is empty.
package struct KVDeleteMessage: Equatable, Sendable {
    package var key: [UInt8]

    package init(key: [UInt8]) { self.key = key }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: key.count + 4)
        encoder.put(key)
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        key = try decoder.takeBytes()
        try decoder.finish()
    }
}

/// The message of `kvList`.
package struct KVListMessage: Equatable, Sendable {
    package var prefix: [UInt8]
    /// `nil` is the default.
    package var limit: Int64?
    package var cursor: String?

    package init(prefix: [UInt8] = [], limit: Int64? = nil, cursor: String? = nil) {
        self.prefix = prefix
        self.limit = limit
        self.cursor = cursor
    }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: prefix.count + 32)
        encoder.put(prefix)
        encoder.put(limit)
        encoder.put(cursor)
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        prefix = try decoder.takeBytes()
        limit = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeInt64() }
        cursor = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeString() }
        try decoder.finish()
    }
}

/// The reply to `kvList`: at most 1,000 keys, some 1.6 MB.
package struct KVListReply: Equatable, Sendable {
    package struct Key: Equatable, Sendable {
        package var name: [UInt8]
        /// Seconds since 1970.
        package var expiration: Int64?
        /// JSON text.
        package var metadata: [UInt8]?

        package init(name: [UInt8], expiration: Int64?, metadata: [UInt8]?) {
            self.name = name
            self.expiration = expiration
            self.metadata = metadata
        }
    }
    package var keys: [Key]
    /// `nil`: there is no more.
    package var cursor: String?

    package init(keys: [Key], cursor: String?) {
        self.keys = keys
        self.cursor = cursor
    }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 64 + keys.count * 48)
        encoder.put(list: keys) { encoder, key in
            encoder.put(key.name)
            encoder.put(key.expiration)
            encoder.put(key.metadata)
        }
        encoder.put(cursor)
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        keys = try decoder.takeList { decoder throws(WireError) in
            Key(
                name: try decoder.takeBytes(),
                expiration: try decoder.takeOptional { decoder throws(WireError) in try decoder.takeInt64() },
                metadata: try decoder.takeOptional { decoder throws(WireError) in try decoder.takeBytes() })
        }
        cursor = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeString() }
        try decoder.finish()
    }
}

/// The message of `kvGetMany`.
package struct KVGetManyMessage: Equatable, Sendable {
    package var keys: [[UInt8]]
    /// `text` or `json`; the store refuses what else a caller writes.
    package var type: String
    package var cacheTtl: Int64?
    package var withMetadata: Bool

    package init(keys: [[UInt8]], type: String, cacheTtl: Int64? = nil, withMetadata: Bool = false) {
        self.keys = keys
        self.type = type
        self.cacheTtl = cacheTtl
        self.withMetadata = withMetadata
    }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: keys.reduce(32) { $0 + $1.count + 4 })
        encoder.put(list: keys) { $0.put($1) }
        encoder.put(type)
        encoder.put(cacheTtl)
        encoder.put(withMetadata)
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        keys = try decoder.takeList { decoder throws(WireError) in try decoder.takeBytes() }
        type = try decoder.takeString()
        cacheTtl = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeInt64() }
        withMetadata = try decoder.takeBool()
        try decoder.finish()
    }
}

/// The reply to `kvGetMany`: one element per key of the call, in its order. It is the message of the reply when
/// it is small; else the message is empty and this is the body.
package struct KVGetManyReply: Equatable, Sendable {
    package struct Item: Equatable, Sendable {
        package var value: [UInt8]
        package var metadata: String?

        package init(value: [UInt8], metadata: String?) {
            self.value = value
            self.metadata = metadata
        }
    }
    package var items: [Item?]

    package init(items: [Item?]) { self.items = items }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: items.reduce(16) { $0 + ($1?.value.count ?? 0) + 16 })
        encoder.put(list: items) { encoder, item in
            encoder.put(item) { encoder, item in
                encoder.put(item.value)
                encoder.put(item.metadata)
            }
        }
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        items = try decoder.takeList { decoder throws(WireError) in
            try decoder.takeOptional { decoder throws(WireError) in
                Item(
                    value: try decoder.takeBytes(),
                    metadata: try decoder.takeOptional { decoder throws(WireError) in try decoder.takeString()
                    })
            }
        }
        try decoder.finish()
    }
}
