import Foundation
import Host
import Observability
import Synchronization
import System
import Testing

@testable import Configuration
@testable import Releases

/// Slots without isolates: they keep what they were told, and their rows are a real journal.
actor FakeSlots: DeploymentSlots {
    struct Plan: Sendable {
        var checkFailure: String?
        var precheckFailure: String?
        var stageFailure: String?
        var problem: String?
        /// What the active release and the new one do in ten seconds, requests and errors.
        var load: (requests: Int64, newErrors: Int64) = (1000, 0)
    }

    let store: ReleaseStore
    let plan: Plan
    private(set) var active: Int64?
    private(set) var candidate: CandidateRelease?
    private(set) var warm: Set<Int64> = []
    private(set) var percents: [Int] = []
    private(set) var reason: String?
    private(set) var discardCount = 0
    private(set) var retired: [Int64] = []
    private var looks: Int64 = 0
    private let clock: any NodeClock

    init(_ store: ReleaseStore, _ plan: Plan, _ clock: any NodeClock) throws {
        self.clock = clock
        self.store = store
        self.plan = plan
        active = try store.routing()?.active
    }

    func lock(_ reason: String) { self.reason = reason }
    func setLock(_ reason: String?) { self.reason = reason }

    func compose(_ input: DeploymentInput, isDryRun: Bool) throws(DeploymentFailure) -> ReleaseComposition {
        var content = ReleaseContent(ReleaseStore.Stored())
        content.workers["w"] = .init(shares: [.init(versionID: input.description.name, basisPoints: 10_000)])
        var composition = ReleaseComposition(content: content)
        let present = try? active.flatMap { try store.release($0)?.content }
        composition.isUnchanged = present == content
        composition.workers = [("w", present == nil ? .added : present == content ? .unchanged : .changed)]
        return composition
    }

    func record(_ composition: ReleaseComposition, _ entries: [JournalEntry]) throws {
        var change = composition.change
        change.journal = entries
        try store.commit(change, at: clock.wallTime())
    }

    func check(_ candidate: CandidateRelease, isReturn: Bool) throws(DeploymentFailure) {
        if let reason = plan.checkFailure { throw DeploymentFailure(reason) }
    }
    func precheck(_ candidate: CandidateRelease, isForced: Bool) throws(DeploymentFailure) {
        if let reason = plan.precheckFailure, !isForced { throw DeploymentFailure(reason) }
    }
    func stage(_ candidate: CandidateRelease) throws(DeploymentFailure) {
        if let reason = plan.stageFailure { throw DeploymentFailure(reason) }
        self.candidate = candidate
    }
    func warmUp(_ candidate: CandidateRelease) { warm.insert(candidate.record.number) }
    func candidateProblem() -> String? { candidate == nil ? "gone" : plan.problem }
    var hasCandidate: Bool { candidate != nil }
    func route(_ percent: Int) { percents.append(percent) }

    func promote(_ entry: JournalEntry, at deployment: DeploymentRecord, committed: @Sendable () -> Void) throws {
        guard let candidate else { throw DeploymentFailure("gone") }
        try switchTo(candidate.record.number, [entry])
        committed()
        self.candidate = nil
    }
    func goBack(to release: Int64, _ entries: [JournalEntry], at deployment: DeploymentRecord) throws {
        guard warm.contains(release) else { throw DeploymentFailure("cold") }
        try switchTo(release, entries)
    }
    private func switchTo(_ release: Int64, _ entries: [JournalEntry]) throws {
        var change = ReleaseStore.Change()
        change.journal = entries
        try store.commit(change, at: clock.wallTime())
        if let active { warm.insert(active) }
        warm.remove(release)
        active = release
    }

    func isWarm(_ release: Int64) -> Bool { warm.contains(release) }
    func discardCandidate() {
        discardCount += 1
        candidate = nil
    }
    func retire(_ release: Int64) { if warm.remove(release) != nil { retired.append(release) } }
    func drain(_ release: Int64) -> DrainReport { DrainReport() }

    func samples(of new: Int64, _ old: Int64?) -> (new: SlotSample, old: SlotSample) {
        looks += 1
        func sample(_ errors: Int64) -> SlotSample {
            var reading = MeterReading()
            reading[.started] = looks * plan.load.requests
            reading[.finished] = looks * plan.load.requests
            reading[.handled] = looks * plan.load.requests
            reading[.handlerErrors] = looks * errors
            return SlotSample(["w": reading])
        }
        return (sample(plan.load.newErrors), sample(0))
    }
    func baseline() -> SlotSample? { nil }
    func report(_ record: DeploymentRecord) -> String? { nil }
    func slots() -> (active: Int64?, candidate: Int64?, warm: [Int64]) {
        (active, candidate?.record.number, warm.sorted())
    }
    func collect(keeping releases: Int) {}
}

/// Smoke tests and hooks that say what they are told.
struct FakeStages: SmokeTests, DeploymentHooks, DeploymentMigrations {
    var smokeFailure: String?
    var refusingHook: Hook.Point?
    var backUpFailure: String?
    var migrateFailure: String?
    var steps: [MigrationStep] = []

    func run(_ tests: [(worker: String, test: SmokeTest)], release: Int64) async -> [SmokeResult] {
        tests.map {
            SmokeResult(worker: $0.worker, request: "GET \($0.test.path)", failure: smokeFailure, duration: .milliseconds(1))
        }
    }
    func call(_ point: Hook.Point, _ hooks: [Hook], _ record: DeploymentRecord) async throws(DeploymentFailure) {
        if point == refusingHook { throw DeploymentFailure("\(point.rawValue) says no") }
    }
    func pending(_ sets: [MigrationSet], _ options: DeploymentOptions) async throws(DeploymentFailure) -> [MigrationStep] {
        steps
    }
    func backUp(
        _ steps: [MigrationStep], _ backup: DeploySettings.Backup
    ) async throws(DeploymentFailure) -> [DatabaseBackup] {
        if let backUpFailure { throw DeploymentFailure(backUpFailure) }
        return steps.map { DatabaseBackup(database: $0.database, bookmark: "b", copy: nil) }
    }
    func migrate(
        _ sets: [MigrationSet], _ steps: [MigrationStep], _ settings: DeploySettings, _ options: DeploymentOptions
    ) async throws(DeploymentFailure) { if let migrateFailure { throw DeploymentFailure(migrateFailure) } }
    func contract(_ sets: [MigrationSet], _ steps: [MigrationStep]) async throws(DeploymentFailure) {}
    func commits(since backups: [DatabaseBackup]) async throws(DeploymentFailure) -> [(database: String, count: Int)] { [] }
    func restore(_ backups: [DatabaseBackup]) async throws(DeploymentFailure) {}
    func discard(_ backups: [DatabaseBackup]) async {}
}

/// A node's deployments on the virtual clock, which can be killed and started again.
final class DeploymentNode {
    let directory: String
    let clock = VirtualClock()
    let store: ReleaseStore
    let slots: FakeSlots
    let machine: DeploymentMachine
    let fault: Fault

    /// Where the node dies.
    final class Fault: Sendable {
        private let target: Mutex<(DeploymentState, DeploymentFault.Moment)?>
        private let struck = Mutex(false)
        init(_ target: (DeploymentState, DeploymentFault.Moment)?) { self.target = Mutex(target) }
        var hasStruck: Bool { struck.withLock { $0 } }
        func strikes(_ state: DeploymentState, _ moment: DeploymentFault.Moment) -> Bool {
            let isIt = target.withLock { $0.map { $0 == (state, moment) } ?? false }
            if isIt { struck.withLock { $0 = true } }
            return isIt
        }
    }

    struct Shape: Sendable {
        var steps = [10, 100]
        var bake = Duration.seconds(20)
        var monitor = Duration.seconds(30)
        var resumes = true
        var noTraffic = DeploySettings.NoTraffic.pause
        var smoke = DeploySettings.Smoke.required
        var hasTests = true
        var stages = FakeStages()
        var slots = FakeSlots.Plan()
        var warmup: [WarmupRequest] = []
        var dryRun: [String] = []
        var metrics: [DeployMetric] = []
        /// What queries of metrics are answered with.
        var metricValue: Double?
        /// The other nodes of a coordinated deployment.
        var askPeer: (@Sendable (Coordination.Peer, String) async -> CoordinationPoll.Answer)?

        var settings: DeploySettings {
            var settings = DeploySettings(
                steps: steps, bake: bake, monitor: monitor, smoke: smoke, backup: .bookmark, affinity: .none,
                noTraffic: noTraffic, promoteFrom: nil, drain: .seconds(30), drainStreams: .seconds(300),
                drainJobs: .seconds(900), drainWebSockets: .seconds(300), switchHold: .seconds(1), lockTimeout: .seconds(5),
                keepReleases: 100, keepBackups: .seconds(86_400), freeze: false, resume: resumes)
            settings.warmup = warmup
            settings.dryRun = dryRun
            settings.metrics = metrics
            return settings
        }
    }

    init(
        _ directory: String, _ shape: Shape = Shape(), boot: String = "b",
        dying: (DeploymentState, DeploymentFault.Moment)? = nil
    )
        throws
    {
        self.directory = directory
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let store = try ReleaseStore(database: directory + "/control.sqlite", tenant: "t", environment: "staging")
        self.store = store
        slots = try FakeSlots(store, shape.slots, clock)
        let fault = Fault(dying)
        self.fault = fault
        machine = DeploymentMachine(
            store: store, disk: BlockingPool(name: "test", threadCount: 1), clock: clock,
            logger: Logger(sink: LogSilence(), clock: clock, level: .error), boot: boot,
            environment: {
                var environment = DeploymentEnvironment()
                environment.migrations = shape.stages
                environment.smokeTests = shape.stages
                environment.hooks = shape.stages
                environment.query = { _ in shape.metricValue }
                environment.askPeer = shape.askPeer
                environment.read = { bundle in
                    let set = MigrationSet(database: "d", files: [])
                    return DeploymentInput(
                        description: ReleaseDescription(
                            name: bundle.hash, tenant: "t", environment: "staging", workers: [], migrations: [set]),
                        settings: shape.settings, keepWarm: .seconds(60),
                        smokeTests: shape.hasTests
                            ? [
                                (
                                    "w",
                                    SmokeTest(
                                        method: "GET", path: "/up", headers: [:], body: nil, status: 200, deadline: .seconds(1),
                                        contains: nil)
                                )
                            ] : [],
                        hooks: Hook.Point.allCases.map { Hook(point: $0, action: .command("true"), timeout: .seconds(1)) })
                }
                environment.findBundle = { ReleaseBundle(hash: $0, directory: "/nowhere") }
                return environment
            }, fault: { state, moment in fault.strikes(state, moment) })
        machine.attach(slots)
    }

    static func place() -> String { NSTemporaryDirectory() + "edge-deployments-\(UUID().uuidString)" }

    let author = ScriptAuthor(id: "1", email: "alice@example.com", source: "api")

    @discardableResult
    func deploy(_ hash: String, _ options: DeploymentOptions = .init()) async throws -> DeploymentRecord? {
        try await machine.deploy(ReleaseBundle(hash: hash, directory: "/nowhere"), options, .deploy, by: author)
    }

    /// Lets time pass, whenever nothing happens by itself, until `condition` holds.
    func run(
        _ what: String, at place: SourceLocation = #_sourceLocation, until condition: () async throws -> Bool
    ) async throws {
        var seen = ""
        // Some minutes on a machine that does much else.
        for _ in 0..<20_000 {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(5))
            let now = try await news()
            if now == seen { clock.advance(by: .seconds(1)) }
            seen = now
        }
        Issue.record("it never came to this: \(what); \(try await news())", sourceLocation: place)
    }

    private func news() async throws -> String {
        let records = try store.deploymentRecords(max: 5)
        return records.map { "\($0.number) \($0.state) \($0.percent) \($0.pause ?? "") \($0.reason ?? "")" }.joined(
            separator: "; ")
    }

    func state(_ number: Int64) throws -> DeploymentState? { try store.journaledDeployment(number)?.record.state }

    /// Until the deployment has come to an end.
    func finish(_ number: Int64, at place: SourceLocation = #_sourceLocation) async throws -> DeploymentRecord {
        try await run("the end of deployment \(number)", at: place) { try state(number)?.isEnd ?? false }
        return try await machine.deployment(number)
    }
}

private struct LogSilence: LogSink {
    func write(_ record: LogRecord) {}
}
