/// How a tenant's requests are shared out while it has more than one release in service, or more than one version of some
/// workers. Immutable.
///
/// Releases are drawn, not versions: a request gets a point of 10,000 once, where it comes in, and the release that has the
/// point. All calls of services within it stay in that release. Releases, and the versions of each worker, lie side by side
/// on the same line, the oldest first; where one's border lies, a new part begins. So what gets a higher share only takes
/// points from its older neighbours, and a key whose point it has stays with it.
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

    /// The one that serves, with what most requests get: for events that are given to one release only.
    package let primary: ReleaseRuntime
    package let affinity: Affinity
    /// Who gets copies of requests; `nil`: nobody.
    let shadow: TrafficShadow?
    private let parts: [Part]
    /// Worker → version → its runtime: all that are deployed, also those without a share.
    private let versions: [String: [String: WorkerRuntime]]
    /// What was put together, the oldest first, each with the first point that isn't its own; empty: nothing was.
    private let members: [(end: Int, split: TrafficSplit)]
    /// Where a key lies.
    private let pointOfKey: @Sendable (String) -> Int

    /// - Parameter parts: in order; the last one ends at `pointCount`.
    package convenience init(
        primary: ReleaseRuntime, parts: [Part], versions: [String: [String: WorkerRuntime]],
        affinity: Affinity = .none, pointOfKey: @escaping @Sendable (String) -> Int
    ) {
        self.init(
            primary: primary, affinity: affinity, parts: parts, versions: versions, members: [], pointOfKey: pointOfKey)
    }

    private init(
        primary: ReleaseRuntime, affinity: Affinity, parts: [Part], versions: [String: [String: WorkerRuntime]],
        members: [(end: Int, split: TrafficSplit)], shadow: TrafficShadow? = nil,
        pointOfKey: @escaping @Sendable (String) -> Int
    ) {
        self.shadow = shadow
        self.primary = primary
        self.affinity = affinity
        self.parts = parts
        self.versions = versions
        self.members = members
        self.pointOfKey = pointOfKey
    }

    /// Of one release alone.
    package convenience init(
        _ release: ReleaseRuntime, affinity: Affinity = .none,
        pointOfKey: @escaping @Sendable (String) -> Int = { _ in 0 }
    ) {
        self.init(
            primary: release, parts: [Part(end: Self.pointCount, release: release)], versions: [:], affinity: affinity,
            pointOfKey: pointOfKey)
    }

    /// `self`, which serves, beside a newer release that gets some of the requests. Events that one release alone gets stay
    /// with `self`.
    ///
    /// - Parameters:
    ///   - candidate: gets the upper end of the line, also where it has versions that share it.
    ///   - percent: 0 to 100. At 0 it is reached by an override alone.
    ///   - shadowPercent: of safe requests that go elsewhere, how many it gets a copy of.
    package func adding(
        candidate: TrafficSplit, percent: Int, affinity: Affinity, shadowPercent: Int = 0
    ) -> TrafficSplit {
        precondition((0...100).contains(percent), "a share is 0 to 100 per cent")
        let border = Self.pointCount - percent * Self.pointCount / 100
        let older = parts.filter { $0.end < border }
        var joined = older
        if border > 0 { joined.append(Part(end: border, release: release(at: border - 1))) }
        joined += candidate.parts.filter { $0.end > border }
        let members = self.members.isEmpty ? [(end: border, split: self)] : self.members.map { (min($0.end, border), $0.split) }
        return TrafficSplit(
            primary: primary, affinity: affinity, parts: joined, versions: [:],
            members: members + [(Self.pointCount, candidate)],
            shadow: shadowPercent > 0 ? TrafficShadow(candidate: candidate, percent: shadowPercent) : nil,
            pointOfKey: pointOfKey)
    }

    /// The release whose calls a version of a worker belongs to.
    package func release(of worker: WorkerRuntime) -> ReleaseRuntime {
        parts.first { $0.release.workers[worker.name] === worker }?.release ?? primary
    }

    /// Whether there is anything to decide.
    package var isSplit: Bool { !versions.isEmpty || !members.isEmpty }
    /// Whether the point matters: not while all that isn't reached by an override alone is one release.
    package var hasShares: Bool { parts.count > 1 }

    package func point(of key: String) -> Int { pointOfKey(key) }

    package func release(at point: Int) -> ReleaseRuntime {
        (parts.first { point < $0.end } ?? parts.last)?.release ?? primary
    }

    /// Of a point that is drawn now.
    package func draw() -> ReleaseRuntime {
        release(at: hasShares ? Int.random(in: 0..<Self.pointCount) : 0)
    }

    // MARK: Versions that a request asks for

    /// The release of a request with `point` that asks for versions: the one that has them, and in it those of them that are
    /// deployed; what isn't is passed over.
    package func release(at point: Int, with overrides: [(worker: String, version: String)]) -> ReleaseRuntime {
        guard !overrides.isEmpty else { return release(at: point) }
        guard let drawn = members.first(where: { point < $0.end })?.split else {
            return release(release(at: point), with: overrides)
        }
        var chosen = drawn
        var matchCount = drawn.matchCount(overrides)
        for (_, split) in members.reversed() {
            let count = split.matchCount(overrides)
            if count > matchCount { (chosen, matchCount) = (split, count) }
        }
        return chosen.release(chosen.release(at: point), with: overrides)
    }

    /// How many of the versions are deployed here.
    private func matchCount(_ overrides: [(worker: String, version: String)]) -> Int {
        overrides.count { worker, version in
            versions[worker]?[version] != nil || primary.workers[worker]?.configuration.version == version
        }
    }

    /// `release` with other versions of some workers; those that aren't deployed are passed over.
    private func release(_ release: ReleaseRuntime, with overrides: [(worker: String, version: String)]) -> ReleaseRuntime {
        var workers = release.workers
        for (worker, version) in overrides {
            guard let runtime = versions[worker]?[version] else { continue }
            workers[worker] = runtime
        }
        let isSame = workers.allSatisfy { release.workers[$0.key] === $0.value }
        return isSame ? release : release.replacing(workers: workers)
    }

    // MARK: Targets

    /// Where `target` leads in `release`; a worker that it doesn't have is answered as before.
    static func target(_ target: RouteTarget, in release: ReleaseRuntime) -> RouteTarget {
        guard let worker = release.workers[target.worker.name] else { return target }
        return RouteTarget(release: release, worker: worker, zone: target.zone)
    }
}
