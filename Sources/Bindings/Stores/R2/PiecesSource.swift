internal import Stores
internal import Synchronization
internal import System

/// The bytes of one blob or several, read one block at a time on the I/O threads.
///
/// A file is open only while a block of it is read: a reader that stops costs no descriptor.
final class PiecesSource: BodySource {
    private static let blockByteCount = 64 << 10

    /// A part of a blob that is still to be read.
    struct Stretch: Sendable {
        var blob: Identifier
        var offset: Int64
        var byteCount: Int64
        /// Of the whole blob, before it was encrypted.
        var blobByteCount: Int64
    }
    private struct State {
        var stretches: [Stretch]
        var next = 0
        var isDone = false
    }
    private let state: Mutex<State>
    private let files: BlobFiles
    private let threads: IOThreads
    private let done: @Sendable () -> Void

    /// - Parameter done: called once: at the end, on failure, on cancellation, or when the source is
    ///   dropped.
    init(_ stretches: [Stretch], files: BlobFiles, threads: IOThreads, done: @escaping @Sendable () -> Void) {
        state = Mutex(State(stretches: stretches))
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

    /// What is left of the blob that is next, opened as a whole; `nil` at the end.
    func nextFile() async throws(SystemError) -> FileSlice? {
        do throws(SystemError) {
            let slice = try await threads.run { () throws(SystemError) in try self.openNext() }
            if slice == nil { cancel() }
            return slice
        } catch {
            cancel()
            throw error
        }
    }

    private func openNext() throws(SystemError) -> FileSlice? {
        try state.withLock { state throws(SystemError) -> FileSlice? in
            guard !state.isDone, state.next < state.stretches.count else { return nil }
            let stretch = state.stretches[state.next]
            state.next += 1
            return FileSlice(
                try files.open(stretch.blob), offset: stretch.offset, byteCount: Int(stretch.byteCount))
        }
    }

    private func readBlock() throws(SystemError) -> [UInt8]? {
        // One reader at a time: nobody waits for this lock but a `cancel`, for the time of one read.
        try state.withLock { state throws(SystemError) -> [UInt8]? in
            guard !state.isDone, state.next < state.stretches.count else { return nil }
            let stretch = state.stretches[state.next]
            let wanted = Int(min(stretch.byteCount, Int64(Self.blockByteCount)))
            let block = try files.open(stretch.blob).read(at: stretch.offset, count: wanted)
            guard block.count == wanted else {
                // EIO: the blob is too short.
                throw SystemError("pread", errno: 5, on: stretch.blob.hexadecimal)
            }
            state.stretches[state.next].offset += Int64(wanted)
            state.stretches[state.next].byteCount -= Int64(wanted)
            if state.stretches[state.next].byteCount == 0 { state.next += 1 }
            return block
        }
    }
}

/// The blobs of an object, one after the other, for the kernel to send: one file is open at a time, and counted.
final class PieceFiles: FileSequence {
    private let pieces: PiecesSource
    /// For as long as any of the files may be open.
    private let share: Budget.Share

    init(_ pieces: PiecesSource, share: Budget.Share) {
        self.pieces = pieces
        self.share = share
    }

    func next() async throws -> [UInt8]? { try await pieces.next() }
    func nextFile() async throws -> FileSlice? { try await pieces.nextFile() }
    func cancel() { pieces.cancel() }
}
