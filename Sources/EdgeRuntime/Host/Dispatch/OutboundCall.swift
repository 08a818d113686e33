internal import Caching
internal import HTTP
internal import Interfaces
internal import Stores
internal import Wire

/// A worker's own `fetch` to the outside. Reactor thread only; the transfer itself runs on the client's thread.
final class OutboundCall: CallActivity, @unchecked Sendable {  // Tasks that carry it run on the reactor only.
    private unowned let call: CallStream
    private let event: EventStream
    private let request: OutboundRequest
    private let policy: OutboundPolicy
    private let slot: OutboundSlot
    /// What the response is known by: the URL that the handler asked for, wherever that leads.
    private let cacheURL: String
    private let options: CacheOptions
    private var task: Task<Void, Never>?
    private var isOver = false

    static func start(
        _ call: CallStream, of event: EventStream, _ message: UnsafeRawBufferPointer
    ) throws(WireError) -> AnyObject? {
        let fetch = try FetchMessage(unsafe Array(message))
        switch OwnZone.target(of: fetch.url, for: event, on: call.channel.reactor) {
        case .elsewhere where fetch.asksForWebSocket:
            return OutboundSocketCall.start(call, of: event, fetch, OutboundPolicy(event.worker.limits.outbound))
        case .elsewhere: return try start(call, of: event, fetch, OutboundPolicy(event.worker.limits.outbound))
        case .worker(let worker):
            // Where the options stand a worker would read its client's Accept-Encoding.
            let message = fetch.withoutOptions(unsafe Array(message))
            let activity: Result<AnyObject?, WireError> = unsafe message.withUnsafeBytes { bytes in
                Result { () throws(WireError) in try unsafe Subrequest.start(call, of: event, to: worker, bytes) }
            }
            return try activity.get()
        case .site(let site):
            AssetCall.start(call, of: site, fetch)
            return nil
        case .origin(let origin, let host):
            // Its configuration names the origin: whatever address that is, it is meant.
            let policy = OutboundPolicy(privateAddresses: .allowed) { _, _ in true }
            guard !fetch.asksForWebSocket else {
                return OutboundSocketCall.start(call, of: event, fetch, policy, url: origin, host: host)
            }
            return try start(call, of: event, fetch, policy, url: origin, host: host)
        case .nothing:
            call.answer(body: .stored(.bytes(Array("error code: 1042\n".utf8)))) { buffer in
                ReplyHead.write(status: 404, hasBody: true, bodyLength: 17, headerCount: 1, into: &buffer)
                buffer.appendBlockHeader("content-type", "text/plain; charset=utf-8")
            }
            return nil
        }
    }

    private static func start(
        _ call: CallStream, of event: EventStream, _ fetch: FetchMessage, _ policy: OutboundPolicy,
        url: String? = nil, host: String? = nil
    ) throws(WireError) -> AnyObject? {
        guard let slot = event.worker.takeOutboundSlot() else {
            call.answer(failure: CallFailure("Too many connections are open at once."))
            return nil
        }
        let activity = try OutboundCall(call, of: event, fetch, policy, slot, url: url ?? fetch.url, host: host)
        event.whenConnectionIsFree { activity.send() }
        return activity
    }

    private init(
        _ call: CallStream, of event: EventStream, _ fetch: FetchMessage, _ policy: OutboundPolicy,
        _ slot: OutboundSlot, url: String, host: String?
    ) throws(WireError) {
        self.call = call
        self.event = event
        self.policy = policy
        self.slot = slot
        cacheURL = fetch.url
        options = fetch.optionBytes.isEmpty ? CacheOptions() : try CacheOptions(decoding: fetch.optionBytes)
        var body = OutboundRequest.Body.none
        if fetch.hasBody {
            let source = BufferedSource(reactor: call.channel.reactor)
            source.start(from: call.bodyProducer)
            call.connectBody(to: source, window: WireLimits.initialCredit)
            body = .stream(source, length: fetch.bodyLength)
            self.source = source
        }
        var request = OutboundRequest(
            method: fetch.method, url: url, headers: EdgeHeaders.onTheWayOut(fetch.headers, of: event), body: body,
            redirect: fetch.followsRedirects ? .follow : .manual)
        request.host = host
        request.isBodyReplayable = fetch.isBodyReplayable
        self.request = request
    }

    /// Keeps the consumer of the request's body while it flows.
    private var source: BufferedSource?

    private func send() {
        guard !isOver else { return event.connectionBecameFree() }
        let reactor = call.channel.reactor
        let policy = policy
        task = Task(executorPreference: reactor) {
            do throws(OutboundError) {
                let fetch = CachedFetch(
                    self.request, url: self.cacheURL, zone: self.event.zone, options: self.options,
                    cache: self.event.worker.cache?.store,
                    clock: reactor.clock, policy: policy, outbound: reactor.outbound)
                self.answer(try await fetch.answer())
            } catch {
                self.fail(error)
            }
            self.event.connectionBecameFree()
        }
    }

    private func answer(_ response: CachedFetch.Answer) {
        let body = response.body.map { body in
            // What comes out of a file holds no transfer.
            if case .stream(let source) = body { return ReplyBody.stored(.stream(SlottedSource(source, slot))) }
            return .stored(body)
        }
        guard !isOver else {
            body?.cancel(.cancelled)
            return
        }
        isOver = true
        let headers = response.headers
        call.answer(body: body) { buffer in
            ReplyHead.write(
                status: response.status, hasBody: body != nil, bodyLength: response.bodyLength.map(Int.init(clamping:)),
                headerCount: headers.wireCount, into: &buffer)
            headers.encode(into: &buffer)
        }
    }

    private func fail(_ error: OutboundError) {
        guard !isOver else { return }
        isOver = true
        call.answer(outbound: error)
    }

    func callEnded(_ reason: StreamReset) {
        guard !isOver else { return }
        isOver = true
        task?.cancel()
    }
}

extension CallFailure {
    static let tooDeep = CallFailure(
        "Subrequest depth limit exceeded. This request recursed through Workers too many times.")
}

/// A subrequest's message, decoded: see the layout in `Workers`.
struct FetchMessage {
    let followsRedirects: Bool
    let hasBody: Bool
    let isBodyReplayable: Bool
    let method: String
    let bodyLength: Int64?
    let url: String
    let headers: Headers
    /// A client's `Accept-Encoding`, or, on the way out, what the handler says about the cache.
    let optionBytes: [UInt8]
    private let optionsEnd: Int

    var asksForWebSocket: Bool { method == "GET" && headers.get("upgrade")?.lowercased() == "websocket" }

    /// - Parameter message: As an event has it.
    static func asksForWebSocket(_ message: [UInt8]) -> Bool {
        // Most don't, and needn't be read for that.
        guard message.count > 16, message.containsWebSocketName else { return false }
        return (try? FetchMessage([0] + message))?.asksForWebSocket ?? false
    }

    func withoutOptions(_ message: [UInt8]) -> [UInt8] {
        guard !optionBytes.isEmpty else { return message }
        let start = optionsEnd - optionBytes.count
        return message[..<(start - 4)] + [0, 0, 0, 0] + message[optionsEnd...]
    }

    /// The message as an event has it, with other headers.
    func event(_ message: [UInt8], headers: Headers) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.append(message[1..<optionsEnd])
        buffer.appendLittleEndian(UInt16(truncatingIfNeeded: headers.wireCount))
        headers.encode(into: &buffer)
        return unsafe buffer.withReadable { unsafe Array($0) }
    }

    init(_ message: [UInt8]) throws(WireError) {
        var decoder = WireDecoder(message)
        followsRedirects = try decoder.takeUInt8() == 0
        let flags = try decoder.takeUInt8()
        hasBody = flags & 1 != 0
        isBodyReplayable = flags & 2 != 0
        let methodNumber = try decoder.takeUInt8()
        if methodNumber == 0 {
            let count = Int(try decoder.takeUInt8())
            var bytes: [UInt8] = []
            for _ in 0..<count { bytes.append(try decoder.takeUInt8()) }
            method = String(decoding: bytes, as: UTF8.self)
        } else {
            let names = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]
            guard Int(methodNumber) <= names.count else { throw .invalidValue("method", offset: decoder.offset) }
            method = names[Int(methodNumber) - 1]
        }
        let length = try decoder.takeInt64()
        bodyLength = length >= 0 ? length : nil
        url = try decoder.takeString()
        optionBytes = try decoder.takeBytes()
        optionsEnd = decoder.offset
        let count = Int(try decoder.takeUInt16())
        var offset = decoder.offset
        headers = try Headers(message: message, count: count, from: &offset)
        // An isolate may speak for itself. What isn't a header must not become one, or a request of its own, on the wire.
        var flaw: String?
        headers.forEachOnWire { name, value in
            let isValid = unsafe Array(name.utf8).withUnsafeBytes { name in
                unsafe Array(value.utf8).withUnsafeBytes { value in
                    unsafe HeaderRules.isValidName(name.bytes) && HeaderRules.isValidValue(value.bytes)
                }
            }
            if !isValid || name != name.lowercased() { flaw = name }
        }
        if flaw != nil { throw .invalidValue("header", offset: decoder.offset) }
    }
}

extension [UInt8] {
    /// Whether the value `websocket` may be in it, whatever its case.
    fileprivate var containsWebSocketName: Bool {
        let name = Array("websocket".utf8)
        guard count >= name.count else { return false }
        return (0...(count - name.count)).contains { start in
            (0..<name.count).allSatisfy { self[start + $0] | 0x20 == name[$0] }
        }
    }
}
