internal import Interfaces
internal import OpenSSL
internal import Stores
internal import Synchronization
internal import System

/// The bytes of an encrypted object's blobs, opened one block at a time on the I/O threads. Nothing of a block leaves
/// before it is authenticated.
final class SealedSource: BodySource {
    private struct State {
        var stretches: [PiecesSource.Stretch]
        var next = 0
        /// Of the blob that is read.
        var cipher: (blob: Identifier, cipher: BlobCipher)?
        var isDone = false
    }
    private let state: Mutex<State>
    private let key: R2CustomerKey
    private let files: BlobFiles
    private let threads: IOThreads
    private let done: @Sendable () -> Void

    /// - Parameters:
    ///   - stretches: In plain bytes.
    ///   - done: called once: at the end, on failure, on cancellation, or when the source is dropped.
    init(
        _ stretches: [PiecesSource.Stretch], key: R2CustomerKey, files: BlobFiles, threads: IOThreads,
        done: @escaping @Sendable () -> Void
    ) {
        state = Mutex(State(stretches: stretches))
        self.key = key
        self.files = files
        self.threads = threads
        self.done = done
    }

    deinit { cancel() }

    func next() async throws -> [UInt8]? {
        do {
            let block = try await threads.run { () throws(SystemError) in try self.readBlock() }
            if block == nil { cancel() }
            return block
        } catch {
            cancel()
            throw error
        }
    }

    func cancel() {
        let isFirst = state.withLock { state in
            defer { state.isDone = true }
            return !state.isDone
        }
        if isFirst { done() }
    }

    private func readBlock() throws(SystemError) -> [UInt8]? {
        // As in PiecesSource: nobody waits for this lock but a `cancel`.
        try state.withLock { state throws(SystemError) -> [UInt8]? in
            guard !state.isDone, state.next < state.stretches.count else { return nil }
            let stretch = state.stretches[state.next]
            let file = try files.open(stretch.blob)
            let cipher: BlobCipher
            if let known = state.cipher, known.blob == stretch.blob {
                cipher = known.cipher
            } else {
                let salt = try Self.read(file, at: 0, count: BlobCipher.saltByteCount, of: stretch.blob)
                cipher = BlobCipher(key, salt: salt)
                state.cipher = (stretch.blob, cipher)
            }
            let index = stretch.offset / Int64(BlobCipher.blockByteCount)
            let place = BlobCipher.place(ofBlock: index, size: stretch.blobByteCount)
            let sealed = try Self.read(file, at: place.offset, count: place.byteCount, of: stretch.blob)
            let plain: [UInt8]
            do throws(OpenSSLError) {
                plain = try cipher.open(sealed, index: index, isLast: place.isLast)
            } catch {
                // EBADMSG: the file isn't what was written.
                throw SystemError("decrypt", errno: 74, on: stretch.blob.hexadecimal)
            }
            let start = Int(stretch.offset - index * Int64(BlobCipher.blockByteCount))
            let wanted = Int(min(stretch.byteCount, Int64(plain.count - start)))
            state.stretches[state.next].offset += Int64(wanted)
            state.stretches[state.next].byteCount -= Int64(wanted)
            if state.stretches[state.next].byteCount == 0 { state.next += 1 }
            return wanted == plain.count ? plain : Array(plain[start..<(start + wanted)])
        }
    }

    private static func read(
        _ file: borrowing Descriptor, at offset: Int64, count: Int, of blob: Identifier
    ) throws(SystemError) -> [UInt8] {
        let bytes = try file.read(at: offset, count: count)
        // EIO: the blob is too short.
        guard bytes.count == count else { throw SystemError("pread", errno: 5, on: blob.hexadecimal) }
        return bytes
    }
}
