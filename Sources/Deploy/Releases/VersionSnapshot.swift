internal import Host
internal import Interfaces

/// What a version is besides its code: all that an isolate of it is started with. Kept as JSON with the version, so that it
/// can be started again when the configuration, or the upload, that it came from is gone.
package struct VersionSnapshot: Codable, Equatable, Sendable {
    /// A binding that calls a store or another worker, or is answered by the node.
    package struct Binding: Codable, Equatable, Sendable {
        package var name: String
        package var target: WorkerDescription.Binding
        /// The JSON object that brought it, for those who ask; `nil`: it came from the configuration.
        package var upload: String?

        package init(_ name: String, _ target: WorkerDescription.Binding, upload: String? = nil) {
            self.name = name
            self.target = target
            self.upload = upload
        }
    }

    package struct Variable: Codable, Equatable, Sendable {
        package var name: String
        package var value: String
        package var isJSON: Bool

        package init(_ name: String, _ value: String, isJSON: Bool) {
            self.name = name
            self.value = value
            self.isJSON = isJSON
        }
    }

    /// A secret by where its value lies: see `VersionSecrets`.
    package struct Secret: Codable, Equatable, Sendable {
        package var name: String
        package var reference: String

        package init(name: String, reference: String) {
            self.name = name
            self.reference = reference
        }
    }

    package struct Limits: Codable, Equatable, Sendable {
        var cpuNanoseconds: Int64
        var memoryByteCount: Int
        var subrequestsMax: Int
        var concurrency: Int
        var bodyBytesMax: Int
        var wallNanoseconds: Int64?
        var outboundHosts: [String]?
        var isPrivateAllowed: Bool
        var requestsPerDayMax: Int?
    }

    struct Size: Codable, Equatable, Sendable {
        var min: Int
        var max: Int
        var idleNanoseconds: Int64
    }

    struct Cache: Codable, Equatable, Sendable {
        struct Rule: Codable, Equatable, Sendable {
            var path: String
            var timeToLive: Int64?
            var bypasses: Bool
        }
        var timeToLive: Int64
        var isSharedByVersions: Bool
        var rules: [Rule]
    }

    package var bindings: [Binding] = []
    package var variables: [Variable] = []
    package var secrets: [Secret] = []
    var limits: Limits
    var size: Size
    var cache: Cache?
    var origin: String?
    /// The last migration of the worker's classes that was applied when it was made, or with it; `nil`: none.
    package var migrationTag: String?
    package var tag = ""
    /// What the upload called its code.
    package var mainModule = "worker"
    package var compatibilityDate = ""
    package var compatibilityFlags: [String] = []
    /// Further settings of the upload, as a JSON object: usage model, placement, limits.
    package var settings = "{}"

    /// Of a worker that was uploaded: may use what the defaults allow, and has no isolate while nobody asks.
    package init() {
        limits = Limits(Host.WorkerLimits(), requestsPerDayMax: nil)
        size = Size(PoolSize(min: 0, max: 8, idleTimeout: .seconds(300)))
    }

    /// CPU time that one event may use.
    package mutating func setCPULimit(_ duration: Duration) { limits.cpuNanoseconds = duration.wholeNanoseconds }

    package mutating func setSubrequestsMax(_ count: Int) { limits.subrequestsMax = count }
}

extension VersionSnapshot {
    /// - Parameter secrets: where the values of the worker's secrets lie.
    init(_ worker: WorkerDescription, secrets: [Secret]) {
        bindings = worker.bindings.map { Binding($0.name, $0.binding) }
        variables = worker.variables.map { variable in
            switch variable.value {
            case .text(let text): Variable(variable.name, text, isJSON: false)
            case .json(let text): Variable(variable.name, text, isJSON: true)
            }
        }
        self.secrets = secrets
        limits = Limits(worker.limits, requestsPerDayMax: worker.requestsPerDayMax)
        size = Size(worker.size)
        cache = worker.frontCache.map(Cache.init)
        origin = worker.origin
        migrationTag = worker.migrations.last?.tag
        tag = worker.tag
    }
}

extension WorkerDescription {
    /// The worker as `version` has it: without what is not part of a version, such as routes and crons.
    init(_ name: String, _ snapshot: VersionSnapshot, executable: String) {
        self.init(name: name, executable: executable)
        tag = snapshot.tag
        bindings = snapshot.bindings.map { ($0.name, $0.target) }
        variables = snapshot.variables.map { ($0.name, $0.isJSON ? .json($0.value) : .text($0.value)) }
        secrets = snapshot.secrets.map(\.name)
        limits = snapshot.limits.limits
        requestsPerDayMax = snapshot.limits.requestsPerDayMax
        size = snapshot.size.size
        origin = snapshot.origin
        frontCache = snapshot.cache.map { cache in
            FrontCache(
                timeToLive: cache.timeToLive, isSharedByVersions: cache.isSharedByVersions,
                rules: cache.rules.map { .init(path: $0.path, timeToLive: $0.timeToLive, bypasses: $0.bypasses) })
        }
    }
}

extension VersionSnapshot.Limits {
    init(_ limits: Host.WorkerLimits, requestsPerDayMax: Int?) {
        cpuNanoseconds = limits.cpu.wholeNanoseconds
        memoryByteCount = limits.memoryByteCount
        subrequestsMax = limits.subrequestsMax
        concurrency = limits.concurrency
        bodyBytesMax = limits.bodyBytesMax
        wallNanoseconds = limits.wall?.wholeNanoseconds
        outboundHosts = limits.outbound.hosts
        isPrivateAllowed = limits.outbound.privateAddresses
        self.requestsPerDayMax = requestsPerDayMax
    }

    var limits: Host.WorkerLimits {
        Host.WorkerLimits(
            cpu: .nanoseconds(cpuNanoseconds), memoryByteCount: memoryByteCount, subrequestsMax: subrequestsMax,
            concurrency: concurrency, bodyBytesMax: bodyBytesMax, wall: wallNanoseconds.map { .nanoseconds($0) },
            outbound: OutboundPermission(hosts: outboundHosts, privateAddresses: isPrivateAllowed))
    }
}

extension VersionSnapshot.Size {
    init(_ size: PoolSize) {
        min = size.min
        max = size.max
        idleNanoseconds = size.idleTimeout.wholeNanoseconds
    }

    var size: PoolSize { PoolSize(min: min, max: max, idleTimeout: .nanoseconds(idleNanoseconds)) }
}

extension VersionSnapshot.Cache {
    init(_ cache: FrontCache) {
        timeToLive = cache.timeToLive
        isSharedByVersions = cache.isSharedByVersions
        rules = cache.rules.map { Rule(path: $0.path, timeToLive: $0.timeToLive, bypasses: $0.bypasses) }
    }
}
