package import Wire

/// How the node's cache treats one `fetch` to the outside; `nil` and `false` leave it to the response's headers.
public struct CacheOptions: Equatable, Sendable {
    /// What a `fetch` asks of the cache.
    public enum Mode: UInt8, Sendable {
        /// Neither look nor store.
        case noStore = 1
        /// Ask the origin whether what is stored still holds.
        case noCache
        /// Ask the origin anew, and store what it says.
        case reload
    }

    /// One step of `ttlByStatus`.
    public struct StatusTTL: Equatable, Sendable {
        public var statuses: ClosedRange<Int>
        /// Seconds; negative: such a response is not stored.
        public var ttl: Int

        public init(_ statuses: ClosedRange<Int>, ttl: Int) {
            self.statuses = statuses
            self.ttl = ttl
        }

        public init(_ status: Int, ttl: Int) { self.init(status...status, ttl: ttl) }
    }

    /// Excludes `cacheControl`, and a `ttl` that says otherwise.
    public var mode: Mode?
    /// Seconds that a response is kept, whatever its headers say, and whatever the URL ends in; not one with `Set-Cookie`, and
    /// not a 5xx. Negative: not at all.
    public var ttl: Int?
    /// The same by status; the first step that has the status counts.
    public var ttlByStatus: [StatusTTL] = []
    /// Also what doesn't look like a static file by its URL: HTML, JSON.
    public var everything = false
    /// What the response is stored under instead of the URL.
    public var key: String?
    /// Names that the response can be purged by.
    public var tags: [String] = []
    /// Read instead of the response's own `Cache-Control`. Excludes `ttl` and `mode`.
    public var cacheControl: String?

    public init(
        mode: Mode? = nil, ttl: Int? = nil, ttlByStatus: [StatusTTL] = [], everything: Bool = false, key: String? = nil,
        tags: [String] = [], cacheControl: String? = nil
    ) {
        self.mode = mode
        self.ttl = ttl
        self.ttlByStatus = ttlByStatus
        self.everything = everything
        self.key = key
        self.tags = tags
        self.cacheControl = cacheControl
    }

    /// Why the options contradict each other; `nil` when they don't.
    package var contradiction: String? {
        if cacheControl != nil, ttl != nil { return "The 'cacheControl' and 'cacheTtl' options are mutually exclusive." }
        if cacheControl != nil, mode != nil { return "The 'cacheControl' option and the 'cache' mode are mutually exclusive." }
        switch (mode, ttl) {
        case (.noStore, let ttl?) where ttl != -1: return "CacheTtl: \(ttl), is not compatible with cache: no-store header."
        case (.noCache, let ttl?) where ttl != 0: return "CacheTtl: \(ttl), is not compatible with cache: no-cache header."
        default: return nil
        }
    }

    package var isDefault: Bool { self == CacheOptions() }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder()
        encoder.put(mode?.rawValue ?? 0)
        encoder.put(ttl.map(Int64.init))
        encoder.put(list: ttlByStatus) { encoder, step in
            encoder.put(Int64(step.statuses.lowerBound))
            encoder.put(Int64(step.statuses.upperBound))
            encoder.put(Int64(step.ttl))
        }
        encoder.put(everything)
        encoder.put(key)
        encoder.put(list: tags) { $0.put($1) }
        encoder.put(cacheControl)
        return encoder.bytes
    }

    package init(decoding bytes: [UInt8]) throws(WireError) {
        var decoder = WireDecoder(bytes)
        mode = Mode(rawValue: try decoder.takeUInt8())
        ttl = try decoder.takeOptional { d throws(WireError) in Int(truncatingIfNeeded: try d.takeInt64()) }
        ttlByStatus = try decoder.takeList { d throws(WireError) in
            let (first, last) = (try d.takeInt64(), try d.takeInt64())
            guard first <= last else { throw .invalidValue("range of statuses", offset: d.offset) }
            return StatusTTL(
                Int(truncatingIfNeeded: first)...Int(truncatingIfNeeded: last), ttl: Int(truncatingIfNeeded: try d.takeInt64()))
        }
        everything = try decoder.takeBool()
        key = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
        tags = try decoder.takeList { d throws(WireError) in try d.takeString() }
        cacheControl = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
        try decoder.finish()
    }
}
