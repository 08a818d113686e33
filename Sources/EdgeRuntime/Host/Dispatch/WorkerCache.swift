internal import Caching
package import Stores

/// The tenant's cache, as one worker has it.
package struct WorkerCache: Sendable {
    package let store: any ResponseCache
    /// What answers the worker's own calls.
    package let service: any StoreService
    /// `nil`: each request reaches the worker.
    package let front: FrontCache?
    /// The zone of events that no request has caused: that of the worker's first route.
    package let homeZone: String

    package init(store: any ResponseCache, service: any StoreService, front: FrontCache?, homeZone: String = "") {
        self.homeZone = homeZone
        self.store = store
        self.service = service
        self.front = front
    }
}

/// How the node answers for a worker.
package struct FrontCache: Equatable, Sendable {
    /// For some of the worker's paths; the first that matches counts.
    package struct Rule: Equatable, Sendable {
        /// A path; with a `*` at its end, all that start so.
        package var path: String
        /// As `FrontCache.timeToLive`.
        package var timeToLive: Int64?
        /// These always reach the worker.
        package var bypasses: Bool

        package init(path: String, timeToLive: Int64?, bypasses: Bool) {
            self.path = path
            self.timeToLive = timeToLive
            self.bypasses = bypasses
        }

        func matches(_ candidate: String) -> Bool {
            path.hasSuffix("*") ? candidate.utf8.starts(with: path.utf8.dropLast()) : candidate == path
        }
    }

    /// Seconds that a response without any word about freshness is kept; 0: not at all.
    package var timeToLive: Int64
    package var isSharedByVersions: Bool
    package var rules: [Rule]

    package init(timeToLive: Int64, isSharedByVersions: Bool = false, rules: [Rule] = []) {
        self.timeToLive = timeToLive
        self.isSharedByVersions = isSharedByVersions
        self.rules = rules
    }

    /// - Parameter url: without a fragment.
    /// - Returns: what its response is kept for by default; `nil` when the cache is not asked.
    func lifetime(of url: String) -> DefaultLifetime? {
        // A pattern is looked at only where there is one: most workers have none.
        let path = rules.isEmpty ? "" : Self.path(of: url)
        let rule = rules.first { $0.matches(path) }
        if rule?.bypasses == true { return nil }
        return .atMost(rule?.timeToLive ?? timeToLive)
    }

    private static func path(of url: String) -> String {
        let authority = url.utf8.firstIndex(of: 0x3A).map { url.utf8[$0...].dropFirst(3) } ?? url.utf8[...]
        guard let start = authority.firstIndex(of: 0x2F) else { return "/" }
        return String(Substring(authority[start...].prefix { $0 != 0x3F }))
    }

    func scope(of worker: WorkerRuntime) -> CacheScope {
        .worker(worker.name, version: isSharedByVersions ? nil : worker.configuration.version)
    }
}
