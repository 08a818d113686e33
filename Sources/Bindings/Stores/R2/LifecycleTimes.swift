internal import Synchronization

/// When each bucket's lifecycle has something to do again, as far as it is known: saves looking at all objects each time.
final class LifecycleTimes: Sendable {
    private struct State {
        /// Milliseconds since 1970; `Int64.max`: never, as things are.
        var due: [UInt32: Int64] = [:]
        /// Raised by each change of rules: what was found out before doesn't count.
        var changes = 0
    }
    private let state = Mutex(State())

    /// - Returns: a ticket for `know`; `nil` when nothing is due.
    func begin(_ bucket: UInt32, now: Int64) -> Int? {
        state.withLock { state in
            if let due = state.due[bucket], due > now { return nil }
            return state.changes
        }
    }

    func know(_ bucket: UInt32, due: Int64, ticket: Int) {
        state.withLock { state in
            if state.changes == ticket { state.due[bucket] = due }
        }
    }

    /// The bucket's rules are other ones now.
    func forget(_ bucket: UInt32) {
        state.withLock { state in
            state.changes += 1
            state.due[bucket] = nil
        }
    }
}
