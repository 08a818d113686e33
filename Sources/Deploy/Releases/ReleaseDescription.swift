internal import Caching
package import Configuration
package import HTTP
package import Host
package import Interfaces
package import StoresSimulation

/// What is to be in service: a tenant's workers with everything they need, already checked. Values only.
package struct ReleaseDescription: Sendable {
    package var name: String
    package var tenant: String
    package var environment: String
    package var workers: [WorkerDescription]
    package var migrations: [MigrationSet]
    /// Those with settings; others that workers name keep what they have.
    package var queues: [QueueDescription]
    /// Requests for these go to no worker, unless another route is more particular.
    package var bypasses: [RoutePattern] = []
    /// How long data points are kept.
    package var analyticsRetention = Duration.seconds(90 * 86_400)
    /// `nil`: stores answer as well as they can.
    package var simulation: SimulationSettings?
    /// As the journal counts it; 0: it isn't in there.
    package var number: Int64 = 0
    /// Of safe requests, how many a release gets a copy of before all requests are its own.
    package var shadowPercent = 0
    /// What keeps a client with one of several releases.
    package var affinity = Affinity.standard
    /// How the tenant's durable objects are kept.
    package var objects = ObjectSettings()
    /// Whether migrations of classes are applied that don't follow what was applied last.
    package var forcesClassMigrations = false
    /// How long what it has begun may go on once it is replaced.
    package var drain = DrainLimits()
    /// Where versions can be looked at, `NAME-WORKER.preview.DOMAIN`.
    package var previews: PreviewHosts
    package enum PreviewHosts: Equatable, Sendable {
        case none
        case domain(String)
        /// Below the name that workers of the API have their hosts under.
        case subdomain
    }
    /// Whether answers name their release.
    package var announcement: ReleaseRuntime.Announcement

    package init(
        name: String, tenant: String, environment: String, workers: [WorkerDescription],
        migrations: [MigrationSet] = [], queues: [QueueDescription] = []
    ) {
        let isProduction = EnvironmentKind(name: environment) == .production
        announcement = isProduction ? .none : .header
        previews = isProduction ? .none : .subdomain
        self.name = name
        self.tenant = tenant
        self.environment = environment
        self.workers = workers
        self.migrations = migrations
        self.queues = queues
    }
}

/// A queue with what its own table says about it.
package struct QueueDescription: Sendable, Equatable {
    package var name: String
    /// For messages sent without a delay of their own.
    package var deliveryDelaySeconds: Int64
    package var retentionSeconds: Int64
    /// `nil`: no limit.
    package var messagesPerSecondMax: Int64?
    /// `nil`: the product's.
    package var backlogBytesMax: Int64?

    package init(
        name: String, deliveryDelaySeconds: Int64, retentionSeconds: Int64, messagesPerSecondMax: Int64? = nil,
        backlogBytesMax: Int64? = nil
    ) {
        self.name = name
        self.deliveryDelaySeconds = deliveryDelaySeconds
        self.retentionSeconds = retentionSeconds
        self.messagesPerSecondMax = messagesPerSecondMax
        self.backlogBytesMax = backlogBytesMax
    }
}

/// The migrations of one database, in no particular order.
package struct MigrationSet: Sendable {
    package var database: String
    /// Where the names of applied ones are kept.
    package var table: String
    package var files: [(name: String, text: String)]

    package init(database: String, table: String = "d1_migrations", files: [(name: String, text: String)]) {
        self.database = database
        self.table = table
        self.files = files
    }
}

package struct WorkerDescription: Sendable {
    package enum Binding: Codable, Sendable, Equatable {
        /// By its title; made when it is missing.
        case kv(namespace: String)
        case kvNamespace(id: String)
        case d1(database: String)
        case r2(bucket: String)
        /// `nil`: the queue's own delay.
        case queue(String, delaySeconds: Int64?)
        case service(worker: String)
        /// One of its entrypoints for typed calls, the default one if the name is empty, and what it is told of its caller, as JSON.
        case entrypoint(worker: String, name: String, props: String)
        /// The worker's own files.
        case assets
        case rateLimit(RateLimit)
        case versionMetadata
        case analytics(dataset: String)
        /// A class of durable objects; `nil`: the worker's own.
        case object(class: String, worker: String?)
    }

    package struct RateLimit: Codable, Sendable, Equatable {
        package enum Subject: Codable, Sendable, Equatable {
            /// What the worker says.
            case calls
            /// Each request from outside, by client, before the worker sees it.
            case requests
        }
        package var subject: Subject
        /// Limits of the tenant that have the same one share their counters.
        package var namespace: String
        package var limit: Int
        package var periodSeconds: Int

        package init(subject: Subject = .calls, namespace: String, limit: Int, periodSeconds: Int) {
            self.subject = subject
            self.namespace = namespace
            self.limit = limit
            self.periodSeconds = periodSeconds
        }
    }

    package struct Consumer: Sendable, Equatable {
        package enum Delivery: Sendable, Equatable {
            /// To the worker.
            case push
            /// Clients fetch the messages; the worker only says how.
            case pull
        }
        package var queue: String
        package var delivery: Delivery
        package var batchSize: Int
        package var batchTimeout: Duration
        package var retriesMax: Int
        package var retryDelaySeconds: Int64
        package var deadLetterQueue: String?
        /// `nil`: follows the backlog.
        package var concurrencyMax: Int?
        /// How long a pull keeps its messages.
        package var visibilityTimeout: Duration

        package init(
            queue: String, batchSize: Int = 10, batchTimeout: Duration = .seconds(5), retriesMax: Int = 3,
            retryDelaySeconds: Int64 = 0, deadLetterQueue: String? = nil, concurrencyMax: Int? = nil,
            delivery: Delivery = .push, visibilityTimeout: Duration = .seconds(30)
        ) {
            self.delivery = delivery
            self.visibilityTimeout = visibilityTimeout
            self.queue = queue
            self.batchSize = batchSize
            self.batchTimeout = batchTimeout
            self.retriesMax = retriesMax
            self.retryDelaySeconds = retryDelaySeconds
            self.deadLetterQueue = deadLetterQueue
            self.concurrencyMax = concurrencyMax
        }
    }

    package var name: String
    /// The executable's file; `nil`: the worker is its assets alone.
    package var executable: String?
    package var assets: AssetDescription?
    /// What its deployer calls this version; empty when nothing.
    package var tag = ""
    package var bindings: [(name: String, binding: Binding)] = []
    package var variables: [(name: String, value: IsolateConfiguration.Variable)] = []
    /// Names of the secrets it gets, all of which must have a value.
    package var secrets: [String] = []
    package var limits = WorkerLimits()
    /// From outside to the tenant's workers that have such a limit, by UTC day; `nil`: as many as come.
    package var requestsPerDayMax: Int?
    package var size = PoolSize(min: 1, max: 1, idleTimeout: .seconds(300))
    package var routes: [RoutePattern] = []
    /// The server behind it: `http://HOST[:PORT]`.
    package var origin: String?
    package var domains: [CustomDomain] = []
    /// Of its host names, in their order.
    package var zones: [String] { (routes.map(\.host) + domains.map(\.host)).map(ZoneName.of(host:)) }
    /// Of events that no request has caused.
    package var homeZone: String { zones.first ?? "" }
    /// `nil`: each request reaches the worker.
    package var frontCache: FrontCache?
    package var crons: [CronExpression] = []
    package var consumers: [Consumer] = []
    /// Of its classes of durable objects.
    package var migrations: [ClassMigration] = []

    package init(name: String, executable: String?) {
        self.name = name
        self.executable = executable
    }
}
