internal import Wire

/// A part that was stored: what `complete` wants to hear about it.
public struct R2UploadedPart: Equatable, Hashable, Sendable {
    public var partNumber: Int
    public var etag: String

    public init(partNumber: Int, etag: String) {
        self.partNumber = partNumber
        self.etag = etag
    }
}

/// An upload in parts. Parts may be sent in any order, at once, and again.
public struct R2MultipartUpload: Sendable {
    public let key: String
    public let uploadId: String
    private let bucket: R2Bucket

    init(key: String, uploadId: String, bucket: R2Bucket) {
        self.key = key
        self.uploadId = uploadId
        self.bucket = bucket
    }

    /// Stores part `partNumber` (1...10,000), replacing an earlier one of that number. All parts but the
    /// last have the same size of at least 5 MiB, which `complete` checks.
    ///
    /// - Parameters:
    ///   - ssecKey: The key that the upload was begun with, if it was begun with one.
    ///   - checksum: What the part's bytes must match.
    public func uploadPart(
        _ partNumber: Int, _ value: some R2Value, ssecKey: R2CustomerKey? = nil, checksum: R2Checksum? = nil
    ) async throws -> R2UploadedPart {
        guard (1...R2Limits.partsMax).contains(partNumber) else {
            throw CallFailure.partNumberOutOfRange(Int64(partNumber))
        }
        let checked = try checksum.map { checksum throws(CallFailure) in
            (algorithm: checksum.algorithm, bytes: try checksum.validatedBytes())
        }
        let (stream, byteCount) = try R2Bucket.stream(value)
        let message = R2UploadPartMessage(
            key: key, uploadId: uploadId, partNumber: Int64(partNumber), size: Int64(byteCount), ssecKey: ssecKey,
            checksum: checked)
        let reply = try await bucket.perform(.r2UploadPart, body: stream) { message.encode(into: &$0) }
        let etag = try bucket.read(reply) { decoder throws(WireError) in try decoder.takeString() }
        return R2UploadedPart(partNumber: partNumber, etag: etag)
    }

    /// Makes the object of these parts, in order of their numbers. It appears as a whole.
    ///
    /// - Parameter onlyIf: Of what stands under the key until now. When it doesn't hold, the answer is 10031 and the
    ///   upload stays. The product has this in its S3 API only.
    @discardableResult
    public func complete(_ parts: [R2UploadedPart], onlyIf: R2Conditional? = nil) async throws -> R2Object {
        let message = R2CompleteMultipartMessage(key: key, uploadId: uploadId, parts: parts, onlyIf: onlyIf)
        let reply = try await bucket.perform(.r2CompleteMultipart) { message.encode(into: &$0) }
        let answer = try bucket.read(reply) { decoder throws(WireError) in
            try R2ObjectReply(decoding: &decoder)
        }
        guard let object = answer.object else {
            throw R2Failure.internalError.failure(of: .completeMultipartUpload)
        }
        return object
    }

    /// Up to `limit` (1...1000) of the parts that are there, in order of their numbers. The product has this in its
    /// S3 API only.
    ///
    /// - Parameter partNumber: The last one of the page before.
    public func listParts(after partNumber: Int = 0, limit: Int = 1000) async throws -> R2Parts {
        let message = R2ListPartsMessage(
            key: key, uploadId: uploadId, limit: Int64(limit), afterPartNumber: Int64(partNumber))
        let reply = try await bucket.perform(.r2ListParts) { message.encode(into: &$0) }
        return try bucket.read(reply) { decoder throws(WireError) in try R2Parts(decoding: &decoder) }
    }

    /// Gives the upload up and frees its parts. Fine when it is completed or gone already.
    public func abort() async throws {
        _ = try await bucket.perform(.r2AbortMultipart) {
            R2AbortMultipartMessage(key: key, uploadId: uploadId).encode(into: &$0)
        }
    }
}
