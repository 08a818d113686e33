internal import Caching
internal import HTTP
package import Host

/// The routes of all tenants of a node. Each tenant changes its own; the node gets the whole, as one table.
package actor RoutingDirectory {
    private let node: Node
    private var entries: [String: Entry] = [:]

    private struct Entry {
        var description: ReleaseDescription
        var split: TrafficSplit
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
    func install(_ description: ReleaseDescription, _ split: TrafficSplit) async {
        entries[description.tenant] = Entry(description: description, split: split)
        await installAll()
    }

    /// Takes the tenant's routes away; its hosts are unknown to the node from now on.
    func remove(_ tenant: String) async {
        guard entries.removeValue(forKey: tenant) != nil else { return }
        await installAll()
    }

    private func installAll() async {
        var routes: [(pattern: RoutePattern, payload: RouteDestination)] = []
        var domains: [(domain: CustomDomain, payload: RouteDestination)] = []
        var zones: [(pattern: RoutePattern, payload: RoutingTable.Zone)] = []
        for (_, entry) in entries.sorted(by: { $0.key < $1.key }) {
            let release = entry.split.primary
            routes += entry.description.bypasses.map { ($0, .nothing(tenant: release.tenant)) }
            for worker in entry.description.workers {
                let target: (_ host: String) -> RouteDestination
                if let runtime = release.workers[worker.name] {
                    let split = entry.split.isSplit ? entry.split : nil
                    target = { host in
                        .worker(RouteTarget(release: release, worker: runtime, zone: ZoneName.of(host: host), split: split))
                    }
                } else if let site = release.sites[worker.name] {
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
        await node.install(
            RoutingTable(
                RouteTable(routes: routes, domains: domains),
                // Of several workers on one host, one with an origin speaks for it.
                zones: RouteTable(routes: zones.filter { $0.payload.origin != nil } + zones.filter { $0.payload.origin == nil })
            ))
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
