package import Observability
internal import Stores
internal import StoresAnalytics
internal import StoresD1
internal import StoresKV
internal import StoresQueues
internal import StoresR2
internal import StoresRateLimits
package import System

/// The stores of one tenant in one environment: each engine opened once, whatever the number of bindings.
package final class TenantStores: Sendable {
    let tenant: String
    private let kv: EmbeddedKVStore
    private let d1: EmbeddedD1Store
    private let r2: EmbeddedR2Store
    let queues: EmbeddedQueueStore
    private let rateLimiter: RateLimiter
    let analytics: EmbeddedAnalyticsStore
    let versions: VersionTimes

    /// Opens all engines; blocks.
    package init(state: StateDirectory, tenant: String, clock: any NodeClock, logger: Logger) throws {
        self.tenant = tenant
        kv = try EmbeddedKVStore(directory: state.store("kv", of: tenant), clock: clock, logger: logger)
        d1 = try EmbeddedD1Store(directory: state.store("d1", of: tenant), clock: clock, logger: logger)
        r2 = try EmbeddedR2Store(directory: state.store("r2", of: tenant), clock: clock, logger: logger)
        queues = try EmbeddedQueueStore(directory: state.store("queues", of: tenant), clock: clock, logger: logger)
        rateLimiter = RateLimiter(clock: clock)
        analytics = try EmbeddedAnalyticsStore(
            directory: state.store("analytics", of: tenant), clock: clock, logger: logger)
        versions = try VersionTimes(path: "\(state.path)/\(tenant)/versions")
    }

    func kvService(_ namespace: String) throws -> any StoreService { KVService(try kv.openNamespace(namespace)) }
    func d1Service(_ database: String) throws -> any StoreService { D1Service(store: d1, database: database) }
    func r2Service(_ bucket: String) async throws -> any StoreService {
        try await r2.createBucket(bucket)
        return R2Service(store: r2, bucket: bucket)
    }

    func queueService(_ queue: String, delaySeconds: Int64?) async throws -> any StoreService {
        try await queues.openQueue(queue, settings: nil)
        return QueueService(queues, queue: queue, deliveryDelaySeconds: delaySeconds)
    }

    func analyticsService(_ dataset: String) -> any StoreService { AnalyticsService(analytics, dataset: dataset) }

    func rateLimitService(_ limit: WorkerDescription.RateLimit) throws -> RateLimitService {
        try RateLimitService(
            rateLimiter, namespace: limit.namespace, limit: limit.limit, periodSeconds: limit.periodSeconds)
    }

    /// Applies what is pending of each database's migrations.
    func migrate(_ sets: [MigrationSet], logger: Logger) async throws {
        for set in sets {
            let migrator = D1Migrator(store: d1, database: set.database)
            let report = try await migrator.apply(set.files.map { D1Migration(name: $0.name, text: $0.text) })
            for warning in report.warnings { logger.log(.warning, warning, [("database", set.database)]) }
            for item in report.items {
                switch item.outcome {
                case .applied:
                    logger.log(.info, "migration applied", [("database", set.database), ("file", item.name)])
                case .failed(let reason):
                    throw ReleaseError.migrationFailed(database: set.database, file: item.name, reason: reason)
                case .skipped: break
                }
            }
        }
    }

    func close() async {
        await queues.close()
        await d1.close()
        await kv.close()
        await r2.close()
        await analytics.close()
    }
}
