package import HTTP

/// Where a request goes.
package struct RouteTarget: Sendable {
    package let release: ReleaseRuntime
    package let worker: WorkerRuntime
    /// Files that may answer before the worker does.
    package let site: AssetSite?
    /// Of the host names that lead here: see `ZoneName`.
    package let zone: String
    /// Decides which release a request gets; `nil` when there is only this one.
    package let split: TrafficSplit?
    let meter: WorkerMeter?

    package init(release: ReleaseRuntime, worker: WorkerRuntime, zone: String = "", split: TrafficSplit? = nil) {
        self.zone = zone
        self.split = split
        self.release = release
        self.worker = worker
        site = release.sites[worker.name]
        meter = release.meter[worker.name]
    }
}

/// Where a request goes that files answer, without a worker behind them.
package struct SiteTarget: Sendable {
    package let release: ReleaseRuntime
    package let name: String
    package let site: AssetSite
    /// As a `RouteTarget`'s.
    package let split: TrafficSplit?

    /// - Parameter name: of one of the release's sites.
    package init?(release: ReleaseRuntime, name: String, split: TrafficSplit? = nil) {
        guard let site = release.sites[name] else { return nil }
        self.release = release
        self.name = name
        self.site = site
        self.split = split
    }
}

/// What the node itself answers for a tenant: at the host of a bucket that everybody may read.
package struct LocalTarget: Sendable {
    package let tenant: String
    package let handler: any LocalHandler

    package init(tenant: String, handler: any LocalHandler) {
        self.tenant = tenant
        self.handler = handler
    }
}

/// Finds versions of workers by host names of their own, also of those that get no other requests.
package protocol PreviewResolver: Sendable {
    /// - Parameter name: the host's first label, in small letters.
    /// - Returns: `nil` when it names nothing.
    func previewTarget(_ name: String) async -> Result<RouteTarget, PreviewFailure>?
}

/// Why a version can't be shown, in words for developers.
package struct PreviewFailure: Error, Sendable {
    package let reason: String
    package init(_ reason: String) { self.reason = reason }
}

/// What answers a route.
package enum RouteDestination: Sendable {
    case worker(RouteTarget)
    case site(SiteTarget)
    case local(LocalTarget)
    /// Versions of the workers of these tenants, who share a domain: the first that knows the host's name has it.
    case previews([any PreviewResolver])
    /// No worker, though less particular routes may have one.
    case nothing(tenant: String)

    var tenant: String {
        switch self {
        case .worker(let target): target.release.tenant
        case .site(let target): target.site.tenant
        case .local(let target): target.tenant
        case .nothing(let tenant): tenant
        // Nobody's: what is behind such a host is no worker's zone.
        case .previews: ""
        }
    }
}

/// The server behind a worker.
package struct OriginTarget: Sendable {
    /// Scheme and authority, and perhaps the start of all paths.
    package let url: String
    package let bodyBytesMax: Int

    package init(url: String, bodyBytesMax: Int) {
        self.url = url
        self.bodyBytesMax = bodyBytesMax
    }

    /// - Parameter target: path and query, starting with a slash.
    func url(for target: String) -> String { (url.hasSuffix("/") ? String(url.dropLast()) : url) + target }
}

/// Maps host and path to a worker of a release. Immutable: a cutover replaces the whole table, and each request is
/// decided once, on one table, without a lock.
package final class RoutingTable: Sendable {
    enum Match {
        case worker(RouteTarget)
        case site(SiteTarget)
        case local(LocalTarget)
        case previews([any PreviewResolver])
        /// No worker has the path; behind the host's workers stands this server.
        case origin(OriginTarget)
        case unknownHost
        case noRoute
    }

    private let table: RouteTable<RouteDestination>
    /// By host, whatever the path: asked for what `table` knows the host of, but not the path.
    private let zones: RouteTable<Zone>

    /// A host that has routes.
    package struct Zone: Sendable {
        package let tenant: String
        /// What stands behind the routes, if anything does.
        package let origin: OriginTarget?

        package init(tenant: String, origin: OriginTarget?) {
            self.tenant = tenant
            self.origin = origin
        }
    }

    /// A release that requests may ask for by its number (`Edge-Release-Override`), with its own routes alone.
    package struct Numbered: Sendable {
        package let number: Int64
        package let routes: RoutingTable

        package init(number: Int64, routes: RoutingTable) {
            self.number = number
            self.routes = routes
        }
    }

    /// Empty while each tenant has one release.
    let numbered: [Numbered]
    /// Of two tables that are on their way to a reactor, the one that was made last counts.
    let generation: UInt64

    package init(
        _ table: RouteTable<RouteDestination>, zones: RouteTable<Zone> = RouteTable(routes: []), numbered: [Numbered] = [],
        generation: UInt64 = 0
    ) {
        self.generation = generation
        self.table = table
        self.zones = zones
        self.numbered = numbered
    }

    static let empty = RoutingTable(RouteTable(routes: []))

    func match(host: UnsafeRawBufferPointer, pathAndQuery: UnsafeRawBufferPointer, scheme: RouteScheme) -> Match {
        switch unsafe table.matcher.match(host: host.bytes, target: pathAndQuery.bytes, scheme: scheme) {
        case .route(let index), .domain(let index):
            if let match = Self.match(table.payloads[index]) { return match }
            return unsafe behind(host)
        case .unknownHost: return .unknownHost
        case .knownHost: return unsafe behind(host)
        }
    }

    /// What stands behind the routes of `host`.
    private func behind(_ host: UnsafeRawBufferPointer) -> Match {
        unsafe zone(host: host)?.origin.map { .origin($0) } ?? .noRoute
    }

    /// What stands behind the routes of `host`, if they are `tenant`'s. `unknownHost`: they are not, or there are none.
    func matchBehindRoutes(
        host: UnsafeRawBufferPointer, tenant: String
    ) -> Match {
        if let domain = unsafe table.domain(host: host.bytes) {
            return domain.tenant == tenant ? Self.match(domain) ?? .noRoute : .unknownHost
        }
        guard let zone = unsafe zone(host: host), zone.tenant == tenant else { return .unknownHost }
        return zone.origin.map { .origin($0) } ?? .noRoute
    }

    private static func match(_ destination: RouteDestination) -> Match? {
        switch destination {
        case .worker(let target): .worker(target)
        case .site(let site): .site(site)
        case .local(let target): .local(target)
        case .previews(let resolvers): .previews(resolvers)
        case .nothing: nil
        }
    }

    private static let root = [UInt8(ascii: "/")]

    private func zone(host: UnsafeRawBufferPointer) -> Zone? {
        switch unsafe zones.matcher.match(host: host.bytes, target: Self.root.span.bytes, scheme: .http) {
        case .route(let index): zones.payloads[index]
        case .domain, .unknownHost, .knownHost: nil
        }
    }
}
