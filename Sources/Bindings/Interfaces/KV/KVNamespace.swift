internal import Wire

/// A key-value namespace: `env.kv("SESSIONS")`.
///
/// Keys are 1...512 bytes of UTF-8, other than `.` and `..`, ordered as bytes. Values are at most 25 MiB. A
/// read sees every write that was acknowledged before it, and an acknowledged write is durable.
///
/// Every operation throws the product's errors as `CallFailure`, with its texts.
public struct KVNamespace: Sendable {
    private let transport: any BindingTransport
    private let binding: UInt16

    package init(transport: any BindingTransport, binding: UInt16) {
        self.transport = transport
        self.binding = binding
    }

    // MARK: Reading

    /// The value of `key` as text; `nil` when there is none or it has expired.
    public func get(_ key: String, cacheTtl: Int? = nil) async throws -> String? {
        try await get(key, .text, cacheTtl: cacheTtl)
    }

    /// The value of `key` in the wanted form; `nil` when there is none or it has expired.
    ///
    /// - Parameter cacheTtl: Seconds, at least 30. Checked, and otherwise without effect here: reads are
    ///   never stale, unless the environment simulates that.
    public func get<Value>(
        _ key: String, _ type: KVValueType<Value>, cacheTtl: Int? = nil
    ) async throws -> Value? {
        try await fetch(key, type, cacheTtl: cacheTtl, withMetadata: false).value
    }

    public func getWithMetadata(
        _ key: String, cacheTtl: Int? = nil
    ) async throws -> KVValueWithMetadata<String> {
        try await getWithMetadata(key, .text, cacheTtl: cacheTtl)
    }

    public func getWithMetadata<Value>(
        _ key: String, _ type: KVValueType<Value>, cacheTtl: Int? = nil
    ) async throws -> KVValueWithMetadata<Value> {
        try await fetch(key, type, cacheTtl: cacheTtl, withMetadata: true)
    }

    /// The values of 1...100 keys, together at most 25 MiB. Every key that was asked for is in the result;
    /// keys that Swift holds for equal, being canonically equivalent, share an element of it.
    public func get(_ keys: [String], cacheTtl: Int? = nil) async throws -> [String: String?] {
        try await get(keys, .text, cacheTtl: cacheTtl)
    }

    /// As above, as `.text` or `.json(…)`; the store refuses other forms.
    public func get<Value>(
        _ keys: [String], _ type: KVValueType<Value>, cacheTtl: Int? = nil
    ) async throws -> [String: Value?] {
        try await fetchMany(keys, type, cacheTtl: cacheTtl, withMetadata: false).mapValues { $0?.value }
    }

    public func getWithMetadata(
        _ keys: [String], cacheTtl: Int? = nil
    ) async throws -> [String: KVValueWithMetadata<String>?] {
        try await getWithMetadata(keys, .text, cacheTtl: cacheTtl)
    }

    /// As `get`, with the metadata; a missing key is `nil` itself.
    public func getWithMetadata<Value>(
        _ keys: [String], _ type: KVValueType<Value>, cacheTtl: Int? = nil
    ) async throws -> [String: KVValueWithMetadata<Value>?] {
        try await fetchMany(keys, type, cacheTtl: cacheTtl, withMetadata: true)
    }

    // MARK: Writing

    /// Stores `value` under `key` and replaces all that was there: value, metadata and expiration.
    ///
    /// - Parameters:
    ///   - expiration: Seconds since 1970, at least 60 from now.
    ///   - expirationTtl: Seconds from now, at least 60; wins over `expiration`.
    ///   - metadata: Any `Encodable` value, or `KVMetadata(json:)`; its JSON text has at most 1,024 bytes.
    public func put(
        _ key: String, _ value: String, expiration: Int? = nil, expirationTtl: Int? = nil,
        metadata: (any Encodable)? = nil
    ) async throws {
        try await put(
            key, Array(value.utf8), expiration: expiration, expirationTtl: expirationTtl, metadata: metadata)
    }

    public func put(
        _ key: String, _ value: [UInt8], expiration: Int? = nil, expirationTtl: Int? = nil,
        metadata: (any Encodable)? = nil
    ) async throws {
        try Self.check(key, .put)
        let isInline = value.count <= KVLimits.inlineByteCountMax
        try await put(
            KVPutMessage(
                key: Array(key.utf8), value: isInline ? value[...] : nil,
                expiration: expiration.map(Int64.init),
                expirationTtl: expirationTtl.map(Int64.init), metadata: try Self.text(of: metadata)),
            body: isInline ? nil : ByteStream(value))
    }

    /// As above, with a value that is read while it is sent. One that proves too long changes nothing.
    public func put(
        _ key: String, _ value: ByteStream, expiration: Int? = nil, expirationTtl: Int? = nil,
        metadata: (any Encodable)? = nil
    ) async throws {
        if let bytes = value.bytesInMemory {
            return try await put(
                key, bytes, expiration: expiration, expirationTtl: expirationTtl, metadata: metadata)
        }
        try Self.check(key, .put)
        try await put(
            KVPutMessage(
                key: Array(key.utf8), value: nil, expiration: expiration.map(Int64.init),
                expirationTtl: expirationTtl.map(Int64.init), metadata: try Self.text(of: metadata)),
            body: value)
    }

    private func put(_ message: KVPutMessage, body: ByteStream?) async throws {
        _ = try await transport.perform(
            BindingCall(.kvPut, binding: binding, message: message.encoded(), body: body))
    }

    /// Removes `key`. It is no error when there is none.
    public func delete(_ key: String) async throws {
        try Self.check(key, .delete)
        let message = KVDeleteMessage(key: Array(key.utf8)).encoded()
        _ = try await transport.perform(BindingCall(.kvDelete, binding: binding, message: message))
    }

    // MARK: Listing

    /// The keys that start with `prefix`, in byte order, a page at a time.
    ///
    /// - Parameters:
    ///   - limit: 1...1000; zero and less mean the default, 1000.
    ///   - cursor: The last page's, to be passed with the same prefix.
    public func list(
        prefix: String? = nil, limit: Int? = nil, cursor: String? = nil
    ) async throws -> KVListing {
        let message = KVListMessage(
            prefix: Array((prefix ?? "").utf8), limit: limit.flatMap { $0 > 0 ? Int64($0) : nil },
            cursor: cursor)
        let reply = try await transport.perform(
            BindingCall(.kvList, binding: binding, message: message.encoded()))
        var decoder = WireDecoder(reply.message)
        let page = try KVListReply(decoding: &decoder)
        return KVListing(
            keys: page.keys.map { key in
                KVListing.Key(
                    name: String(decoding: key.name, as: UTF8.self), expiration: key.expiration,
                    metadata: key.metadata.map { KVMetadata(json: String(decoding: $0, as: UTF8.self)) })
            }, cursor: page.cursor)
    }

    // MARK: Inside

    private func fetch<Value>(
        _ key: String, _ type: KVValueType<Value>, cacheTtl: Int?, withMetadata: Bool
    ) async throws -> KVValueWithMetadata<Value> {
        try Self.check(key, .get)
        let message = KVGetMessage(
            key: Array(key.utf8), cacheTtl: cacheTtl.map(Int64.init), withMetadata: withMetadata)
        let answer = try await transport.perform(
            BindingCall(.kvGet, binding: binding, message: message.encoded()))
        var decoder = WireDecoder(answer.message)
        let reply = try KVGetReply(decoding: &decoder)
        let content: ByteStream? =
            switch reply.content {
            case .missing: nil
            case .inline(let bytes): ByteStream(bytes)
            case .body: answer.body ?? ByteStream([])
            }
        guard let content else { return KVValueWithMetadata(value: nil, metadata: nil) }
        return KVValueWithMetadata(
            value: try await type.read(content), metadata: reply.metadata.map { KVMetadata(json: $0) })
    }

    private func fetchMany<Value>(
        _ keys: [String], _ type: KVValueType<Value>, cacheTtl: Int?, withMetadata: Bool
    ) async throws -> [String: KVValueWithMetadata<Value>?] {
        let message = KVGetManyMessage(
            keys: keys.map { Array($0.utf8) }, type: type.name, cacheTtl: cacheTtl.map(Int64.init),
            withMetadata: withMetadata)
        let answer = try await transport.perform(
            BindingCall(.kvGetMany, binding: binding, message: message.encoded()))
        let bytes = try await answer.body?.collect() ?? answer.message
        var decoder = WireDecoder(bytes)
        let reply = try KVGetManyReply(decoding: &decoder)
        var result: [String: KVValueWithMetadata<Value>?] = [:]
        for (key, item) in zip(keys, reply.items) {
            guard let item else {
                result.updateValue(nil, forKey: key)
                continue
            }
            let value = try await type.read(ByteStream(item.value))
            result[key] = KVValueWithMetadata(
                value: value, metadata: item.metadata.map { KVMetadata(json: $0) })
        }
        return result
    }

    /// The checks that the product's client makes before anything is sent (spec: kv, section 3).
    private static func check(_ key: String, _ operation: KVOperation) throws(CallFailure) {
        if key.isEmpty { throw CallFailure("Key name cannot be empty.", name: "TypeError") }
        if key == "." || key == ".." {
            throw CallFailure("\"\(key)\" is not allowed as a key name.", name: "TypeError")
        }
        let byteCount = key.utf8.count
        guard byteCount <= KVLimits.keyByteCountMax else {
            throw operation.failure(
                414,
                "UTF-8 encoded length of \(byteCount) exceeds key length limit of \(KVLimits.keyByteCountMax)."
            )
        }
    }

    private static func text(of metadata: (any Encodable)?) throws -> String? {
        guard let metadata else { return nil }
        let text =
            if let metadata = metadata as? KVMetadata {
                metadata.json
            } else {
                String(decoding: try JSONText.encode(metadata), as: UTF8.self)
            }
        return text == "null" ? nil : text
    }
}
