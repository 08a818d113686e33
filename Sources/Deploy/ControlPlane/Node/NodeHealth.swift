internal import Glibc
package import Observability
package import Releases
internal import Synchronization
package import System

/// Looks every few seconds at what a node can't serve without: its disk, `control.sqlite`, and the stores of its tenants. What
/// was found last is what readiness says; nobody who asks makes work.
package final class NodeHealth: Sendable {
    /// Why a node is not ready.
    package struct Reason: Equatable, Sendable {
        /// For programs: `starting`, `draining`, `disk`, `store`.
        package let code: String
        /// For operators; it names files and tenants.
        package let detail: String

        package init(_ code: String, _ detail: String) {
            self.code = code
            self.detail = detail
        }
    }

    private struct State {
        var reasons: [Reason] = []
        var lookedAt: Instant?
        /// The stores are another process'.
        var isPaused = false
        var isLooking = false
    }

    private let host: TenantHost
    private let accounts: Accounts
    private let clock: any NodeClock
    private let logger: Logger
    private let disk = BlockingPool(name: "edge-health", threadCount: 1)
    private let state = Mutex(State())

    private static let interval = Duration.seconds(2)
    /// A look that takes longer means a disk that doesn't answer.
    private static let lookMax = Duration.seconds(15)
    /// Of the file system: 5 %, at most so much. Below it writes will soon fail, while another node may still have room.
    private static let freeBytesMin: Int64 = 256 << 20

    package init(host: TenantHost, accounts: Accounts, clock: any NodeClock, logger: Logger) {
        self.host = host
        self.accounts = accounts
        self.clock = clock
        self.logger = logger
    }

    /// Looks now, and goes on looking as long as this object lives.
    package func start() async {
        await look()
        Task.detached { [weak self, clock] in  // Ends with the object, which nobody owns but the handler.
            while true {
                do { try await clock.sleep(for: Self.interval) } catch { return }
                guard let self else { return }
                await look()
            }
        }
    }

    /// Looks at nothing until `goOn`; returns when a look that had begun is over.
    package func pause() async {
        state.withLock { $0.isPaused = true }
        while state.withLock({ $0.isLooking }) { try? await clock.sleep(for: .milliseconds(1)) }
    }

    package func goOn() {
        state.withLock { state in
            state.isPaused = false
            state.lookedAt = clock.now()
        }
    }

    package var reasons: [Reason] {
        let (reasons, lookedAt, isPaused) = state.withLock { ($0.reasons, $0.lookedAt, $0.isPaused) }
        guard !isPaused, let lookedAt, clock.now() - lookedAt > Self.lookMax else { return reasons }
        return [Reason("disk", "\(host.state.path) hasn't answered for \((clock.now() - lookedAt).components.seconds) s")]
    }

    private func look() async {
        let mayLook = state.withLock { state in
            if !state.isPaused { state.isLooking = true }
            return !state.isPaused
        }
        guard mayLook else { return }
        let host = host
        var found = await disk.run { () -> [Reason] in Self.problems(of: host) }
        for runner in accounts.runners {
            found += await runner.failingStores().map { Reason("store", "tenant \(runner.tenant), \($0)") }
        }
        let before = state.withLock { state in
            defer {
                state.reasons = found
                state.lookedAt = clock.now()
                state.isLooking = false
            }
            return state.reasons
        }
        for reason in found where !before.contains(where: { $0.code == reason.code }) {
            logger.log(.error, "not ready: \(reason.detail)", [("reason", reason.code)])
        }
        if found.isEmpty, !before.isEmpty { logger.log(.notice, "the node's disk and stores are well again") }
    }

    /// Blocks.
    private static func problems(of host: TenantHost) -> [Reason] {
        var found: [Reason] = []
        let path = host.state.path
        var info = statvfs()
        // SAFETY: statvfs fills the struct whose address it is given.
        if unsafe statvfs(path, &info) == 0 {
            let free = Int64(
                clamping: UInt64(info.f_bavail).multipliedReportingOverflow(by: UInt64(info.f_frsize)).partialValue)
            let total = Int64(
                clamping: UInt64(info.f_blocks).multipliedReportingOverflow(by: UInt64(info.f_frsize)).partialValue)
            let least = min(freeBytesMin, total / 20)
            if free < least {
                found.append(Reason("disk", "\(free >> 20) MiB are free at \(path), of which \(least >> 20) MiB are needed"))
            }
        } else {
            found.append(Reason("disk", "\(path) can't be looked at: errno \(errno)"))
        }
        do { try host.state.probe() } catch { found.append(Reason("disk", "\(path) can't be written to: \(error)")) }
        do { _ = try host.readCatalog() } catch { found.append(Reason("store", "control.sqlite can't be read: \(error)")) }
        return found
    }
}
