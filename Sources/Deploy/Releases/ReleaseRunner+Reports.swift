package import Host
internal import System

extension ReleaseRunner {
    /// What became of requests in a deployment until now, as JSON.
    func report(_ record: DeploymentRecord) async -> String? {
        let journaled = try? await read { try $0.journaledDeployment(record.number) }
        // After the last wait: what is counted goes on.
        let (new, old) = (running(record.release), running(record.previous))
        let baseline = current?.release == record.previous ? baseline() : nil
        return reporter.report(
            record, new: new?.split.primary.meter.sample(), old: old?.split.primary.meter.sample(), baseline: baseline,
            migrations: journaled?.steps ?? [], moves: record.previous.flatMap { objectMoves[$0] }, at: clock.wallTime()
        ).json
    }

    /// A release of the tenant that has isolates.
    package struct SlotStatus: Sendable {
        package enum Role: String, Sendable { case active, candidate, warm }

        package let role: Role
        /// `nil`: it isn't in the journal.
        package let release: Int64?
        /// Of new requests.
        package let percent: Int
        /// All that it did since it was started.
        package let reading: MeterReading
    }

    /// The active one first.
    package func slotStatuses() async -> [SlotStatus] {
        let share = (try? await read { try $0.routing() })?.percent ?? 0
        let percent = candidate == nil ? 0 : share
        func status(_ role: SlotStatus.Role, _ running: Running, _ percent: Int) -> SlotStatus {
            SlotStatus(
                role: role, release: running.release, percent: percent, reading: running.split.primary.meter.sample().total)
        }
        var slots: [SlotStatus] = []
        if let current { slots.append(status(.active, current, 100 - percent)) }
        if let candidate { slots.append(status(.candidate, candidate.running, percent)) }
        return slots + warm.sorted { $0.key > $1.key }.map { status(.warm, $0.value, 0) }
    }
}
