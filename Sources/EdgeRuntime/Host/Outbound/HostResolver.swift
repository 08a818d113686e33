internal import Curl
internal import Synchronization
internal import System

/// Finds the addresses of names, on threads of its own: a name server that doesn't answer keeps nobody waiting but those who ask.
final class HostResolver: Sendable {
    private struct State {
        /// Made for the first name.
        var pool: BlockingPool?
        var waitingCount = 0
    }
    private let state = Mutex(State())

    private static let threadCount = 4
    /// More than these wait only for a name server that is down.
    private static let waitingMax = 256

    /// - Returns: Each address once, the best first (RFC 6724); none when the name has none, or can't be resolved.
    func addresses(of host: String) async -> [PeerAddress] {
        if let address = PeerAddress(host) { return [address] }
        let isAdmitted = state.withLock { state in
            guard state.waitingCount < Self.waitingMax else { return false }
            state.waitingCount += 1
            return true
        }
        guard isAdmitted else { return [] }
        defer { state.withLock { $0.waitingCount -= 1 } }
        return await run { PeerAddress.resolve(host) }
    }

    /// Runs something else that may block, and that a connection needs.
    func run<Value: Sendable, Failure: Error>(
        _ body: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let pool = state.withLock { state in
            let pool = state.pool ?? BlockingPool(name: "edge-names", threadCount: Self.threadCount)
            state.pool = pool
            return pool
        }
        return try await pool.run(body)
    }
}
