internal import HTTP
internal import Interfaces
internal import Stores
internal import Wire

/// Requests for the server behind the workers: those of paths that no worker has, and those whose worker failed and had asked
/// for it with `passThroughOnException`.
extension HTTPStream {
    /// Sends the request, whose head is still in the input, to `origin`, and the client what comes back.
    func forward(to target: OriginTarget) {
        phase = .exchanging
        exchange.cacheFill = nil
        exchange.bodyBytesMax = target.bodyBytesMax
        if case .length(let left) = requestBody, left > Int64(target.bodyBytesMax) {
            exchange.mustClose = true
            return answer(.bodyTooLarge(limit: target.bodyBytesMax))
        }
        guard let (request, source) = originRequest(target) else {
            return answer(.badRequest(status: 400, reason: "the request can't be passed on"))
        }
        consumeHead()
        if let source {
            source.start(from: self)
            retainedConsumer = source
            bodyConsumer = source
            grant(WireLimits.initialCredit)
            updateInterest()
        }
        // Its configuration names the origin: whatever address that is, it is meant.
        let policy = OutboundPolicy(privateAddresses: .allowed) { _, _ in true }
        let (reactor, reply) = (reactor, OriginReply(self, ray: exchange.ray))
        exchange.origin = OriginCall(
            Task(executorPreference: reactor) {
                do throws(OutboundError) {
                    reply.deliver(.success(try await reactor.outbound.fetch(request, policy: policy)))
                } catch {
                    reply.deliver(.failure(error))
                }
            })
    }

    private func originRequest(_ origin: OriginTarget) -> (OutboundRequest, BufferedSource?)? {
        // As an isolate would get it: the worker's view of the request is the origin's as well.
        var buffer = ByteBuffer()
        buffer.append(1)  // Redirects are the client's to follow.
        writeFetch(into: &buffer)
        guard let fetch = try? FetchMessage(unsafe buffer.withReadable { unsafe Array($0) }),
            let url = WebURL(fetch.url)
        else { return nil }
        var headers = fetch.headers
        headers.delete("accept-encoding")
        if let field = parser.head.fields.first(.acceptEncoding) {
            // The client gets the body as it comes, so what it accepts counts.
            let accepted = unsafe input.withReadable { unsafe $0.bytes.text(field.value) }
            try? headers.set("accept-encoding", accepted)
        }
        let source = requestBody.isPending ? BufferedSource(reactor: reactor) : nil
        var request = OutboundRequest(
            method: fetch.method, url: origin.url(for: url.path + (url.query.map { "?\($0)" } ?? "")),
            headers: headers, body: source.map { .stream($0, length: fetch.bodyLength) } ?? .none, redirect: .manual)
        request.host = url.host
        return (request, source)
    }

    fileprivate func originAnswered(_ result: Result<OutboundResponse, OutboundError>, ray: UInt64) {
        guard phase == .exchanging, exchange.ray == ray, exchange.origin != nil, !exchange.isHeadSent else {
            if case .success(let response) = result { response.body?.cancel() }
            return
        }
        switch result {
        case .failure(let error):
            node.logger.log(.error, "the origin gave no answer: \(error)", [("ray", rayText)])
            answer(.origin(status: error.proxyStatus), detail: "\(error)")
        case .success(let response):
            var headers: [(name: String, value: String)] = []
            response.headers.forEachOnWire { name, value in
                guard !["content-length", "date", "server", "cf-ray", "cf-cache-status"].contains(name),
                    !name.hasPrefix("x-accel-")
                else { return }
                headers.append((name, value))
            }
            headers.append(("CF-Cache-Status", "DYNAMIC"))
            let announced = exchange.isHead ? response.headers.get("content-length").flatMap { Int($0) } : nil
            let length = response.body == nil ? announced ?? 0 : response.bodyLength.map(Int.init(clamping:))
            sendHead(status: response.status, headers: headers, bodyLength: length)
            guard let body = response.body else { return completeResponse() }
            startResponseBody(.stored(.stream(body)))
        }
    }
}

/// Ends with its exchange.
final class OriginCall {
    private let task: Task<Void, Never>
    init(_ task: Task<Void, Never>) { self.task = task }
    deinit { task.cancel() }
}

/// Brings the origin's answer back to its connection.
private struct OriginReply: @unchecked Sendable {  // Created and delivered on the reactor's thread.
    private weak var connection: HTTPStream?
    private let ray: UInt64

    init(_ connection: HTTPStream, ray: UInt64) {
        self.connection = connection
        self.ray = ray
    }

    func deliver(_ result: sending Result<OutboundResponse, OutboundError>) {
        if let connection { return connection.originAnswered(result, ray: ray) }
        if case .success(let response) = result { response.body?.cancel() }
    }
}
