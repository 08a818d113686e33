internal import Host
internal import Observability
internal import System

/// The end of a replaced release.
extension ReleaseRunner {
    /// Lets open requests and events of `previous`, which nobody may go back to, finish within the limits of its description;
    /// then the isolates end that no slot has.
    func letGo(_ previous: Running) {
        // It ends by itself: each limit comes.
        Task {
            _ = await self.drain(previous)
            self.end(previous)
            if let release = previous.release { self.objectMoves[release] = nil }
            await self.purgeObjects()
        }
    }

    /// Lets open requests and events of a release that was replaced finish, within the limits of its description. Its isolates
    /// stay.
    func drain(_ previous: Running) async -> DrainReport {
        async let moves = moveObjects(from: previous)
        let report = await node.drain(previous.split.primary, previous.description.drain)
        let moved = await moves
        if let release = previous.release { objectMoves[release, default: ObjectMoveReport()] += moved }
        logger.log(
            report.cut > 0 ? .warning : .info, "release has drained",
            [
                ("release", previous.description.name), ("finished", "\(report.finished)"), ("cut", "\(report.cut)"),
                ("longestMilliseconds", "\(report.longest.wholeNanoseconds / 1_000_000)"),
            ])
        return report
    }

    /// What `running` alone has ends, once its open events are done.
    func end(_ running: Running) {
        let objects = slots.map(\.objects.runtimes)
        for (key, worker) in running.objects.runtimes where !objects.contains(where: { $0[key] === worker }) {
            node.retire(worker.pool)
        }
        let kept = slots.map(\.runtimes)
        for (key, worker) in running.runtimes where !kept.contains(where: { $0[key] === worker }) { node.retire(worker.pool) }
    }
}
