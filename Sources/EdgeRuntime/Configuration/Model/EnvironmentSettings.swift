/// Which built-in values an environment starts from: its name decides. A name of one's own starts from staging's.
package enum EnvironmentKind: String, Sendable {
    case dev, staging, production

    package init(name: String) { self = EnvironmentKind(rawValue: name) ?? .staging }
}

/// How the node speaks TLS.
package struct TLSSettings: Equatable, Sendable {
    /// PEM files; paths that are relative start at the project.
    package struct Files: Equatable, Sendable {
        package let certificate: String
        package let key: String
    }
    /// The first one is for clients that name no host, or one that no other has.
    package let certificates: [Files]
    /// Where https is spoken, beside the plain addresses of `listen`. Empty: at all of those.
    package let listen: [ListenAddress]
    /// Whether the plain addresses only send clients to https.
    package let redirect: Bool
}

/// Where the S3 API is.
package struct S3Settings: Equatable, Sendable {
    package let listen: [ListenAddress]
    /// A name that buckets stand before, as in BUCKET.DOMAIN; `nil`: only `s3.localhost` is one.
    package let domain: String?
    /// Whether it is spoken over https, with the certificates of `tls`.
    package let isSecure: Bool
    /// Whether it refuses what R2 refuses and clients can do without: signed chunks, and uploads by form.
    package let isStrict: Bool
}

package struct LogSettings: Equatable, Sendable {
    package enum Level: String, CaseIterable, Sendable { case trace, debug, info, notice, warning, error }
    package enum Format: String, CaseIterable, Sendable { case text, json }
    package var level: Level
    package var format: Format
}

/// How much a node tells of what it does.
package enum Monitoring: String, CaseIterable, Sendable {
    /// The node's totals.
    case basic
    /// Series of each tenant, worker and zone as well.
    case full
}

/// How many requests one client may send to the node in any stretch of time of this length.
package struct ClientRateLimit: Equatable, Sendable {
    package let limit: Int
    package let period: Duration
}

/// How a node goes out of service.
package struct DrainSettings: Equatable, Sendable {
    /// How long readiness fails while everything is served: what load balancers need to notice it.
    package var delay: Duration = .zero
    /// What open requests and background work may take after that.
    package var timeout: Duration = .seconds(30)

    package init() {}
}

package enum ErrorPages: String, CaseIterable, Sendable {
    /// The error's name, message and place; for developers.
    case trace
    /// The error's number alone.
    case plain
}

/// How a release comes into service.
package struct DeploySettings: Equatable, Sendable {
    package enum Smoke: String, CaseIterable, Sendable { case optional, required }
    package enum Backup: String, CaseIterable, Sendable { case bookmark, full }
    package enum NoTraffic: String, CaseIterable, Sendable { case promote, pause, rollback }
    package enum Affinity: Equatable, Sendable {
        case cookie(String)
        case clientAddress
        case none
    }
    /// Percentages, rising, the last is 100.
    package var steps: [Int]
    /// Between two steps.
    package var bake: Duration
    /// After the last step.
    package var monitor: Duration
    package var smoke: Smoke
    package var backup: Backup
    package var affinity: Affinity
    /// What to do when too few requests came to judge by.
    package var noTraffic: NoTraffic
    /// The environment whose active artifacts alone may be deployed.
    package var promoteFrom: String?
    package var drain: Duration
    package var drainStreams: Duration
    package var drainJobs: Duration
    package var drainWebSockets: Duration
    /// How long requests wait for a switch before they are refused.
    package var switchHold: Duration
    /// How long a migration waits for a database's writer.
    package var lockTimeout: Duration
    package var keepReleases: Int
    package var keepBackups: Duration
    /// Whether writes are refused while a migration runs.
    package var freeze: Bool
    /// Whether a deployment goes on by itself after the node died.
    package var resume: Bool
    /// Of safe requests, how many a candidate gets a copy of. Whoever sets it says that such requests change nothing.
    package var shadowPercent = 0
    /// Sent to a candidate that is healthy, before anything else, as smoke tests are.
    package var warmup: [WarmupRequest] = []
    /// Names of what the judge looks at that only tells, and never ends a deployment.
    package var dryRun: [String] = []
    package var metrics: [DeployMetric] = []
}

package struct WarmupRequest: Equatable, Sendable {
    package var worker: String
    package var request: SmokeTest
}

/// A number of the operator's own that a release is judged by: the first value of the first row of a query about data points.
package struct DeployMetric: Equatable, Sendable {
    package var name: String
    /// `{release}` and `{previous}` in it stand for the numbers of both releases.
    package var query: String
    package var max: Double
    /// It only tells.
    package var isDryRun: Bool
}

package struct DurableObjectSettings: Equatable, Sendable {
    package enum OnDeploy: String, CaseIterable, Sendable { case keep, disconnect }
    package var hibernateAfter: Duration
    package var evictAfter: Duration
    package var onDeploy: OnDeploy
    /// Live objects of one isolate.
    package var objectsPerIsolate = 64
    /// Of one version, for objects.
    package var isolatesMax = 32
    /// How far back an object can go; zero keeps no history.
    package var timeTravel = Duration.seconds(30 * 86_400)
}

package struct RetentionSettings: Equatable, Sendable {
    package var logs: Duration
    package var timeTravel: Duration
    package var queue: Duration
    package var analytics: Duration
}

/// How a tenant's R2 buckets behave beyond what they do by themselves.
package struct R2Settings: Equatable, Sendable {
    /// One write per second and key.
    package var limitsWriteRate = false

    package init() {}
}

/// How a tenant's KV namespaces behave beyond what the product's paid plan does. 0 is without a limit.
package struct KVSettings: Equatable, Sendable {
    /// One write per second and key.
    package var limitsWriteRate = false
    /// Listings end their pages early.
    package var hasShortPages = false
    package var tenantBytesMax = 0
    package var namespaceBytesMax = 0
    package var readsPerDayMax = 0
    package var putsPerDayMax = 0
    package var deletesPerDayMax = 0
    package var listsPerDayMax = 0

    package init() {}
}

/// What stores are made to do that a far-away network does and an engine beside the node doesn't.
package struct SimulateSettings: Equatable, Sendable {
    /// All else follows from it: the same one gives the same schedule.
    package var seed: UInt64
    package var kvStaleness: Duration
    package var limitsKVWrites: Bool
    package var d1Lag: Duration
    package var failurePercentage: Int
    package var latency: Duration
    package var queueDuplicatePercentage: Int
    package var reordersQueues: Bool
}

/// Something of the operator's that a deployment asks or tells.
package struct Hook: Equatable, Sendable {
    package enum Point: String, CaseIterable, Sendable {
        case confirmRollout = "confirm_rollout"
        case preRollout = "pre_rollout"
        case confirmTrafficIncrease = "confirm_traffic_increase"
        case confirmPromotion = "confirm_promotion"
        case postRollout = "post_rollout"
        case rollback
    }
    package enum Action: Equatable, Sendable {
        case command(String)
        case url(String)
    }
    package let point: Point
    package let action: Action
    package let timeout: Duration
}

/// How much of a tenant's cache there is, in bytes.
package struct CacheStoreSettings: Equatable, Sendable {
    package var diskBytesMax = 1 << 30
    /// Of small bodies that are much asked for.
    package var memoryBytesMax = 32 << 20

    package init() {}
}

/// What the stores of a tenant are opened with.
package struct StoreSettings: Sendable {
    /// How far back databases can go; zero keeps no history.
    package var timeTravel: Duration = .zero
    package var kv = KVSettings()
    package var r2 = R2Settings()
    package var cache = CacheStoreSettings()
    /// What databases may take. The paid plan where no configuration speaks of one.
    package var plan = LimitProfile.paid.table

    package init() {}
}

extension EffectiveConfiguration {
    package var stores: StoreSettings {
        var stores = StoreSettings()
        stores.timeTravel = retention.timeTravel
        stores.kv = kv
        stores.r2 = r2
        stores.cache = cache
        stores.plan = plan.table
        return stores
    }
}
