internal import Synchronization

/// A body that is in memory, with the share of a budget that pays for it. Both go when the last piece was taken, or
/// nobody wants it any more.
package final class HeldBytes: BodySource {
    private static let pieceByteCount = 128 << 10

    private struct State {
        var bytes: [UInt8]
        var position = 0
        var share: Budget.Share?

        mutating func release() -> Budget.Share? {
            bytes = []
            position = 0
            defer { share = nil }
            return share
        }
    }
    private let state: Mutex<State>

    package init(_ bytes: [UInt8], _ share: Budget.Share?) {
        state = Mutex(State(bytes: bytes, share: share))
    }

    package func next() async throws -> [UInt8]? {
        let (piece, share) = state.withLock { state -> ([UInt8]?, Budget.Share?) in
            guard state.position < state.bytes.count else { return (nil, state.release()) }
            let end = min(state.bytes.count, state.position + Self.pieceByteCount)
            let piece = Array(state.bytes[state.position..<end])
            state.position = end
            return (piece, end == state.bytes.count ? state.release() : nil)
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
