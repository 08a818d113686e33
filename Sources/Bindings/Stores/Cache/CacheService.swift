internal import Caching
internal import HTTP
package import Interfaces
package import Observability
package import Stores
package import System
internal import Wire

/// The Cache API of a tenant's workers: `cache.default` and all named caches.
package struct CacheService: StoreService {
    private let store: any ResponseCache
    private let clock: any NodeClock
    private let logger: Logger

    private static let nameBytesMax = 512

    package init(_ store: any ResponseCache, clock: any NodeClock, logger: Logger) {
        self.store = store
        self.clock = clock
        self.logger = logger
    }

    private var now: Int64 { clock.wallTime().milliseconds }

    /// A lookup touches the disk only for a body that isn't in memory.
    package func answerInPlace(_ call: StoreCall) throws(CallFailure) -> StoreReply? {
        guard call.kind == .cacheMatch else { return nil }
        guard let (hit, served) = try find(call) else { return miss(call) }
        guard let range = served.body else { return self.hit(call, served, nil) }
        return store.bodyInMemory(of: hit, offset: range.offset, byteCount: range.byteCount).map { self.hit(call, served, $0) }
    }

    package func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply {
        if call.kind != .cachePut { call.body?.cancel() }
        switch call.kind {
        case .cacheMatch: return try await match(call)
        case .cachePut:
            do throws(CallFailure) { try await put(call) } catch {
                call.body?.cancel()
                throw error
            }
            return StoreReply(message: [])
        case .cacheDelete:
            let message = try Self.decode(call) { d throws(WireError) in try CacheRequestMessage(decoding: &d) }
            var encoder = WireEncoder()
            let isMeant = message.method == "GET" || message.ignoresMethod
            encoder.put(isMeant ? await store.remove(try Self.key(message, call.zone)) : false)
            return StoreReply(message: encoder.bytes)
        default: throw CallFailure("a cache has no call of kind \(call.kind.rawValue)", name: "TypeError")
        }
    }

    // MARK: Match

    private func find(_ call: StoreCall) throws(CallFailure) -> (CacheHit, ServedResponse)? {
        let message = try Self.decode(call) { d throws(WireError) in try CacheRequestMessage(decoding: &d) }
        guard message.method == "GET" || message.ignoresMethod,
            let hit = store.find(try Self.key(message, call.zone), for: message.headers),
            case .fresh = hit.response.freshness(at: now)
        else { return nil }
        return (hit, ServedResponse(hit.response, to: message.headers, as: .hit, at: now))
    }

    private func match(_ call: StoreCall) async throws(CallFailure) -> StoreReply {
        guard let (hit, served) = try find(call) else { return miss(call) }
        guard let range = served.body else { return self.hit(call, served, nil) }
        guard let body = await store.body(of: hit, offset: range.offset, byteCount: range.byteCount) else {
            return miss(call)
        }
        return self.hit(call, served, body)
    }

    private func miss(_ call: StoreCall) -> StoreReply {
        store.count(.miss, zone: call.zone)
        return StoreReply(message: CacheMatchReply.encoded(nil))
    }

    private func hit(_ call: StoreCall, _ served: ServedResponse, _ body: StoreBody?) -> StoreReply {
        store.count(.hit, zone: call.zone)
        return Self.reply(served, body)
    }

    private static func reply(_ served: ServedResponse, _ body: StoreBody?) -> StoreReply {
        StoreReply(
            message: CacheMatchReply.encoded(
                CacheMatchReply(status: served.status, headers: served.headers, bodyLength: served.body?.byteCount)),
            body: served.body.map(\.byteCount) == 0 ? nil : body)
    }

    // MARK: Put

    private func put(_ call: StoreCall) async throws(CallFailure) {
        let message = try Self.decode(call) { d throws(WireError) in try CachePutMessage(decoding: &d) }
        if let flaw = Self.flaw(message) { throw CallFailure(flaw, name: "TypeError") }
        guard (200...599).contains(message.status) else {
            throw .malformedCall(.invalidValue("HTTP status", offset: 0))
        }
        let key = try Self.key(message.request, call.zone)
        guard message.status != 304 else {
            logger.log(.warning, "a response with status 304 is not cached")
            return skip(call)
        }
        let rule = StorageRule(now: clock.wallTime().seconds)
        guard case .store(let terms) = rule.verdict(status: message.status, headers: message.headers) else {
            return skip(call)
        }
        let response = StoredResponse(
            key: key, url: Self.url(message.request) ?? message.request.url,
            variant: Variant(of: message.request.headers, response: message.headers, onlyEncoding: true),
            status: message.status, headers: message.headers, terms: terms, storedAt: now,
            tags: CacheTags.parse(message.headers["cache-tag"] ?? ""))
        guard let fill = store.beginFill(response, length: message.bodyLength, claim: nil) else { return skip(call) }
        do {
            while let piece = try await call.body?.next() { await fill.append(piece) }
        } catch {
            fill.abort()
            throw CallFailure("Network connection lost.")
        }
        await fill.commit()
    }

    private func skip(_ call: StoreCall) { call.body?.cancel() }

    /// Why the response can't be put, in the product's words.
    private static func flaw(_ message: CachePutMessage) -> String? {
        if message.request.method != "GET" { return "Cannot cache response to non-GET request." }
        if message.status == 206 { return "Cannot cache response to a range request (206 Partial Content)." }
        let vary = message.headers["vary"]?.split(separator: ",").map { $0.filter { $0 != " " && $0 != "\t" } } ?? []
        if vary.contains("*") { return "Cannot cache response with 'Vary: *' header." }
        if message.status == 101 { return "Cannot cache WebSocket upgrade response." }
        return nil
    }

    // MARK: Keys

    private static func url(_ message: CacheRequestMessage) -> String? { WebURL(message.url).map(CacheKey.text) }

    private static func key(_ message: CacheRequestMessage, _ zone: String) throws(CallFailure) -> CacheKey {
        if let name = message.cache, name.utf8.count > nameBytesMax {
            throw CallFailure("The name of a cache may have at most \(nameBytesMax) bytes.", name: "TypeError")
        }
        guard let text = message.key ?? url(message) else {
            throw CallFailure("Invalid URL: \(message.url.prefix(200))", name: "TypeError")
        }
        guard text.utf8.count <= CacheKey.textBytesMax else {
            throw CallFailure(
                "The key of a cached response may have at most \(CacheKey.textBytesMax) bytes.", name: "TypeError")
        }
        return CacheKey(message.cache.map { .named($0) } ?? .zone(zone), text)
    }

    private static func decode<Message>(
        _ call: StoreCall, _ decode: (inout WireDecoder) throws(WireError) -> Message
    ) throws(CallFailure) -> Message {
        var decoder = WireDecoder(call.message)
        do throws(WireError) { return try decode(&decoder) } catch { throw .malformedCall(error) }
    }
}
