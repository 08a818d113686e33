internal import Wire

/// A bucket of objects, bound to a worker under a name.
///
/// Every failure that the product documents is a `CallFailure` whose message reads
/// `<operation>: <text> (<code>)`; what can be seen to be wrong before the node is asked is one named
/// `TypeError` or `RangeError`.
public struct R2Bucket: Sendable {
    private let transport: any BindingTransport
    private let binding: UInt16

    package init(transport: any BindingTransport, binding: UInt16) {
        self.transport = transport
        self.binding = binding
    }

    /// The object's metadata; `nil` when there is no such object.
    public func head(_ key: String) async throws -> R2Object? {
        let reply = try await perform(.r2Head) { R2HeadMessage(key: key).encode(into: &$0) }
        return try read(reply) { decoder throws(WireError) in try R2ObjectReply(decoding: &decoder) }.object
    }

    /// The object with its bytes, or those of a range; without `body` when `onlyIf` doesn't hold; `nil`
    /// when there is no such object.
    ///
    /// - Parameter ssecKey: What the object was encrypted with, if it was.
    public func get(
        _ key: String, onlyIf: R2Conditional? = nil, range: R2Range? = nil, ssecKey: R2CustomerKey? = nil
    ) async throws -> R2ObjectBody? {
        try range?.validate()
        let reply = try await perform(.r2Get) {
            R2GetMessage(key: key, onlyIf: onlyIf, range: range, ssecKey: ssecKey).encode(into: &$0)
        }
        switch try read(reply, { decoder throws(WireError) in try R2GetReply(decoding: &decoder) }) {
        case .missing: return nil
        case .withoutBody(let object): return R2ObjectBody(object: object, body: nil)
        case .withBody(let object, let byteCount):
            return R2ObjectBody(object: object, body: Self.sized(reply.body, byteCount: Int(byteCount)))
        }
    }

    /// Stores `value` under `key`, replacing any older object and its metadata as a whole.
    ///
    /// - Parameter ssecKey: Encrypts the object; nobody reads it without the same key.
    /// - Returns: the new object; `nil` when `onlyIf` didn't hold, and nothing is changed then.
    /// - Note: Durable when it returns. Whoever reads the older object goes on reading it.
    @discardableResult
    public func put(
        _ key: String, _ value: some R2Value, onlyIf: R2Conditional? = nil,
        httpMetadata: R2HTTPMetadata = R2HTTPMetadata(), customMetadata: [String: String] = [:],
        checksum: R2Checksum? = nil, storageClass: R2StorageClass = .standard, ssecKey: R2CustomerKey? = nil
    ) async throws -> R2Object? {
        let checked = try checksum.map { checksum throws(CallFailure) in
            (algorithm: checksum.algorithm, bytes: try checksum.validatedBytes())
        }
        let (stream, byteCount) = try Self.stream(value)
        let message = R2PutMessage(
            key: key, size: Int64(byteCount), onlyIf: onlyIf, checksum: checked,
            attributes: R2Attributes(
                httpMetadata: httpMetadata, customMetadata: customMetadata, storageClass: storageClass),
            ssecKey: ssecKey)
        let reply = try await perform(.r2Put, body: stream) { message.encode(into: &$0) }
        return try read(reply) { decoder throws(WireError) in try R2ObjectReply(decoding: &decoder) }.object
    }

    /// Deletes the object if there is one.
    public func delete(_ key: String) async throws { try await delete([key]) }

    /// Deletes up to 1,000 objects; keys without one are fine.
    public func delete(_ keys: [String]) async throws {
        _ = try await perform(.r2Delete) { R2DeleteMessage(keys: keys).encode(into: &$0) }
    }

    /// Up to `limit` (1...1000) objects and folded prefixes, in order of the keys' bytes.
    ///
    /// - Parameters:
    ///   - cursor: From the page before. With `startAfter` as well, the later of the two places wins.
    ///   - delimiter: Keys that have it behind the prefix are folded into what stands up to it.
    ///   - startAfter: Exclusive.
    ///   - include: Without it the objects' metadata is left empty. Pages of much metadata may be shorter
    ///     than `limit`: go on while `truncated`.
    public func list(
        limit: Int = 1000, prefix: String = "", cursor: String? = nil, delimiter: String = "",
        startAfter: String? = nil, include: R2ListInclude = []
    ) async throws -> R2Objects {
        let message = R2ListMessage(
            limit: Int64(limit), prefix: prefix, cursor: cursor, delimiter: delimiter,
            startAfter: startAfter, include: include)
        let reply = try await perform(.r2List) { message.encode(into: &$0) }
        return try read(reply) { decoder throws(WireError) in try R2Objects(decoding: &decoder) }
    }

    /// Stores another object with the bytes of the one under `sourceKey`, which never enter the isolate. Whatever the
    /// size, no byte is moved, unless source and copy differ in their encryption.
    ///
    /// The product has this in its S3 API only (CopyObject).
    ///
    /// - Parameters:
    ///   - sourceOnlyIf: A condition on the source, as `onlyIf` is one on what the copy replaces.
    ///   - storageClass: `nil` keeps the source's.
    ///   - sourceSsecKey: What the source is encrypted with.
    ///   - ssecKey: What the copy is encrypted with; without one it is stored in the clear.
    /// - Throws: 10007 without a source, 10031 when a condition doesn't hold.
    @discardableResult
    public func copy(
        _ sourceKey: String, to key: String, sourceOnlyIf: R2Conditional? = nil, onlyIf: R2Conditional? = nil,
        metadata: R2CopyMetadata = .copy, storageClass: R2StorageClass? = nil,
        sourceSsecKey: R2CustomerKey? = nil, ssecKey: R2CustomerKey? = nil
    ) async throws -> R2Object {
        let message = R2CopyMessage(
            sourceKey: sourceKey, key: key, sourceOnlyIf: sourceOnlyIf, onlyIf: onlyIf, metadata: metadata,
            storageClass: storageClass, sourceSsecKey: sourceSsecKey, ssecKey: ssecKey)
        let reply = try await perform(.r2Copy) { message.encode(into: &$0) }
        let answer = try read(reply) { decoder throws(WireError) in try R2ObjectReply(decoding: &decoder) }
        guard let object = answer.object else { throw R2Failure.internalError.failure(of: .copy) }
        return object
    }

    /// Begins an upload in parts. Without completion it is given up after seven days.
    ///
    /// - Parameters:
    ///   - ssecKey: Encrypts the object; each part must come with the same key.
    ///   - checksumAlgorithm: A checksum that is taken of each part. That of the object is then CRC64NVME of its bytes,
    ///     or one of the parts' checksums (`R2Checksums.Kind.composite`).
    public func createMultipartUpload(
        _ key: String, httpMetadata: R2HTTPMetadata = R2HTTPMetadata(),
        customMetadata: [String: String] = [:], storageClass: R2StorageClass = .standard,
        ssecKey: R2CustomerKey? = nil, checksumAlgorithm: R2Checksum.Algorithm? = nil
    ) async throws -> R2MultipartUpload {
        let attributes = R2Attributes(
            httpMetadata: httpMetadata, customMetadata: customMetadata, storageClass: storageClass)
        let reply = try await perform(.r2CreateMultipart) {
            R2CreateMultipartMessage(
                key: key, attributes: attributes, ssecKey: ssecKey, checksumAlgorithm: checksumAlgorithm
            ).encode(into: &$0)
        }
        let uploadId = try read(reply) { decoder throws(WireError) in try decoder.takeString() }
        return resumeMultipartUpload(key, uploadId: uploadId)
    }

    /// A handle on an upload begun earlier. Nothing is asked and nothing checked.
    public func resumeMultipartUpload(_ key: String, uploadId: String) -> R2MultipartUpload {
        R2MultipartUpload(key: key, uploadId: uploadId, bucket: self)
    }

    /// Up to `limit` (1...1000) uploads in parts that are neither completed nor given up, and folded prefixes.
    ///
    /// - Parameter after: `next` of the page before.
    public func listMultipartUploads(
        limit: Int = 1000, prefix: String = "", delimiter: String = "", after: R2Uploads.Marker? = nil
    ) async throws -> R2Uploads {
        let message = R2ListUploadsMessage(
            limit: Int64(limit), prefix: prefix, delimiter: delimiter, after: after)
        let reply = try await perform(.r2ListMultipartUploads) { message.encode(into: &$0) }
        return try read(reply) { decoder throws(WireError) in try R2Uploads(decoding: &decoder) }
    }

    // MARK: For this type and R2MultipartUpload

    func perform(
        _ kind: CallKind, body: ByteStream? = nil, _ write: (inout WireEncoder) -> Void
    ) async throws -> BindingReply {
        var encoder = WireEncoder(capacity: 256)
        write(&encoder)
        return try await transport.perform(
            BindingCall(kind, binding: binding, message: encoder.bytes, body: body))
    }

    func read<Value>(
        _ reply: BindingReply, _ take: (inout WireDecoder) throws(WireError) -> Value
    ) throws(WireError) -> Value {
        var decoder = WireDecoder(reply.message)
        return try take(&decoder)
    }

    static func stream(_ value: some R2Value) throws(CallFailure) -> (stream: ByteStream?, byteCount: Int) {
        guard let sized = value.r2Stream() else {
            throw .typeError(
                "Provided readable stream must have a known length "
                    + "(request/response body or readable half of FixedLengthStream)")
        }
        return sized
    }

    /// The same body, with its length known to those who pass it on.
    private static func sized(_ body: ByteStream?, byteCount: Int) -> ByteStream {
        guard let body else { return ByteStream([]) }
        return body.length == nil ? body.withLength(byteCount) : body
    }
}
