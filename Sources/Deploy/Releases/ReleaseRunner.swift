internal import Glibc
package import Host
internal import Interfaces
package import Isolates
package import Observability
package import Stores
package import StoresKV
package import StoresR2
package import System

/// Brings releases of one tenant into service on a node, one after the other: the next one starts and proves itself while
/// the present one serves, then traffic moves at once.
package actor ReleaseRunner {
    private let node: Node
    let stores: TenantStores
    private let artifacts: ArtifactStore
    private let assets: AssetStore
    private let routing: RoutingDirectory
    private let secrets: any SecretSource
    private let identity: TenantIdentity?
    private let logger: Logger
    private let clock: any NodeClock
    private let crons: CronDriver
    private let queues: QueueDriver

    /// What serves now.
    private var current: Running?
    /// Serialises `apply` and what mustn't happen meanwhile: an actor alone doesn't, since it waits in between.
    var isApplying = false

    private struct Running {
        var description: ReleaseDescription
        var release: ReleaseRuntime
        /// Worker name → what its pool was made from.
        var keys: [String: String]
        /// What it runs from.
        var artifacts: Set<String>
        /// Files that it serves.
        var assets: Set<String>
    }

    package init(
        node: Node, stores: TenantStores, artifacts: ArtifactStore, assets: AssetStore,
        routing: RoutingDirectory, secrets: any SecretSource,
        identity: TenantIdentity?, logger: Logger
    ) {
        self.node = node
        self.stores = stores
        self.artifacts = artifacts
        self.assets = assets
        self.routing = routing
        self.secrets = secrets
        self.identity = identity
        self.logger = logger
        clock = node.clock
        crons = CronDriver(node: node, logger: logger)
        queues = QueueDriver(store: stores.queues, clock: node.clock, logger: logger)
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

    /// The release that serves, with the description it was made from.
    package var active: (description: ReleaseDescription, release: ReleaseRuntime)? {
        current.map { ($0.description, $0.release) }
    }

    /// The host suffixes that its workers have routes and domains on.
    package var zones: [String] { Set(current?.description.workers.flatMap(\.zones) ?? []).sorted() }

    /// Brings `description` into service.
    ///
    /// Workers whose artifact, configuration and secrets are those of the present release are shared with it and stay warm.
    ///
    /// - Throws: `ReleaseError`. The present release then serves on as if nothing had been tried; migrations that were
    ///   applied stay (they are expand-only).
    package func apply(_ description: ReleaseDescription) async throws -> ReleaseRuntime {
        guard !isApplying else { throw ReleaseError.busy }
        isApplying = true
        defer { isApplying = false }

        try await routing.check(description)
        try await stores.checkDatabases(of: description)
        try await stores.migrate(description.migrations, logger: logger)
        var prepared = try await prepare(description)
        do {
            try await waitUntilHealthy(prepared.fresh)
            try check(description, prepared)
            try await stores.openQueues(of: description)
        } catch {
            for worker in prepared.fresh { node.retire(worker.pool) }
            throw error
        }
        let release = ReleaseRuntime(
            name: description.name, tenant: description.tenant, workers: prepared.workers,
            sites: prepared.sites)
        prepared.fresh = []
        await switchTo(release, description, prepared)
        return release
    }

    private struct Prepared {
        var workers: [WorkerRuntime] = []
        /// Those that the present release doesn't have.
        var fresh: [WorkerRuntime] = []
        var keys: [String: String] = [:]
        var artifacts: Set<String> = []
        var sites: [String: AssetSite] = [:]
        /// Kept until the release has them in its own name.
        var assetHolds: [AssetStore.Hold] = []
    }

    // MARK: Starting

    private func prepare(_ description: ReleaseDescription) async throws -> Prepared {
        var prepared = Prepared()
        do {
            for worker in description.workers {
                if let assets = worker.assets {
                    let (site, hold) = try await makeSite(assets, of: worker, tenant: description.tenant)
                    prepared.sites[worker.name] = site
                    prepared.assetHolds.append(hold)
                }
                guard let executable = worker.executable else { continue }
                let hash = try add(executable, of: worker)
                let values = try secretValues(worker)
                let key = worker.fingerprint(artifact: hash, secrets: values, simulation: description.simulation)
                prepared.keys[worker.name] = key
                prepared.artifacts.insert(hash)
                if let current, current.keys[worker.name] == key, let shared = current.release.workers[worker.name] {
                    prepared.workers.append(shared)
                    continue
                }
                let runtime = try await makeRuntime(
                    worker, of: description, artifact: hash, from: executable, version: String(key.prefix(12)), secrets: values)
                prepared.workers.append(runtime)
                prepared.fresh.append(runtime)
                runtime.pool.start()
            }
        } catch {
            for worker in prepared.fresh { node.retire(worker.pool) }
            throw error
        }
        return prepared
    }

    /// On a thread of its own: files are read and compressed, which takes seconds when there are many.
    private func makeSite(
        _ assets: AssetDescription, of worker: WorkerDescription, tenant: String
    ) async throws -> (AssetSite, AssetStore.Hold) {
        let (store, logger) = (self.assets, logger)
        return try await withCheckedThrowingContinuation { continuation in
            SystemThread(name: "edge-assets") {
                continuation.resume(
                    with: Result { try store.makeSite(assets, worker: worker.name, tenant: tenant, logger: logger) })
            }.start()
        }
    }

    private func add(_ executable: String, of worker: WorkerDescription) throws -> String {
        let hash: String
        do throws(SystemError) { hash = try artifacts.add(executable) } catch {
            let reason = error.errno == ENOENT ? "it does not exist; was it built?" : "\(error)"
            throw ReleaseError.badExecutable(worker: worker.name, path: executable, reason: reason)
        }
        return hash
    }

    private func secretValues(_ worker: WorkerDescription) throws -> [(name: String, value: String)] {
        var values: [(name: String, value: String)] = []
        var missing: [String] = []
        for name in worker.secrets {
            if let value = try secrets.secret(name, of: worker.name) {
                values.append((name, value))
            } else {
                missing.append(name)
            }
        }
        guard missing.isEmpty else { throw ReleaseError.missingSecrets(missing, worker: worker.name) }
        for variable in worker.variables where try secrets.secret(variable.name, of: worker.name) != nil {
            throw ReleaseError.variableNamedLikeSecret(variable.name, worker: worker.name)
        }
        return values
    }

    private func makeRuntime(
        _ worker: WorkerDescription, of description: ReleaseDescription, artifact: String, from executable: String,
        version: String, secrets: [(name: String, value: String)]
    ) async throws -> WorkerRuntime {
        var bindings: [IsolateConfiguration.Binding] = []
        var targets: [BindingTarget] = []
        var requestLimits: [any RequestLimit] = []
        let simulation = stores.simulation(description.simulation)
        for (name, binding) in worker.bindings {
            let title = "\(worker.name)/\(name)"
            switch binding {
            case .kv(let namespace):
                bindings.append(.init(name, .kv))
                targets.append(.store(try stores.kvService(namespace, for: title, simulation)))
            case .d1(let database):
                bindings.append(.init(name, .d1))
                targets.append(.store(try await stores.d1Service(database, for: title, simulation)))
            case .r2(let bucket):
                bindings.append(.init(name, .r2))
                targets.append(.store(try await stores.r2Service(bucket, for: title, simulation)))
            case .queue(let queue, let delay):
                bindings.append(.init(name, .queue))
                targets.append(
                    .store(try await stores.queueService(queue, delaySeconds: delay, for: title, simulation)))
            case .service(let target):
                bindings.append(.init(name, .service))
                targets.append(.service(target))
            case .assets:
                bindings.append(.init(name, .assets))
                targets.append(.assets)
            case .rateLimit(let limit):
                let service = try stores.rateLimitService(limit)
                bindings.append(.init(name, .rateLimit))
                targets.append(.store(service))
                if limit.subject == .requests { requestLimits.append(WorkerRequestLimit(service: service)) }
            case .versionMetadata:
                bindings.append(.init(name, .versionMetadata))
                targets.append(.values)
            case .analytics(let dataset):
                bindings.append(.init(name, .analytics))
                targets.append(.store(stores.analyticsService(dataset)))
            }
        }
        // Last: what another limit refuses is not a request of the day.
        if let most = worker.requestsPerDayMax {
            requestLimits.append(DailyRequestLimit(requests: stores.dailyRequests, most: most))
        }
        let configuration = IsolateConfiguration(
            tenant: description.tenant, worker: worker.name, version: version, versionTag: worker.tag,
            versionTime: try stores.versions.time(of: version, now: clock.wallTime()).milliseconds,
            environment: description.environment, bindings: bindings, variables: worker.variables,
            secrets: secrets, cpuLimitNanoseconds: UInt64(clamping: worker.limits.cpu.wholeNanoseconds),
            subrequestsMax: UInt32(clamping: worker.limits.subrequestsMax))
        let image: IsolateImage
        do {
            image = try IsolateImage(
                path: artifacts.path(artifact), libraryDirectories: IsolateImage.toolchainLibraryDirectories())
        } catch SpawnError.notExecutable(_, let reason) {
            throw ReleaseError.badExecutable(worker: worker.name, path: executable, reason: reason)
        }
        let pool = node.makePool(
            configuration: configuration, image: image, limits: worker.limits, size: worker.size,
            identity: identity)
        let node = node
        return WorkerRuntime(
            configuration: configuration, bindings: targets, limits: worker.limits, pool: pool,
            origin: worker.origin, requestLimits: requestLimits,
            cache: WorkerCache(
                store: stores.cache, service: stores.cacheService, front: worker.frontCache,
                homeZone: worker.homeZone),
            onUnreachable: { node.release($0) })
    }

    /// Each new version must show one isolate that is ready, also when its minimum is zero: a version that can't start must not
    /// get traffic.
    private func waitUntilHealthy(_ workers: [WorkerRuntime]) async throws {
        for worker in workers {
            if let reason = await worker.pool.firstReady() {
                throw ReleaseError.failedToStart(worker: worker.name, reason: reason)
            }
        }
    }

    /// What the configuration promises, the code must have.
    private func check(_ description: ReleaseDescription, _ prepared: Prepared) throws {
        for (worker, runtime) in zip(description.workers.filter { $0.executable != nil }, prepared.workers) {
            let handlers = runtime.pool.handlers ?? []
            func require(_ handler: String, _ isNeeded: Bool, _ reason: String) throws {
                guard !isNeeded || handlers.contains(handler) else {
                    throw ReleaseError.missingHandler(handler, worker: worker.name, reason: reason)
                }
            }
            try require("fetch", !worker.routes.isEmpty || !worker.domains.isEmpty, "it has routes")
            try require("scheduled", !worker.crons.isEmpty, "it has crons")
            try require("queue", worker.consumers.contains { $0.delivery == .push }, "it consumes a queue")
        }
    }

    // MARK: The switch

    /// How long events of a replaced release may go on calling its workers.
    private static let previousReleaseMax = Duration.seconds(300)

    private func switchTo(
        _ release: ReleaseRuntime, _ description: ReleaseDescription, _ prepared: Prepared
    ) async {
        let previous = current
        let now = clock.now()
        current = Running(
            description: description, release: release, keys: prepared.keys, artifacts: prepared.artifacts,
            assets: prepared.assetHolds.reduce(into: []) { $0.formUnion($1.names) })
        stores.analytics.keepPoints(for: description.analyticsRetention)
        await routing.install(description, release)
        await crons.install(description, release)
        await queues.install(
            QueueDriver.workers(of: release, on: node),
            from: stores.consumedQueues(stores.simulation(description.simulation)))
        // Replaced workers end by themselves with the last event of the previous release: those that wait for a place, and
        // those that call one replaced worker from another, are served as if nothing had happened. Not for ever.
        let node = node
        for worker in previous?.release.workers.values.map({ $0 }) ?? []
        where release.workers[worker.name] !== worker {
            let pool = worker.pool
            _ = clock.schedule(at: now + Self.previousReleaseMax) { node.retire(pool) }
        }
        let inUse = prepared.artifacts.union(previous?.artifacts ?? [])
        do { try artifacts.prune(keeping: inUse, of: description.tenant) } catch {
            logger.log(.warning, "artifacts that nobody uses stay: \(error)")
        }
        let files = (current?.assets ?? []).union(previous?.assets ?? [])
        do { try assets.prune(keeping: files, of: description.tenant) } catch {
            logger.log(.warning, "assets that nobody uses stay: \(error)")
        }
        logger.log(
            .info, "release is active",
            [("release", release.name), ("workers", "\(release.workers.count)"), ("previous", previous?.release.name ?? "-")])
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
        guard let runtime = current.release.workers[chosen.worker] else { return .unknown("no such worker") }
        let isHandled = await CronDriver.deliver(
            chosen.cron, at: time, to: runtime, of: current.release, on: node, logger)
        return isHandled ? .handled : .failed("the handler of \(chosen.worker) failed; see the log")
    }

    /// Closes the stores, after the last event.
    package func close() async { await stores.close() }

    /// No more cron ticks and batches; what runs is given `deadline` to end.
    package func stop() async {
        await crons.stop()
        await queues.stop()
    }
}

/// Why a release did not come into service.
package enum ReleaseError: Error, Sendable, CustomStringConvertible {
    case busy
    case missingSecrets([String], worker: String)
    case variableNamedLikeSecret(String, worker: String)
    case badExecutable(worker: String, path: String, reason: String)
    case failedToStart(worker: String, reason: String)
    case missingHandler(String, worker: String, reason: String)
    case migrationFailed(database: String, file: String, reason: String)
    case migrationChanged(database: String, file: String)
    case queueNotOpened(String, reason: String)
    case consumersNotSet(reason: String)
    case databasesRefused([String], reason: String)

    package var description: String {
        switch self {
        case .busy: "another release is being brought into service; wait for it"
        case .missingSecrets(let names, let worker):
            "worker \"\(worker)\" needs the secret\(names.count == 1 ? "" : "s") \(names.joined(separator: ", ")): "
                + "set with `edge secret put NAME`, or in .dev.vars for `edge dev`"
        case .variableNamedLikeSecret(let name, let worker):
            "worker \"\(worker)\" has a variable \(name), and there is a secret of this name: rename one, or delete the "
                + "secret with `edge secret delete \(name)`"
        case .badExecutable(let worker, let path, let reason):
            "the executable of worker \"\(worker)\", \(path), cannot be used: \(reason)"
        case .failedToStart(let worker, let reason): "worker \"\(worker)\" does not start: \(reason)"
        case .missingHandler(let handler, let worker, let reason):
            "worker \"\(worker)\" does not handle \(handler) events, but \(reason)"
        case .migrationFailed(let database, let file, let reason):
            "migration \(file) of database \"\(database)\" failed: \(reason)"
        case .migrationChanged(let database, let file):
            "migration \(file) of database \"\(database)\" has been applied, and its text is another one now: put the old "
                + "text back, and make the change in a new file"
        case .consumersNotSet(let reason): "the release can't consume its queues: \(reason)"
        case .databasesRefused(let names, let reason):
            "the databases \(names.joined(separator: ", ")) can't be had beside those that are there: \(reason)"
        case .queueNotOpened(let queue, let reason): "the queue \"\(queue)\" can't be opened: \(reason)"
        }
    }
}

/// Where secrets come from: `.dev.vars`, or the encrypted store.
package protocol SecretSource: Sendable {
    func secret(_ name: String, of worker: String) throws -> String?
}
