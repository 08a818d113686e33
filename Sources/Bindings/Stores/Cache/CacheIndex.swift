internal import Caching
internal import HTTP

/// What the store has, in memory. A value: the store's lock is around it.
struct CacheIndex {
    struct Entry {
        var response: StoredResponse
        /// `nil`: the body has a file of its own.
        var inlineByteCount: Int?
        /// The body, while it is in memory.
        var bytes: [UInt8]?

        /// What the entry costs on disk, about.
        var byteCount: Int64 { response.bodyByteCount + 1024 }
        /// What the entry holds in memory apart from `bytes`; set by the index.
        fileprivate(set) var descriptionByteCount = 0

        init(response: StoredResponse, inlineByteCount: Int?) {
            self.response = response
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

    /// Of one key; the oldest makes room.
    static let variantsMax = 16

    func find(_ key: CacheKey, for request: Headers) -> UInt64? {
        keys[key]?.last { entries[$0]?.response.variant.matches(request) ?? false }
    }

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
        recency.use(id)
        return replaced
    }

    mutating func remove(_ id: UInt64) {
        forgetBytes(id)
        guard let entry = entries.removeValue(forKey: id) else { return }
        recency.remove(id)
        byteCount -= entry.byteCount
        descriptionByteCount -= entry.descriptionByteCount
        let left = ids(entry.response.key).filter { $0 != id }
        keys[entry.response.key] = left.isEmpty ? nil : left
    }

    /// Takes the least recently used out until the rest fits.
    mutating func evict(_ options: EmbeddedResponseCache.Options) -> [UInt64] {
        var evicted: [UInt64] = []
        while byteCount > options.byteCountMax || entries.count > options.entriesMax
            || descriptionByteCount > options.descriptionByteCountMax, let oldest = recency.oldest
        {
            remove(oldest)
            evicted.append(oldest)
        }
        return evicted
    }

    /// - Returns: false when it is gone.
    mutating func update(_ id: UInt64, _ response: StoredResponse) -> Bool {
        guard entries[id] != nil else { return false }
        let count = response.memoryByteCount
        descriptionByteCount += count - (entries[id]?.descriptionByteCount ?? 0)
        entries[id]?.descriptionByteCount = count
        entries[id]?.response = response
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
