internal import Stores
internal import Synchronization
internal import System
internal import Wire

/// Turns a body that is pushed on a reactor into one that is pulled, by a store, on any thread.
///
/// The reactor's side is a `BodyConsumer`; the store's side a `BodySource`. At most `window` bytes wait.
final class BufferedSource: BodyConsumer, BodySource, @unchecked Sendable {
    // `state` is protected by its lock; `producer` belongs to the reactor's thread.
    private struct State {
        var pieces: [[UInt8]] = []
        var byteCount = 0
        var outcome: Result<Void, StreamReset>?
        var waiter: CheckedContinuation<[UInt8]?, any Error>?
        var isCancelled = false
        /// What the first `next` asks its producer for.
        var firstGrant: Int
    }
    private let state: Mutex<State>
    private let reactor: Reactor
    private var producer: (any BodyProducer)?

    /// Pieces smaller than this are joined while they wait.
    private static let pieceByteCount = 64 << 10

    /// - Parameter firstGrant: What is asked for when somebody wants the first piece; 0 when the caller grants that himself.
    init(reactor: Reactor, firstGrant: Int = 0) {
        self.reactor = reactor
        state = Mutex(State(firstGrant: firstGrant))
    }

    /// Reactor thread only.
    func start(from producer: any BodyProducer) { self.producer = producer }

    func receive(_ bytes: UnsafeRawBufferPointer) {
        let waiter = state.withLock { state -> CheckedContinuation<[UInt8]?, any Error>? in
            guard !state.isCancelled else { return nil }
            if let waiter = state.waiter {
                state.waiter = nil
                return waiter
            }
            if let last = state.pieces.indices.last, state.pieces[last].count + bytes.count <= Self.pieceByteCount {
                unsafe state.pieces[last].append(contentsOf: bytes)
            } else {
                unsafe state.pieces.append(Array(bytes))
            }
            state.byteCount += bytes.count
            return nil
        }
        // `next` grants what it takes: granting here as well would double the producer's credit with every piece.
        waiter?.resume(returning: unsafe Array(bytes))
    }

    func finish() { settle(.success(())) }
    func fail(_ reason: StreamReset) { settle(.failure(reason)) }

    private func settle(_ outcome: Result<Void, StreamReset>) {
        producer = nil
        let waiter = state.withLock { state -> CheckedContinuation<[UInt8]?, any Error>? in
            guard state.outcome == nil else { return nil }
            state.outcome = outcome
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(with: outcome.map { nil }.mapError { $0 })
    }

    func next() async throws -> [UInt8]? {
        let granted = state.withLock { state in
            defer { state.firstGrant = 0 }
            return state.firstGrant
        }
        if granted > 0 { reactor.post { self.producer?.grant(granted) } }
        let piece: [UInt8]? = try await withCheckedThrowingContinuation { continuation in
            let ready = state.withLock { state -> Result<[UInt8]?, any Error>? in
                if !state.pieces.isEmpty {
                    let piece = state.pieces.removeFirst()
                    state.byteCount -= piece.count
                    return .success(piece)
                }
                if state.isCancelled { return .failure(StreamReset.cancelled) }
                if let outcome = state.outcome { return outcome.map { nil }.mapError { $0 } }
                state.waiter = continuation
                return nil
            }
            if let ready { continuation.resume(with: ready) }
        }
        if let piece {
            let count = piece.count
            reactor.post { self.producer?.grant(count) }
        }
        return piece
    }

    func cancel() {
        let waiter = state.withLock { state -> CheckedContinuation<[UInt8]?, any Error>? in
            state.isCancelled = true
            state.pieces = []
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(throwing: StreamReset.cancelled)
        reactor.post {
            self.producer?.cancel(.cancelled)
            self.producer = nil
        }
    }
}
