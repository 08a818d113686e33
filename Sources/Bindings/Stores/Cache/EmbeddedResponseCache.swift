package import Caching
package import HTTP
package import Observability
package import Stores
internal import Synchronization
package import System

/// The cache of one tenant, in files of this node.
package final class EmbeddedResponseCache: ResponseCache {
    package struct Options: Sendable {
        /// On disk.
        package var byteCountMax: Int64 = 1 << 30
        package var entriesMax = 65_536
        /// What their headers and keys may hold in memory, all together.
        package var descriptionByteCountMax = 64 << 20
        /// Of bodies in memory.
        package var memoryByteCountMax = 32 << 20
        /// When the machine was started, in seconds since 1970; `nil`: as the clock has it.
        package var machineStart: Int64?

        package init() {}
    }

    struct State {
        var index = CacheIndex()
        var nextID: UInt64 = 1
        /// Fills that a purge has to reach.
        var fills: [UInt64: Filling] = [:]
        /// What they have on disk.
        var fillingByteCount: Int64 = 0
        /// Those that were purged before they were complete.
        var purged: Set<UInt64> = []
        /// Those who wait for a claimed key, by a number of their own.
        var claims: [CacheKey: [UInt64: CheckedContinuation<Void, Never>]] = [:]
        var nextWaiter: UInt64 = 0
    }

    struct Filling {
        var response: StoredResponse
        var byteCount: Int64 = 0
    }

    let state: Mutex<State>
    let files: CacheFiles
    let pool: BlockingPool
    let options: Options
    let logger: Logger
    let clock: any NodeClock

    /// More who wait for the same fill go on their own.
    private static let waitersMax = 4096
    /// Nobody waits longer: who fills may have a slow client, or a slow origin (nginx's `proxy_cache_lock_timeout`).
    package static let waitMax = Duration.seconds(5)

    /// Opens the store, or makes it; reads the description of each entry, and blocks as long.
    package init(
        directory: String, clock: any NodeClock, logger: Logger, options: Options = Options(), faults: CacheFaults = .none
    ) throws(SystemError) {
        files = try CacheFiles(root: directory, faults: faults)
        self.options = options
        self.logger = logger.with("store", "cache")
        self.clock = clock
        pool = BlockingPool(name: "edge-cache", threadCount: 2)
        // The kernel's own name of its run is behind a part of /proc that the node doesn't have.
        let start = clock.wallTime().seconds - clock.now().nanoseconds / 1_000_000_000
        if !files.isSameRun(startedAt: options.machineStart ?? start) { files.removeAll() }
        var initial = State()
        var gone: [UInt64] = []
        for found in files.load() {
            let entry = CacheIndex.Entry(
                CacheHit(id: found.id, response: found.response), inlineByteCount: found.inlineByteCount)
            gone += initial.index.insert(found.id, entry)
            initial.nextID = found.id + 1
        }
        gone += initial.index.evict(options)
        state = Mutex(initial)
        for id in gone { files.remove(id) }
    }

    /// What is stored, for measuring.
    package var usage: (entries: Int, byteCount: Int64, memoryByteCount: Int) {
        state.withLock { ($0.index.entries.count, $0.index.byteCount, $0.index.memoryByteCount) }
    }

    package func count(_ status: CacheStatus, zone: String) { state.withLock { $0.index.count(status, zone: zone) } }

    package var statistics: [CacheStatistics] {
        state.withLock { state in state.index.zones.values.sorted { $0.zone < $1.zone } }
    }

    // MARK: Looking up

    package func find(_ key: CacheKey, for request: @autoclosure () -> Headers) -> CacheHit? {
        let found = state.withLock { state in
            let found = state.index.find(key)
            if case .hit(let hit) = found { state.index.use(hit.id) }
            return found
        }
        switch found {
        case .nothing: return nil
        case .hit(let hit): return hit
        case .variants(let hits):
            let headers = request()
            guard let hit = hits.first(where: { $0.response.variant.matches(headers) }) else { return nil }
            state.withLock { $0.index.use(hit.id) }
            return hit
        }
    }

    package func bodyInMemory(of hit: CacheHit, offset: Int64, byteCount: Int64) -> StoreBody? {
        guard byteCount > 0 else { return .bytes([]) }
        return state.withLock { $0.index.entries[hit.id]?.bytes }.flatMap { Self.part($0, offset, byteCount) }
    }

    package func body(of hit: CacheHit, offset: Int64, byteCount: Int64) async -> StoreBody? {
        if let body = bodyInMemory(of: hit, offset: offset, byteCount: byteCount) { return body }
        guard let entry = state.withLock({ $0.index.entries[hit.id] }) else { return nil }
        let (files, id) = (files, hit.id)
        let isSmall = entry.inlineByteCount != nil
        let size = Int(entry.response.bodyByteCount)
        do throws(SystemError) {
            let body = try await pool.run { () throws(SystemError) -> StoreBody? in
                guard isSmall else {
                    return .file(try files.openBody(id, isInline: false, offset: offset, byteCount: Int(byteCount)))
                }
                let slice = try files.openBody(id, isInline: true, offset: 0, byteCount: size)
                let bytes = try slice.descriptor.read(at: slice.offset, count: size)
                return bytes.count == size ? .bytes(bytes) : nil
            }
            guard case .bytes(let bytes)? = body else { return body }
            state.withLock { $0.index.keep(bytes, of: id, byteCountMax: options.memoryByteCountMax) }
            return Self.part(bytes, offset, byteCount)
        } catch {
            // Evicted between the lookup and the opening, or somebody else's hands on the files.
            if error.errno != 2 { logger.log(.error, "a cached body can't be read: \(error)") }
            forget([id])
            return nil
        }
    }

    private static func part(_ bytes: [UInt8], _ offset: Int64, _ byteCount: Int64) -> StoreBody? {
        guard offset >= 0, byteCount >= 0, offset + byteCount <= Int64(bytes.count) else { return nil }
        return .bytes(byteCount == bytes.count ? bytes : Array(bytes[Int(offset)..<Int(offset + byteCount)]))
    }

    // MARK: Storing

    package func beginFill(_ response: StoredResponse, length: Int64?, claim: CacheClaim?) -> (any CacheFilling)? {
        let max = min(StorageRule.bodyBytesMax, options.byteCountMax - 1024)
        guard length ?? 0 <= max else { return nil }
        let id = state.withLock { state in
            let id = state.nextID
            state.nextID += 1
            state.fills[id] = Filling(response: response)
            return id
        }
        return CacheFill(id, response, length: length, byteCountMax: max, claim: claim, store: self)
    }

    /// The files of `id` are in place.
    ///
    /// - Returns: false when it was purged meanwhile.
    func insert(_ id: UInt64, _ response: StoredResponse, inlineByteCount: Int?) -> Bool {
        let (gone, isKept) = state.withLock { state -> ([UInt64], Bool) in
            Self.forgetFill(id, &state)
            guard state.purged.remove(id) == nil else { return ([id], false) }
            let entry = CacheIndex.Entry(CacheHit(id: id, response: response), inlineByteCount: inlineByteCount)
            var gone = state.index.insert(id, entry)
            gone += state.index.evict(options)
            return (gone, true)
        }
        for id in gone { files.remove(id) }
        return isKept
    }

    /// Makes room on the disk for more of a fill; all of them together may have as much as what is stored.
    ///
    /// - Returns: false when there is none.
    func reserve(_ byteCount: Int, for id: UInt64) -> Bool {
        state.withLock { state in
            guard state.fills[id] != nil, state.fillingByteCount + Int64(byteCount) <= options.byteCountMax else {
                return false
            }
            state.fills[id]?.byteCount += Int64(byteCount)
            state.fillingByteCount += Int64(byteCount)
            return true
        }
    }

    private static func forgetFill(_ id: UInt64, _ state: inout State) {
        state.fillingByteCount -= state.fills.removeValue(forKey: id)?.byteCount ?? 0
    }

    /// The fill has ended without being kept.
    func endFill(_ id: UInt64) {
        state.withLock { state in
            Self.forgetFill(id, &state)
            state.purged.remove(id)
        }
        let files = files
        pool.submit { files.removeTemporary(id) }
    }

    package func refresh(_ hit: CacheHit, with response: StoredResponse) async {
        guard let entry = state.withLock({ $0.index.entries[hit.id] }) else { return }
        let files = files
        do throws(SystemError) {
            try await pool.run { () throws(SystemError) in
                var inline: [UInt8]?
                if let count = entry.inlineByteCount {
                    let slice = try files.openBody(hit.id, isInline: true, offset: 0, byteCount: count)
                    inline = try slice.descriptor.read(at: slice.offset, count: count)
                }
                try files.publishEntry(hit.id, response, inline: inline)
            }
        } catch { return logger.log(.warning, "a cached response can't be refreshed: \(error)") }
        // It may have gone meanwhile, and its file must not come back.
        if !state.withLock({ $0.index.update(hit.id, response) }) { forget([hit.id]) }
    }

    /// The disk is full: others may need what is kept here more. A tenth of it goes.
    func giveWay() {
        let ids = state.withLock { state in
            var options = options
            options.byteCountMax = state.index.byteCount - state.index.byteCount / 10 - 1
            return state.index.evict(options)
        }
        let files = files
        pool.submit { for id in ids { files.remove(id) } }
    }

    // MARK: Removing

    package func remove(_ key: CacheKey) async -> Bool {
        let ids = state.withLock { state in
            let ids = state.index.ids(key)
            for id in ids { state.index.remove(id) }
            return ids
        }
        await unlink(ids)
        return !ids.isEmpty
    }

    package func invalidate(_ keys: [CacheKey]) {
        let ids = state.withLock { state in
            for (id, filling) in state.fills where keys.contains(filling.response.key) { state.purged.insert(id) }
            let ids = keys.flatMap { state.index.ids($0) }
            for id in ids { state.index.remove(id) }
            return ids
        }
        guard !ids.isEmpty else { return }
        let files = files
        pool.submit { for id in ids { files.remove(id) } }
    }

    package func purge(_ purge: CachePurge) async -> Int {
        let ids = state.withLock { state in
            // What is on its way was asked for before, and is as old.
            for (id, filling) in state.fills where purge.covers(filling.response) { state.purged.insert(id) }
            let ids = state.index.entries.filter { purge.covers($0.value.response) }.map(\.key)
            for id in ids { state.index.remove(id) }
            return ids
        }
        await unlink(ids)
        return ids.count
    }

    /// Gone for good when it returns: a node that starts anew must not find it.
    func unlink(_ ids: [UInt64]) async {
        guard !ids.isEmpty else { return }
        let files = files
        await pool.run { for id in ids { files.remove(id) } }
    }

    /// What was stored as `id` turned out to be more than it said it was.
    func retract(_ id: UInt64) { forget([id]) }

    func forget(_ ids: [UInt64]) {
        state.withLock { state in for id in ids { state.index.remove(id) } }
        let files = files
        pool.submit { for id in ids { files.remove(id) } }
    }

    // MARK: Claims

    package func tryClaim(_ key: CacheKey) -> CacheClaim? {
        let isFree = state.withLock { state in
            guard state.claims[key] == nil else { return false }
            state.claims[key] = [:]
            return true
        }
        return isFree ? makeClaim(key) : nil
    }

    private func makeClaim(_ key: CacheKey) -> CacheClaim {
        let flag = ClaimFlag()
        return CacheClaim { [weak self] in
            guard flag.end() else { return }
            let waiters = self?.state.withLock { $0.claims.removeValue(forKey: key) } ?? [:]
            for waiter in waiters.values { waiter.resume() }
        }
    }

    package func claim(_ key: CacheKey) async -> CacheClaim? {
        if let claim = tryClaim(key) { return claim }
        let number = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        let giveUp: @Sendable () -> Void = { [weak self] in
            self?.state.withLock { $0.claims[key]?.removeValue(forKey: number) }?.resume()
        }
        let timer = clock.schedule(at: clock.now() + Self.waitMax, giveUp)
        defer { timer.cancel() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let isWaiting = state.withLock { state in
                    guard let waiters = state.claims[key], waiters.count < Self.waitersMax, !Task.isCancelled else {
                        return false
                    }
                    state.claims[key]?[number] = continuation
                    return true
                }
                if !isWaiting { continuation.resume() }
            }
        } onCancel: {
            giveUp()
        }
        return nil
    }
}

/// Whether a claim has ended; it does so once.
private final class ClaimFlag: Sendable {
    private let isOver = Atomic<Bool>(false)
    func end() -> Bool { !isOver.exchange(true, ordering: .acquiringAndReleasing) }
}
