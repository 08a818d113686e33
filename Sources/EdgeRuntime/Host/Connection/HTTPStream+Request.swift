internal import HTTP
internal import Interfaces
internal import Stores
internal import System
internal import Wire

extension HTTPStream: Dispatchable, EventOwner {
    // MARK: Starting

    /// Takes the request whose head the parser has just found.
    func startRequest(headByteCount: Int) {
        reactor.counters.requests += 1
        // One that was rested begins with a new one.
        if exchange.isUsed { exchange = Exchange() }
        exchange.isUsed = true
        exchange.method = parser.head.knownMethod
        exchange.minorVersion = parser.head.minorVersion
        exchange.keepAlive = parser.head.keepAlive
        exchange.started = reactor.now
        exchange.bytesMovedBefore = bytesMoved
        exchange.ray = reactor.random.next()
        exchange.traceHalf = reactor.random.next()
        exchange.span = reactor.random.next()
        exchange.unconsumedHead = headByteCount
        phase = .exchanging
        requestBody = makeRequestBody()
        bodyAllowance = 0
        exchange.expectsContinue = parser.head.expectsContinue && requestBody.isPending
        exchange.acceptsHTML = acceptsHTML
        if exchange.acceptsHTML { exchange.host = unsafe input.withReadable { unsafe hostText($0) } }
        if node.settings.logsRequests {
            // A query may hold a signature, which is good for as long as it says.
            exchange.description = role == .s3 ? String(requestLine.prefix { $0 != "?" }) : requestLine
        }
        if parser.head.targetForm == .asterisk { return answerServerOptions() }
        // What is signed there is the target as it was sent.
        if role == .s3 { return startLocal(headByteCount, node.local) }
        guard findURL() else {
            exchange.mustClose = true
            return answer(.badRequest(status: 400, reason: "host and path make no URL"))
        }
        if let field = parser.head.fields.first(.cfEWVia) {
            // A client that writes it itself only makes its own way shorter.
            exchange.hops = Int(unsafe input.withReadable { unsafe $0.bytes.text(field.value) }) ?? 0
            guard (0..<EdgeHeaders.hopsMax).contains(exchange.hops) else { return answer(.loop) }
        }
        route(headByteCount)
    }

    /// `OPTIONS *` asks the server as a whole (RFC 9110 §9.3.7).
    private func answerServerOptions() {
        consumeHead()
        sendHead(
            status: 200, headers: [("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")], bodyLength: 0)
        completeResponse()
    }

    private var acceptsHTML: Bool {
        guard let accept = parser.head.fields.first(.accept) else { return false }
        // Only clients that show pages ask for this type, and they don't refuse it with q=0.
        return unsafe input.withReadable { unsafe $0.bytes.text(accept.value) }.lowercased().contains("text/html")
    }

    private var requestLine: String {
        unsafe input.withReadable { bytes in
            let span = unsafe bytes.bytes
            return "\(span.text(parser.head.method)) \(span.text(parser.head.target))"
        }
    }

    private func route(_ headByteCount: Int) {
        if let port = redirectPort, !exchange.wasRetried, !exchange.wasRerouted, redirect(toPort: port) { return }
        if role == .control || isHostPath { return startLocal(headByteCount, node.local) }
        if let limit = node.clientLimit, isRefused(by: [limit]) { return }
        switch findRoute() {
        case .worker(let found):
            let route = choose(found)
            start(route)
        case .site(let found):
            let target = choose(found)
            exchange.release = target.release
            serve(target.site.rules.answer(assetRequest()), of: target.site)
        case .local(let found): startLocal(headByteCount, found.handler)
        case .previews(let resolvers): preview(by: resolvers)
        case .origin(let origin): forward(to: origin)
        case .unknownHost: answer(.unknownHost)
        case .noRoute: answer(.noRoute)
        }
    }

    /// Asks the limits before anything is done for the request, and answers when one says no. A request that another isolate
    /// has to try is still the same request.
    private func isRefused(by limits: [any RequestLimit]) -> Bool {
        guard !limits.isEmpty, !exchange.wasRetried, !exchange.wasRerouted else { return false }
        let client = unsafe input.withReadable { unsafe EdgeHeaders.limitKey(of: self, $0) }
        for limit in limits {
            guard let wait = limit.refuse(client) else { continue }
            answer(limit.refusal, retryAfter: wait)
            return true
        }
        return false
    }

    /// Host name and path with query, as the handler will see them.
    func withTarget<Result>(
        _ body: (_ host: UnsafeRawBufferPointer, _ pathAndQuery: UnsafeRawBufferPointer) -> Result
    ) -> Result {
        if let url = exchange.url {
            return unsafe url.bytes.withUnsafeBytes { bytes in
                unsafe body(
                    UnsafeRawBufferPointer(rebasing: bytes[url.hostname]),
                    UnsafeRawBufferPointer(rebasing: bytes[url.pathAndQuery]))
            }
        }
        return unsafe input.withReadable { bytes in
            unsafe body((parser.head.host?.name ?? .empty).of(bytes), parser.head.pathAndQuery.of(bytes))
        }
    }

    /// `/cdn-cgi/…` and `/__edge/…` belong to the host and never reach a worker.
    private var isHostPath: Bool {
        unsafe withTarget { _, path in
            unsafe path.starts(with: "/cdn-cgi/".utf8) || path.starts(with: "/__edge/".utf8)
        }
    }

    /// Has the request answered by what was found for it.
    func start(_ route: RouteTarget) {
        exchange.release = route.release
        exchange.begin(route.meter?.lane(reactor.index))
        if let site = route.site, let answer = site.rules.answerBeforeWorker(assetRequest()) {
            return serve(answer, of: site)
        }
        dispatch(to: route)
    }

    private func dispatch(to route: RouteTarget) {
        exchange.route = route
        guard !isRefused(by: route.worker.requestLimits) else { return }
        let limits = route.worker.limits
        if case .length(let left) = requestBody, left > Int64(limits.bodyBytesMax) {
            exchange.mustClose = true
            return answer(.bodyTooLarge(limit: limits.bodyBytesMax))
        }
        if case .length(let left) = requestBody { noteBody(left, of: limits.bodyBytesMax) }
        exchange.bodyBytes = 0
        exchange.bodyBytesMax = limits.bodyBytesMax
        exchange.wallLimit = limits.wall
        exchange.waitsSince = reactor.now
        noteInvalidation(route)
        if case .length(let left) = requestBody, left <= Self.gatheredBytesMax, !parser.head.expectsContinue,
            !hasRestOfBody
        {
            return gather()
        }
        if startFromCache(route) { return }
        submit()
    }

    /// Warns the worker of a body that is nearly as large as it may be.
    func noteBody(_ byteCount: Int64, of most: Int) {
        guard WorkerLimit.isNear(byteCount, of: Int64(most)) else { return }
        exchange.route?.worker.near(.requestBody, used: byteCount, allowed: Int64(most), call: nil)
    }

    /// A body up to here goes to the isolate with its head.
    private static let eagerBodyBytesMax: Int64 = 16 << 10

    /// Larger bodies, and those whose client waits to be asked, are streamed from the start.
    private static let gatheredBytesMax: Int64 = 32 << 10

    /// Asks for an isolate.
    func submit() {
        guard let route = exchange.route else { return }
        phase = .waiting
        exchange.waitsSince = reactor.now
        reactor.dispatcher.submit(self, to: route.worker)
    }

    // MARK: Dispatchable

    var isAbandoned: Bool { phase != .waiting }

    func dispatch(on channel: Channel) {
        guard let route = exchange.route else { return }
        phase = .exchanging
        let hasBody = requestBody.isPending
        // A large body waits until the handler wants it: it may want to pass it on unread, and then never has to see it. Not one
        // in chunks, whose framing is to be judged whether or not somebody reads it.
        let isHeld = (requestBody.bytesLeft ?? 0) > Self.eagerBodyBytesMax
        let event = channel.open(
            .fetch, flags: hasBody ? (isHeld ? .heldBody : []) : parser.head.isWebSocketUpgrade ? [] : .end,
            make: {
                EventStream(
                    number: $0, channel: channel, worker: route.worker, release: route.release, kind: .fetch,
                    owner: self, zone: route.zone, started: exchange.started, holdsBody: isHeld)
            },
            { if let question = exchange.question { $0.append(question) } else { writeFetch(into: &$0) } })
        event.span = exchange.traceSpan
        event.watch { if let question = exchange.question { $0.append(question) } else { writeFetch(into: &$0) } }
        if exchange.hops > 0 { event.invocations.hops = exchange.hops }
        self.event = event
        guard hasBody else { return }
        consumeHead()
        let body = RequestBodyHandle(self)
        exchange.bodyHandle = body
        event.producer = body
        bodyConsumer = event
        event.requestBody()
        updateInterest()
    }

    func refuse(_ reason: Refusal) {
        switch reason {
        case .shuttingDown: answer(.shuttingDown)
        case .replaced where reactor.isDraining || exchange.wasRerouted: answer(.shuttingDown)
        case .replaced:
            // Nothing of the request was handed over yet, so the release that serves now can have it.
            exchange.wasRerouted = true
            phase = .exchanging
            route(exchange.unconsumedHead)
        case .unavailable(let reason): answer(.exception, detail: reason)
        case .queueFull, .timedOut, .backingOff: answer(.noIsolate)
        }
    }

    /// Asks for the body of a client that waits for that (RFC 9110 §10.1.1).
    func continueIfExpected() {
        guard exchange.expectsContinue else { return }
        exchange.expectsContinue = false
        // What has sent some of it already doesn't wait; and behind an answer there is nothing to ask for.
        guard input.isEmpty, !exchange.isHeadSent else { return }
        sendContinue()
    }

    func consumeHead() {
        _ = acceptedCodings()  // Its last chance: the answer may be long in coming.
        input.consume(exchange.unconsumedHead)
        exchange.unconsumedHead = 0
    }

    // MARK: The fetch message

    /// Writes the request as the isolate gets it: see `Interfaces/Isolate/FetchLayout.swift`.
    func writeFetch(into buffer: inout ByteBuffer) {
        unsafe input.withReadable { bytes in
            let contentLength = parser.head.contentLength
            buffer.append(requestBody.isPending ? 1 : 0)
            buffer.append(parser.head.knownMethod.rawValue)
            if parser.head.knownMethod == .other {
                let method = unsafe parser.head.method.of(bytes)
                buffer.append(UInt8(truncatingIfNeeded: method.count))
                unsafe buffer.append(method)
            }
            buffer.appendLittleEndian(Int64(contentLength ?? -1))
            unsafe writeURL(bytes, into: &buffer)
            unsafe writeClientAcceptEncoding(bytes, into: &buffer)
            unsafe writeHeaders(bytes, into: &buffer)
        }
    }

    func writeURL(_ bytes: UnsafeRawBufferPointer, into buffer: inout ByteBuffer) {
        if let url = exchange.url {
            buffer.appendLittleEndian(UInt32(url.bytes.count))
            return buffer.append(url.bytes)
        }
        let countOffset = buffer.readableByteCount
        buffer.appendLittleEndian(UInt32(0))
        let url = parser.head.appendURL(client.scheme == .https ? .https : .http, of: unsafe bytes.bytes, to: &buffer)
        buffer.patch(UInt32(url?.byteCount ?? 0), at: countOffset)
    }

    /// Finds out what URL host and path make. What is written as usual is one as it stands.
    ///
    /// - Returns: false when they make none.
    private func findURL() -> Bool {
        if let host = parser.head.host, host.isNormalized, !parser.head.pathNeedsNormalizing { return true }
        exchange.url = unsafe input.withReadable { bytes in
            var buffer = ByteBuffer()
            let url = parser.head.appendURL(client.scheme == .https ? .https : .http, of: unsafe bytes.bytes, to: &buffer)
            guard let url else { return nil }
            return NormalizedURL(url, unsafe buffer.withReadable { unsafe Array($0) })
        }
        return exchange.url != nil
    }

    private func writeClientAcceptEncoding(_ bytes: UnsafeRawBufferPointer, into buffer: inout ByteBuffer) {
        guard let field = parser.head.fields.first(.acceptEncoding) else {
            return buffer.appendLittleEndian(UInt32(0))
        }
        buffer.appendLittleEndian(UInt32(field.value.count))
        unsafe buffer.append(field.value.of(bytes))
    }

    private func writeHeaders(_ bytes: UnsafeRawBufferPointer, into buffer: inout ByteBuffer) {
        var count = 0
        let countOffset = buffer.readableByteCount
        buffer.appendLittleEndian(UInt16(0))
        for index in 0..<parser.head.fields.count {
            let field = parser.head.fields[index]
            guard !field.isHopByHop, !EdgeHeaders.isOverwritten(field.known) else { continue }
            // RFC 9112 §3.2.2: the target's authority replaces it.
            if field.known == .host, parser.head.targetForm == .absolute { continue }
            let name = unsafe field.name.of(bytes)
            let value = unsafe field.value.of(bytes)
            unsafe buffer.appendBlockHeader(name: name.bytes, value: value.bytes)
            count += 1
        }
        if parser.head.targetForm == .absolute {
            unsafe buffer.append(headerName: "host", value: hostText(bytes))
            count += 1
        }
        if parser.head.isWebSocketUpgrade {
            buffer.append(headerName: "upgrade", value: "websocket" as StaticString)
            count += 1
        }
        count += unsafe EdgeHeaders.append(for: self, bytes, into: &buffer)
        buffer.patch(UInt16(truncatingIfNeeded: count), at: countOffset)
    }

    /// Whom the client asked, with the port if it named one.
    func hostText(_ bytes: UnsafeRawBufferPointer) -> String {
        guard let host = parser.head.host else { return "" }
        let name = unsafe bytes.bytes.text(host.name)
        return host.port.map { "\(name):\($0)" } ?? name
    }

    // MARK: Requests that the node answers itself

    private func startLocal(_ headByteCount: Int, _ handler: any LocalHandler) {
        exchange.isLocal = true
        let request = makeLocalRequest()
        consumeHead()
        if let source = request.body as? BufferedSource {
            source.start(from: self)
            retainedConsumer = source
            bodyConsumer = source
            // There, the body is asked for once the head is right.
            if role != .s3 { grant(WireLimits.initialCredit) }
            updateInterest()
        }
        let ray = exchange.ray
        let reply = LocalReply(self, ray: ray)
        // The task is bounded by the handler, which never waits without a limit of its own.
        Task(executorPreference: reactor) { reply.deliver(await handler.answer(request)) }
    }

    private func makeLocalRequest() -> LocalRequest {
        unsafe input.withReadable { bytes in
            let span = unsafe bytes.bytes
            var headers: [(name: String, value: String)] = []
            for index in 0..<parser.head.fields.count {
                let field = parser.head.fields[index]
                headers.append((span.text(field.name).lowercased(), span.text(field.value)))
            }
            var request = LocalRequest(
                listener: role.listener, method: span.text(parser.head.method), target: localTarget(span),
                host: parser.head.host.map { span.text($0.name) } ?? "", headers: headers,
                body: requestBody.isPending
                    ? BufferedSource(reactor: reactor, firstGrant: role == .s3 ? WireLimits.initialCredit : 0) : nil,
                client: client.address.text, protocolName: protocolName)
            request.isSecure = client.scheme == .https
            if role == .edge {
                request.tls = tlsSession.map { LocalRequest.TLS(minorVersion: $0.minorVersion, cipher: $0.cipher) }
            }
            return request
        }
    }

    /// Path and query. A key of a store may be `..`: what manages them gets the path as it was sent.
    private func localTarget(_ span: RawSpan) -> String {
        guard role == .edge, let url = exchange.url else { return span.text(parser.head.pathAndQuery) }
        return String(decoding: url.bytes[url.pathAndQuery], as: UTF8.self)
    }

    fileprivate func localAnswered(_ response: LocalResponse, ray: UInt64) {
        guard phase == .exchanging, exchange.ray == ray, exchange.isLocal, !exchange.isHeadSent else { return }
        sendHead(
            status: response.status, headers: response.headers, bodyLength: response.bodyByteCount)
        startResponseBody(.stored(response.body))
    }

    // MARK: EventOwner

    /// Product limit: 128 KB of headers each way.
    private static let responseHeadBytesMax = 128 << 10

    func event(_ event: EventStream, answered message: UnsafeRawBufferPointer) throws(WireError) {
        guard self.event === event, !exchange.isHeadSent else { return }
        let head = try ReplyHead(reading: unsafe message.bytes)
        if head.status == 101 { return try unsafe becomeWebSocket(event, head, message) }
        let body = try event.replyBody(head)
        guard message.count <= Self.responseHeadBytesMax else {
            body?.cancel(.cancelled)
            node.logger.log(.error, "response headers are larger than 128 KiB", event.channel.isolate.logFields)
            return answer(.exception, detail: "response headers are larger than 128 KiB")
        }
        exchange.answered(status: head.status, at: reactor.now)
        if exchange.unconsumedHead > 0, requestBody.isPending { consumeHead() }
        if try unsafe freshen(head, message, body) { return }
        if replaceByStale(status: head.status, body) { return }
        if let invalidation = exchange.invalidation { try unsafe invalidation.apply(head, message) }
        if case .redirected(let producer)? = body { exchange.isBodyReturned = producer === exchange.bodyHandle }
        let sent = exchange.cacheFill == nil ? body : try fillCache(head, unsafe Array(message), body)
        try unsafe sendHead(head, message)
        if let body = sent { startResponseBody(body) } else { completeResponse() }
    }

    func event(_ event: EventStream, threw failure: CallFailure, passThrough: Bool) {
        guard self.event === event else { return }
        self.event = nil
        node.logger.log(
            .error, "uncaught error in fetch: \(failure)",
            event.channel.isolate.logFields + [("ray", rayText)])
        exchange.failed(.exception)
        if replaceByStale() { return }
        if passThrough, exchange.unconsumedHead > 0, let origin = exchange.route?.worker.origin {
            return forward(to: OriginTarget(url: origin, bodyBytesMax: exchange.bodyBytesMax))
        }
        // What the handler did not expect is nobody's mistake then, and over in a moment.
        answer(event.invocations.metHeldStore ? .storesHeld : .exception, detail: "\(failure)")
    }

    func event(_ event: EventStream, wasReset reason: StreamReset) {
        guard self.event === event else { return }
        self.event = nil
        if exchange.isHeadSent {
            exchange.cutShort()
            return close()
        }
        if reason.code == .internal, exchange.isSafe, exchange.unconsumedHead > 0, !exchange.wasRetried,
            exchange.route != nil
        {
            // Nothing was answered, and asking again does no harm: one more isolate may try, of the release that serves now.
            exchange.retry()
            reactor.counters.retried += 1
            return route(exchange.unconsumedHead)
        }
        node.logger.log(
            .error, "event ended without an answer: \(reason.message)",
            event.channel.isolate.logFields + event.logFields(reason) + [("ray", rayText)])
        let error: EdgeError =
            switch reason.code {
            case .exceededCPU, .exceededMemory: .exceededLimits
            case .overloaded: .noIsolate
            case .cancelled, .exception, .hung, .internal: .exception
            }
        exchange.failed(error)
        if !replaceByStale() { answer(error, detail: error == .noIsolate ? nil : reason.message) }
    }
}

/// Brings a local handler's answer back to its stream.
private struct LocalReply: @unchecked Sendable {  // Created and delivered on the reactor's thread.
    private weak var stream: HTTPStream?
    private let ray: UInt64

    init(_ stream: HTTPStream, ray: UInt64) {
        self.stream = stream
        self.ray = ray
    }

    func deliver(_ response: LocalResponse) {
        if let upgrade = response.webSocket { return HTTPStream.upgrade(stream, to: upgrade, ray: ray) }
        stream?.localAnswered(response, ray: ray)
    }
}
