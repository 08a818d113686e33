internal import Interfaces
internal import OpenSSL
internal import Stores
internal import Synchronization
internal import System

/// One blob on its way to the disk: pieces go in, a worker of the I/O threads hashes and writes them while
/// the next ones arrive. At most `waitingBytesMax` and one piece are in memory, and a block of an encrypted blob.
final class BlobWriter: @unchecked Sendable {  // `progress` belongs to the one drain that runs at a time.
    /// Two pieces of the wire's largest data frame are written while two arrive.
    static let waitingBytesMax = 256 << 10

    private struct State {
        var waiting: [[UInt8]] = []
        var waitingByteCount = 0
        var isDraining = false
        var failure: SystemError?
        /// The one who writes, when it waits, and until how many bytes are left.
        var producer: (continuation: CheckedContinuation<Void, Never>, threshold: Int)?

        /// The producer, when what it waits for has come. At zero it waits for the drain to have ended as
        /// well.
        mutating func takeProducer() -> CheckedContinuation<Void, Never>? {
            guard let producer, waitingByteCount <= producer.threshold,
                producer.threshold > 0 || !isDraining
            else { return nil }
            self.producer = nil
            return producer.continuation
        }
    }
    private struct Progress: ~Copyable {
        var file: Descriptor?
        var md5 = Digest(.md5)
        var supplied: RunningChecksum?
        var sealer: BlobSealer?
    }

    let blob: Identifier
    private let files: BlobFiles
    private let threads: IOThreads
    private let syncs: DirectorySyncs
    private let state = Mutex(State())
    private var progress: Progress

    init(
        _ blob: Identifier, files: BlobFiles, threads: IOThreads, syncs: DirectorySyncs,
        supplied: R2Checksum.Algorithm?, key: R2CustomerKey? = nil
    ) {
        self.blob = blob
        self.files = files
        self.threads = threads
        self.syncs = syncs
        progress = Progress(
            file: nil, supplied: supplied.map { RunningChecksum($0) }, sealer: key.map { BlobSealer($0) })
    }

    /// Takes the next piece; returns when there is room for more.
    func write(_ piece: [UInt8]) async throws(SystemError) {
        let (mustStart, isFull) = state.withLock { state in
            state.waiting.append(piece)
            state.waitingByteCount += piece.count
            defer { state.isDraining = true }
            return (!state.isDraining, state.waitingByteCount > Self.waitingBytesMax)
        }
        if mustStart { threads.submit { self.drain() } }
        // Until half is gone: one that is woken for each piece costs more than the piece.
        try await wait(untilAtMost: isFull ? Self.waitingBytesMax / 2 : Self.waitingBytesMax)
    }

    /// Makes the blob durable under its final name.
    ///
    /// - Returns: the MD5 and the checksum that was asked for, of what was given, before it was encrypted.
    func finish() async throws(SystemError) -> (md5: [UInt8], supplied: [UInt8]?) {
        try await wait(untilAtMost: 0)
        let digests = try await threads.run { () throws(SystemError) in
            try self.syncAndPublish()
        }
        try await syncs.sync(blob.shard)
        return digests
    }

    /// Forgets the blob; its file goes, whether it has its final name already or not.
    func abandon() async throws(SystemError) {
        state.withLock { $0.waiting = [] }
        try? await wait(untilAtMost: 0)  // A failure to write is why most blobs are abandoned.
        try await threads.run { () throws(SystemError) in
            self.progress.file = nil
            try self.files.removeTemporary(self.blob)
            try self.files.unlink(self.blob)
        }
    }

    private func syncAndPublish() throws(SystemError) -> (md5: [UInt8], supplied: [UInt8]?) {
        try createIfMissing()  // An empty blob has seen no piece.
        if progress.sealer != nil {
            try store(sealing { sealer throws(OpenSSLError) in try sealer.finish() })
        }
        if let file = progress.file.take() {
            try files.sync(file, of: blob)
            try file.close()
        }
        try files.publish(blob)
        return (progress.md5.current(), progress.supplied?.current())
    }

    private func createIfMissing() throws(SystemError) {
        if progress.file == nil { progress.file = try files.create(blob) }
    }

    /// Writes until nothing waits.
    private func drain() {
        while true {
            let (pieces, woken) = state.withLock { state -> ([[UInt8]]?, CheckedContinuation<Void, Never>?) in
                if state.failure != nil { state.waiting = [] }
                let pieces = state.waiting
                state.waiting = []
                if pieces.isEmpty {
                    state.waitingByteCount = 0
                    state.isDraining = false
                    return (nil, state.takeProducer())
                }
                return (pieces, nil)
            }
            woken?.resume()
            guard let pieces else { return }
            for piece in pieces { consume(piece) }
        }
    }

    private func consume(_ piece: [UInt8]) {
        var failure = state.withLock { $0.failure }
        if failure == nil {
            do throws(SystemError) { try append(piece) } catch { failure = error }
        }
        let woken = state.withLock { state in
            state.waitingByteCount -= piece.count
            state.failure = failure
            return state.takeProducer()
        }
        woken?.resume()
    }

    private func append(_ piece: [UInt8]) throws(SystemError) {
        try createIfMissing()
        if progress.sealer == nil {
            try store(piece)
        } else {
            try store(sealing { sealer throws(OpenSSLError) in try sealer.update(piece) })
        }
        progress.md5.update(piece)
        progress.supplied?.update(piece)
    }

    private func store(_ bytes: [UInt8]) throws(SystemError) {
        guard let file = progress.file.take() else { return }
        do throws(SystemError) {
            try files.write(bytes, to: file, of: blob)
        } catch {
            progress.file = consume file
            throw error
        }
        progress.file = consume file
    }

    private func sealing(
        _ step: (inout BlobSealer) throws(OpenSSLError) -> [UInt8]
    ) throws(SystemError) -> [UInt8] {
        guard var sealer = progress.sealer else { return [] }
        // One owner of its buffer, or each step would copy it.
        progress.sealer = nil
        defer { progress.sealer = sealer }
        do throws(OpenSSLError) { return try step(&sealer) } catch {
            throw SystemError("encrypt", errno: 5, on: "\(blob.hexadecimal): \(error)")
        }
    }

    private func wait(untilAtMost threshold: Int) async throws(SystemError) {
        await withCheckedContinuation { continuation in
            let isReady = state.withLock { state in
                state.producer = (continuation, threshold)
                return state.takeProducer() != nil
            }
            if isReady { continuation.resume() }
        }
        if let failure = state.withLock({ $0.failure }) { throw failure }
    }
}
