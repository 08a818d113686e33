package import HTTP
package import Wire

/// Where a stored response belongs.
package enum CacheScope: Hashable, Sendable {
    /// What `cache.default` and the cache around `fetch` share.
    case zone
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
        case .zone: encoder.put(UInt8(0))
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
        case 0: self = .zone
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

    /// - Parameter headers: as they came; what isn't to be kept is left out here.
    package init(
        key: CacheKey, url: String, variant: Variant = Variant(), status: Int, headers: Headers, terms: StorageTerms,
        storedAt: Int64, tags: [String] = [], bodyByteCount: Int64 = 0
    ) {
        self.key = key
        self.url = url
        self.variant = variant
        self.status = status
        self.headers = Self.kept(headers, terms)
        self.terms = terms
        self.storedAt = storedAt
        self.tags = tags
        self.bodyByteCount = bodyByteCount
    }

    /// Fields of this one way of the response, or that are made anew.
    private static let passing: Set<String> = ["age", "cf-cache-status", "cf-ray", "connection", "content-length", "server"]

    private static func kept(_ headers: Headers, _ terms: StorageTerms) -> Headers {
        var kept = headers
        for name in passing.union(terms.dropped) { kept.delete(name) }
        return kept
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

    /// The headers of a request that asks whether it still holds.
    package func validating(_ request: Headers) -> Headers {
        var request = request
        for name in ["if-none-match", "if-modified-since", "if-range", "range"] { request.delete(name) }
        // Values that came in a header can stand in one.
        if let tag = headers["etag"] { try? request.set("if-none-match", tag) }
        if let date = headers["last-modified"] { try? request.set("if-modified-since", date) }
        return request
    }

    /// The same after a 304 (RFC 9111 §3.2): its fields replace those that are stored, and it is as old as that.
    package func refreshed(by headers: Headers, _ verdict: (Headers) -> StorageVerdict, at now: Int64) -> StoredResponse? {
        var merged = self.headers
        // Describes the body, which isn't sent anew.
        let fixed: Set<String> = ["content-length", "content-encoding", "content-type", "content-range", "transfer-encoding"]
        for name in Set(headers.map(\.name)) where !fixed.contains(name) {
            merged.delete(name)
            for value in headers.getAll(name) { try? merged.append(name, value) }
        }
        guard let terms = verdict(merged).terms else { return nil }
        return StoredResponse(
            key: key, url: url, variant: variant, status: status, headers: merged, terms: terms, storedAt: now, tags: tags,
            bodyByteCount: bodyByteCount)
    }

    // MARK: On disk

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 512)
        key.scope.encode(into: &encoder)
        encoder.put(key.text)
        encoder.put(url)
        variant.encode(into: &encoder)
        encoder.put(UInt16(status))
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
