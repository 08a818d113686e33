package import Interfaces
internal import Isolates
internal import Observability
package import Stores
internal import Synchronization
internal import System

/// When a worker was warned of which limit. Its versions share it: a release is no reason to say the same again. Holds one
/// moment for each limit. Safe on any thread.
final class LimitHeadroom: Sendable {
    private let clock: any NodeClock
    private let warnings = Mutex<[WorkerLimit: Instant]>([:])

    /// One warning for each limit in so long.
    static let period = Duration.seconds(3600)

    init(clock: any NodeClock) { self.clock = clock }

    /// Whether a warning may be given now; it counts as given.
    func takeWarning(of limit: WorkerLimit) -> Bool {
        let now = clock.now()
        return warnings.withLock { warnings in
            if let last = warnings[limit], now - last < Self.period { return false }
            warnings[limit] = now
            return true
        }
    }
}

extension IsolatePool {
    /// Warns in the node's log, once an hour for each limit.
    func warn(
        of limit: WorkerLimit, used: Int64, allowed: Int64, _ fields: @autoclosure () -> [(name: String, value: String)]
    ) {
        guard headroom.takeWarning(of: limit) else { return }
        logger.log(
            .warning, "worker has used \(used * 100 / max(1, allowed)) % of a limit: \(used) of \(allowed) \(limit.rawValue)",
            [("tenant", configuration.tenant), ("limit", "\(limit)")] + fields())
    }

    /// What the watchdog saw.
    func warn(_ use: Watchdog.Use, of isolate: Isolate) {
        switch use {
        case .cpu(let event, let used, let allowed):
            let event = event.map { [("event", "channel \($0.channel), stream \($0.stream)")] } ?? []
            warn(
                of: .cpu, used: used.wholeMilliseconds, allowed: allowed.wholeMilliseconds, isolate.ownFields + event)
        case .memory(let used, let allowed):
            warn(of: .memory, used: Int64(clamping: used), allowed: Int64(clamping: allowed), isolate.ownFields)
        case .threads(let used, let allowed):
            warn(of: .threads, used: Int64(used), allowed: Int64(allowed), isolate.ownFields)
        }
    }
}

extension WorkerRuntime: LimitListener {
    package func near(
        _ limit: WorkerLimit, used: Int64, allowed: Int64, call: (binding: UInt16, kind: CallKind)?
    ) {
        pool.warn(of: limit, used: used, allowed: allowed, call.map(fields) ?? [])
    }

    /// As above, for what takes time.
    func near(_ limit: WorkerLimit, used: Duration, allowed: Duration) {
        let (used, allowed) = (used.wholeMilliseconds, allowed.wholeMilliseconds)
        guard WorkerLimit.isNear(used, of: allowed) else { return }
        near(limit, used: used, allowed: allowed, call: nil)
    }

    /// For what is counted one by one: warns at one count, so that the others cost a comparison.
    func counted(_ count: Int, of limit: WorkerLimit, _ allowed: Int, _ call: (binding: UInt16, kind: CallKind)) {
        guard count == WorkerLimit.warningCount(of: allowed) else { return }
        near(limit, used: Int64(count), allowed: Int64(allowed), call: call)
    }

    /// Names a call as its handler would.
    private func fields(_ call: (binding: UInt16, kind: CallKind)) -> [(name: String, value: String)] {
        let known = configuration.bindings
        let name = Int(call.binding) < known.count ? known[Int(call.binding)].name : "-"
        return [("binding", name), ("operation", call.kind.operation)]
    }
}
