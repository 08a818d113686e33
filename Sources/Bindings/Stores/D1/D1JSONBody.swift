package import Stores
internal import Synchronization

/// The JSON of an answer as a body: made as it is read. It holds the answer's share until then.
package final class D1JSONBody: BodySource {
    private struct State {
        var pieces: D1JSONPieces?
        var share: Budget.Share?

        mutating func release() -> Budget.Share? {
            pieces = nil
            defer { share = nil }
            return share
        }
    }
    private let state: Mutex<State>

    package init(_ pieces: D1JSONPieces, _ share: Budget.Share?) { state = Mutex(State(pieces: pieces, share: share)) }

    package func next() async throws -> [UInt8]? {
        let (piece, share) = state.withLock { state -> ([UInt8]?, Budget.Share?) in
            if let piece = state.pieces?.next() { return (piece, nil) }
            return (nil, state.release())
        }
        // Outside of the lock: what is given back wakes others.
        withExtendedLifetime(share) {}
        return piece
    }

    package func cancel() {
        let share = state.withLock { $0.release() }
        withExtendedLifetime(share) {}
    }
}
