package import Interfaces
package import Stores

/// What an engine for objects offers. Buckets are named; keys are at most 1,024 bytes of UTF-8, ordered as
/// bytes.
///
/// Every write is durable when it returns, and happened as a whole or not at all when it throws.
/// `internalError` means that the engine has logged what went wrong.
package protocol R2Store: Sendable {
    /// Makes the bucket; fine when it exists.
    func createBucket(_ name: String) async throws(R2Failure)
    /// Removes an empty bucket.
    func deleteBucket(_ name: String) async throws(R2Failure)
    /// In byte order.
    func bucketNames() async throws(R2Failure) -> [String]

    func head(_ key: String, in bucket: String) async throws(R2Failure) -> R2Object?
    func get(_ request: R2GetMessage, in bucket: String) async throws(R2Failure) -> R2Found
    /// Stores `request.size` bytes of `body`; `nil` when the condition didn't hold, at the start or at the
    /// commit.
    func put(
        _ request: R2PutMessage, body: (any BodySource)?, in bucket: String
    ) async throws(R2Failure) -> R2Object?
    func delete(_ keys: [String], in bucket: String) async throws(R2Failure)
    func list(_ request: R2ListMessage, in bucket: String) async throws(R2Failure) -> R2Objects

    /// The new upload's id.
    func createMultipart(_ request: R2CreateMultipartMessage, in bucket: String) async throws(R2Failure)
        -> String
    /// The part's ETag.
    func uploadPart(
        _ request: R2UploadPartMessage, body: (any BodySource)?, in bucket: String
    ) async throws(R2Failure) -> String
    func completeMultipart(
        _ request: R2CompleteMultipartMessage, in bucket: String
    ) async throws(R2Failure) -> R2Object
    /// One page of the uploads that are neither completed nor given up.
    func listUploads(_ request: R2ListUploadsMessage, in bucket: String) async throws(R2Failure) -> R2Uploads
    /// One page of an upload's parts.
    func listParts(_ request: R2ListPartsMessage, in bucket: String) async throws(R2Failure) -> R2Parts
    /// Stores under `request.key` what stands under `request.sourceKey`, be it of another bucket.
    func copy(
        _ request: R2CopyMessage, from sourceBucket: String, to bucket: String
    ) async throws(R2Failure) -> R2Object
    func abortMultipart(_ request: R2AbortMultipartMessage, in bucket: String) async throws(R2Failure)
}

/// What a get found.
package enum R2Found: Sendable {
    case missing
    /// The condition didn't hold.
    case withoutBody(R2Object)
    case withBody(R2Object, StoreBody, byteCount: Int64)
}
