package import Interfaces
package import Stores
internal import Wire

/// A KV binding: decodes the calls of one worker on one namespace and answers them.
package struct KVService: StoreService {
    private let namespace: any KVStoreNamespace
    /// The same one, when it can be asked in place.
    private let inPlace: (any InPlaceKVNamespace)?

    package init(_ namespace: any KVStoreNamespace) {
        self.namespace = namespace
        inPlace = namespace as? any InPlaceKVNamespace
    }

    package func answerInPlace(_ call: StoreCall) throws(CallFailure) -> StoreReply? {
        guard let inPlace, call.kind == .kvGet else { return nil }
        let message = try getMessage(call)
        do throws(KVError) {
            let found = try inPlace.getInPlace(
                message.key, cacheTtl: message.cacheTtl, byteCountMax: KVLimits.inlineByteCountMax)
            switch found {
            case .missing: return Self.reply(nil, to: message)
            case .found(let record): return Self.reply(record, to: message)
            case .larger: return nil  // Copying it takes a while, and memory that may have to be waited for.
            }
        } catch { throw Self.failure(.get, error) }
    }

    package func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply {
        do {
            switch call.kind {
            case .kvGet: return try await get(call)
            case .kvPut: return try await put(call)
            case .kvDelete: return try await delete(call)
            case .kvList: return try await list(call)
            case .kvGetMany: return try await getMany(call)
            default:
                throw CallFailure("a KV binding has no call of kind \(call.kind.rawValue)", name: "TypeError")
            }
        } catch let failure as CallFailure {
            throw failure
        } catch let error as WireError {
            throw .malformedCall(error)
        } catch {
            throw CallFailure("\(error)")
        }
    }

    private func get(_ call: StoreCall) async throws -> StoreReply {
        let message = try getMessage(call)
        do throws(KVError) {
            let (found, share) = try await namespace.readHeld { byteCountMax throws(KVError) in
                try await namespace.get(
                    message.key, cacheTtl: message.cacheTtl, byteCountMax: byteCountMax)
            }
            return Self.reply(found, to: message, share)
        } catch { throw Self.failure(.get, error) }
    }

    private func getMessage(_ call: StoreCall) throws(CallFailure) -> KVGetMessage {
        var decoder = WireDecoder(call.message)
        do throws(WireError) { return try KVGetMessage(decoding: &decoder) } catch {
            throw .malformedCall(error)
        }
    }

    private static func reply(
        _ record: KVRecord?, to message: KVGetMessage, _ share: Budget.Share? = nil
    ) -> StoreReply {
        let reply = KVGetReply.encoded(
            value: record?.value, metadata: message.withMetadata ? record?.metadata : nil)
        guard let value = record?.value, value.count > KVLimits.inlineByteCountMax else {
            return StoreReply(message: reply)
        }
        return StoreReply(message: reply, body: .stream(HeldBytes(value, share)))
    }

    private func getMany(_ call: StoreCall) async throws -> StoreReply {
        var decoder = WireDecoder(call.message)
        let message = try KVGetManyMessage(decoding: &decoder)
        do throws(KVError) {
            let request = KVBulkRequest(keys: message.keys, type: message.type, cacheTtl: message.cacheTtl)
            let (records, share) = try await namespace.readHeld(copies: 2) { byteCountMax throws(KVError) in
                try await namespace.getMany(request, byteCountMax: byteCountMax)
            }
            let reply = KVGetManyReply(
                items: (records ?? []).map { record in
                    record.map {
                        KVGetManyReply.Item(
                            value: $0.value, metadata: message.withMetadata ? $0.metadata : nil)
                    }
                }
            ).encoded()
            guard reply.count > KVLimits.inlineByteCountMax else { return StoreReply(message: reply) }
            share?.shrink(to: reply.count)
            return StoreReply(message: [], body: .stream(HeldBytes(reply, share)))
        } catch { throw Self.failure(.getBulk, error) }
    }

    private func put(_ call: StoreCall) async throws -> StoreReply {
        let message = try KVPutMessage(decoding: call.message)
        var value = message.value ?? []
        var byteCount = value.count
        var share: Budget.Share?
        if message.value == nil, let body = call.body {
            // What is refused whatever the value is needs no value.
            do throws(KVError) { try namespace.check(Self.write(message, value: [], byteCount: 0)) } catch {
                body.cancel()
                throw Self.failure(.put, error)
            }
            let collected: KVCollectedValue
            do { collected = try await namespace.collect { try await body.next() } } catch let error as KVError {
                body.cancel()
                throw Self.failure(.put, error)
            }
            (value, byteCount, share) = (collected.bytes[...], collected.byteCount, collected.share)
        }
        call.note(byteCount, of: .kvValue, KVLimits.valueByteCountMax)
        call.note(message.metadata?.utf8.count ?? 0, of: .kvMetadata, KVLimits.metadataByteCountMax)
        // The share lasts until the value is stored.
        defer { withExtendedLifetime(share) {} }
        do throws(KVError) {
            try await namespace.put(Self.write(message, value: value, byteCount: byteCount))
            return StoreReply(message: [])
        } catch { throw Self.failure(.put, error) }
    }

    private static func write(_ message: KVPutMessage, value: ArraySlice<UInt8>, byteCount: Int) -> KVWrite {
        KVWrite(
            key: message.key, value: value, expiration: message.expiration, expirationTtl: message.expirationTtl,
            metadata: message.metadata, valueByteCount: byteCount)
    }

    private func delete(_ call: StoreCall) async throws -> StoreReply {
        var decoder = WireDecoder(call.message)
        let message = try KVDeleteMessage(decoding: &decoder)
        do throws(KVError) {
            try await namespace.delete(message.key)
            return StoreReply(message: [])
        } catch { throw Self.failure(.delete, error) }
    }

    private func list(_ call: StoreCall) async throws -> StoreReply {
        var decoder = WireDecoder(call.message)
        let message = try KVListMessage(decoding: &decoder)
        do throws(KVError) {
            let page = try await namespace.list(
                prefix: message.prefix, limit: message.limit, cursor: message.cursor)
            let reply = KVListReply(
                keys: page.keys.map {
                    KVListReply.Key(name: $0.name, expiration: $0.expiration, metadata: $0.metadata)
                }, cursor: page.cursor)
            return StoreReply(message: reply.encoded())
        } catch { throw Self.failure(.get, error) }
    }

    private static func failure(_ operation: KVOperation, _ error: KVError) -> CallFailure {
        switch error {
        case .refused(let status, let text): operation.failure(status, text)
        case .overloaded: operation.failure(429, "Too Many Requests")
        case .failed: operation.failure(500, "Internal Server Error")
        }
    }
}
