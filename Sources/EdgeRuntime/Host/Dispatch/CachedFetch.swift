internal import Caching
internal import HTTP
internal import Stores
internal import System

/// A request to the outside by way of the tenant's cache (spec: runtime, section 3.2; RFC 9111).
///
/// What is fresh is answered at once. Of several that want the same at the same time one asks the origin, the others wait
/// and look again; once, so that nobody waits in vain for what can't be kept.
struct CachedFetch: Sendable {
    struct Answer: Sendable {
        var status: Int
        var headers: Headers
        var body: StoreBody?
        var bodyLength: Int64?
    }

    private let request: OutboundRequest
    private let url: String
    private let zone: String
    private let options: CacheOptions
    private let cache: (any ResponseCache)?
    private let clock: any NodeClock
    private let policy: OutboundPolicy
    private let outbound: OutboundClient

    /// - Parameters:
    ///   - url: what the response is known by.
    ///   - zone: whose cache it is.
    init(
        _ request: OutboundRequest, url: String, zone: String, options: CacheOptions, cache: (any ResponseCache)?,
        clock: any NodeClock,
        policy: OutboundPolicy, outbound: OutboundClient
    ) {
        self.request = request
        self.url = url
        self.zone = zone
        self.options = options
        self.cache = cache
        self.clock = clock
        self.policy = policy
        self.outbound = outbound
    }

    private var now: Int64 { clock.wallTime().milliseconds }
    private var isHead: Bool { request.method == "HEAD" }

    func answer() async throws(OutboundError) -> Answer {
        let answer = try await find()
        if let cache, let status = answer.headers["cf-cache-status"].flatMap(CacheStatus.init) {
            cache.count(status, zone: zone)
        }
        return answer
    }

    private func find() async throws(OutboundError) -> Answer {
        guard let cache, let key else {
            let answer = try await pass(as: .dynamic)
            invalidate(answer)
            return answer
        }
        if options.mode == .noStore { return try await pass(as: .bypass) }
        if options.mode == nil, let answer = await answerFromCache(cache, key) { return answer }
        // Other answers than the whole response are passed on when nothing is stored.
        guard isForWhole || isAnsweredFromWhole && find(cache, key)?.response.hasValidator == true else {
            return try await pass(as: .miss)
        }
        if let claim = await cache.claim(key) { return try await fill(cache, key, claim) }
        guard !Task.isCancelled else { throw .cancelled }
        if options.mode == nil, let answer = await answerFromCache(cache, key) { return answer }
        return try await fill(cache, key, nil)
    }

    /// What the response is stored under; `nil` when the cache has no part in the request.
    private var key: CacheKey? {
        guard request.method == "GET" || isHead, case .none = request.body, let url = WebURL(url),
            url.scheme == "http" || url.scheme == "https",
            CacheEligibility.isEligible(path: url.path, options),
            // What the worker may not ask for, it may not have from the cache either.
            policy.allows(url.hostname, url.port ?? (url.scheme == "https" ? 443 : 80))
        else { return nil }
        let text = options.key ?? CacheKey.text(url)
        return text.utf8.count <= CacheKey.textBytesMax ? CacheKey(.zone(zone), text) : nil
    }

    /// What a request that may change something leaves behind.
    private func invalidate(_ answer: Answer) {
        guard let cache, OutdatedURLs.mayChange(request.method) else { return }
        var keys = OutdatedURLs.of(url, status: answer.status, headers: answer.headers)
        if !keys.isEmpty, let key = options.key { keys.append(key) }
        cache.invalidate(keys.map { CacheKey(.zone(zone), $0) })
    }

    /// Whether the answer to this request is the whole response, or none.
    private var isForWhole: Bool {
        isAnsweredFromWhole && !["range", "if-none-match", "if-modified-since"].contains { request.headers.has($0) }
    }

    /// Whether it follows from the whole response.
    private var isAnsweredFromWhole: Bool {
        !isHead && !["if-match", "if-unmodified-since"].contains { request.headers.has($0) }
    }

    private func rule(_ milliseconds: Int64, askedAt: Int64) -> StorageRule {
        StorageRule(
            requestHeaders: request.headers, options: options, now: milliseconds / 1000, askedAt: askedAt / 1000)
    }

    // MARK: From the cache

    private func find(_ cache: any ResponseCache, _ key: CacheKey) -> CacheHit? {
        guard let hit = cache.find(key, for: request.headers) else { return nil }
        // Whoever wants redirects followed can do nothing with one.
        if request.redirect == .follow, (300...399).contains(hit.response.status) { return nil }
        if request.headers.has("authorization") {
            let control = CacheControl(hit.response.headers["cache-control"] ?? "")
            guard ["public", "s-maxage", "must-revalidate"].contains(where: control.has) else { return nil }
        }
        return hit
    }

    private func answerFromCache(_ cache: any ResponseCache, _ key: CacheKey) async -> Answer? {
        guard let hit = find(cache, key) else { return nil }
        switch hit.response.freshness(at: now) {
        case .fresh: return await serve(hit, from: cache, as: .hit)
        case .stale(mayServeWhileAsking: true, _):
            guard let answer = await serve(hit, from: cache, as: .updating) else { return nil }
            if isAnsweredFromWhole, let claim = cache.tryClaim(key) { askBehindTheBack(cache, key, claim) }
            return answer
        case .stale: return nil
        }
    }

    private func serve(_ hit: CacheHit, from cache: any ResponseCache, as status: CacheStatus) async -> Answer? {
        let served = ServedResponse(hit.response, to: request.headers, isHead: isHead, as: status, at: now)
        guard let range = served.body else {
            return Answer(status: served.status, headers: served.headers, body: nil, bodyLength: 0)
        }
        guard let body = await cache.body(of: hit, offset: range.offset, byteCount: range.byteCount) else { return nil }
        return Answer(status: served.status, headers: served.headers, body: body, bodyLength: range.byteCount)
    }

    /// The request that started this has its answer; nobody waits, and the claim allows one such task for each key.
    private func askBehindTheBack(_ cache: any ResponseCache, _ key: CacheKey, _ claim: CacheClaim) {
        Task {
            let answer = try? await fill(cache, key, claim, isBehindTheBack: true)
            guard case .stream(let source)? = answer?.body else { return }
            do { while try await source.next() != nil {} } catch { source.cancel() }
        }
    }

    // MARK: From the origin

    private func pass(as status: CacheStatus) async throws(OutboundError) -> Answer {
        Self.passed(try await outbound.fetch(request, policy: policy), as: status)
    }

    private static func passed(_ response: OutboundResponse, as status: CacheStatus) -> Answer {
        var headers = response.headers
        headers.setCacheStatus(status)
        return Answer(
            status: response.status, headers: headers, body: response.body.map { .stream($0) },
            bodyLength: response.bodyLength)
    }

    private func fill(
        _ cache: any ResponseCache, _ key: CacheKey, _ claim: CacheClaim?, isBehindTheBack: Bool = false
    ) async throws(OutboundError) -> Answer {
        defer { withExtendedLifetime(claim) {} }
        let stale = find(cache, key)
        var question = request
        let isValidating = options.mode != .reload && stale?.response.hasValidator == true
        // What comes is to be kept, so it must be the whole; what the client wants of that is seen to here.
        if isValidating || isBehindTheBack {
            question.headers = StoredResponse.validating(isValidating ? stale?.response : nil, request.headers)
        }
        let askedAt = now
        let response: OutboundResponse
        do throws(OutboundError) {
            response = try await outbound.fetch(question, policy: policy)
        } catch {
            if let stale, let answer = await serveInstead(stale, cache) { return answer }
            throw error
        }
        if response.status >= 500, let stale, let answer = await serveInstead(stale, cache) {
            response.body?.cancel()
            return answer
        }
        if response.status == 304, isValidating, let stale {
            response.body?.cancel()
            if let answer = await revalidated(stale, by: response, cache, askedAt: askedAt) { return answer }
            // Evicted in this very moment, or the origin means another one: once more, as if nothing had been there.
            let whole = try await outbound.fetch(request, policy: policy)
            return await keep(whole, cache, key, claim, wasThere: true, askedAt: askedAt)
        }
        return await keep(response, cache, key, claim, wasThere: stale != nil, askedAt: askedAt)
    }

    private func serveInstead(_ stale: CacheHit, _ cache: any ResponseCache) async -> Answer? {
        guard case .stale(_, mayServeOnError: true) = stale.response.freshness(at: now) else { return nil }
        return await serve(stale, from: cache, as: .stale)
    }

    private func revalidated(
        _ stale: CacheHit, by response: OutboundResponse, _ cache: any ResponseCache, askedAt: Int64
    ) async -> Answer? {
        let moment = now
        let (status, rule) = (stale.response.status, rule(moment, askedAt: askedAt))
        switch stale.response.freshened(
            by: response.headers, { rule.verdict(status: status, headers: $0) }, at: moment)
        {
        case .kept(let fresh):
            await cache.refresh(stale, with: fresh)
            return await serve(CacheHit(id: stale.id, response: fresh), from: cache, as: .revalidated)
        case .dropped: return await serve(stale, from: cache, as: .revalidated)
        case .unrelated: return nil
        }
    }

    private func keep(
        _ response: OutboundResponse, _ cache: any ResponseCache, _ key: CacheKey, _ claim: CacheClaim?, wasThere: Bool,
        askedAt: Int64
    ) async -> Answer {
        let moment = now
        let verdict = rule(moment, askedAt: askedAt).verdict(status: response.status, headers: response.headers)
        // Behind a redirect it belongs to another URL.
        guard response.redirectCount == 0, case .store(let terms) = verdict else {
            claim?.end()
            return Self.passed(response, as: verdict.statusWhenSkipped)
        }
        let stored = StoredResponse(
            key: key, url: WebURL(url).map(CacheKey.text) ?? url,
            variant: Variant(of: request.headers, response: response.headers), status: response.status,
            headers: response.headers, terms: terms, storedAt: moment,
            tags: CacheTags.parse((options.tags + [response.headers["cache-tag"] ?? ""]).joined(separator: ",")))
        let status = wasThere ? CacheStatus.expired : .miss
        guard let fill = cache.beginFill(stored, length: response.bodyLength, claim: claim) else {
            claim?.end()
            return Self.passed(response, as: status)
        }
        var answer = Self.passed(response, as: status)
        guard let body = response.body else {
            await fill.commit()
            return answer
        }
        answer.body = .stream(FillingSource(body, fill))
        return answer
    }
}

extension StorageVerdict {
    /// What a client is told of a response that isn't kept.
    var statusWhenSkipped: CacheStatus {
        switch self {
        case .store: .miss
        case .skip(.noFreshness), .skip(.status), .skip(.partial), .skip(.tooLarge): .miss
        case .skip: .bypass
        }
    }
}
