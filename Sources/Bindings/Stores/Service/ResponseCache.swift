package import Caching
package import HTTP

/// Responses kept for later requests: one store per tenant, whoever asks it.
///
/// Looking up touches no disk and may be done on a reactor; bodies come from the store's own threads.
package protocol ResponseCache: Sendable {
    /// What is stored under `key` for a request with these headers, fresh or not.
    ///
    /// - Parameter request: not asked for where nothing stored depends on it.
    func find(_ key: CacheKey, for request: @autoclosure () -> Headers) -> CacheHit?

    /// The stored body, or a part of it; `nil` when it was evicted meanwhile.
    func body(of hit: CacheHit, offset: Int64, byteCount: Int64) async -> StoreBody?

    /// `body` when it is in memory.
    func bodyInMemory(of hit: CacheHit, offset: Int64, byteCount: Int64) -> StoreBody?

    /// Starts to store a response, whose body follows. Nobody sees it before it is complete.
    ///
    /// - Parameter length: of the body; `nil` when only its end will tell.
    /// - Returns: `nil` when it is too large to be kept.
    func beginFill(_ response: StoredResponse, length: Int64?, claim: CacheClaim?) -> (any CacheFilling)?

    /// Puts `response` in the place of what `hit` found; the body stays.
    func refresh(_ hit: CacheHit, with response: StoredResponse) async

    /// Removes all variants.
    ///
    /// - Returns: whether there was one.
    func remove(_ key: CacheKey) async -> Bool

    /// What is stored under `keys`, or is on its way there, isn't found any more (RFC 9111 §4.4). Its files go soon after.
    func invalidate(_ keys: [CacheKey])

    /// - Returns: how many went.
    func purge(_ purge: CachePurge) async -> Int

    /// Asks to be the one who fills `key`: of those who want it at the same time one gets a claim, at once; the others get
    /// `nil`, when that claim has ended or they have waited for some seconds, and look again.
    func claim(_ key: CacheKey) async -> CacheClaim?

    /// A claim if nobody has one; never waits.
    func tryClaim(_ key: CacheKey) -> CacheClaim?

    /// Notes what a client was told.
    func count(_ status: CacheStatus, zone: String)

    /// By zone, in the order of their names.
    var statistics: [CacheStatistics] { get }
}

/// What a cache has done for one zone since the node started, and what it has of it.
package struct CacheStatistics: Equatable, Sendable {
    package var zone: String
    package var answers: [CacheStatus: Int] = [:]
    /// Made room for others.
    package var evictions = 0
    package var entries = 0
    /// On disk.
    package var byteCount: Int64 = 0

    package init(zone: String) { self.zone = zone }
}

/// A stored response that was found, and what the store knows it by.
package final class CacheHit: Sendable {
    package let id: UInt64
    package let response: StoredResponse

    package init(id: UInt64, response: StoredResponse) {
        self.id = id
        self.response = response
    }
}

/// The right to fill one key. Ends with `end`, or when nobody holds it any more.
package final class CacheClaim: Sendable {
    private let ended: @Sendable () -> Void

    /// - Parameter ended: may be called several times.
    package init(_ ended: @escaping @Sendable () -> Void) { self.ended = ended }

    package func end() { ended() }
    deinit { ended() }
}

/// A response on its way into the store. One writer at a time; dropping it gives it up.
package protocol CacheFilling: AnyObject, Sendable {
    /// Adds to the body. A body that turns out too large, or a disk that refuses it, ends the fill and nothing else; more than
    /// was announced makes nothing of what was kept.
    ///
    /// - Returns: whether that was the last of as much as was announced.
    @discardableResult func append(_ piece: [UInt8]) async -> Bool
    /// The body is complete: from now on the response is found.
    ///
    /// - Returns: whether it is kept.
    @discardableResult func commit() async -> Bool
    func abort()
}
