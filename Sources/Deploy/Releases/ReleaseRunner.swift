internal import Caching
internal import Configuration
internal import Glibc
internal import Interfaces
package import Host
package import Isolates
package import Observability
package import Stores
package import StoresKV
package import StoresR2
internal import Synchronization
package import System

/// Brings releases of one tenant into service on a node, one after the other: the next one starts and proves itself while
/// the present one serves, then it is recorded, and traffic moves at once.
///
/// A release is what the rows of the `ReleaseStore` say, whether the configuration or the API wrote them. Of a worker that
/// both speak of, whoever spoke last is right: the configuration only counts when it has changed since it was last applied.
package actor ReleaseRunner {
    let node: Node
    /// Replaced by `withStoresClosed` alone.
    private let opened: Mutex<TenantStores>
    nonisolated var stores: TenantStores { opened.withLock { $0 } }
    let artifacts: ArtifactStore
    let store: ReleaseStore
    let versionSecrets: VersionSecrets
    let logger: Logger
    let clock: any NodeClock
    let assets: AssetStore
    let routing: RoutingDirectory
    let secrets: any SecretSource
    let identity: TenantIdentity?
    /// The tenant's durable objects.
    package nonisolated let objects: ObjectSpace
    /// Namespaces that versions have been named for.
    var servedNamespaces: [String: ObjectNamespace] = [:]
    /// What is done to files of namespaces, one after the other.
    var objectWork: Task<Void, Never>?
    /// How many objects have left a release, by its number.
    var objectMoves: [Int64: ObjectMoveReport] = [:]
    let crons: CronDriver
    var queues: QueueDriver

    /// The tenant's deployments.
    package nonisolated let deployments: DeploymentMachine
    /// What serves now.
    var current: Running?
    /// What a deployment brings, beside what serves.
    var candidate: Staged?
    /// What served before and can serve again at once, by its release.
    var warm: [Int64: Running] = [:]
    /// What is being started, and how often that was called off.
    var starting: [IsolatePool] = []
    var cancelCount = 0
    /// Warm releases that finish what they began.
    var drains: [Int64: Task<DrainReport, Never>] = [:]
    /// How the active release did lately.
    var history = SampleHistory()
    var historyKeeper: Task<Void, Never>?
    var reporter = DeploymentReporter()
    /// Versions that run because somebody looks at them.
    var previews = RunningPreviews()
    /// What the rows say; `nil` before the first release.
    private(set) var stored: ReleaseStore.Stored?
    /// What the configuration said last.
    private(set) var configured: ReleaseDescription?
    /// Why changes are refused; `nil`: they are not.
    private var lockReason: String?
    /// One change after the other: an actor alone doesn't see to that, since it waits in between.
    private var isChanging = false
    private var waiting: [CheckedContinuation<Void, Never>] = []
    /// No release of the tenant comes into service any more.
    private var isRetired = false

    /// Changes that may wait for the one that is being made.
    private static let waitingMax = 64

    struct Running {
        var description: ReleaseDescription
        var split: TrafficSplit
        /// By what they were made from.
        var runtimes: [String: WorkerRuntime]
        /// Its durable objects.
        var objects: ObjectService
        /// What it runs from.
        var artifacts: Set<String>
        /// Files that it serves.
        var assets: Set<String>
        /// Its row in the journal.
        var release: Int64?
        /// What was configured when it was made.
        var configured: ReleaseDescription
    }

    /// A release that runs and isn't recorded as the active one yet.
    struct Staged {
        var running: Running
        var handlers: [(version: String, handlers: [String], startup: Duration)]
        var release: CandidateRelease
    }

    package init(
        node: Node, stores: TenantStores, objects: ObjectSpace, artifacts: ArtifactStore, assets: AssetStore,
        store: ReleaseStore,
        routing: RoutingDirectory, secrets: any SecretSource, versionSecrets: VersionSecrets,
        identity: TenantIdentity?, logger: Logger,
        deployment environment: @escaping @Sendable (TenantStores) -> DeploymentEnvironment = { _ in DeploymentEnvironment() }
    ) {
        self.node = node
        opened = Mutex(stores)
        self.objects = objects
        self.artifacts = artifacts
        self.assets = assets
        self.store = store
        self.routing = routing
        self.secrets = secrets
        self.versionSecrets = versionSecrets
        self.logger = logger
        clock = node.clock
        self.identity = identity
        crons = CronDriver(node: node, logger: logger)
        queues = QueueDriver(store: stores.queues, clock: node.clock, logger: logger)
        let latest = LatestStores(stores)
        latestStores = latest
        deployments = DeploymentMachine(
            store: store, disk: artifacts.disk, clock: node.clock, logger: logger, environment: { environment(latest.stores) })
        deployments.attach(self)
    }

    /// For those who must not hold the runner itself.
    private final class LatestStores: Sendable {
        private let value: Mutex<TenantStores>
        init(_ stores: TenantStores) { value = Mutex(stores) }
        var stores: TenantStores { value.withLock { $0 } }
        func use(_ stores: TenantStores) { value.withLock { $0 = stores } }
    }
    private let latestStores: LatestStores

    var starter: WorkerStarter {
        WorkerStarter(node: node, stores: stores, artifacts: artifacts, secrets: versionSecrets, identity: identity)
    }

    /// Goes on with other stores, which are the tenant's from now on.
    func use(_ stores: TenantStores) {
        opened.withLock { $0 = stores }
        latestStores.use(stores)
        queues = QueueDriver(store: stores.queues, clock: clock, logger: logger)
    }

    /// Answers a query about the tenant's data points.
    ///
    /// - Throws: `SQLError`.
    package nonisolated func queryAnalytics(_ text: String) async throws -> (contentType: String, body: [UInt8]) {
        let answer = try await stores.analytics.query(text)
        return (answer.contentType, answer.body)
    }

    /// Whose releases it runs.
    package nonisolated var tenant: String { stores.tenant }

    /// The tenant's objects, for the S3 API.
    package nonisolated var objectStore: EmbeddedR2Store { stores.r2 }

    /// The tenant's buckets, for those who set their rules.
    package nonisolated var buckets: BucketAdministration { stores.buckets }

    /// The tenant's KV namespaces, for the control plane.
    package nonisolated var kv: any KVAdministration { stores.kv }

    /// The tenant's D1 databases, for the control plane.
    package nonisolated var databases: TenantDatabases { stores.databases }

    /// The tenant's cache, for purges.
    package nonisolated var cache: any ResponseCache { stores.cache }

    /// Who watches the events of a worker, for tails.
    package nonisolated func traces(of worker: String) -> WorkerTraces {
        node.traces.traces(of: worker, tenant: tenant)
    }

    /// The release that serves, with the description it was made from. While traffic is split, the one with the versions that
    /// have the largest shares.
    package var active: (description: ReleaseDescription, release: ReleaseRuntime)? {
        current.map { ($0.description, $0.split.primary) }
    }

    /// The host suffixes that its workers and buckets have routes and domains on.
    package var zones: [String] {
        // What can't be read now is no reason to know of no zone at all.
        let buckets = ((try? stores.r2.domains(of: nil)) ?? []).filter { !$0.isManaged }.map { ZoneName.of(host: $0.name) }
        return Set((current?.description.workers.flatMap(\.zones) ?? []) + buckets).sorted()
    }

    // MARK: One after the other

    /// Waits until no other change is being made.
    ///
    /// - Throws: `.busy`; `.retired`; `.deploying`.
    func begin() async throws {
        if !isChanging {
            isChanging = true
        } else {
            guard waiting.count < Self.waitingMax else { throw ReleaseError.busy }
            await withCheckedContinuation { waiting.append($0) }
        }
        if isRetired {
            end()
            throw ReleaseError.retired
        }
        if let lockReason {
            end()
            throw ReleaseError.deploying(lockReason)
        }
    }

    /// Refuses changes that others than the deployment in progress want to make; `nil` lets them.
    func refuseChanges(_ reason: String?) { lockReason = reason }

    var isReady: Bool { stored != nil }

    /// What waits for its turn is refused from now on, and whatever comes later.
    func refuseChanges() { isRetired = true }

    /// The rows have changed, and what serves has not.
    func note(_ rows: ReleaseStore.Stored) { stored = rows }

    /// What was deployed is what is configured now.
    func configure(_ description: ReleaseDescription) { configured = description }

    func end() {
        if waiting.isEmpty { isChanging = false } else { waiting.removeFirst().resume() }
    }

    // MARK: What the configuration says

    /// Brings `description` into service, as far as it says anything new: see `ReleaseRunner+Configuration.swift`.
    ///
    /// Workers whose artifact, configuration and secrets are those of the present release are shared with it and stay warm.
    ///
    /// - Throws: `ReleaseError`. The present release then serves on as if nothing had been tried; migrations that were
    ///   applied stay (they are expand-only).
    ///
    /// - Parameters:
    ///   - bundle: What it was read from; empty: files that nobody keeps.
    ///   - mode: `.recorded` when `bundle` is that of the release that serves.
    @discardableResult
    package func apply(
        _ description: ReleaseDescription, bundle: String = "", _ mode: ConfigurationMode = .follow
    ) async throws -> ReleaseRuntime {
        try await begin()
        defer { end() }
        let rows: ReleaseStore.Stored
        let isFirst = stored == nil
        if let stored {
            rows = stored
        } else {
            try await deployments.settle()
            let store = store
            rows = try await artifacts.disk.run { () throws -> ReleaseStore.Stored in try store.load() }
        }
        try await routing.check(description)
        try await stores.checkDatabases(of: description)
        // Those of a release that was deployed have run, or wait for its predecessor's end.
        if mode != .recorded { try await stores.migrate(description.migrations, logger: logger) }
        var plan = try await plan(description, on: rows, mode)
        plan.bundle = bundle
        plan.isConfigured = true
        do {
            try await bring(plan)
        } catch ReleaseError.badExecutable(let worker, let path, let reason) {
            // Named as its configuration does.
            let named = description.workers.first { $0.name == worker }?.executable
            throw ReleaseError.badExecutable(worker: worker, path: named ?? path, reason: reason)
        }
        logDeployments(of: plan, over: rows)
        configured = description
        current?.configured = description
        if isFirst {
            // After this change: deployments that go on refuse others.
            Task { [deployments] in
                do { try await deployments.goOn() } catch {
                    logger.log(.error, "deployments that were interrupted don't go on: \(error)")
                }
            }
        }
        return current?.split.primary ?? ReleaseRuntime(name: description.name, tenant: description.tenant, workers: [])
    }

    // MARK: Starting

    /// A plan that changes nothing yet.
    ///
    /// - Throws: `.notReady` before the first release serves.
    func makePlan() throws -> ReleasePlan {
        guard let stored, let configured else { throw ReleaseError.notReady }
        return ReleasePlan(stored, configured, name: "\(configured.name)+\(stored.generation + 1)")
    }

    /// Starts what the plan has and the present release hasn't, records the plan and moves traffic to it.
    ///
    /// - Throws: why it can't be. Nothing is recorded then, and the present release serves on.
    func bring(_ asked: ReleasePlan) async throws {
        var plan = asked
        var description = plan.description(artifacts)
        try await routing.check(description)
        try plan.checkObjectBindings()
        try await stores.checkDatabases(of: description)
        let prepared = try await prepare(&plan, description)
        description.workers.removeAll { prepared.failed.contains($0.name) }
        do {
            try check(plan, prepared)
            try await stores.openQueues(of: description)
            let now = clock.wallTime()
            plan.change.journal = try await journal(of: plan, at: now)
            let (store, change) = (store, plan.change)
            try await artifacts.disk.run { () throws -> Void in try store.commit(change, at: now) }
        } catch {
            forget(prepared)
            throw error
        }
        stored = plan.stored
        let release = plan.change.journal.first?.record.release ?? current?.release
        var recorded = release
        if recorded == nil { recorded = try await read { try $0.routing()?.active } }
        // No deployment made it: it takes the place of what served, whose isolates end with their last event.
        let replaced = current
        for number in warm.keys.sorted() { retire(number) }
        await switchTo(running(plan, description, prepared, release: recorded))
        if let replaced { letGo(replaced) }
        await collect(plan)
    }

    /// What `prepared` is, in service.
    func running(
        _ plan: ReleasePlan, _ description: ReleaseDescription, _ prepared: Prepared, release: Int64?
    ) -> Running {
        var description = description
        description.number = release ?? 0
        let split = TrafficSplit.make(description, prepared.live, sites: prepared.sites)
        return Running(
            description: description, split: split, runtimes: prepared.runtimes,
            objects: objectService(plan, description, prepared, split),
            artifacts: Set(prepared.live.flatMap { $0.live.versions.map(\.artifact) }),
            assets: prepared.assetHolds.reduce(into: []) { $0.formUnion($1.names) }, release: release,
            configured: plan.configured)
    }

    // MARK: The switch

    /// Sends new requests to `next`; who keeps what served before, or lets it go, is the caller's matter.
    func switchTo(_ next: Running) async {
        let previous = current
        let description = next.description
        current = next
        keepHistory()
        stores.analytics.keepPoints(for: description.analyticsRetention)
        do throws(R2Failure) { try await publishBuckets() } catch {
            logger.log(.error, "public buckets aren't served: \(error.message)")
        }
        objects.settings = description.objects
        await restoreObjects()
        serveObjects(next.objects.entries.values.sorted { $0.namespace.id < $1.namespace.id })
        removeObjects()
        await routing.install(description, next.split, previews: self)
        await crons.install(description, next.split.primary)
        await queues.install(
            QueueDriver.workers(of: next.split, on: node),
            from: stores.consumedQueues(stores.simulation(description.simulation)))
        // Sockets stay with the isolates that have them, for as long as `deploy.drain_websockets` says.
        for (key, worker) in previous?.runtimes ?? [:] where next.runtimes[key] !== worker { worker.pool.drainWebSockets() }
        for worker in next.runtimes.values { worker.pool.keepWebSockets() }
        await prune(and: previous)
        logger.log(
            .info, "release is active",
            [
                ("release", description.name), ("workers", "\(next.split.primary.workers.count)"),
                ("previous", previous?.description.name ?? "-"),
            ])
    }

    /// Forgets files that no slot uses, nor `previous`.
    private func prune(and previous: Running?) async {
        let slots = slots + [previous].compactMap { $0 }
        do { try assets.prune(keeping: slots.reduce(into: []) { $0.formUnion($1.assets) }, of: tenant) } catch {
            logger.log(.warning, "assets that nobody uses stay: \(error)")
        }
        let inUse = slots.reduce(into: Set<String>()) { $0.formUnion($1.artifacts) }
        let (artifacts, store, tenant) = (artifacts, store, tenant)
        do {
            try await artifacts.disk.run { () throws -> Void in
                try artifacts.prune(keeping: inUse, of: tenant) { try store.recordedArtifacts() }
            }
        } catch {
            logger.log(.warning, "artifacts that nobody uses stay: \(error)")
        }
    }

    package enum CronOutcome: Sendable {
        case handled
        case failed(String)
        case unknown(String)
    }

    /// Fires one cron event now.
    ///
    /// - Parameters:
    ///   - cron: the expression as configured; `nil` when the release has only one.
    ///   - worker: `nil`: whichever has that expression.
    package func fireCron(_ cron: String?, worker: String?, at time: UnixTime) async -> CronOutcome {
        guard let current else { return .unknown("no release is active") }
        let candidates = current.description.workers.flatMap { candidate in
            candidate.crons.map { (worker: candidate.name, cron: $0.text) }
        }.filter { (worker == nil || $0.worker == worker) && (cron == nil || $0.cron == cron) }
        guard let chosen = candidates.first, candidates.count == 1 || cron != nil else {
            let known = current.description.workers.flatMap { worker in worker.crons.map { "\"\($0.text)\" (\(worker.name))" } }
            return .unknown("say which cron: the release has \(known.isEmpty ? "none" : known.joined(separator: ", "))")
        }
        guard let runtime = current.split.primary.workers[chosen.worker] else { return .unknown("no such worker") }
        let isHandled = await CronDriver.deliver(
            chosen.cron, at: time, to: runtime, of: current.split.primary, on: node, logger)
        return isHandled ? .handled : .failed("the handler of \(chosen.worker) failed; see the log")
    }

    /// Closes the stores, after the last event.
    package func close() async {
        await objects.close()
        await stores.close()
    }

    /// No more cron ticks and batches; what runs is given `deadline` to end.
    package func stop() async {
        // As their rows say, deployments go on when the node starts again.
        await deployments.stop()
        historyKeeper?.cancel()
        await crons.stop()
        await queues.stop()
    }
}
