/// How a tenant's requests are shared out while some of its workers have more than one version in service. Immutable.
///
/// Releases are drawn, not versions: a request gets a point of 10,000 once, where it comes in, and the release that has the
/// point. All calls of services within it stay in that release. Each worker has its versions side by side on the same line,
/// the oldest first; where one's border lies, a new release begins. So a version that gets a higher share only takes
/// points from its neighbours, and a key whose point it has stays with it.
package final class TrafficSplit: Sendable {
    package struct Part: Sendable {
        /// The first point that isn't its own.
        package let end: Int
        package let release: ReleaseRuntime

        package init(end: Int, release: ReleaseRuntime) {
            self.end = end
            self.release = release
        }
    }

    package static let pointCount = 10_000

    /// The one with what most requests get: for events that are given to one release only.
    package let primary: ReleaseRuntime
    private let parts: [Part]
    /// Worker → version → its runtime: all that are deployed, also those without a share.
    private let versions: [String: [String: WorkerRuntime]]
    /// Where a key lies.
    private let pointOfKey: @Sendable (String) -> Int

    /// - Parameter parts: in order; the last one ends at `pointCount`.
    package init(
        primary: ReleaseRuntime, parts: [Part], versions: [String: [String: WorkerRuntime]],
        pointOfKey: @escaping @Sendable (String) -> Int
    ) {
        self.primary = primary
        self.parts = parts
        self.versions = versions
        self.pointOfKey = pointOfKey
    }

    /// Of one release alone.
    package convenience init(_ release: ReleaseRuntime) {
        self.init(primary: release, parts: [Part(end: Self.pointCount, release: release)], versions: [:]) { _ in 0 }
    }

    /// Whether there is anything to decide.
    package var isSplit: Bool { !versions.isEmpty }

    func point(of key: String) -> Int { pointOfKey(key) }

    package func release(at point: Int) -> ReleaseRuntime {
        (parts.first { point < $0.end } ?? parts.last)?.release ?? primary
    }

    /// Of a point that is drawn now.
    package func draw() -> ReleaseRuntime {
        release(at: isSplit ? Int.random(in: 0..<Self.pointCount) : 0)
    }

    /// `release` with other versions of some workers; those that aren't deployed are passed over.
    func release(_ release: ReleaseRuntime, with overrides: [(worker: String, version: String)]) -> ReleaseRuntime {
        var workers = release.workers
        for (worker, version) in overrides {
            guard let runtime = versions[worker]?[version] else { continue }
            workers[worker] = runtime
        }
        let isSame = workers.allSatisfy { release.workers[$0.key] === $0.value }
        if isSame { return release }
        return ReleaseRuntime(
            name: release.name, tenant: release.tenant, workers: Array(workers.values), sites: release.sites, meter: release.meter)
    }

    /// Where `target` leads in `release`; a worker that it doesn't have is answered as before.
    static func target(_ target: RouteTarget, in release: ReleaseRuntime) -> RouteTarget {
        guard let worker = release.workers[target.worker.name] else { return target }
        return RouteTarget(release: release, worker: worker, zone: target.zone)
    }
}
