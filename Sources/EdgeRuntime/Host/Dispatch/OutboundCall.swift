internal import HTTP
internal import Interfaces
internal import Stores
internal import Wire

/// A worker's own `fetch` to the outside. Reactor thread only; the transfer itself runs on the client's thread.
final class OutboundCall: CallActivity, @unchecked Sendable {  // Tasks that carry it run on the reactor only.
    private unowned let call: CallStream
    private let event: EventStream
    private let request: OutboundRequest
    private var task: Task<Void, Never>?
    private var isOver = false

    static func start(
        _ call: CallStream, of event: EventStream, _ message: UnsafeRawBufferPointer
    ) throws(WireError) -> AnyObject? {
        let fetch = try FetchMessage(unsafe Array(message))
        guard event.invocations.count < EventStream.Invocations.max else {
            call.answer(failure: .tooDeep)
            return nil
        }
        let activity = OutboundCall(call, of: event, fetch)
        event.whenConnectionIsFree { activity.send() }
        return activity
    }

    private init(_ call: CallStream, of event: EventStream, _ fetch: FetchMessage) {
        self.call = call
        self.event = event
        var body = OutboundRequest.Body.none
        if fetch.hasBody {
            let source = BufferedSource(reactor: call.channel.reactor)
            source.start(from: call)
            call.connect(to: source, window: WireLimits.initialCredit)
            body = .stream(source, length: fetch.bodyLength)
            self.source = source
        }
        request = OutboundRequest(
            method: fetch.method, url: fetch.url, headers: fetch.headers, body: body,
            redirect: fetch.followsRedirects ? .follow : .manual)
    }

    /// Keeps the consumer of the request's body while it flows.
    private var source: BufferedSource?

    private func send() {
        guard !isOver else { return event.connectionBecameFree() }
        let reactor = call.channel.reactor
        let policy = OutboundPolicy(event.worker.limits.outbound)
        task = Task(executorPreference: reactor) {
            do throws(OutboundError) {
                let response = try await reactor.outbound.fetch(self.request, policy: policy)
                self.answer(response)
            } catch {
                self.fail(error)
            }
            self.event.connectionBecameFree()
        }
    }

    private func answer(_ response: OutboundResponse) {
        guard !isOver else {
            response.body?.cancel()
            return
        }
        isOver = true
        let headers = response.headers
        let body = response.body.map { ReplyBody.stored(.stream($0)) }
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
        call.channel.reactor.logger.log(
            .info, "outbound fetch failed: \(error)", call.channel.isolate.logFields)
        call.answer(failure: CallFailure(error.message, name: error.name))
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
    let method: String
    let bodyLength: Int64?
    let url: String
    let headers: Headers

    init(_ message: [UInt8]) throws(WireError) {
        var decoder = WireDecoder(message)
        followsRedirects = try decoder.takeUInt8() == 0
        hasBody = try decoder.takeUInt8() & 1 != 0
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
        _ = try decoder.takeBytes()  // The client's Accept-Encoding means nothing on the way out.
        let count = Int(try decoder.takeUInt16())
        var offset = decoder.offset
        headers = try Headers(message: message, count: count, from: &offset)
    }
}
