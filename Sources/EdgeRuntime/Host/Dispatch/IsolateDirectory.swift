internal import Isolates
internal import Synchronization

/// Finds isolates by number when the supervisor reports their end.
final class IsolateDirectory: Sendable {
    private struct State {
        var isolates: [IsolateID: Isolate] = [:]
        /// Of isolates that died before their pool heard of them.
        var exits: [IsolateID: IsolateExit] = [:]
    }
    // One lock for both: an exit between two looks would be lost, and its isolate run for ever in the books.
    private let state = Mutex(State())

    func add(_ isolate: Isolate) {
        let exit = state.withLock { state -> IsolateExit? in
            if let exit = state.exits.removeValue(forKey: isolate.id) { return exit }
            state.isolates[isolate.id] = isolate
            return nil
        }
        if let exit { isolate.pool.exited(isolate, exit) }
    }

    func exited(_ id: IsolateID, _ exit: IsolateExit) {
        let isolate = state.withLock { state -> Isolate? in
            if let isolate = state.isolates.removeValue(forKey: id) { return isolate }
            state.exits[id] = exit
            return nil
        }
        if let isolate { isolate.pool.exited(isolate, exit) }
    }

    func noticed(_ id: IsolateID, _ notice: Supervisor.Notice) {
        guard let isolate = state.withLock({ $0.isolates[id] }) else { return }
        isolate.pool.noticed(isolate, notice)
    }
}
