package import Host
package import Observability
internal import Synchronization
package import System

/// Takes a node out of service, so that nobody notices: load balancers hear of it first, then clients that are there, and only
/// then does anything end.
///
/// States, each with what ends it:
/// - `starting`: no release serves yet; `becomeReady`.
/// - `serving`; `begin` or `end`.
/// - `leaving`: readiness fails, all else is as ever; the delay.
/// - `announcing`: answers say that their connection ends with them; a moment, in which connections that are used hear of it.
/// - `drained`: connections without a request end as well. Who comes nevertheless is still served. `undo`, by whoever asked for
///   it; or the end of the process, which `end` awaits.
package actor NodeDrain {
    package enum State: String, Sendable { case starting, serving, leaving, announcing, drained }

    /// Without a delay, nobody is there who had to hear of it.
    private static let announcementMax = Duration.seconds(1)

    private let node: Node
    private let clock: any NodeClock
    private let logger: Logger
    package nonisolated let delay: Duration
    /// Readiness asks for it on reactors.
    private let current = Mutex(State.starting)
    private var progress: Task<Void, Never>?
    /// The process ends: nothing brings the node back.
    private var isEnding = false
    private var startedAt: UnixTime?

    package init(node: Node, clock: any NodeClock, logger: Logger, delay: Duration) {
        self.node = node
        self.clock = clock
        self.logger = logger
        self.delay = delay
    }

    package nonisolated var state: State { current.withLock { $0 } }
    package nonisolated var isLeaving: Bool { [.leaving, .announcing, .drained].contains(state) }
    /// When the drain was asked for; `nil`: it isn't.
    package var since: UnixTime? { startedAt }
    package var isForGood: Bool { isEnding }

    package nonisolated func becomeReady() {
        current.withLock { if $0 == .starting { $0 = .serving } }
    }

    /// The node is to get no more requests; it goes on serving those that it gets. Returns at once; again is as good as once.
    package func begin() {
        guard progress == nil else { return }
        current.withLock { $0 = .leaving }
        startedAt = clock.wallTime()
        logger.log(.notice, "not ready: load balancers are to send nothing more", [("delay", "\(delay)")])
        // Owned by this actor: ended by `undo`, awaited by `end`.
        progress = Task { await self.run() }
    }

    private func run() async {
        do {
            try await clock.sleep(for: delay)
            try await pass(to: .announcing, .announcing)
            try await clock.sleep(for: min(delay, Self.announcementMax))
            try await pass(to: .drained, .draining)
        } catch {}  // Undone meanwhile.
    }

    private func pass(to state: State, _ leaving: Node.Leaving) async throws {
        try Task.checkCancellation()
        current.withLock { $0 = state }
        await node.set(leaving)
    }

    /// The node is to get requests again.
    ///
    /// - Returns: false when the process is ending, which can't be undone.
    package func undo() async -> Bool {
        guard !isEnding else { return false }
        guard let progress else { return true }
        progress.cancel()
        await progress.value
        // Somebody may have begun anew while this one waited.
        guard !isEnding, self.progress == progress else { return !isEnding }
        self.progress = nil
        startedAt = nil
        await node.set(.serving)
        current.withLock { $0 = .serving }
        logger.log(.notice, "ready again")
        return true
    }

    /// As `begin`, and returns when the node may stop listening.
    package func end() async {
        isEnding = true
        begin()
        await progress?.value
    }
}
