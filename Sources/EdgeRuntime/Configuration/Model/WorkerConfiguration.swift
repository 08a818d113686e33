package import HTTP

/// All that a node has to know about one worker in one environment.
package struct WorkerConfiguration: Sendable {
    package var name: String
    /// The SwiftPM executable.
    package var product: String
    package var isEnabled: Bool
    package var compatibilityDate: CivilDate
    package var compatibilityFlags: [String]
    package var routes: [WorkerRoute]
    package var customDomains: [WorkerDomain]
    /// Whether `<worker>.<domain>` answers too.
    package var hasDefaultHost: Bool
    /// Where requests go that a route's worker passes on, and those of its hosts that no route takes; a URL.
    package var origin: String?
    /// In the order of the configuration; a binding's place here is its number in calls.
    package var bindings: [Binding]
    package var consumers: [QueueConsumer]
    package var crons: [CronExpression]
    /// Whether a deploy leaves the crons of the release before it as they are: wrangler's way when a file names none.
    package var keepsDeployedCrons: Bool
    package var variables: [Variable]
    package var secrets: [SecretName]
    package var limits: WorkerLimits
    package var isolates: IsolateSettings
    package var cache: CacheSettings
    package var observability: ObservabilitySettings
    package var smoke: [SmokeTest]
    package var migrations: [ClassMigration]
    package var assets: AssetSettings?
    package var outbound: OutboundSettings
    /// Workers that are told of each invocation after it ended.
    package var tailConsumers: [String]
    /// `nil` builds the product with SwiftPM.
    package var build: BuildSettings?
    /// Where the configuration names the worker.
    package var place: SourcePlace

    package func binding(_ name: String) -> Binding? { bindings.first { $0.name == name } }
}

package struct BuildSettings: Equatable, Sendable {
    package var command: String?
    /// Where the command runs, relative to the configuration file.
    package var directory: String?
    /// Folders whose change builds anew.
    package var watch: [String]
}

package struct WorkerRoute: Sendable {
    package let pattern: RoutePattern
    package let place: SourcePlace
}

package struct WorkerDomain: Sendable {
    package let domain: CustomDomain
    package let place: SourcePlace
}

package struct WorkerLimits: Equatable, Sendable {
    package var profile: LimitProfile
    package var cpu: Duration
    package var wall: Duration
    package var memoryByteCount: Int
    package var subrequests: Int
    package var bodyByteCount: Int
}

package struct IsolateSettings: Equatable, Sendable {
    /// 0...256; with 0 the first request starts one.
    package var countMin: Int
    /// 1...256
    package var countMax: Int
    /// Streams at a time in one isolate.
    package var concurrency: Int
    /// After which an isolate above the minimum ends.
    package var idleTimeout: Duration
}

package struct CacheSettings: Equatable, Sendable {
    /// What holds for some paths; the first that matches counts.
    package struct Rule: Equatable, Sendable {
        /// Starts with a slash; with a `*` at its end, all that start so.
        package var path: String
        /// `nil`: the worker's.
        package var timeToLive: Duration?
        /// Whether these always reach the worker.
        package var bypasses: Bool
    }
    package var isEnabled: Bool
    package var timeToLive: Duration
    package var isSharedByVersions: Bool
    package var rules: [Rule] = []
}

package struct ObservabilitySettings: Equatable, Sendable {
    /// The share of requests recorded, 0...1.
    package var sampling: Double
    package var logs: Bool
    package var traces: Bool
}

/// A request that a new version must answer before it gets traffic.
package struct SmokeTest: Equatable, Sendable {
    package var method: String
    /// With its query.
    package var path: String
    package var headers: [String: String]
    package var body: String?
    package var status: Int
    package var deadline: Duration
    /// What the answer's body must hold.
    package var contains: String?
    /// What the answer's headers must be.
    package var responseHeaders: [String: String] = [:]
    /// What the answer, as JSON, must have where: JSON pointer (RFC 6901) → a JSON text.
    package var json: [String: String] = [:]

    package init(
        method: String, path: String, headers: [String: String], body: String?, status: Int, deadline: Duration,
        contains: String?
    ) {
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.status = status
        self.deadline = deadline
        self.contains = contains
    }
}

/// One step in the life of durable object classes.
package struct ClassMigration: Equatable, Sendable {
    package struct Renaming: Equatable, Sendable {
        package let from: String
        package let to: String

        package init(from: String, to: String) {
            self.from = from
            self.to = to
        }
    }
    package struct Transfer: Equatable, Sendable {
        package let from: String
        package let fromWorker: String
        package let to: String

        package init(from: String, fromWorker: String, to: String) {
            self.from = from
            self.fromWorker = fromWorker
            self.to = to
        }
    }
    package var tag: String
    package var newSQLiteClasses: [String]
    package var newClasses: [String]
    package var renamedClasses: [Renaming]
    package var deletedClasses: [String]
    package var transferredClasses: [Transfer]

    package init(
        tag: String, newSQLiteClasses: [String] = [], newClasses: [String] = [], renamedClasses: [Renaming] = [],
        deletedClasses: [String] = [], transferredClasses: [Transfer] = []
    ) {
        self.tag = tag
        self.newSQLiteClasses = newSQLiteClasses
        self.newClasses = newClasses
        self.renamedClasses = renamedClasses
        self.deletedClasses = deletedClasses
        self.transferredClasses = transferredClasses
    }
}

package struct AssetSettings: Equatable, Sendable {
    package enum HTMLHandling: String, CaseIterable, Sendable {
        case autoTrailingSlash = "auto-trailing-slash"
        case forceTrailingSlash = "force-trailing-slash"
        case dropTrailingSlash = "drop-trailing-slash"
        case none
    }
    package enum NotFound: String, CaseIterable, Sendable {
        case none
        case notFoundPage = "404-page"
        case singlePageApplication = "single-page-application"
    }
    package enum WorkerFirst: Equatable, Sendable {
        case never
        case always
        case paths([String])
    }
    package var directory: String
    package var binding: String?
    package var html: HTMLHandling
    package var notFound: NotFound
    package var workerFirst: WorkerFirst
}

/// What of the internet a worker's `fetch` may reach. Nothing unless it says so.
package struct OutboundSettings: Equatable, Sendable {
    package var allow: [OutboundRule]
    /// Whether loopback, private and link-local addresses may be reached, by name or by number.
    package var isPrivateAllowed: Bool

    package func allows(host: String, port: UInt16) -> Bool {
        allow.contains { $0.allows(host: host, port: port) }
    }
}
