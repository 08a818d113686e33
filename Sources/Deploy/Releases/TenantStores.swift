package import struct Configuration.StoreSettings
internal import Interfaces
package import Observability
internal import OpenSSL
package import Stores
internal import StoresAnalytics
internal import StoresCache
internal import StoresD1
internal import StoresKV
internal import StoresQueues
internal import StoresR2
internal import StoresRateLimits
internal import StoresSimulation
package import System

/// The stores of one tenant in one environment: each engine opened once, whatever the number of bindings.
package final class TenantStores: Sendable {
    let tenant: String
    private let state: StateDirectory
    /// What they were opened with.
    let settings: StoreSettings
    let kv: EmbeddedKVStore
    let d1: EmbeddedD1Store
    package let databases: TenantDatabases
    let r2: EmbeddedR2Store
    let queues: EmbeddedQueueStore
    private let r2Events: R2EventDriver
    private let clock: any NodeClock
    private let logger: Logger
    private let rateLimiter: RateLimiter
    let analytics: EmbeddedAnalyticsStore
    let dailyRequests: DailyRequests
    package let cache: any ResponseCache
    let cacheService: any StoreService

    /// Opens all engines; blocks.
    package init(
        state: StateDirectory, tenant: String, _ settings: StoreSettings, clock: any NodeClock, logger: Logger
    ) throws {
        self.tenant = tenant
        self.state = state
        self.settings = settings
        self.clock = clock
        self.logger = logger
        kv = try EmbeddedKVStore(
            directory: state.directory(of: .kv, tenant: tenant), clock: clock, logger: logger,
            options: EmbeddedKVStore.Options(settings.kv))
        var limits = D1Limits()
        limits.timeTravel = settings.timeTravel
        limits.databasesMax = settings.plan.d1CountMax
        limits.databaseBytesMax = settings.plan.d1ByteCountMax
        limits.tenantBytesMax = settings.plan.d1TotalByteCountMax
        let databaseDirectory = try state.directory(of: .d1, tenant: tenant)
        d1 = try EmbeddedD1Store(
            directory: databaseDirectory, clock: clock, logger: logger.with("tenant", tenant), limits: limits)
        try DatabaseMigrations.removeUnfinished(in: d1.backupDirectory)
        databases = try TenantDatabases(
            store: d1, transfers: databaseDirectory + "/transfers", databasesMax: limits.databasesMax, clock: clock)
        var buckets = EmbeddedR2Store.Options()
        buckets.keyWriteInterval = settings.r2.limitsWriteRate ? .seconds(1) : nil
        r2 = try EmbeddedR2Store(
            directory: state.directory(of: .r2, tenant: tenant), clock: clock, logger: logger, options: buckets)
        queues = try EmbeddedQueueStore(directory: state.directory(of: .queues, tenant: tenant), clock: clock, logger: logger)
        r2Events = R2EventDriver(tenant: tenant, buckets: r2, queues: queues, clock: clock, logger: logger)
        rateLimiter = RateLimiter(clock: clock)
        dailyRequests = DailyRequests(
            file: state.requestCount(of: tenant), clock: clock, logger: logger.with("tenant", tenant))
        analytics = try EmbeddedAnalyticsStore(
            directory: state.directory(of: .analytics, tenant: tenant), clock: clock, logger: logger)
        var responses = EmbeddedResponseCache.Options()
        responses.byteCountMax = Int64(settings.cache.diskBytesMax)
        responses.memoryByteCountMax = settings.cache.memoryBytesMax
        cache = try EmbeddedResponseCache(
            directory: state.directory(of: .cache, tenant: tenant), clock: clock, logger: logger, options: responses)
        cacheService = CacheService(cache, clock: clock, logger: logger)
    }

    /// Opens the tenant's stores anew, once these are closed; blocks.
    ///
    /// - Parameter settings: `nil` for those that these have.
    func reopened(with settings: StoreSettings?) throws -> TenantStores {
        try TenantStores(state: state, tenant: tenant, settings ?? self.settings, clock: clock, logger: logger)
    }

    /// What wraps the stores of one release; `nil`: nothing does.
    func simulation(_ settings: SimulationSettings?) -> StoreSimulation? {
        settings.map { StoreSimulation($0, clock: clock, logger: logger) }
    }

    // Each makes a service for one binding, called `WORKER/BINDING`.

    func kvService(
        _ namespace: String, for binding: String, _ simulation: StoreSimulation?
    ) throws -> any StoreService {
        let store = try kv.openNamespace(namespace)
        return KVService(simulation?.wrap(store, binding: binding) ?? store)
    }

    func d1Service(
        _ database: String, for binding: String, _ simulation: StoreSimulation?
    ) async throws -> any StoreService {
        D1Service(
            store: simulation?.wrap(d1, replicas: d1, binding: binding) ?? d1,
            database: try await databases.resource(of: database))
    }

    func r2Service(
        _ bucket: String, for binding: String, _ simulation: StoreSimulation?
    ) async throws -> any StoreService {
        try await r2.createBucket(bucket)
        return R2Service(store: simulation?.wrap(r2, binding: binding) ?? r2, bucket: bucket)
    }

    func queueService(
        _ queue: String, delaySeconds: Int64?, for binding: String, _ simulation: StoreSimulation?
    ) async throws -> any StoreService {
        try await open(queue)
        return QueueService(
            simulation?.wrapProducer(queues, binding: binding) ?? queues, queue: queue, deliveryDelaySeconds: delaySeconds)
    }

    /// The queues as they are delivered.
    func consumedQueues(_ simulation: StoreSimulation?) -> any QueueStore { simulation?.wrapConsumer(queues) ?? queues }

    func analyticsService(_ dataset: String) -> any StoreService { AnalyticsService(analytics, dataset: dataset) }

    func rateLimitService(_ limit: WorkerDescription.RateLimit) throws -> RateLimitService {
        try RateLimitService(
            rateLimiter, namespace: limit.namespace, limit: limit.limit, periodSeconds: limit.periodSeconds)
    }

    /// Makes the queues of a release, gives those that it describes their settings, and all their consumers. A pause of
    /// delivery is no matter of releases: it stays.
    func openQueues(of description: ReleaseDescription) async throws {
        for queue in description.queues {
            let change = QueueSettingsChange(
                deliveryDelaySeconds: queue.deliveryDelaySeconds, retentionSeconds: queue.retentionSeconds,
                messagesPerSecondMax: .some(queue.messagesPerSecondMax), backlogBytesMax: .some(queue.backlogBytesMax))
            do throws(QueueError) { try await queues.configureQueue(queue.name, change) } catch {
                throw ReleaseError.queueNotOpened(queue.name, reason: "\(error)")
            }
        }
        var drafts: [String: QueueConsumerDraft] = [:]
        for worker in description.workers {
            for consumer in worker.consumers {
                for queue in [consumer.queue, consumer.deadLetterQueue].compactMap({ $0 }) { try await open(queue) }
                drafts[consumer.queue] = QueueConsumerDraft(consumer, of: worker.name)
            }
        }
        do throws(QueueError) { try await queues.setReleaseConsumers(drafts) } catch {
            throw ReleaseError.consumersNotSet(reason: "\(error)")
        }
    }

    private func open(_ queue: String) async throws {
        do throws(QueueError) { try await queues.openQueue(queue, settings: nil) } catch {
            throw ReleaseError.queueNotOpened(queue, reason: "\(error)")
        }
    }

    /// Makes sure that the tenant may have the databases of a release, before anything is done for it.
    func checkDatabases(of description: ReleaseDescription) async throws {
        var names: Set<String> = []
        for worker in description.workers {
            for case .d1(let database) in worker.bindings.map(\.binding) { names.insert(database) }
        }
        // Without databases there need be no catalog.
        guard !names.isEmpty else { return }
        do throws(D1CatalogError) { try await databases.checkRoom(for: names) } catch {
            throw ReleaseError.databasesRefused(names.sorted(), reason: error.description)
        }
    }

    /// The migrations of the tenant's databases, for its deployments.
    func migrations(logger: Logger) -> DatabaseMigrations { DatabaseMigrations(databases, clock: clock, logger: logger) }

    /// Applies what is pending of each database's migrations: all of a database, or none.
    func migrate(_ sets: [MigrationSet], logger: Logger) async throws {
        var jobs: [(set: MigrationSet, migrator: D1Migrator, files: [D1Migration])] = []
        for set in sets {
            let resource = try await databases.resource(of: set.database)
            jobs.append(
                (
                    set, D1Migrator(store: d1, database: resource, table: set.table),
                    D1Migration.paired(set.files.map { D1Migration(file: $0.name, text: $0.text) })
                ))
        }
        // Before anything is applied: what was is not what the files say.
        for job in jobs {
            if let file = try await job.migrator.changed(job.files).first {
                throw ReleaseError.migrationChanged(database: job.set.database, file: file)
            }
        }
        for (set, migrator, files) in jobs {
            try await lint(set, migrator, files, logger)
            let report = try await migrator.apply(files, as: .all)
            for warning in report.warnings { logger.log(.warning, warning, [("database", set.database)]) }
            for item in report.items {
                if case .failed(let reason) = item.outcome {
                    throw ReleaseError.migrationFailed(database: set.database, file: item.name, reason: reason)
                }
            }
            for item in report.items where item.outcome == .applied {
                logger.log(.info, "migration applied", [("database", set.database), ("file", item.name)])
            }
        }
    }

    /// Says what a deployment would refuse, or doubt: here it is applied all the same, since no code from before lives on with it.
    private func lint(_ set: MigrationSet, _ migrator: D1Migrator, _ files: [D1Migration], _ logger: Logger) async throws {
        let pending = Set(try await migrator.pending(files).map(\.name))
        guard !pending.isEmpty else { return }
        for finding in MigrationLint.check(set.files) where finding.place.map({ pending.contains($0.file) }) ?? true {
            logger.log(
                .warning,
                "\(finding.description(in: set.database))\(finding.isError ? "; a deployment refuses it" : "")",
                [("database", set.database)])
        }
    }

    /// The files of a database that has this id or name.
    func d1Resource(_ id: String) async throws -> String? {
        do throws(D1CatalogError) { return try await databases.find(id).resource } catch {
            if case .notFound = error { return nil }
            throw error
        }
    }

    func bucketNames() async throws -> [String] { try await r2.bucketNames() }

    /// The buckets with rules that name a queue, by queue.
    func notifiedQueues() async throws(R2Failure) -> [String: [String]] {
        var buckets: [String: [String]] = [:]
        for bucket in try await r2.bucketNames() {
            do throws(R2Failure) {
                for queue in try r2.notifications(of: bucket).queues { buckets[queue.queueName, default: []].append(bucket) }
            } catch .noSuchBucket { continue }  // Deleted meanwhile.
        }
        return buckets
    }

    var buckets: BucketAdministration { BucketAdministration(buckets: r2, queues: queues) }

    func close() async {
        await dailyRequests.close()
        await r2Events.stop()
        await queues.close()
        await d1.close()
        await kv.close()
        await r2.close()
        await analytics.close()
    }
}

extension D1Migration {
    /// A file, with the digest that tells whether it was changed later.
    package init(file name: String, text: String) {
        self.init(name: name, text: text, digest: Hexadecimal.text(Digest.hash(Array(text.utf8), with: .sha256)))
    }
}

extension QueueConsumerDraft {
    init(_ consumer: WorkerDescription.Consumer, of worker: String) {
        self.init(
            consumer.delivery == .pull ? .pull : .worker(script: worker),
            QueueConsumerSettings(
                batchSizeMax: consumer.batchSize, batchTimeout: consumer.batchTimeout, retriesMax: consumer.retriesMax,
                retryDelaySeconds: consumer.retryDelaySeconds, deadLetterQueue: consumer.deadLetterQueue,
                concurrencyMax: consumer.concurrencyMax, visibilityTimeout: consumer.visibilityTimeout))
    }
}
