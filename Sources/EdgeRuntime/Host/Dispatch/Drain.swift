internal import System

/// How long what a replaced release has begun may go on, counted from the replacement (spec: deploys, C4).
package struct DrainLimits: Equatable, Sendable {
    /// Requests that wait for their answer's head.
    package var requests = Duration.seconds(30)
    /// Answers whose head is sent and whose body is under way.
    package var streams = Duration.seconds(300)
    /// A queue's messages.
    package var batches = Duration.seconds(30)
    /// Crons.
    package var jobs = Duration.seconds(900)

    package init() {}
}

/// What became of what a replaced release had begun.
package struct DrainReport: Equatable, Sendable {
    /// Requests and events that came to their own end.
    package var finished = 0
    /// Those that were ended.
    package var cut = 0
    /// From the replacement to the last one's end.
    package var longest = Duration.zero

    package init() {}
}

/// One look at what a reactor has of a release that ends. Reactor thread only.
///
/// What was begun is what counts, whoever it is that is waited for: requests of clients, batches, crons, and background work. What
/// these call within the release ends with them. What only waits for an isolate isn't looked at: when the release's isolates
/// end, it goes to the release that serves then.
final class DrainLook {
    private let meter: ReleaseMeter
    private let started: Instant
    private let now: Instant
    let limits: DrainLimits
    private(set) var openCount = 0
    private(set) var cutCount = 0

    init(_ release: ReleaseRuntime, since started: Instant, at now: Instant, _ limits: DrainLimits) {
        meter = release.meter
        self.started = started
        self.now = now
        self.limits = limits
    }

    /// Whether `release` is the one that ends: its runtimes with other versions of some workers are as well.
    func means(_ release: ReleaseRuntime) -> Bool { release.meter === meter }

    /// Notes something that is open.
    ///
    /// - Parameter beginning: what came later is of no drain: the release serves again.
    /// - Returns: whether it is to be ended.
    func mustEnd(after limit: Duration, begunAt beginning: Instant) -> Bool {
        guard beginning <= started, now - started >= limit else {
            openCount += 1
            return false
        }
        cutCount += 1
        return true
    }

    /// Notes something that has a limit of its own.
    func noteOpen() { openCount += 1 }
}

/// An event that no client waits for, while it is on its way.
protocol DrainableEvent: Ticker {
    func drain(_ look: DrainLook)
}

extension Reactor {
    /// Looks at all that `release` has open here, and ends what is beyond its limit.
    func drain(
        _ release: ReleaseRuntime, since started: Instant, _ limits: DrainLimits
    ) -> (openCount: Int, cutCount: Int) {
        let look = DrainLook(release, since: started, at: clock.now(), limits)
        drainTargets(look)
        dispatcher.noteBackgroundWork(look)
        return (look.openCount, look.cutCount)
    }
}

extension Node {
    /// Lets what a replaced release has begun come to its end, and ends what takes too long. Its isolates stay. To be called once
    /// no new requests are sent there; a release that gets some all the same keeps them.
    ///
    /// - Returns: when nothing of it is open any more; earlier when the task is cancelled, because the release serves again.
    package func drain(_ release: ReleaseRuntime, _ limits: DrainLimits) async -> DrainReport {
        let started = clock.now()
        var report = DrainReport()
        var total: Int?
        while !Task.isCancelled {
            var openCount = 0
            for reactor in reactors {
                let seen = await reactor.call { reactor.drain(release, since: started, limits) }
                openCount += seen.openCount
                report.cut += seen.cutCount
            }
            if total == nil { total = openCount + report.cut }
            report.finished = max(0, (total ?? 0) - report.cut - openCount)
            if (total ?? 0) > 0 { report.longest = clock.now() - started }
            guard openCount > 0 else { break }
            do { try await clock.sleep(for: .milliseconds(100)) } catch { break }
        }
        return report
    }
}
