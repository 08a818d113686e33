/// A capability that a worker gets under a name.
package struct Binding: Sendable {
    package let name: String
    package let target: Target
    /// Where the configuration grants it.
    package let place: SourcePlace
    /// The store that wrangler's `--preview` means in its place.
    package var preview: String?

    package enum Target: Equatable, Sendable {
        case kv(resource: String)
        case d1(resource: String, migrations: D1Migrations?)
        case r2(resource: String)
        /// - delay: `nil` leaves it to the queue.
        case queue(String, delay: Duration?)
        /// - props: JSON, handed to the callee's `ctx.props`.
        case service(worker: String, entrypoint: String?, props: String?)
        case rateLimit(RateLimit)
        case analytics(dataset: String)
        case vectorize(resource: String, dimensions: Int?, metric: VectorMetric?)
        case durableObject(class: String, worker: String?)
        case assets
        case workflow(name: String, class: String, worker: String?)
        case ai
        case versionMetadata
        case email(to: [String], from: [String])
        case hyperdrive(resource: String)
        case dispatch(namespace: String)
    }

    /// The word for messages: `KV namespace`, `D1 database`, …
    package var kindName: String { target.kindName }
}

extension Binding.Target {
    package var kindName: String {
        switch self {
        case .kv: "KV namespace"
        case .d1: "D1 database"
        case .r2: "R2 bucket"
        case .queue: "queue"
        case .service: "service"
        case .rateLimit: "rate limit"
        case .analytics: "analytics dataset"
        case .vectorize: "vector index"
        case .durableObject: "durable object"
        case .assets: "assets"
        case .workflow: "workflow"
        case .ai: "AI"
        case .versionMetadata: "version metadata"
        case .email: "email"
        case .hyperdrive: "Hyperdrive"
        case .dispatch: "dispatch namespace"
        }
    }
}

package struct D1Migrations: Equatable, Sendable {
    /// Relative to the configuration file.
    package let directory: String
    package let table: String
    /// Which of its files are meant: `*.sql`, or `*/migration.sql`.
    package let pattern: String

    package init(directory: String, table: String, pattern: String) {
        self.directory = directory
        self.table = table
        self.pattern = pattern
    }
}

package struct RateLimit: Equatable, Sendable {
    package enum Key: Equatable, Sendable {
        /// The worker calls `limit(key:)`.
        case given
        /// The node applies it to each request, before the worker, by client address.
        case clientAddress
    }
    package let key: Key
    /// Two workers that name the same namespace share counters.
    package let namespace: String?
    /// Calls per period.
    package let limit: Int
    /// 10 or 60.
    package let periodSeconds: Int
}

package enum VectorMetric: String, CaseIterable, Sendable {
    case cosine
    case dotProduct = "dot-product"
    case euclidean
}

/// Who takes a queue's messages.
package enum QueueConsumerKind: String, CaseIterable, Sendable {
    /// The node pushes them to the worker.
    case worker
    /// Clients fetch them.
    case pull = "http_pull"

    /// Messages at a time, where nothing else is said.
    var batchCountMax: Int { self == .pull ? 5 : 10 }
}

/// How messages are taken from a queue.
package struct QueueConsumer: Sendable {
    package let queue: String
    package let kind: QueueConsumerKind
    /// Messages per batch, at most.
    package let batchCountMax: Int
    /// Counted from the first ready message.
    package let batchTimeout: Duration
    package let retriesMax: Int
    package let retryDelay: Duration
    package let deadLetterQueue: String?
    /// `nil` lets the node choose.
    package let concurrencyMax: Int?
    /// How long a pull keeps its messages.
    package let visibilityTimeout: Duration
    package let place: SourcePlace
}

/// A queue of the tenant.
package struct QueueSettings: Equatable, Sendable {
    package let name: String
    package let deliveryDelay: Duration
    package let retention: Duration
    /// More are refused; `nil` takes what comes.
    package let messagesPerSecondMax: Int?
    /// What may wait; `nil`: the product's 25 GB.
    package let backlogBytesMax: Int?

    package init(
        name: String, deliveryDelay: Duration, retention: Duration, messagesPerSecondMax: Int? = nil,
        backlogBytesMax: Int? = nil
    ) {
        self.name = name
        self.deliveryDelay = deliveryDelay
        self.retention = retention
        self.messagesPerSecondMax = messagesPerSecondMax
        self.backlogBytesMax = backlogBytesMax
    }
}

/// A variable: a text, or any other value as JSON.
package struct Variable: Sendable {
    package enum Value: Equatable, Sendable {
        case text(String)
        case json(String)
    }
    package let name: String
    package let value: Value
    package let place: SourcePlace

    package init(name: String, value: Value, place: SourcePlace) {
        self.name = name
        self.value = value
        self.place = place
    }
}

/// The name of a secret that a worker needs. Its value never stands in a configuration.
package struct SecretName: Sendable {
    package let name: String
    package let place: SourcePlace
}
