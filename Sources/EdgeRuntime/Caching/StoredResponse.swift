package import HTTP
package import Wire

/// Where a stored response belongs.
package enum CacheScope: Hashable, Sendable {
    /// What `cache.default` and the cache around `fetch` share: those of the zone that the request came to.
    case zone(String)
    /// `cache.open(name)`.
    case named(String)
    /// In front of a worker; `nil` when all its versions share it.
    case worker(String, version: String?)

    /// Named caches are the tenant's own affair: a purge of the zone doesn't touch them.
    package var isPurged: Bool {
        if case .named = self { return false }
        return true
    }

    func encode(into encoder: inout WireEncoder) {
        switch self {
        case .zone(let name):
            encoder.put(UInt8(0))
            encoder.put(name)
        case .named(let name):
            encoder.put(UInt8(1))
            encoder.put(name)
        case .worker(let name, let version):
            encoder.put(UInt8(2))
            encoder.put(name)
            encoder.put(version)
        }
    }

    init(decoding decoder: inout WireDecoder) throws(WireError) {
        switch try decoder.takeUInt8() {
        case 0: self = .zone(try decoder.takeString())
        case 1: self = .named(try decoder.takeString())
        case 2:
            self = .worker(
                try decoder.takeString(), version: try decoder.takeOptional { d throws(WireError) in try d.takeString() })
        default: throw .invalidValue("cache scope", offset: decoder.offset - 1)
        }
    }
}

/// What a response is looked up by; its variants are told apart behind it.
package struct CacheKey: Hashable, Sendable {
    package var scope: CacheScope
    /// The URL without its fragment, or what was named instead.
    package var text: String

    /// Longer ones help nobody.
    package static let textBytesMax = 32 << 10

    package init(_ scope: CacheScope, _ text: String) {
        self.scope = scope
        self.text = text
    }

    /// The URL as caches compare it.
    package static func text(_ url: WebURL) -> String {
        guard url.fragment != nil else { return url.href }
        var url = url
        url.fragment = nil
        return url.href
    }
}

/// A stored response, without its body.
package struct StoredResponse: Equatable, Sendable {
    package enum Freshness: Equatable, Sendable {
        case fresh
        /// Not to be used before the origin was asked, except as these say.
        case stale(mayServeWhileAsking: Bool, mayServeOnError: Bool)
    }

    package var key: CacheKey
    /// For purges: the key may be another text.
    package var url: String
    package var variant: Variant
    package var status: Int
    package var headers: Headers
    package var terms: StorageTerms
    /// Milliseconds since 1970: when it came, or was last found to hold.
    package var storedAt: Int64
    package var tags: [String]
    package var bodyByteCount: Int64
    /// The body is to go out as it is: whoever made it has encoded it, or wants it plain.
    package var isEncoded: Bool

    /// - Parameter headers: as they came; what isn't to be kept is left out here.
    package init(
        key: CacheKey, url: String, variant: Variant = Variant(), status: Int, headers: Headers, terms: StorageTerms,
        storedAt: Int64, tags: [String] = [], bodyByteCount: Int64 = 0, isEncoded: Bool = false
    ) {
        self.isEncoded = isEncoded
        self.key = key
        self.url = url
        self.variant = variant
        self.status = status
        self.headers = Self.kept(headers, terms, storedAt)
        self.terms = terms
        self.storedAt = storedAt
        self.tags = tags
        self.bodyByteCount = bodyByteCount
    }

    /// Fields of this one way of the response (RFC 9111 §3.1), or that are made anew.
    private static let passing: Set<String> = [
        "age", "cf-cache-status", "cf-ray", "connection", "content-length", "keep-alive", "proxy-authenticate",
        "proxy-authentication-info", "proxy-authorization", "proxy-connection", "server", "te", "trailer",
        "transfer-encoding", "upgrade",
    ]

    private static func kept(_ headers: Headers, _ terms: StorageTerms, _ storedAt: Int64) -> Headers {
        var kept = headers
        let options = (headers["connection"] ?? "").split(separator: ",").map {
            $0.filter { $0 != " " && $0 != "\t" }.lowercased()
        }
        for name in passing.union(terms.dropped).union(options) { kept.delete(name) }
        for (name, _) in headers where name.hasPrefix("x-accel-") { kept.delete(name) }
        // RFC 9110 §6.6.1: whoever keeps a response without one notes when it came.
        if !kept.has("date") { try? kept.set("date", HTTPDate(unixSeconds: storedAt / 1000).text) }
        return kept
    }

    /// Whose zone it counts for; `named` for what is in named caches.
    package var zone: String {
        switch key.scope {
        case .zone(let name): name
        case .named: "named"
        case .worker: WebURL(url).map { ZoneName.of(host: $0.hostname) } ?? ""
        }
    }

    /// What it holds in memory, about.
    package var memoryByteCount: Int {
        var count = 512 + key.text.utf8.count + url.utf8.count
        headers.forEachOnWire { count += $0.utf8.count + $1.utf8.count + 8 }
        for tag in tags { count += tag.utf8.count + 16 }
        for field in variant.fields { count += field.name.utf8.count + (field.value?.utf8.count ?? 0) + 32 }
        return count
    }

    /// In whole seconds.
    package func age(at now: Int64) -> Int64 { terms.initialAge + max(0, now - storedAt) / 1000 }

    package func freshness(at now: Int64) -> Freshness {
        let over = age(at: now) - terms.lifetime
        if over < 0 { return .fresh }
        return .stale(
            mayServeWhileAsking: over < terms.staleWhileRevalidate, mayServeOnError: over < terms.staleIfError)
    }

    /// Whether the origin can be asked if it still holds.
    package var hasValidator: Bool { headers.has("etag") || headers.has("last-modified") }

    /// What asks for a part of a response, or for one on a condition.
    private static let conditions = [
        "if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range", "range",
    ]

    /// The headers of a request that asks whether `stale` still holds, or else for the whole response.
    package static func validating(_ stale: StoredResponse?, _ request: Headers) -> Headers {
        var request = request
        for name in conditions { request.delete(name) }
        guard let stale else { return request }
        // Values that came in a header can stand in one.
        if let tag = stale.headers["etag"] { try? request.set("if-none-match", tag) }
        if let date = stale.headers["last-modified"] { try? request.set("if-modified-since", date) }
        return request
    }

    /// What a 304 makes of it (RFC 9111 §4.3.4).
    package enum Freshened: Equatable, Sendable {
        /// Its fields have replaced those that were stored, and it is as old as the 304.
        case kept(StoredResponse)
        /// It holds for the request that asked, and is not to be kept any longer.
        case dropped
        /// The 304 speaks of another one.
        case unrelated
    }

    /// Describe the body, which isn't sent anew (RFC 9111 §3.2), or the way of the 304.
    private static let fixed: Set<String> = [
        "content-length", "content-encoding", "content-type", "content-range", "transfer-encoding",
    ]

    package func freshened(by headers: Headers, _ verdict: (Headers) -> StorageVerdict, at now: Int64) -> Freshened {
        if let tag = headers["etag"], let own = self.headers["etag"], tag != own { return .unrelated }
        var merged = self.headers
        // The moment of the 304 takes the old one's place, whether or not it says so.
        merged.delete("date")
        for name in Set(headers.map(\.name)) where !Self.fixed.contains(name) {
            merged.delete(name)
            for value in headers.getAll(name) { try? merged.append(name, value) }
        }
        guard let terms = verdict(merged).terms else { return .dropped }
        let tags = headers["cache-tag"].map(CacheTags.parse) ?? tags
        return .kept(
            StoredResponse(
                key: key, url: url, variant: variant, status: status, headers: merged, terms: terms, storedAt: now,
                tags: tags, bodyByteCount: bodyByteCount, isEncoded: isEncoded))
    }

    // MARK: On disk

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 512)
        key.scope.encode(into: &encoder)
        encoder.put(key.text)
        encoder.put(url)
        variant.encode(into: &encoder)
        encoder.put(UInt16(status))
        encoder.put(UInt8(isEncoded ? 1 : 0))
        for number in [terms.lifetime, terms.initialAge, terms.staleWhileRevalidate, terms.staleIfError, storedAt] {
            encoder.put(number)
        }
        encoder.put(list: tags) { $0.put($1) }
        encoder.put(bodyByteCount)
        var pairs: [(String, String)] = []
        headers.forEachOnWire { pairs.append(($0, $1)) }
        encoder.put(list: pairs) { encoder, pair in
            encoder.put(pair.0)
            encoder.put(pair.1)
        }
        return encoder.bytes
    }

    package init(decoding bytes: [UInt8]) throws(WireError) {
        var decoder = WireDecoder(bytes)
        let scope = try CacheScope(decoding: &decoder)
        key = CacheKey(scope, try decoder.takeString())
        url = try decoder.takeString()
        variant = try Variant(decoding: &decoder)
        status = Int(try decoder.takeUInt16())
        guard (200...599).contains(status) else { throw .invalidValue("stored status", offset: decoder.offset - 2) }
        isEncoded = try decoder.takeUInt8() != 0
        terms = StorageTerms(
            lifetime: try decoder.takeInt64(), initialAge: try decoder.takeInt64(),
            staleWhileRevalidate: try decoder.takeInt64(), staleIfError: try decoder.takeInt64())
        storedAt = try decoder.takeInt64()
        // Whatever the disk says, sums of these must not overflow.
        let times = [terms.lifetime, terms.initialAge, terms.staleWhileRevalidate, terms.staleIfError, storedAt]
        guard times.allSatisfy({ (0...Int64.max / 4).contains($0) }) else {
            throw .invalidValue("stored time", offset: decoder.offset)
        }
        tags = try decoder.takeList { d throws(WireError) in try d.takeString() }
        bodyByteCount = try decoder.takeInt64()
        headers = Headers()
        let pairs = try decoder.takeList { d throws(WireError) in (try d.takeString(), try d.takeString()) }
        try decoder.finish()
        for (name, value) in pairs {
            do { try headers.append(name, value) } catch { throw .invalidValue("stored header", offset: decoder.offset) }
        }
    }
}
