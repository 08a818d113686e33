internal import Host
internal import Synchronization
internal import System

/// The tails of a node. They are kept in memory alone: a node that starts anew has none.
final class Tails: Sendable {
    /// Product limit.
    static let perWorkerMax = 10
    static let lifetime = Duration.seconds(6 * 3600)
    /// After so long without its client, a tail makes room for another that is wanted.
    static let unfollowedMax = Duration.seconds(300)
    /// Clients delete tails that have ended with their connection a moment before: of so many that is still known.
    private static let endedMax = 256

    private struct State {
        var tails: [String: Tail] = [:]
        var timers: [String: ClockTimer] = [:]
        var ended: [String] = []
    }
    private let state = Mutex(State())
    private let clock: any NodeClock

    init(clock: any NodeClock) { self.clock = clock }

    /// - Returns: `nil` when the worker has as many as it may.
    func make(
        worker: String, tenant: String, client: String, filter: TailFilter, traces: WorkerTraces
    ) -> Tail? {
        let tail = Tail(
            worker: worker, tenant: tenant, client: client, filter: filter, lifetime: Self.lifetime, traces: traces,
            clock: clock, onEnd: { [weak self] in self?.ended($0) })
        let now = clock.now()
        let (isMade, displaced) = state.withLock { state -> (Bool, Tail?) in
            let others = state.tails.values.filter { $0.worker == worker && $0.tenant == tenant }
            var displaced: Tail?
            if others.count >= Self.perWorkerMax {
                displaced = others.filter { !$0.isFollowed && now - $0.made >= Self.unfollowedMax }.min { $0.made < $1.made }
                guard let displaced else { return (false, nil) }
                state.tails[displaced.id] = nil
            }
            state.tails[tail.id] = tail
            return (true, displaced)
        }
        displaced?.end("another tail needs its place")
        guard isMade else { return nil }
        let timer = clock.schedule(at: now + Self.lifetime) { tail.end("the tail has expired") }
        // It may be over already.
        let isKept = state.withLock { state in
            guard state.tails[tail.id] != nil else { return false }
            state.timers[tail.id] = timer
            return true
        }
        if !isKept { timer.cancel() }
        return tail
    }

    /// Those of a worker, the newest first.
    func tails(of worker: String, tenant: String) -> [Tail] {
        state.withLock { $0.tails.values.filter { $0.worker == worker && $0.tenant == tenant } }.sorted { $0.made > $1.made }
    }

    func tail(secret: String) -> Tail? { state.withLock { $0.tails.values.first { $0.secret == secret } } }

    /// - Returns: false when there is none of this id.
    func delete(_ id: String, of worker: String, tenant: String) -> Bool {
        let (tail, hadEnded) = state.withLock { state -> (Tail?, Bool) in
            if let tail = state.tails[id], tail.worker == worker, tail.tenant == tenant {
                state.tails[id] = nil
                return (tail, true)
            }
            guard let place = state.ended.firstIndex(of: Self.key(id, worker, tenant)) else { return (nil, false) }
            state.ended.remove(at: place)
            return (nil, true)
        }
        tail?.end("the tail was deleted")
        return hadEnded
    }

    private func ended(_ tail: Tail) {
        let timer = state.withLock { state in
            if state.tails.removeValue(forKey: tail.id) != nil {
                state.ended.append(Self.key(tail.id, tail.worker, tail.tenant))
                if state.ended.count > Self.endedMax { state.ended.removeFirst() }
            }
            return state.timers.removeValue(forKey: tail.id)
        }
        timer?.cancel()
    }

    private static func key(_ id: String, _ worker: String, _ tenant: String) -> String { "\(id)/\(tenant)/\(worker)" }
}
