internal import Caching
internal import HTTP
package import Host

/// The routes of all tenants of a node. Each tenant changes its own; the node gets the whole, as one table.
package actor RoutingDirectory {
    private let node: Node
    private var entries: [String: Entry] = [:]
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

    package init(node: Node) { self.node = node }

    /// - Throws: `RoutingConflict` when another tenant has a host or a pattern that `description` wants.
    func check(_ description: ReleaseDescription) throws(RoutingConflict) {
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
        await node.install(Self.table(sorted, numbered: numbered, generation: generation))
    }

    private static func table(
        _ entries: [Entry], numbered: [RoutingTable.Numbered] = [], generation: UInt64 = 0
    ) -> RoutingTable {
        var routes: [(pattern: RoutePattern, payload: RouteDestination)] = []
        var domains: [(domain: CustomDomain, payload: RouteDestination)] = []
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

    package var description: String {
        "\(claim) belongs to the tenant \"\(owner)\" on this node: choose another host or path"
    }
}
