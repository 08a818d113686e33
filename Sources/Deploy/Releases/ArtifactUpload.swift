internal import Glibc
internal import OpenSSL
package import System

/// An executable on its way into the store: written and hashed piece by piece, so that no more than a piece of it is in memory.
/// One caller at a time; what isn't finished goes with it.
package final class ArtifactUpload: @unchecked Sendable {
    private let store: ArtifactStore
    private let path: String
    // Touched by one call at a time, each of which is awaited before the next.
    private let number: Int32
    private var isOpen = true
    private var digest = Digest(.sha256)
    private var isTaken = false
    /// What it begins with, as far as that tells what it is.
    package private(set) var prefix: [UInt8] = []
    package private(set) var byteCount: Int64 = 0

    package convenience init(to store: ArtifactStore) async throws(SystemError) {
        let path = store.makeIncomingPath()
        let number = try await store.disk.run { () throws(SystemError) -> Int32 in
            try FileTree.openFile(path, flags: O_WRONLY | O_CREAT | O_EXCL, mode: 0o755).release()
        }
        self.init(store, path, number)
    }

    private init(_ store: ArtifactStore, _ path: String, _ number: Int32) {
        self.store = store
        self.path = path
        self.number = number
    }

    deinit {
        if isOpen { _ = Descriptor(owning: number) }
        // What can't be removed goes with the next start.
        if !isTaken { try? FileTree.remove(path) }
    }

    package func write(_ piece: [UInt8]) async throws(SystemError) {
        if prefix.count < 4 { prefix += piece.prefix(4 - prefix.count) }
        byteCount += Int64(piece.count)
        digest.update(piece)
        try await store.disk.run { [self] () throws(SystemError) in
            let file = Descriptor(owning: number)
            do throws(SystemError) { try file.writeAll(piece, on: path) } catch {
                _ = file.release()
                throw error
            }
            _ = file.release()
        }
    }

    /// The SHA-256 of what has come so far.
    package var hash: String { Hexadecimal.text(digest.current()) }

    /// Ends the upload; nothing can be written any more.
    ///
    /// - Returns: its place in the store. Durable when it returns.
    package func finish() async throws(SystemError) -> ArtifactStore.Hold {
        let hash = Hexadecimal.text(digest.current())
        isOpen = false
        let hold = try await store.disk.run { [self] () throws(SystemError) -> ArtifactStore.Hold in
            // Closed when this returns: what is open for writing can't be run.
            let file = Descriptor(owning: number)
            return try store.take(file, at: path, hash: hash, byteCount: byteCount)
        }
        isTaken = true
        return hold
    }

    package var isELF: Bool { prefix == [0x7F, 0x45, 0x4C, 0x46] }
}
