internal import Caching
package import Stores

/// The tenant's cache, as one worker has it.
package struct WorkerCache: Sendable {
    package let store: any ResponseCache
    /// What answers the worker's own calls.
    package let service: any StoreService
    /// `nil`: each request reaches the worker.
    package let front: FrontCache?

    package init(store: any ResponseCache, service: any StoreService, front: FrontCache?) {
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

    /// - Returns: what a response of `path` is kept for by default; `nil` when the cache is not asked.
    func lifetime(of path: String) -> DefaultLifetime? {
        let rule = rules.first { $0.matches(path) }
        if rule?.bypasses == true { return nil }
        return .atMost(rule?.timeToLive ?? timeToLive)
    }

    func scope(of worker: WorkerRuntime) -> CacheScope {
        .worker(worker.name, version: isSharedByVersions ? nil : worker.configuration.version)
    }
}
