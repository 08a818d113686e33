internal import Configuration
internal import Host
internal import Interfaces
internal import Observability
internal import System
internal import Wire

/// Fires the crons of the release in service: one event per matching minute and expression. Minutes that passed while the
/// node was down, or slept, are not made up, and an event that failed is not sent again: `noRetry()` asks for what happens
/// anyway.
actor CronDriver {
    private let node: Node
    private let logger: Logger
    private var task: Task<Void, Never>?
    private var entries: [Entry] = []
    private var release: ReleaseRuntime?
    /// The last minute that was fired: a release switched in the same minute must not fire it again.
    private var lastFired = UnixTime(milliseconds: 0)
    /// The minute that is waited for.
    private var due: UnixTime?

    private struct Entry {
        let cron: CronExpression
        let worker: WorkerRuntime

        /// Whether it is the same one, of whichever release.
        func isSame(_ other: Entry) -> Bool { cron.text == other.cron.text && worker.name == other.worker.name }
    }

    init(node: Node, logger: Logger) {
        self.node = node
        self.logger = logger
    }

    func install(_ description: ReleaseDescription, _ release: ReleaseRuntime) {
        self.release = release
        let before = entries
        entries = description.workers.flatMap { worker in
            release.workers[worker.name].map { runtime in
                worker.crons.map { Entry(cron: $0, worker: runtime) }
            } ?? []
        }
        task?.cancel()
        // A minute that has come while its turn hasn't: it is this release's.
        let now = node.clock.wallTime()
        if let minute = Self.overdue(due, lastFired: lastFired, at: now) {
            lastFired = minute
            for entry in entries where entry.cron.matches(minute) && before.contains(where: { $0.isSame(entry) }) {
                fire(entry, at: minute)
            }
        }
        // From here on no minute is lost, however long the loop takes to begin.
        due = next(after: now)
        guard due != nil else { return }
        // Owned by this actor: cancelled by the next install and by stop.
        task = Task { await self.run() }
    }

    func stop() {
        task?.cancel()
        task = nil
        due = nil
        entries = []
    }

    private func next(after now: UnixTime) -> UnixTime? {
        entries.compactMap { $0.cron.next(after: max(now, lastFired)) }.min()
    }

    private func run() async {
        while !Task.isCancelled, let next = due {
            let wait = Duration.milliseconds(max(0, next.milliseconds - node.clock.wallTime().milliseconds))
            do { try await node.clock.sleep(for: wait) } catch { return }
            guard !Task.isCancelled else { return }
            switch Self.turn(next, at: node.clock.wallTime()) {
            case .notYet: continue
            case .missed:
                // Past it, or the loop would come back to it.
                lastFired = next
                logger.log(.warning, "a cron's minute was slept through", [("scheduled", "\(next.milliseconds)")])
            case .now:
                lastFired = next
                for entry in entries where entry.cron.matches(next) { fire(entry, at: next) }
            }
            due = self.next(after: node.clock.wallTime())
        }
    }

    /// The minute that a loop waited for when it was called off, if nobody else will fire it.
    static func overdue(_ due: UnixTime?, lastFired: UnixTime, at now: UnixTime) -> UnixTime? {
        guard let due, due > lastFired, turn(due, at: now) == .now else { return nil }
        return due
    }

    enum Turn { case notYet, now, missed }

    /// What to do about the minute that begins at `minute` when the clock shows `now`.
    static func turn(_ minute: UnixTime, at now: UnixTime) -> Turn {
        // A wall clock that was set back: wait on.
        if now < minute { return .notYet }
        // One that was set forward, or a machine that slept: an event for another time would be wrong.
        return now.milliseconds - minute.milliseconds < 60_000 ? .now : .missed
    }

    private func fire(_ entry: Entry, at time: UnixTime) {
        guard let release else { return }
        let node = node
        let logger = logger
        // Not a child: a tick that is running outlives a switch of releases, on the release that it started in.
        Task { await Self.deliver(entry.cron.text, at: time, to: entry.worker, of: release, on: node, logger) }
    }

    /// Sends one event and logs what became of it.
    @discardableResult
    static func deliver(
        _ cron: String, at time: UnixTime, to worker: WorkerRuntime, of release: ReleaseRuntime, on node: Node,
        _ logger: Logger
    ) async -> Bool {
        var encoder = WireEncoder()
        ScheduledMessage(cron: cron, scheduledTime: time.milliseconds).encode(into: &encoder)
        let fields = [("worker", worker.name), ("cron", cron), ("scheduled", "\(time.milliseconds)")]
        do {
            // Spec: runtime, section 8. An expression that can't be read was given by hand and is a rare event.
            let isRare = (try? CronExpression(cron).isAtMostHourly) ?? true
            _ = try await node.send(
                .scheduled, encoder.bytes, to: worker, of: release, allowance: isRare ? .extended : .standard
            ) {
                decoder throws(WireError) in try decoder.takeBool()
            }
            logger.log(.info, "cron event handled", fields)
            return true
        } catch {
            logger.log(.error, "cron event failed: \(error)", fields)
            return false
        }
    }
}
