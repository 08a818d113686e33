internal import Caching
internal import HTTP
package import Host
package import StoresR2

/// The routes of all tenants of a node. Each tenant changes its own; the node gets the whole, as one table.
package actor RoutingDirectory {
    private let node: Node
    private let makeBucket: BucketMaker
    private var entries: [String: Entry] = [:]
    /// The buckets that everybody may read, by tenant. Their routes come and go with the tenant's others.
    private var buckets: [String: [PublicBucket]] = [:]
    /// Host names that are being given to buckets, by the tenant that does.
    private var claims: [String: String] = [:]
    /// How many tables were made.
    private var generation: UInt64 = 0

    /// A release, with the routes that are its own.
    private struct Entry {
        var description: ReleaseDescription
        var split: TrafficSplit
        /// Who knows its versions by name; `nil`: they have no names.
        var previews: (any PreviewResolver)?
        /// Releases that requests may ask for by their numbers: these two, while there are two.
        var numbered: [(description: ReleaseDescription, split: TrafficSplit)] = []
    }

    /// Makes what answers for a bucket.
    package typealias BucketMaker = @Sendable (R2BucketDomain, EmbeddedR2Store) -> any LocalHandler

    /// A bucket at a host name.
    private struct PublicBucket {
        var domain: R2BucketDomain
        var store: EmbeddedR2Store
        /// Where clients find it.
        var hosts: [String]

        /// Whether it has its name still: a bucket may have been deleted since.
        var isRecorded: Bool { (try? store.hasDomain(domain.name, recordedAs: domain.record)) ?? false }
    }

    /// What the node's own names of buckets end with on every machine (RFC 6761 §6.3).
    package static let localBuckets = "r2.localhost"
    /// What they end with for clients elsewhere.
    nonisolated let bucketDomain: String

    /// - Parameters:
    ///   - domain: the node's own, for names of buckets.
    ///   - buckets: makes what answers at the hosts of public buckets.
    package init(node: Node, domain: String = "localhost", buckets: @escaping BucketMaker) {
        self.node = node
        bucketDomain = "r2.\(domain)"
        makeBucket = buckets
    }

    /// - Throws: `RoutingConflict` when another tenant, or a bucket, has a host or a pattern that `description` wants.
    func check(_ description: ReleaseDescription) throws(RoutingConflict) {
        for domain in description.workers.flatMap(\.domains) {
            if let owner = bucketOwner(of: domain.host) {
                throw RoutingConflict(claim: "\(domain)", owner: owner, isOfBucket: true)
            }
        }
        let others = entries.filter { $0.key != description.tenant }.sorted { $0.key < $1.key }
        for (tenant, entry) in others {
            for worker in entry.description.workers {
                for mine in description.workers {
                    for domain in mine.domains where worker.domains.contains(where: { $0.host == domain.host }) {
                        throw RoutingConflict(claim: "\(domain)", owner: tenant)
                    }
                    for route in mine.routes where worker.routes.contains(where: { $0.ties(with: route) }) {
                        throw RoutingConflict(claim: "\(route)", owner: tenant)
                    }
                }
                for route in description.bypasses where worker.routes.contains(where: { $0.ties(with: route) }) {
                    throw RoutingConflict(claim: "\(route)", owner: tenant)
                }
            }
        }
    }

    // MARK: Buckets

    /// The tenant one of whose buckets has the host.
    private func bucketOwner(of host: String) -> String? {
        claims[host]
            ?? buckets.first { _, list in list.contains { $0.hosts.contains(host) && $0.isRecorded } }?.key
    }

    /// Keeps a host for a bucket of the tenant until `endClaim`, while it is recorded that the bucket has it.
    ///
    /// - Throws: `RoutingConflict` when a worker has it, or another tenant's bucket.
    func claim(_ host: String, tenant: String) throws(RoutingConflict) {
        if let owner = workerOwner(of: host) { throw RoutingConflict(claim: host, owner: owner) }
        if let owner = bucketOwner(of: host), owner != tenant || claims[host] != nil {
            throw RoutingConflict(claim: host, owner: owner, isOfBucket: true)
        }
        claims[host] = tenant
    }

    func endClaim(_ host: String) { claims[host] = nil }

    /// The tenant one of whose workers has the host.
    private func workerOwner(of host: String) -> String? {
        entries.first { _, entry in
            ([entry.description] + entry.numbered.map(\.description)).contains {
                $0.workers.contains { $0.domains.contains { $0.host == host } }
            }
        }?.key
    }

    /// Those of a tenant's domains that somebody else has: an archive may bring names that were given away since.
    func foreign(_ domains: [R2BucketDomain], tenant: String) -> [R2BucketDomain] {
        domains.filter { domain in
            guard !domain.isManaged else { return false }
            return workerOwner(of: domain.name) != nil || bucketOwner(of: domain.name).map { $0 != tenant } ?? false
        }
    }

    /// Replaces the buckets of the tenant that everybody may read.
    ///
    /// - Parameter hosts: where clients find a domain.
    func publish(
        _ domains: [R2BucketDomain], in store: EmbeddedR2Store, tenant: String, hosts: (R2BucketDomain) -> [String]
    ) async {
        let before = buckets[tenant] ?? []
        let isSame = before.map(\.domain) == domains && before.allSatisfy { $0.store === store }
        buckets[tenant] = domains.map { PublicBucket(domain: $0, store: store, hosts: hosts($0)) }
        // Without a release the tenant has no routes at all yet.
        guard !isSame, entries[tenant] != nil else { return }
        await installAll()
    }

    // MARK: Releases

    /// Sends new requests for the tenant's routes to the releases of `split`; those of other tenants stay where they are.
    ///
    /// - Parameter candidate: a release beside the one that serves. Its own routes count for those who ask for it by its number;
    ///   all others who get it come by the routes of the one that serves.
    func install(
        _ description: ReleaseDescription, _ split: TrafficSplit, previews: (any PreviewResolver)? = nil,
        beside candidate: (description: ReleaseDescription, split: TrafficSplit, percent: Int)? = nil
    ) async {
        var entry = Entry(description: description, split: split, previews: previews)
        if let candidate {
            entry.split = split.adding(
                candidate: candidate.split, percent: candidate.percent, affinity: candidate.description.affinity,
                shadowPercent: candidate.description.shadowPercent)
            entry.numbered = [(description, split), (candidate.description, candidate.split)]
        }
        entries[description.tenant] = entry
        await installAll()
    }

    /// What the release with this number is, while requests get to it.
    func description(of release: Int64, tenant: String) -> ReleaseDescription? {
        guard let entry = entries[tenant] else { return nil }
        return entry.numbered.first { $0.description.number == release }?.description
            ?? (entry.description.number == release ? entry.description : nil)
    }

    /// Takes the tenant's routes away; its hosts are unknown to the node from now on.
    func remove(_ tenant: String) async {
        buckets[tenant] = nil
        guard entries.removeValue(forKey: tenant) != nil else { return }
        await installAll()
    }

    private func installAll() async {
        generation += 1
        let sorted = entries.sorted { $0.key < $1.key }.map(\.value)
        let numbered = sorted.flatMap { entry in
            entry.numbered.map { description, split in
                RoutingTable.Numbered(
                    number: description.number, routes: Self.table([Entry(description: description, split: split)]))
            }
        }
        await node.install(Self.table(sorted, numbered: numbered, buckets: bucketRoutes, generation: generation))
    }

    /// Where requests for public buckets come in.
    private struct BucketRoutes {
        var routes: [(pattern: RoutePattern, payload: RouteDestination)] = []
        var domains: [(domain: CustomDomain, payload: RouteDestination)] = []
    }

    private var bucketRoutes: BucketRoutes {
        var found = BucketRoutes()
        for (tenant, list) in buckets.sorted(by: { $0.key < $1.key }) where entries[tenant] != nil {
            for bucket in list where bucket.domain.isEnabled {
                let target = RouteDestination.local(
                    LocalTarget(tenant: tenant, handler: makeBucket(bucket.domain, bucket.store)))
                for host in bucket.hosts {
                    if bucket.domain.isManaged {
                        // No worker stands before the node's own names.
                        guard let pattern = try? RoutePattern("\(host)/*", for: bucket.domain.bucket) else { continue }
                        found.routes.append((pattern, target))
                    } else if let domain = try? CustomDomain(host, for: bucket.domain.bucket) {
                        found.domains.append((domain, target))
                    }
                }
            }
        }
        return found
    }

    private static func table(
        _ entries: [Entry], numbered: [RoutingTable.Numbered] = [], buckets: BucketRoutes = BucketRoutes(),
        generation: UInt64 = 0
    ) -> RoutingTable {
        var routes = buckets.routes
        var domains = buckets.domains
        var zones: [(pattern: RoutePattern, payload: RoutingTable.Zone)] = []
        for entry in entries {
            let release = entry.split.primary
            let split = entry.split.isSplit ? entry.split : nil
            routes += entry.description.bypasses.map { ($0, .nothing(tenant: release.tenant)) }
            for worker in entry.description.workers {
                let target: (_ host: String) -> RouteDestination
                if let runtime = release.workers[worker.name] {
                    target = { host in
                        .worker(RouteTarget(release: release, worker: runtime, zone: ZoneName.of(host: host), split: split))
                    }
                } else if let site = SiteTarget(release: release, name: worker.name, split: split) {
                    target = { _ in .site(site) }
                } else {
                    continue
                }
                routes += worker.routes.map { ($0, target($0.host)) }
                domains += worker.domains.map { ($0, target($0.host)) }
                let origin = worker.origin.map { OriginTarget(url: $0, bodyBytesMax: worker.limits.bodyBytesMax) }
                let zone = RoutingTable.Zone(tenant: entry.description.tenant, origin: origin)
                // A pattern for all hosts makes none of them the tenant's own.
                zones += worker.routes.compactMap { route in
                    route.host.isEmpty && origin == nil ? nil : route.wholeHost.map { ($0, zone) }
                }
            }
        }
        var resolvers: [String: [any PreviewResolver]] = [:]
        for entry in entries {
            guard case .domain(let domain) = entry.description.previews, let resolver = entry.previews else { continue }
            resolvers[domain, default: []].append(resolver)
        }
        for (domain, resolvers) in resolvers {
            // A domain that makes no pattern, such as one with a port, can have no hosts below it either.
            guard let pattern = try? RoutePattern("*.preview.\(domain)/*", for: "previews") else { continue }
            routes.append((pattern, .previews(resolvers)))
        }
        return RoutingTable(
            RouteTable(routes: routes, domains: domains),
            // Of several workers on one host, one with an origin speaks for it.
            zones: RouteTable(routes: zones.filter { $0.payload.origin != nil } + zones.filter { $0.payload.origin == nil }),
            numbered: numbered, generation: generation)
    }
}

/// Two tenants of a node want the same requests.
package struct RoutingConflict: Error, Sendable, CustomStringConvertible {
    package let claim: String
    package let owner: String
    /// Whether one of the owner's buckets has it, not a worker.
    package var isOfBucket = false

    package var description: String {
        if isOfBucket {
            return "\(claim) leads to a bucket of the tenant \"\(owner)\" on this node: take it away there, or choose another"
        }
        return "\(claim) belongs to the tenant \"\(owner)\" on this node: choose another host or path"
    }
}
