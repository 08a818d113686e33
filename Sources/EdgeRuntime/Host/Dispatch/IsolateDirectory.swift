internal import Isolates
internal import Synchronization

/// Finds isolates by number when the supervisor reports what they say and that they end.
final class IsolateDirectory: Sendable {
    private struct State {
        var isolates: [IsolateID: Isolate] = [:]
        /// What was heard of isolates before their pool knew them.
        var early: [IsolateID: Early] = [:]
    }
    private struct Early {
        var notices: [Supervisor.Notice] = []
        var exit: IsolateExit?
    }
    // One lock for both: an exit between two looks would be lost, and its isolate run for ever in the books.
    private let state = Mutex(State())

    private static let earlyNoticesMax = 64

    func add(_ isolate: Isolate) {
        // Told one after the other; what comes meanwhile waits, so that an exit stays behind the last words before it.
        while true {
            let early = state.withLock { state -> Early? in
                if let early = state.early.removeValue(forKey: isolate.id) { return early }
                state.isolates[isolate.id] = isolate
                return nil
            }
            guard let early else { return }
            for notice in early.notices { isolate.pool.noticed(isolate, notice) }
            if let exit = early.exit { return isolate.pool.exited(isolate, exit) }
        }
    }

    func exited(_ id: IsolateID, _ exit: IsolateExit) {
        let isolate = state.withLock { state -> Isolate? in
            if let isolate = state.isolates.removeValue(forKey: id) { return isolate }
            state.early[id, default: Early()].exit = exit
            return nil
        }
        if let isolate { isolate.pool.exited(isolate, exit) }
    }

    func noticed(_ id: IsolateID, _ notice: Supervisor.Notice) {
        let isolate = state.withLock { state -> Isolate? in
            if let isolate = state.isolates[id] { return isolate }
            if state.early[id, default: Early()].notices.count < Self.earlyNoticesMax {
                state.early[id, default: Early()].notices.append(notice)
            }
            return nil
        }
        if let isolate { isolate.pool.noticed(isolate, notice) }
    }
}
