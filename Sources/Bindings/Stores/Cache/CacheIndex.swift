internal import Caching
internal import HTTP
internal import Stores

/// What the store has, in memory. A value: the store's lock is around it.
struct CacheIndex {
    struct Entry {
        let hit: CacheHit
        let zone: String
        /// `nil`: the body has a file of its own.
        var inlineByteCount: Int?
        /// The body, while it is in memory.
        var bytes: [UInt8]?

        /// What the entry costs on disk, about.
        var byteCount: Int64 { response.bodyByteCount + 1024 }
        var response: StoredResponse { hit.response }
        /// What the entry holds in memory apart from `bytes`; set by the index.
        fileprivate(set) var descriptionByteCount = 0

        init(_ hit: CacheHit, inlineByteCount: Int?) {
            self.hit = hit
            zone = hit.response.zone
            self.inlineByteCount = inlineByteCount
        }
    }

    private(set) var entries: [UInt64: Entry] = [:]
    private var keys: [CacheKey: [UInt64]] = [:]
    private var recency = RecencyList()
    private(set) var byteCount: Int64 = 0
    private(set) var descriptionByteCount = 0
    /// Those whose bodies are in memory.
    private var memory = RecencyList()
    private(set) var memoryByteCount = 0

    private(set) var zones: [String: CacheStatistics] = [:]

    /// Of one key; the oldest makes room.
    static let variantsMax = 16
    /// Zones that are counted apart; a handler can name as many as it likes with `fetch`.
    private static let zonesMax = 1000

    enum Found {
        case nothing
        case hit(CacheHit)
        /// Which one, the request's headers say; the newest comes first.
        case variants([CacheHit])
    }

    func find(_ key: CacheKey) -> Found {
        guard let ids = keys[key] else { return .nothing }
        if ids.count == 1, let entry = entries[ids[0]], entry.response.variant.fields.isEmpty { return .hit(entry.hit) }
        return .variants(ids.reversed().compactMap { entries[$0]?.hit })
    }

    private mutating func change(_ zone: String, _ body: (inout CacheStatistics) -> Void) {
        let name = zones[zone] != nil || zones.count < Self.zonesMax ? zone : "other"
        body(&zones[name, default: CacheStatistics(zone: name)])
    }

    mutating func count(_ status: CacheStatus, zone: String) { change(zone) { $0.answers[status, default: 0] += 1 } }

    func ids(_ key: CacheKey) -> [UInt64] { keys[key] ?? [] }

    mutating func use(_ id: UInt64) {
        guard let entry = entries[id] else { return }
        recency.use(id)
        if entry.bytes != nil { memory.use(id) }
    }

    /// - Returns: the entries that it replaces.
    mutating func insert(_ id: UInt64, _ entry: Entry) -> [UInt64] {
        var replaced = ids(entry.response.key).filter { entries[$0]?.response.variant == entry.response.variant }
        for id in replaced { remove(id) }
        let others = ids(entry.response.key)
        if others.count >= Self.variantsMax, let oldest = others.first {
            remove(oldest)
            replaced.append(oldest)
        }
        var entry = entry
        entry.descriptionByteCount = entry.response.memoryByteCount
        descriptionByteCount += entry.descriptionByteCount
        entries[id] = entry
        keys[entry.response.key, default: []].append(id)
        byteCount += entry.byteCount
        change(entry.zone) {
            $0.byteCount += entry.byteCount
            $0.entries += 1
        }
        recency.use(id)
        return replaced
    }

    mutating func remove(_ id: UInt64) {
        forgetBytes(id)
        guard let entry = entries.removeValue(forKey: id) else { return }
        recency.remove(id)
        byteCount -= entry.byteCount
        descriptionByteCount -= entry.descriptionByteCount
        change(entry.zone) {
            $0.byteCount -= entry.byteCount
            $0.entries -= 1
        }
        let left = ids(entry.response.key).filter { $0 != id }
        keys[entry.response.key] = left.isEmpty ? nil : left
    }

    /// Takes the least recently used out until the rest fits.
    mutating func evict(_ options: EmbeddedResponseCache.Options) -> [UInt64] {
        var evicted: [UInt64] = []
        while byteCount > options.byteCountMax || entries.count > options.entriesMax
            || descriptionByteCount > options.descriptionByteCountMax, let oldest = recency.oldest
        {
            if let zone = entries[oldest]?.zone { change(zone) { $0.evictions += 1 } }
            remove(oldest)
            evicted.append(oldest)
        }
        return evicted
    }

    /// - Returns: false when it is gone.
    mutating func update(_ id: UInt64, _ response: StoredResponse) -> Bool {
        guard let old = entries[id] else { return false }
        var entry = Entry(CacheHit(id: id, response: response), inlineByteCount: old.inlineByteCount)
        entry.bytes = old.bytes
        entry.descriptionByteCount = response.memoryByteCount
        descriptionByteCount += entry.descriptionByteCount - old.descriptionByteCount
        entries[id] = entry
        return true
    }

    // MARK: Bodies in memory

    mutating func keep(_ bytes: [UInt8], of id: UInt64, byteCountMax: Int) {
        guard entries[id] != nil, entries[id]?.bytes == nil, bytes.count <= byteCountMax else { return }
        entries[id]?.bytes = bytes
        memoryByteCount += bytes.count
        memory.use(id)
        while memoryByteCount > byteCountMax, let oldest = memory.oldest { forgetBytes(oldest) }
    }

    private mutating func forgetBytes(_ id: UInt64) {
        guard let bytes = entries[id]?.bytes else { return }
        entries[id]?.bytes = nil
        memoryByteCount -= bytes.count
        memory.remove(id)
    }
}
