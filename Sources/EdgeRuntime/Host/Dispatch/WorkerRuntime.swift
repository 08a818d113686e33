package import Interfaces
package import Stores
internal import Synchronization
internal import Wire

/// A consistent set of workers in service: what a request that was routed here may reach. Immutable.
package final class ReleaseRuntime: Sendable {
    /// Names the release in logs.
    package let name: String
    /// As the journal of releases counts them, from 1; 0: it isn't in there.
    package let number: Int64
    package let tenant: String
    package let workers: [String: WorkerRuntime]
    /// The files of those that have any, by worker; also of those that are nothing else.
    package let sites: [String: AssetSite]
    /// `Edge-Release: NUMBER`, with its end, for all answers of the release; `nil`: clients aren't told.
    let headerLine: [UInt8]?
    /// Counts what becomes of its requests. Runtimes of one release, with other versions of some workers, share it.
    package let meter: ReleaseMeter

    /// Whether answers say which release they are of.
    package enum Announcement: Sendable { case header, none }

    /// - Parameter meter: Of the release that this one belongs to; `nil`: it has its own.
    package convenience init(
        name: String, number: Int64 = 0, tenant: String, workers: [WorkerRuntime], sites: [String: AssetSite] = [:],
        announcement: Announcement = .none, meter: ReleaseMeter? = nil
    ) {
        self.init(
            name: name, number: number, tenant: tenant,
            workers: Dictionary(workers.map { ($0.name, $0) }) { first, _ in first }, sites: sites,
            headerLine: announcement == .header ? Array("Edge-Release: \(number)\r\n".utf8) : nil,
            meter: meter ?? ReleaseMeter(workers))
    }

    private init(
        name: String, number: Int64, tenant: String, workers: [String: WorkerRuntime], sites: [String: AssetSite],
        headerLine: [UInt8]?, meter: ReleaseMeter
    ) {
        self.meter = meter
        self.name = name
        self.number = number
        self.tenant = tenant
        self.workers = workers
        self.sites = sites
        self.headerLine = headerLine
    }

    /// The same release with other versions of its workers.
    func replacing(workers: [String: WorkerRuntime]) -> ReleaseRuntime {
        ReleaseRuntime(
            name: name, number: number, tenant: tenant, workers: workers, sites: sites, headerLine: headerLine, meter: meter)
    }

    /// The release with another version of a worker, to be looked at: what becomes of that counts for nobody else.
    package func preview(of worker: WorkerRuntime) -> ReleaseRuntime {
        var workers = workers
        workers[worker.name] = worker
        return ReleaseRuntime(
            name: name, number: number, tenant: tenant, workers: workers, sites: sites, headerLine: headerLine,
            meter: ReleaseMeter(Array(workers.values)))
    }
}

/// One version of one worker, ready to be called. Releases share it when the version is the same.
///
/// Whoever may still call it holds it: the releases that have it, and each open event of these. So when the last one lets
/// go, and not before, its isolates can end without anything being lost.
package final class WorkerRuntime: Sendable {
    package let name: String
    package let configuration: IsolateConfiguration
    package let bindings: [BindingTarget]
    package let limits: WorkerLimits
    package let pool: IsolatePool
    /// Scheme and authority of the server behind the worker: what it lets pass, and paths of its hosts that no worker has, go
    /// there.
    package let origin: String?
    /// What each request from outside must pass before the worker sees it.
    let requestLimits: [any RequestLimit]
    /// The tenant's cache; `nil`: it has none.
    package let cache: WorkerCache?
    /// The pool's place in each reactor's table.
    let slot: Int
    private let onUnreachable: @Sendable (IsolatePool) -> Void

    /// - Parameter onUnreachable: Called once, on any thread, when nothing can call the worker any more.
    package init(
        configuration: IsolateConfiguration, bindings: [BindingTarget], limits: WorkerLimits, pool: IsolatePool,
        origin: String? = nil, requestLimits: [any RequestLimit] = [], cache: WorkerCache? = nil,
        onUnreachable: @escaping @Sendable (IsolatePool) -> Void = { _ in }
    ) {
        self.onUnreachable = onUnreachable
        name = configuration.worker
        self.configuration = configuration
        self.bindings = bindings
        self.limits = limits
        self.pool = pool
        self.origin = origin
        self.requestLimits = requestLimits
        self.cache = cache
        slot = pool.slot
    }

    deinit { onUnreachable(pool) }

    private let outboundCount = OutboundCount()
    /// `nil` when it has as many transfers open as it may.
    func takeOutboundSlot() -> OutboundSlot? { OutboundSlot(outboundCount) }

    /// The store behind a binding's number, which an isolate sent.
    func store(_ binding: UInt16, for kind: CallKind) throws(WireError) -> any StoreService {
        if kind.isForCache {
            guard binding == CallHead.noBinding, let cache else { throw .invalidValue("binding number", offset: 2) }
            return cache.service
        }
        guard Int(binding) < bindings.count, case .store(let service) = bindings[Int(binding)] else {
            throw .invalidValue("binding number", offset: 2)
        }
        return service
    }
}

/// What answers a binding's calls. Its place is the binding's number.
package enum BindingTarget: Sendable {
    case store(any StoreService)
    /// A worker of the same release.
    case service(String)
    /// One of its entrypoints; requests go to the worker as above where that is the default one.
    case entrypoint(ServiceEntrypoint)
    /// The worker's own files, as the release has them.
    case assets
    /// A class of durable objects.
    case object(ObjectNamespace)
    /// Values that the isolate was told at its start: nobody to call.
    case values
}

/// What a service binding names beside the worker.
package struct ServiceEntrypoint: Equatable, Sendable {
    package var worker: String
    /// Empty: the default one.
    package var name: String
    /// JSON that its code gets with each call: who calls, as the configuration says it. Empty: nothing.
    package var props: String

    package init(worker: String, name: String = "", props: String = "") {
        self.worker = worker
        self.name = name
        self.props = props
    }
}

/// The limits of one worker, as its configuration and the environment's profile set them.
package struct WorkerLimits: Sendable {
    /// CPU time of one event.
    package var cpu: Duration
    package var memoryByteCount: Int
    package var subrequestsMax: Int
    /// Events that one isolate handles at once.
    package var concurrency: Int
    /// A request body.
    package var bodyBytesMax: Int
    /// The time a request may take in all; `nil`: as long as its client stays.
    package var wall: Duration?
    package var outbound: OutboundPermission

    package init(
        cpu: Duration = .seconds(30), memoryByteCount: Int = 128 << 20, subrequestsMax: Int = 1000,
        concurrency: Int = 64, bodyBytesMax: Int = 100 << 20, wall: Duration? = nil,
        outbound: OutboundPermission = OutboundPermission()
    ) {
        self.cpu = cpu
        self.memoryByteCount = memoryByteCount
        self.subrequestsMax = subrequestsMax
        self.concurrency = concurrency
        self.bodyBytesMax = bodyBytesMax
        self.wall = wall
        self.outbound = outbound
    }
}

/// Where a worker's own `fetch` may go.
package struct OutboundPermission: Sendable, Equatable {
    /// Hosts, with `*` at the start for all below one, with `:port` for that port alone, else for 80 and 443;
    /// `nil`: any public host and port.
    package var hosts: [String]?
    /// Whether private, loopback and link-local addresses may be reached.
    package var privateAddresses: Bool

    package init(hosts: [String]? = nil, privateAddresses: Bool = false) {
        self.hosts = hosts
        self.privateAddresses = privateAddresses
    }
}

extension BindingTarget {
    /// What it is of a worker, if it is a service.
    var entrypoint: ServiceEntrypoint? {
        switch self {
        case .service(let name): ServiceEntrypoint(worker: name)
        case .entrypoint(let entrypoint): entrypoint
        case .store, .object, .assets, .values: nil
        }
    }
}
