internal import Interfaces
internal import Stores
internal import StoresR2

/// A bucket's store that is slow now and then, and fails now and then: before something was done, or after it.
final class SimulatedR2Store: R2Store {
    private let inner: any R2Store
    private let schedule: SimulationSchedule

    init(_ inner: any R2Store, _ schedule: SimulationSchedule) {
        self.inner = inner
        self.schedule = schedule
    }

    private func meet<Value>(
        _ operation: SimulationSchedule.Operation, writes: Bool, body: (any BodySource)? = nil,
        _ perform: () async throws(R2Failure) -> Value
    ) async throws(R2Failure) -> Value {
        var call = schedule.next(operation)
        do throws(CancellationError) { try await schedule.delay(&call) } catch {
            body?.cancel()
            throw .internalError
        }
        let fate = schedule.fate(&call, writes: writes)
        // The product's two: an internal error, and that it has too much to do.
        let failure = call.chance.below(2) == 0 ? R2Failure.internalError : .unavailable
        guard fate != .failsBefore else {
            body?.cancel()
            throw failure
        }
        let value = try await perform()
        guard fate == .succeeds else { throw .internalError }
        return value
    }

    func createBucket(_ name: String) async throws(R2Failure) { try await inner.createBucket(name) }
    func deleteBucket(_ name: String) async throws(R2Failure) { try await inner.deleteBucket(name) }
    func bucketNames() async throws(R2Failure) -> [String] { try await inner.bucketNames() }

    func head(_ key: String, in bucket: String) async throws(R2Failure) -> R2Object? {
        try await meet(.r2Head, writes: false) { () throws(R2Failure) in try await inner.head(key, in: bucket) }
    }

    func get(_ request: R2GetMessage, in bucket: String) async throws(R2Failure) -> R2Found {
        try await meet(.r2Get, writes: false) { () throws(R2Failure) in try await inner.get(request, in: bucket) }
    }

    func put(
        _ request: R2PutMessage, body: (any BodySource)?, in bucket: String
    ) async throws(R2Failure) -> R2Object? {
        try await meet(.r2Put, writes: true, body: body) { () throws(R2Failure) in
            try await inner.put(request, body: body, in: bucket)
        }
    }

    func delete(_ keys: [String], in bucket: String) async throws(R2Failure) {
        try await meet(.r2Delete, writes: true) { () throws(R2Failure) in try await inner.delete(keys, in: bucket) }
    }

    func list(_ request: R2ListMessage, in bucket: String) async throws(R2Failure) -> R2Objects {
        try await meet(.r2List, writes: false) { () throws(R2Failure) in try await inner.list(request, in: bucket) }
    }

    func createMultipart(
        _ request: R2CreateMultipartMessage, in bucket: String
    ) async throws(R2Failure) -> String {
        try await meet(.r2Multipart, writes: true) { () throws(R2Failure) in
            try await inner.createMultipart(request, in: bucket)
        }
    }

    func uploadPart(
        _ request: R2UploadPartMessage, body: (any BodySource)?, in bucket: String
    ) async throws(R2Failure) -> String {
        try await meet(.r2Multipart, writes: true, body: body) { () throws(R2Failure) in
            try await inner.uploadPart(request, body: body, in: bucket)
        }
    }

    func completeMultipart(
        _ request: R2CompleteMultipartMessage, in bucket: String
    ) async throws(R2Failure) -> R2Object {
        try await meet(.r2Multipart, writes: true) { () throws(R2Failure) in
            try await inner.completeMultipart(request, in: bucket)
        }
    }

    func listUploads(_ request: R2ListUploadsMessage, in bucket: String) async throws(R2Failure) -> R2Uploads {
        try await meet(.r2List, writes: false) { () throws(R2Failure) in
            try await inner.listUploads(request, in: bucket)
        }
    }

    func listParts(_ request: R2ListPartsMessage, in bucket: String) async throws(R2Failure) -> R2Parts {
        try await meet(.r2List, writes: false) { () throws(R2Failure) in try await inner.listParts(request, in: bucket) }
    }

    func copy(
        _ request: R2CopyMessage, from sourceBucket: String, to bucket: String
    ) async throws(R2Failure) -> R2Object {
        try await meet(.r2Put, writes: true) { () throws(R2Failure) in
            try await inner.copy(request, from: sourceBucket, to: bucket)
        }
    }

    func abortMultipart(_ request: R2AbortMultipartMessage, in bucket: String) async throws(R2Failure) {
        try await meet(.r2Multipart, writes: true) { () throws(R2Failure) in
            try await inner.abortMultipart(request, in: bucket)
        }
    }
}
