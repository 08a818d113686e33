internal import Assets
internal import Caching
internal import HTTP
internal import Interfaces
internal import Stores
internal import System
internal import Wire

/// The cache in front of workers (`cache.enabled`): what is fresh is answered without an isolate, and of several requests
/// for the same one reaches the worker.
extension HTTPStream {
    /// - Returns: false when the request is to go to the worker at once.
    func startFromCache(_ route: RouteTarget) -> Bool {
        exchange.cacheFill = nil
        exchange.question = nil
        guard let cache = route.worker.cache, let front = cache.front, !requestBody.isPending,
            exchange.method == .get || exchange.method == .head, !parser.head.isWebSocketUpgrade
        else { return false }
        let url = cacheURL
        guard url.utf8.count <= CacheKey.textBytesMax, let lifetime = front.lifetime(of: url) else { return false }
        let key = CacheKey(front.scope(of: route.worker), url)
        let hit = find(key, cache.store)
        phase = .exchanging
        if let hit, !isConditional, case .fresh = hit.response.freshness(at: now) {
            if serveWhole(hit, of: cache.store) { return true }
        }
        guard let question = question(key, route, cache.store, lifetime) else { return false }
        ask(question, hit)
        return true
    }

    private var now: Int64 { node.clock.wallTime().milliseconds }

    /// The request's URL as the cache compares it.
    private var cacheURL: String {
        var buffer = ByteBuffer()
        unsafe input.withReadable { unsafe writeURL($0, into: &buffer) }
        let text = unsafe buffer.withReadable { unsafe String(decoding: $0.dropFirst(4), as: UTF8.self) }
        guard text.utf8.contains(UInt8(ascii: "#")) else { return text }
        return WebURL(text).map(CacheKey.text) ?? text
    }

    /// Whether what the client gets depends on more than what it asks for.
    private var isConditional: Bool {
        parser.head.fields.contains(.range) || parser.head.fields.contains(.ifNoneMatch)
            || parser.head.fields.contains(.ifModifiedSince)
    }

    private func fetchMessage() -> (message: [UInt8], fetch: FetchMessage)? {
        var buffer = ByteBuffer()
        buffer.append(1)
        writeFetch(into: &buffer)
        let message = unsafe buffer.withReadable { unsafe Array($0) }
        return (try? FetchMessage(message)).map { (message, $0) }
    }

    private func question(
        _ key: CacheKey, _ route: RouteTarget, _ store: any ResponseCache, _ lifetime: DefaultLifetime
    ) -> CacheQuestion? {
        guard let (message, fetch) = fetchMessage() else { return nil }
        return CacheQuestion(
            store: store, key: key, zone: route.zone, message: message, fetch: fetch,
            // Without a word from the worker, what a cookie may have shaped isn't taken for everybody's.
            defaultLifetime: fetch.headers.has("cookie") ? .none : lifetime, isHead: exchange.isHead)
    }

    private func find(_ key: CacheKey, _ store: any ResponseCache) -> CacheHit? {
        guard let hit = store.find(key, for: fetchMessage()?.fetch.headers ?? Headers()) else { return nil }
        guard parser.head.fields.contains(.authorization) else { return hit }
        let control = CacheControl(hit.response.headers["cache-control"] ?? "")
        return ["public", "s-maxage", "must-revalidate"].contains(where: control.has) ? hit : nil
    }

    private func ask(_ question: CacheQuestion, _ hit: CacheHit?) {
        if let hit, case .fresh = hit.response.freshness(at: now) { return serve(hit, question, as: .hit) }
        if let hit, case .stale(mayServeWhileAsking: true, _) = hit.response.freshness(at: now) {
            if !question.isHead, let claim = question.store.tryClaim(question.key), let route = exchange.route {
                let pending = PendingCacheFill(
                    question, claim: claim, stale: hit, isValidating: hit.response.hasValidator, at: now)
                reactor.dispatcher.submit(CacheRefresh(pending, route, on: reactor), to: route.worker)
            }
            return serve(hit, question, as: .updating)
        }
        if question.isHead { return submit() }
        if let claim = question.store.tryClaim(question.key) { return fill(question, claim, hit) }
        let reply = CacheReply(self, ray: exchange.ray)
        exchange.origin = OriginCall(
            Task(executorPreference: reactor) {
                let claim = await question.store.claim(question.key)
                reply.deliver { $0.wasWaited(question, claim) }
            })
    }

    /// Asks the worker, for the response or whether the stale one still holds.
    private func fill(_ question: CacheQuestion, _ claim: CacheClaim?, _ stale: CacheHit?) {
        let isValidating = stale?.response.hasValidator == true
        exchange.cacheFill = PendingCacheFill(question, claim: claim, stale: stale, isValidating: isValidating, at: now)
        if isValidating { exchange.question = question.event(validating: stale?.response) }
        submit()
    }

    /// The fill that the request waited for is over.
    private func wasWaited(_ question: CacheQuestion, _ claim: CacheClaim?) {
        exchange.origin = nil
        let hit = find(question.key, question.store)
        if let hit, case .fresh = hit.response.freshness(at: now) { return serve(hit, question, as: .hit) }
        fill(question, claim, hit)
    }

    // MARK: Out of the cache

    /// The usual case, without copying or decoding a header: all of a response, out of memory, as it is stored.
    ///
    /// - Returns: false when it isn't that.
    private func serveWhole(_ hit: CacheHit, of store: any ResponseCache) -> Bool {
        let stored = hit.response
        guard ![204, 205, 304].contains(stored.status),
            let body = store.bodyInMemory(of: hit, offset: 0, byteCount: stored.bodyByteCount), let length = body.length
        else { return false }
        responseEncoder = nil
        if length >= AssetLimits.compressedBytesMin, !stored.isEncoded, CompressionFacts(stored.headers).isCandidate {
            return false
        }
        beginHead(stored.status)
        stored.headers.forEachSpan { name, value in
            if !isInternalName(name) { output.appendHeader(name: name, value: value) }
        }
        exchange.cacheStatus = .hit
        store.count(.hit, zone: exchange.route?.zone ?? "")
        appendCacheStatus()
        output.append("Age: " as StaticString)
        output.appendDecimal(stored.age(at: now))
        output.append("\r\n" as StaticString)
        finishHead(status: stored.status, bodyLength: length, hasDate: true)
        startResponseBody(.stored(body))
        return true
    }

    private func serve(_ hit: CacheHit, _ question: CacheQuestion, as status: CacheStatus) {
        question.store.count(status, zone: question.zone)
        let served = ServedResponse(hit.response, to: question.headers, isHead: question.isHead, as: status, at: now)
        guard let range = served.body else { return send(served, nil) }
        if let body = question.store.bodyInMemory(of: hit, offset: range.offset, byteCount: range.byteCount) {
            return send(served, body)
        }
        let reply = CacheReply(self, ray: exchange.ray)
        exchange.origin = OriginCall(
            Task(executorPreference: reactor) {
                let body = await question.store.body(of: hit, offset: range.offset, byteCount: range.byteCount)
                reply.deliver { connection in
                    connection.exchange.origin = nil
                    // Evicted in between: the worker makes it anew.
                    if let body { connection.send(served, body) } else { connection.submit() }
                }
            })
    }

    private func send(_ served: ServedResponse, _ body: StoreBody?) {
        let announced = exchange.isHead ? served.headers["content-length"].flatMap { Int($0) } : nil
        let length = served.body.map { Int(clamping: $0.byteCount) } ?? announced
        // What is stored is as the worker made it; each client has its own coding.
        let compression = compression(
            of: CompressionFacts(served.headers), status: served.status, hasBody: body != nil, bodyLength: length,
            isEncoded: served.isEncoded)
        var headers: [(name: String, value: String)] = []
        served.headers.forEachOnWire { name, value in
            guard name != "content-length" else { return }
            if compression.coding != nil, name == "accept-ranges" { return }
            let isStrongTag = compression.coding != nil && name == "etag" && value.hasPrefix("\"")
            headers.append((name == "cf-cache-status" ? "CF-Cache-Status" : name, isStrongTag ? "W/" + value : value))
        }
        sendHead(
            status: served.status, headers: headers + compression.headers,
            bodyLength: compression.coding == nil ? length ?? 0 : nil, hasDate: served.headers.has("date"))
        if let body { startResponseBody(.stored(body)) } else { completeResponse() }
    }

    /// Takes a worker's word that what is stored still holds, and answers with that.
    ///
    /// - Returns: whether it was that.
    func freshen(
        _ head: ReplyHead, _ message: UnsafeRawBufferPointer, _ body: ReplyBody?
    ) throws(WireError) -> Bool {
        guard head.status == 304, let pending = exchange.cacheFill, pending.isValidating else { return false }
        exchange.cacheFill = nil
        exchange.question = nil
        body?.cancel(.cancelled)
        // It has answered, and this exchange wants nothing more of it.
        event = nil
        if let hit = try pending.freshen(head, unsafe Array(message), at: now) {
            serve(hit, pending.question, as: .revalidated)
        } else {
            exchange.cacheFill = pending.unconditional(at: now)
            exchange.question = pending.question.event(validating: nil)
            submit()
        }
        return true
    }

    /// Gives the client what is stored when the worker has failed, as far as that may be (RFC 5861 §4).
    ///
    /// - Parameter status: what the worker answered; `nil`: nothing.
    func replaceByStale(status: Int? = nil, _ body: ReplyBody? = nil) -> Bool {
        guard status ?? 500 >= 500, let fill = exchange.cacheFill, let stale = fill.stale, !exchange.isHeadSent,
            case .stale(_, mayServeOnError: true) = stale.response.freshness(at: now)
        else { return false }
        exchange.cacheFill = nil
        exchange.question = nil
        // What becomes of the worker's own answer is nothing to this exchange any more.
        let event = event
        self.event = nil
        body?.cancel(.cancelled)
        event?.abandon(.cancelled)
        serve(stale, fill.question, as: .stale)
        return true
    }

    // MARK: Out of date

    /// Remembers what is stored for the URL of a request that may change it; its answer decides.
    func noteInvalidation(_ route: RouteTarget) {
        exchange.invalidation = nil
        guard !exchange.isSafe, let cache = route.worker.cache, let front = cache.front else { return }
        let url = cacheURL
        guard front.lifetime(of: url) != nil else { return }
        exchange.invalidation = CacheInvalidation(store: cache.store, scope: front.scope(of: route.worker), url: url)
    }

    // MARK: Into the cache

    /// Looks whether the worker's answer can be kept.
    ///
    /// - Returns: the body to send: the same one, or one that is stored on its way.
    func fillCache(_ head: ReplyHead, _ message: [UInt8], _ body: ReplyBody?) throws(WireError) -> ReplyBody? {
        guard let pending = exchange.cacheFill else { return body }
        exchange.cacheFill = nil
        let (status, fill) = try pending.begin(head, message, at: now)
        exchange.cacheStatus = status
        pending.question.store.count(status, zone: pending.question.zone)
        guard let fill else { return body }
        guard let body else {
            // The fill holds the claim until it is done.
            Task { await fill.commit() }
            return nil
        }
        let source = BufferedSource(reactor: reactor)
        let producer = body.start(on: reactor, to: source, window: WireLimits.initialCredit)
        source.start(from: producer)
        return .stored(.stream(FillingSource(source, fill)))
    }

    // MARK: What the client is told

    /// Whether the header is `CF-Cache-Status`: what the node's own cache told a handler, that may pass on.
    func takesCacheStatus(_ name: RawSpan, _ value: RawSpan) -> Bool {
        guard name.byteCount == 15, name.byte(at: 0) | 0x20 == 0x63, name.byte(at: 2) == 0x2D else { return false }
        let text = unsafe name.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
        guard text.lowercased() == "cf-cache-status" else { return false }
        let status = unsafe value.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
        if exchange.cacheStatus == nil { exchange.cacheStatus = CacheStatus(rawValue: status) }
        return true
    }

    func appendCacheStatus() {
        guard let status = exchange.cacheStatus, status != .dynamic else {
            return output.append("CF-Cache-Status: DYNAMIC\r\n" as StaticString)
        }
        output.append("CF-Cache-Status: \(status.rawValue)\r\n")
    }
}

/// What an answer puts out of date, if it is no error (RFC 9111 §4.4).
struct CacheInvalidation {
    let store: any ResponseCache
    let scope: CacheScope
    let url: String

    func apply(_ head: ReplyHead, _ message: UnsafeRawBufferPointer) throws(WireError) {
        guard (200..<400).contains(head.status) else { return }
        var offset = ReplyHead.byteCount
        let headers = try Headers(message: unsafe Array(message), count: head.headerCount, from: &offset)
        store.invalidate(
            OutdatedURLs.of(url, status: head.status, headers: headers).map { CacheKey(scope, $0) })
    }
}

/// Brings what the cache says back to its connection.
private struct CacheReply: @unchecked Sendable {  // Created and delivered on the reactor's thread.
    private weak var connection: HTTPStream?
    private let ray: UInt64

    init(_ connection: HTTPStream, ray: UInt64) {
        self.connection = connection
        self.ray = ray
    }

    func deliver(_ body: (HTTPStream) -> Void) {
        guard let connection, connection.phase == .exchanging, connection.exchange.ray == ray,
            !connection.exchange.isHeadSent
        else { return }
        body(connection)
    }
}
