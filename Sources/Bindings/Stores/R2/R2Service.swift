package import Interfaces
package import Stores
internal import Wire

/// One bucket of a store, as a worker's binding calls it.
package struct R2Service: StoreService {
    private let store: any R2Store
    private let bucket: String

    /// - Parameter bucket: One that was created: to calls on another, the answer is 10006.
    package init(store: any R2Store, bucket: String) {
        self.store = store
        self.bucket = bucket
    }

    package func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply {
        guard let action = Self.action(call.kind) else {
            call.body?.cancel()
            throw CallFailure("the R2 bucket binding has no call \(call.kind)")
        }
        if call.kind != .r2Put, call.kind != .r2UploadPart { call.body?.cancel() }
        do {
            return try await answer(call, bucket)
        } catch let failure as R2Failure {
            throw failure.failure(of: action)
        } catch let error as WireError {
            throw .malformedCall(error)
        } catch {
            throw CallFailure("\(action.rawValue): the message could not be read: \(error)")
        }
    }

    private func answer(_ call: StoreCall, _ bucket: String) async throws -> StoreReply {
        var decoder = WireDecoder(call.message)
        switch call.kind {
        case .r2Head:
            let object = try await store.head(R2HeadMessage(decoding: &decoder).key, in: bucket)
            return StoreReply(message: R2ObjectReply(object: object).encoded())
        case .r2Get: return Self.reply(try await store.get(R2GetMessage(decoding: &decoder), in: bucket))
        case .r2Put:
            let message = try Self.take(call) { decoder throws(WireError) in
                try R2PutMessage(decoding: &decoder)
            }
            call.note(Int(message.size), of: .object, Int(R2Limits.putBytesMax))
            let object = try await store.put(message, body: call.body, in: bucket)
            return StoreReply(message: R2ObjectReply(object: object).encoded())
        case .r2Delete:
            try await store.delete(R2DeleteMessage(decoding: &decoder).keys, in: bucket)
            return StoreReply(message: [])
        case .r2List:
            return StoreReply(
                message: try await store.list(R2ListMessage(decoding: &decoder), in: bucket).encoded())
        case .r2CreateMultipart:
            let id = try await store.createMultipart(R2CreateMultipartMessage(decoding: &decoder), in: bucket)
            return Self.reply(text: id)
        case .r2UploadPart:
            let message = try Self.take(call) { decoder throws(WireError) in
                try R2UploadPartMessage(decoding: &decoder)
            }
            return Self.reply(text: try await store.uploadPart(message, body: call.body, in: bucket))
        case .r2CompleteMultipart:
            let object = try await store.completeMultipart(
                R2CompleteMultipartMessage(decoding: &decoder), in: bucket)
            return StoreReply(message: R2ObjectReply(object: object).encoded())
        case .r2AbortMultipart:
            try await store.abortMultipart(R2AbortMultipartMessage(decoding: &decoder), in: bucket)
            return StoreReply(message: [])
        case .r2Copy:
            let object = try await store.copy(R2CopyMessage(decoding: &decoder), from: bucket, to: bucket)
            return StoreReply(message: R2ObjectReply(object: object).encoded())
        case .r2ListMultipartUploads:
            return StoreReply(
                message: try await store.listUploads(R2ListUploadsMessage(decoding: &decoder), in: bucket).encoded())
        case .r2ListParts:
            return StoreReply(
                message: try await store.listParts(R2ListPartsMessage(decoding: &decoder), in: bucket).encoded())
        default: throw R2Failure.internalError  // `action` knows no other.
        }
    }

    /// The message of a call with a body, which is given up when the message can't be read.
    private static func take<Message>(
        _ call: StoreCall, _ decode: (inout WireDecoder) throws(WireError) -> Message
    ) throws(WireError) -> Message {
        var decoder = WireDecoder(call.message)
        do throws(WireError) { return try decode(&decoder) } catch {
            call.body?.cancel()
            throw error
        }
    }

    private static func reply(text: String) -> StoreReply {
        var encoder = WireEncoder()
        encoder.put(text)
        return StoreReply(message: encoder.bytes)
    }

    private static func reply(_ found: R2Found) -> StoreReply {
        switch found {
        case .missing: StoreReply(message: R2GetReply.missing.encoded())
        case .withoutBody(let object): StoreReply(message: R2GetReply.withoutBody(object).encoded())
        case .withBody(let object, let body, let byteCount):
            StoreReply(
                message: R2GetReply.withBody(object, bodyByteCount: byteCount).encoded(),
                body: byteCount == 0 ? nil : body)
        }
    }

    private static func action(_ kind: CallKind) -> R2Action? {
        switch kind {
        case .r2Head: .head
        case .r2Get: .get
        case .r2Put: .put
        case .r2Delete: .delete
        case .r2List: .list
        case .r2CreateMultipart: .createMultipartUpload
        case .r2UploadPart: .uploadPart
        case .r2CompleteMultipart: .completeMultipartUpload
        case .r2AbortMultipart: .abortMultipartUpload
        case .r2Copy: .copy
        case .r2ListMultipartUploads: .listMultipartUploads
        case .r2ListParts: .listParts
        default: nil
        }
    }
}
