internal import Synchronization
internal import System

/// Wakes the store when the first pull of a queue lapses: one timer per queue that has any.
final class LapseTimers: Sendable {
    private struct State {
        var lapsed: (@Sendable (String) -> Void)?
        var isStopped = false
        var timers: [String: (time: Int64, timer: ClockTimer?)] = [:]
    }
    private let clock: any NodeClock
    private let state = Mutex(State())

    init(_ clock: any NodeClock) { self.clock = clock }

    /// From now on `lapsed` is called, on some thread, with each queue whose time has come.
    func start(_ lapsed: @escaping @Sendable (String) -> Void) {
        let late = state.withLock { state in
            state.lapsed = lapsed
            return state.timers.filter { $0.value.timer == nil }.keys
        }
        for queue in late { schedule(queue) }
    }

    func stop() {
        let timers = state.withLock { state in
            state.isStopped = true
            defer { state.timers = [:] }
            return state.timers.values.compactMap(\.timer)
        }
        for timer in timers { timer.cancel() }
    }

    /// - Parameter time: Milliseconds since 1970. A later one than the queue waits for already changes nothing.
    func arm(_ queue: String, at time: Int64) {
        let (isNew, old) = state.withLock { state -> (Bool, ClockTimer?) in
            guard !state.isStopped else { return (false, nil) }
            if let entry = state.timers[queue], entry.time <= time { return (false, nil) }
            let old = state.timers[queue]?.timer
            state.timers[queue] = (time, nil)
            return (state.lapsed != nil, old)
        }
        old?.cancel()
        if isNew { schedule(queue) }
    }

    private func schedule(_ queue: String) {
        guard let time = state.withLock({ $0.timers[queue]?.time }) else { return }
        let wait = Duration.milliseconds(max(1, time - clock.wallTime().milliseconds))
        // Outside of the lock: a time that has come meanwhile is answered at once.
        let timer = clock.schedule(at: clock.now() + wait) { [weak self] in self?.fire(queue, time) }
        let isCurrent = state.withLock { state in
            guard state.timers[queue]?.time == time else { return false }
            state.timers[queue]?.timer = timer
            return true
        }
        if !isCurrent { timer.cancel() }
    }

    private func fire(_ queue: String, _ time: Int64) {
        let lapsed = state.withLock { state -> (@Sendable (String) -> Void)? in
            guard state.timers[queue]?.time == time else { return nil }
            state.timers[queue] = nil
            return state.lapsed
        }
        lapsed?(queue)
    }
}
