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
        /// No worker has the path; behind the host's workers stands this server.
        case origin(String)
        case unknownHost
        case noRoute
    }

    private let table: RouteTable<RouteTarget>
    /// Asked for what `table` knows the host of, but not the path.
    private let origins: RouteTable<String>

    /// - Parameter origins: for whole hosts, of the servers behind their workers.
    package init(
        _ table: RouteTable<RouteTarget>, origins: RouteTable<String> = RouteTable(routes: [])
    ) {
        self.table = table
        self.origins = origins
    }

    static let empty = RoutingTable(RouteTable(routes: []))

    func match(host: UnsafeRawBufferPointer, pathAndQuery: UnsafeRawBufferPointer) -> Match {
        switch unsafe table.matcher.match(host: host.bytes, target: pathAndQuery.bytes, scheme: .http) {
        case .route(let index), .domain(let index): .worker(table.payloads[index])
        case .unknownHost: .unknownHost
        case .knownHost: unsafe origin(host: host, pathAndQuery: pathAndQuery)
        }
    }

    private func origin(host: UnsafeRawBufferPointer, pathAndQuery: UnsafeRawBufferPointer) -> Match {
        switch unsafe origins.matcher.match(host: host.bytes, target: pathAndQuery.bytes, scheme: .http) {
        case .route(let index): .origin(origins.payloads[index])
        case .domain, .unknownHost, .knownHost: .noRoute
        }
    }
}
