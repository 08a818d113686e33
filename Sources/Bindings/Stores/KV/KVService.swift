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
            return Self.reply(try inPlace.getInPlace(message.key, cacheTtl: message.cacheTtl), to: message)
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
            return Self.reply(try await namespace.get(message.key, cacheTtl: message.cacheTtl), to: message)
        } catch { throw Self.failure(.get, error) }
    }

    private func getMessage(_ call: StoreCall) throws(CallFailure) -> KVGetMessage {
        var decoder = WireDecoder(call.message)
        do throws(WireError) { return try KVGetMessage(decoding: &decoder) } catch {
            throw .malformedCall(error)
        }
    }

    private static func reply(_ record: KVRecord?, to message: KVGetMessage) -> StoreReply {
        let reply = KVGetReply.encoded(
            value: record?.value, metadata: message.withMetadata ? record?.metadata : nil)
        guard let value = record?.value, value.count > KVLimits.inlineByteCountMax else {
            return StoreReply(message: reply)
        }
        return StoreReply(message: reply, body: .bytes(value))
    }

    private func getMany(_ call: StoreCall) async throws -> StoreReply {
        var decoder = WireDecoder(call.message)
        let message = try KVGetManyMessage(decoding: &decoder)
        do throws(KVError) {
            let records = try await namespace.getMany(
                KVBulkRequest(keys: message.keys, type: message.type, cacheTtl: message.cacheTtl))
            let reply = KVGetManyReply(
                items: records.map { record in
                    record.map {
                        KVGetManyReply.Item(
                            value: $0.value, metadata: message.withMetadata ? $0.metadata : nil)
                    }
                }
            ).encoded()
            guard reply.count > KVLimits.inlineByteCountMax else { return StoreReply(message: reply) }
            return StoreReply(message: [], body: .bytes(reply))
        } catch { throw Self.failure(.getBulk, error) }
    }

    private func put(_ call: StoreCall) async throws -> StoreReply {
        let message = try KVPutMessage(decoding: call.message)
        var value = message.value ?? []
        var byteCount = value.count
        if message.value == nil, let body = call.body {
            var bytes: [UInt8] = []
            while let piece = try await body.next() {
                byteCount += piece.count
                // Of a value that is too long only the length is of interest: the error names it.
                if byteCount > KVLimits.valueByteCountMax { bytes = [] } else { bytes += piece }
            }
            value = bytes[...]
        }
        do throws(KVError) {
            try await namespace.put(
                KVWrite(
                    key: message.key, value: value, expiration: message.expiration,
                    expirationTtl: message.expirationTtl, metadata: message.metadata,
                    valueByteCount: byteCount))
            return StoreReply(message: [])
        } catch { throw Self.failure(.put, error) }
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
