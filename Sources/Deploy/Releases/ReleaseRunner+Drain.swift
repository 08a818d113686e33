internal import Host
internal import Observability
internal import System

/// The end of a replaced release.
extension ReleaseRunner {
    /// Lets open requests and events of `previous` finish, within the limits of the description, then ends the isolates of the
    /// workers that no release has any more.
    func drain(_ previous: Running, keeping kept: [String: WorkerRuntime]) {
        let pools = previous.runtimes.filter { kept[$0.key] !== $0.value }.map(\.value.pool)
        let (node, logger) = (node, logger)
        let (release, name) = (previous.split.primary, previous.description.name)
        let limits = previous.description.drain
        // It ends by itself: each limit comes.
        Task {
            let report = await node.drain(release, limits)
            for pool in pools { node.retire(pool) }
            logger.log(
                report.cut > 0 ? .warning : .info, "release has ended",
                [
                    ("release", name), ("finished", "\(report.finished)"), ("cut", "\(report.cut)"),
                    ("longestMilliseconds", "\(report.longest.wholeNanoseconds / 1_000_000)"),
                ])
        }
    }
}
