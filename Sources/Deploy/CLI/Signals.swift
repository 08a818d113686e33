internal import Glibc
internal import Synchronization
internal import System

/// SIGINT and SIGTERM, so that a node ends in order: the first one begins the end, one more makes it short.
final class Signals: Sendable {
    private struct State {
        var waiters: [CheckedContinuation<Void, Never>] = []
        var count = 0
        var exitsAtNext = false
    }
    private let state = Mutex(State())

    /// To be made before any thread: threads inherit that signals are not for them.
    init() throws(SystemError) { try TerminationSignals.follow { [self] in arrived() } }

    private func arrived() {
        let waiters = state.withLock { state in
            state.count += 1
            if state.exitsAtNext { _exit(130) }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Returns when the first signal has come.
    func first() async {
        await withCheckedContinuation { continuation in
            let hasCome = state.withLock { state in
                if state.count == 0 { state.waiters.append(continuation) }
                return state.count > 0
            }
            if hasCome { continuation.resume() }
        }
    }

    /// From now on a signal ends the process without further ado.
    func exitAtNext() {
        state.withLock { state in
            if state.count > 1 { _exit(130) }
            state.exitsAtNext = true
        }
    }
}
