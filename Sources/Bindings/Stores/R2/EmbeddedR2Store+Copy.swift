package import Interfaces
internal import LMDB
internal import System

/// A tenant's buckets as they were at one moment: a copy of the index, and the files that it names, none of which goes away
/// before `release`.
package final class R2Copy: Sendable {
    private let index: ObjectIndex
    private let files: BlobFiles
    private let held: @Sendable () -> Void

    fileprivate init(_ index: ObjectIndex, _ files: BlobFiles, release: @escaping @Sendable () -> Void) {
        self.index = index
        self.files = files
        held = release
    }

    package struct Blob: Sendable {
        package let path: String
        /// Below the store's directory.
        package let name: String
        package let byteCount: Int64
    }

    package static let shardCount = 256

    /// The files of one shard, by name; blocks. Those that are missing are left out: `verify` names them.
    package func blobs(inShard shard: Int) throws -> [Blob] {
        let listed = try files.blobs(inShard: UInt8(shard)).sorted { $0.hexadecimal < $1.hexadecimal }
        let used = try index.environment.read { transaction throws(LMDBError) in
            var used: [Identifier] = []
            for blob in listed where try index.isUsed(blob, transaction) { used.append(blob) }
            return used
        }
        return used.compactMap { blob in
            files.byteCount(of: blob).map { Blob(path: files.path(blob), name: files.name(of: blob), byteCount: $0) }
        }
    }

    /// Lets files go that were replaced meanwhile. To be called once.
    package func release() {
        index.environment.close()
        held()
    }
}

extension EmbeddedR2Store {
    /// Takes the buckets as they are now. Everything goes on meanwhile; what is deleted or replaced keeps its space until the
    /// copy is released.
    ///
    /// - Parameter directory: A new one, which gets the index's file `data.mdb`.
    package func copy(to directory: String) async throws(R2Failure) -> R2Copy {
        use.hold()
        do throws(R2Failure) {
            return try await threads.run { () throws(R2Failure) in
                do {
                    try FileTree.makeDirectory(directory, mode: 0o700)
                    try self.index.environment.copy(to: directory + "/data.mdb")
                    let copy = try ObjectIndex(LMDBEnvironment(directory: directory), eventsMax: 0)
                    return R2Copy(copy, self.files) { [weak self] in self?.releaseHold() }
                } catch { throw self.report(error, "copy") }
            }
        } catch {
            releaseHold()
            throw error
        }
    }

    private func releaseHold() {
        for (version, blobs) in use.release() { unlink(blobs, of: version) }
    }
}
