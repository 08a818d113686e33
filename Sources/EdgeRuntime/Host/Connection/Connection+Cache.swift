internal import Caching
internal import HTTP
internal import Interfaces
internal import Stores
internal import Wire

/// The cache in front of workers (`cache.enabled`): what is fresh is answered without an isolate, and of several requests
/// for the same one reaches the worker.
extension Connection {
    /// - Returns: false when the request is to go to the worker at once.
    func startFromCache(_ route: RouteTarget) -> Bool {
        exchange.cacheFill = nil
        guard let cache = route.worker.cache, let front = cache.front, !requestBody.isPending,
            exchange.method == .get || exchange.method == .head, !parser.head.isWebSocketUpgrade,
            let question = cacheQuestion(route.worker, cache, front)
        else { return false }
        phase = .exchanging
        ask(question)
        return true
    }

    private func cacheQuestion(_ worker: WorkerRuntime, _ cache: WorkerCache, _ front: FrontCache) -> CacheQuestion? {
        var buffer = ByteBuffer()
        buffer.append(1)
        writeFetch(into: &buffer)
        guard let fetch = try? FetchMessage(unsafe buffer.withReadable { unsafe Array($0) }), let url = WebURL(fetch.url),
            var lifetime = front.lifetime(of: url.path)
        else { return nil }
        // Without a word from the worker, what a cookie may have shaped isn't taken for everybody's.
        if fetch.headers.has("cookie") { lifetime = .none }
        let text = CacheKey.text(url)
        return CacheQuestion(
            store: cache.store, key: CacheKey(front.scope(of: worker), text), url: text, headers: fetch.headers,
            defaultLifetime: lifetime, isHead: exchange.isHead)
    }

    private func ask(_ question: CacheQuestion) {
        let hit = usable(question)
        let now = node.clock.wallTime().milliseconds
        if let hit, case .fresh = hit.response.freshness(at: now) { return serve(hit, question, as: .hit) }
        if let hit, case .stale(mayServeWhileAsking: true, _) = hit.response.freshness(at: now) {
            // With conditions or a range, the worker's answer might not be the whole of it.
            if !question.isHead, !["range", "if-none-match", "if-modified-since"].contains(where: question.headers.has),
                let claim = question.store.tryClaim(question.key)
            {
                refresh(PendingCacheFill(question, claim: claim, stale: hit))
            }
            return serve(hit, question, as: .updating)
        }
        if question.isHead { return submit() }
        if let claim = question.store.tryClaim(question.key) {
            exchange.cacheFill = PendingCacheFill(question, claim: claim, stale: hit)
            return submit()
        }
        let reply = CacheReply(self, ray: exchange.ray)
        exchange.origin = OriginCall(
            Task(executorPreference: reactor) {
                let claim = await question.store.claim(question.key)
                reply.deliver { $0.wasWaited(question, claim) }
            })
    }

    /// Has the worker asked behind the client's back.
    private func refresh(_ pending: PendingCacheFill) {
        guard let route = exchange.route else { return }
        var message = ByteBuffer()
        writeFetch(into: &message)
        reactor.dispatcher.submit(
            CacheRefresh(pending, route, unsafe message.withReadable { unsafe Array($0) }, on: reactor), to: route.worker)
    }

    /// The fill that the request waited for is over.
    private func wasWaited(_ question: CacheQuestion, _ claim: CacheClaim?) {
        exchange.origin = nil
        let hit = usable(question)
        let now = node.clock.wallTime().milliseconds
        if let hit, case .fresh = hit.response.freshness(at: now) { return serve(hit, question, as: .hit) }
        exchange.cacheFill = PendingCacheFill(question, claim: claim, stale: hit)
        submit()
    }

    private func usable(_ question: CacheQuestion) -> CacheHit? {
        guard let hit = question.store.find(question.key, for: question.headers) else { return nil }
        guard question.headers.has("authorization") else { return hit }
        let control = CacheControl(hit.response.headers["cache-control"] ?? "")
        return ["public", "s-maxage", "must-revalidate"].contains(where: control.has) ? hit : nil
    }

    // MARK: Out of the cache

    private func serve(_ hit: CacheHit, _ question: CacheQuestion, as status: CacheStatus) {
        let served = ServedResponse(
            hit.response, to: question.headers, isHead: question.isHead, as: status,
            at: node.clock.wallTime().milliseconds)
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
        var headers: [(name: String, value: String)] = []
        served.headers.forEachOnWire { name, value in
            guard !["content-length", "date", "server", "cf-ray"].contains(name), !name.hasPrefix("x-accel-") else { return }
            headers.append((name == "cf-cache-status" ? "CF-Cache-Status" : name, value))
        }
        let announced = exchange.isHead ? served.headers["content-length"].flatMap { Int($0) } : nil
        sendHead(
            status: served.status, headers: headers,
            bodyLength: served.body.map { Int(clamping: $0.byteCount) } ?? announced ?? 0)
        if let body { startResponseBody(.stored(body)) } else { completeResponse() }
    }

    /// Gives the client what is stored when the worker has failed, as far as that may be (RFC 5861 §4).
    ///
    /// - Parameter status: what the worker answered; `nil`: nothing.
    func replaceByStale(status: Int? = nil, _ body: ReplyBody? = nil) -> Bool {
        guard status ?? 500 >= 500, let fill = exchange.cacheFill, let stale = fill.stale, !exchange.isHeadSent,
            case .stale(_, mayServeOnError: true) = stale.response.freshness(at: node.clock.wallTime().milliseconds)
        else { return false }
        exchange.cacheFill = nil
        // What becomes of the worker's own answer is nothing to this exchange any more.
        let event = event
        self.event = nil
        body?.cancel(.cancelled)
        event?.abandon(.cancelled)
        serve(stale, fill.question, as: .stale)
        return true
    }

    // MARK: Into the cache

    /// Looks whether the worker's answer can be kept.
    ///
    /// - Returns: the body to send: the same one, or one that is stored on its way.
    func fillCache(_ head: ReplyHead, _ message: [UInt8], _ body: ReplyBody?) throws(WireError) -> ReplyBody? {
        guard let pending = exchange.cacheFill else { return body }
        exchange.cacheFill = nil
        let (status, fill) = try pending.begin(head, message, at: node.clock.wallTime().milliseconds)
        exchange.cacheStatus = status
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

/// Brings what the cache says back to its connection.
private struct CacheReply: @unchecked Sendable {  // Created and delivered on the reactor's thread.
    private weak var connection: Connection?
    private let ray: UInt64

    init(_ connection: Connection, ray: UInt64) {
        self.connection = connection
        self.ray = ray
    }

    func deliver(_ body: (Connection) -> Void) {
        guard let connection, connection.phase == .exchanging, connection.exchange.ray == ray,
            !connection.exchange.isHeadSent
        else { return }
        body(connection)
    }
}
