internal import Host
internal import Observability
internal import System

/// The end of a release that was replaced.
extension ReleaseRunner {
    /// Lets open requests and events of `previous` come to their end within its limits. Its isolates stay.
    ///
    /// - Returns: what becomes of them, also when that was begun before.
    func drain(_ previous: Running) -> Task<DrainReport, Never> {
        let release = previous.split.primary
        let key = ObjectIdentifier(release.meter)
        if let drain = drains[key] { return drain }
        let (node, logger) = (node, logger)
        let (name, limits) = (previous.description.name, previous.description.drain)
        // It ends by itself, since each limit comes; or with the node.
        let drain = Task {
            let report = await node.drain(release, limits)
            logger.log(
                report.cut > 0 ? .warning : .info, "release is drained",
                [
                    ("release", name), ("finished", "\(report.finished)"), ("cut", "\(report.cut)"),
                    ("longestMilliseconds", "\(report.longest.wholeNanoseconds / 1_000_000)"),
                ])
            return report
        }
        drains[key] = drain
        return drain
    }

    /// `next` serves again: what it has begun may go on.
    func cancelDrain(of next: Running) { drains.removeValue(forKey: ObjectIdentifier(next.split.primary.meter))?.cancel() }

    /// What became of what a warm release had begun; waits for the end of its drain. `nil`: it isn't warm any more.
    func drained(_ release: Int64) async -> DrainReport? {
        guard let running = warm[release] else { return nil }
        return await drain(running).value
    }

    /// Ends the isolates that `previous` alone has, once what it has begun is done.
    func letGo(_ previous: Running) {
        let kept = ([current, candidate?.running].compactMap { $0 } + warm.values).map(\.runtimes)
        let pools = previous.runtimes.filter { key, worker in !kept.contains { $0[key] === worker } }.map(\.value.pool)
        let (node, drain) = (node, drain(previous))
        Task {
            _ = await drain.value
            for pool in pools { node.retire(pool) }
            forgetDrain(of: previous)
        }
    }

    private func forgetDrain(of previous: Running) { drains[ObjectIdentifier(previous.split.primary.meter)] = nil }
}
