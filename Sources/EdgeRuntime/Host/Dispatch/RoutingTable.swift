package import HTTP

/// Where a request goes.
package struct RouteTarget: Sendable {
    package let release: ReleaseRuntime
    package let worker: WorkerRuntime

    package init(release: ReleaseRuntime, worker: WorkerRuntime) {
        self.release = release
        self.worker = worker
    }
}

/// Maps host and path to a worker of a release. Immutable: a cutover replaces the whole table, and each request is
/// decided once, on one table, without a lock.
package final class RoutingTable: Sendable {
    enum Match {
        case worker(RouteTarget)
        case unknownHost
        case noRoute
    }

    private let table: RouteTable<RouteTarget>

    package init(_ table: RouteTable<RouteTarget>) { self.table = table }

    static let empty = RoutingTable(RouteTable(routes: []))

    func match(host: UnsafeRawBufferPointer, pathAndQuery: UnsafeRawBufferPointer) -> Match {
        switch unsafe table.matcher.match(host: host.bytes, target: pathAndQuery.bytes, scheme: .http) {
        case .route(let index), .domain(let index): .worker(table.payloads[index])
        case .unknownHost: .unknownHost
        case .knownHost: .noRoute
        }
    }
}
