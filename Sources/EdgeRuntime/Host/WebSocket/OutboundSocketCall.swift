internal import Curl
internal import HTTP
internal import Interfaces
internal import OpenSSL
internal import Wire

/// A worker's `fetch` that asks a server outside for a WebSocket. An answer that grants it becomes a `WorkerSocket`, whose peer is the
/// server; any other is the call's answer as it is. Reactor thread only.
final class OutboundSocketCall: CallActivity {
    private unowned let call: CallStream
    private let event: EventStream
    private let policy: OutboundPolicy
    private let slot: OutboundSlot
    private let followsRedirects: Bool
    private var hop: OutboundClient.Hop
    private var redirectCount = 0
    private var connection: OutboundConnection?
    private var isConnecting = false
    private var isOver = false

    /// - Parameters:
    ///   - url: Where the request goes; the fetch's own host is named there then.
    static func start(
        _ call: CallStream, of event: EventStream, _ fetch: FetchMessage, _ policy: OutboundPolicy, url: String? = nil,
        host: String? = nil
    ) -> AnyObject? {
        guard let slot = event.worker.takeOutboundSlot() else {
            call.answer(failure: CallFailure("Too many connections are open at once."))
            return nil
        }
        var request = OutboundRequest(
            method: "GET", url: url ?? fetch.url, headers: EdgeHeaders.onTheWayOut(fetch.headers, of: event),
            redirect: fetch.followsRedirects ? .follow : .manual)
        request.host = host
        do throws(OutboundError) {
            guard let url = WebURL(request.url), OutboundClient.isFetchable(url) else { throw .invalidURL(request.url) }
            let hop = try OutboundClient.Hop(request, url)
            let activity = OutboundSocketCall(call, event, policy, slot, hop, followsRedirects: fetch.followsRedirects)
            event.whenConnectionIsFree { activity.begin() }
            return activity
        } catch {
            call.answer(outbound: error)
            return nil
        }
    }

    private init(
        _ call: CallStream, _ event: EventStream, _ policy: OutboundPolicy, _ slot: OutboundSlot, _ hop: OutboundClient.Hop,
        followsRedirects: Bool
    ) {
        self.call = call
        self.event = event
        self.policy = policy
        self.slot = slot
        self.hop = hop
        self.followsRedirects = followsRedirects
    }

    private func begin() {
        guard !isOver else { return event.connectionBecameFree() }
        isConnecting = true
        connect()
    }

    private func connect() {
        let port = hop.url.effectivePort ?? 0
        guard policy.allows(hop.url.hostname, port) else {
            return finish { $0.answer(outbound: .hostNotAllowed(host: hop.url.hostname, port: port)) }
        }
        let offer = WebSocketOffer(
            random: SecureRandom.bytes(16),
            subprotocols: hop.headers.filter { $0.name == "sec-websocket-protocol" }.map(\.value),
            sha1: { Digest.hash($0, with: .sha1) })
        connection = OutboundConnection.start(
            to: hop.url, head: requestHead(offer), policy: policy, on: call.channel.reactor
        ) { [self] outcome in
            connection = nil
            take(outcome, offer)
        }
    }

    private func requestHead(_ offer: WebSocketOffer) -> [UInt8] {
        var head = ByteBuffer()
        head.append("GET \(hop.url.path)\(hop.url.query.map { "?\($0)" } ?? "") HTTP/1.1\r\n")
        let host = hop.headers.first { $0.name == "host" }?.value ?? hop.url.host
        // What the offer says is said once; the client's own key and extensions are another connection's.
        let fields = hop.headers.filter { $0.name != "host" && !$0.name.hasPrefix("sec-websocket-") }
        for (name, value) in [("host", host)] + offer.fields + fields { head.append("\(name): \(value)\r\n") }
        head.append("\r\n" as StaticString)
        return unsafe head.withReadable { unsafe Array($0) }
    }

    // MARK: What came of it

    private func take(_ outcome: consuming OutboundConnection.Outcome, _ offer: WebSocketOffer) {
        switch consume outcome {
        case .failed(let error): finish { $0.answer(outbound: error) }
        case .answered(let head, let reply): answered(head, reply)
        case .switched(let head, let opening): switched(head, opening, offer)
        }
    }

    private func answered(_ head: CurlHead, _ reply: OutboundReply) {
        if followsRedirects, let location = OutboundClient.location(head) {
            reply.cancel(.cancelled)
            return follow(location, head.status)
        }
        guard let headers = try? HopByHop.strip(head.headers) else {
            reply.cancel(.cancelled)
            return finish { $0.answer(outbound: .connectionLost(reason: "response: a header that is none")) }
        }
        reply.slot = slot
        finish { call in
            if !reply.hasBody { reply.cancel(.cancelled) }
            call.answer(body: reply.hasBody ? .redirected(reply) : nil) { buffer in
                ReplyHead.write(
                    status: head.status, hasBody: reply.hasBody, bodyLength: reply.byteCount.map(Int.init(clamping:)),
                    headerCount: headers.wireCount, into: &buffer)
                headers.encode(into: &buffer)
            }
        }
    }

    private func follow(_ location: String, _ status: Int) {
        do throws(OutboundError) {
            guard redirectCount < OutboundLimits.redirectsMax else { throw .tooManyRedirects }
            redirectCount += 1
            try hop.follow(location, status: status)
        } catch {
            return finish { $0.answer(outbound: error) }
        }
        connect()
    }

    private func switched(_ head: CurlHead, _ opening: consuming WebSocketLink.Opening, _ offer: WebSocketOffer) {
        let headers: Headers
        do {
            opening.compression = try offer.agreement(head.headers).compression
            headers = try HopByHop.strip(head.headers)
        } catch {
            opening.transport.take()?.close(isComplete: false)
            return finish { $0.answer(outbound: .badUpgrade(reason: "\(error)")) }
        }
        let link = WebSocketLink(opening, side: .client, delivery: .inPieces, reactor: call.channel.reactor)
        let socket = WorkerSocket(link) { [slot] in _ = slot }
        finish { call in
            socket.begin(with: call)
            call.answer(body: .redirected(socket)) { buffer in
                ReplyHead.write(status: 101, hasBody: true, bodyLength: nil, headerCount: headers.wireCount, into: &buffer)
                headers.encode(into: &buffer)
            }
        }
    }

    private func finish(_ answer: (CallStream) -> Void) {
        guard !isOver else { return }
        isOver = true
        isConnecting = false
        event.connectionBecameFree()
        answer(call)
    }

    func callEnded(_ reason: StreamReset) {
        guard !isOver else { return }
        isOver = true
        connection?.cancel()
        connection = nil
        // One that waits in line gives its turn back when it comes.
        if isConnecting { event.connectionBecameFree() }
    }
}

extension CallStream {
    /// Tells the handler why its request to the outside failed, and the log what isn't for the handler.
    func answer(outbound error: OutboundError) {
        channel.reactor.logger.redacting(channel.isolate.pool.redactor).log(
            .info, "outbound fetch failed: \(error)", channel.isolate.logFields)
        answer(failure: CallFailure(error.message, name: error.name))
    }
}
