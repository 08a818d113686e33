package import Curl
internal import HTTP
internal import Stores
internal import Synchronization
package import System
internal import TLS

/// Requests of handlers to the outside: which hosts and addresses they may reach, and where redirects lead
/// them. The bytes travel on the engine's thread; everything here runs on the caller's.
///
/// A redirect is a request of its own: host and addresses are checked anew, and what the other origin must
/// not see is left out (spec: runtime, "Outbound fetch";
/// https://fetch.spec.whatwg.org/#http-redirect-fetch).
package final class OutboundClient: Sendable {
    private let engine: CurlEngine
    let timeouts: CurlTimeouts
    /// For connections that the engine doesn't make: WebSockets.
    let resolver = HostResolver()
    private let clientTLS = Mutex<TLSClientContext?>(nil)
    /// Of all requests that are under way.
    private let bufferedBytes = Atomic<Int>(0)

    package init(clock: any NodeClock, timeouts: CurlTimeouts = CurlTimeouts()) {
        engine = CurlEngine(threadName: "edge-outbound", clock: clock)
        self.timeouts = timeouts
    }

    /// What servers are judged by: read from the disk for the first connection.
    func tlsContext() async throws(SystemError) -> TLSClientContext {
        if let context = clientTLS.withLock({ $0 }) { return context }
        let made = try await resolver.run { () throws(SystemError) in try TLSClientContext() }
        return clientTLS.withLock { context in
            let first = context ?? made
            context = first
            return first
        }
    }

    /// Ends everything that is under way. Later calls fail.
    package func close() { engine.close() }

    /// Sends the request and waits for the head of its response; the body is pulled from the response's
    /// source.
    ///
    /// Cancelling the task cancels the request. A body that was given up by this side is told so
    /// (`cancel`).
    package func fetch(
        _ request: OutboundRequest, policy: OutboundPolicy
    ) async throws(OutboundError) -> OutboundResponse {
        guard let url = WebURL(request.url), Self.isFetchable(url) else {
            request.body.cancel()
            throw .invalidURL(request.url)
        }
        var hop = try Hop(request, url)
        let kept = reserve(request)
        defer { bufferedBytes.wrappingSubtract(kept, ordering: .relaxed) }
        do throws(OutboundError) {
            try await hop.keepBody(upTo: max(Int64(kept), OutboundLimits.replayBytesMax))
            for redirectCount in 0... {
                let (transfer, head) = try await send(hop, policy)
                guard request.redirect == .follow, let location = Self.location(head) else {
                    return try respond(transfer, head, hop, redirectCount)
                }
                transfer.cancel()
                guard redirectCount < OutboundLimits.redirectsMax else {
                    throw OutboundError.tooManyRedirects
                }
                try hop.follow(location, status: head.status)
            }
        } catch {
            hop.body.cancel()
            throw error
        }
        throw .tooManyRedirects
    }

    /// Makes room for a large body that may be wanted again.
    ///
    /// - Returns: what was reserved, to be given back; 0 when it is small, can't be kept, or there is no room.
    private func reserve(_ request: OutboundRequest) -> Int {
        guard request.isBodyReplayable, request.redirect == .follow, case .stream(_, let length?) = request.body,
            length > OutboundLimits.replayBytesMax, length <= OutboundLimits.bufferBytesMax
        else { return 0 }
        let count = Int(length)
        guard bufferedBytes.wrappingAdd(count, ordering: .relaxed).newValue <= OutboundLimits.bufferedBytesMax else {
            bufferedBytes.wrappingSubtract(count, ordering: .relaxed)
            return 0
        }
        return count
    }

    // MARK: One request

    private func send(
        _ hop: Hop, _ policy: OutboundPolicy
    ) async throws(OutboundError) -> (CurlTransfer, CurlHead) {
        let port = hop.url.effectivePort ?? 0
        guard policy.allows(hop.url.hostname, port) else {
            throw .hostNotAllowed(host: hop.url.hostname, port: port)
        }
        var wanted = CurlRequest(
            method: hop.method, url: hop.wireURL, headers: hop.headers, body: hop.body.wireForm,
            mayConnect: { policy.allows($0) })
        wanted.timeouts = timeouts
        let transfer = engine.start(wanted)
        if case .stream(let source, let length) = hop.body { Self.pump(source, length, into: transfer) }
        do {
            let head = try await withTaskCancellationHandler {
                try await transfer.head()
            } onCancel: {
                transfer.cancel()
            }
            return (transfer, head)
        } catch let error as CurlError {
            throw Self.error(error, host: hop.url.hostname)
        } catch { throw .connectionLost(reason: "\(error)") }
    }

    /// Carries the body to the transfer, which takes it as fast as the peer does.
    ///
    /// The task is nobody's child: a body may still be on its way when the response's head has come and
    /// `fetch` returned. It ends with the transfer, whose end cancels the source it may be waiting for.
    private static func pump(_ source: any BodySource, _ length: Int64?, into transfer: CurlTransfer) {
        transfer.onEnd { source.cancel() }
        Task {
            var sent: Int64 = 0
            do {
                while let piece = try await source.next() {
                    sent += Int64(piece.count)
                    if let length, sent > length { throw CurlError.uploadIncomplete }
                    try await transfer.send(piece)
                }
                transfer.endUpload()
            } catch {
                transfer.cancel(.uploadIncomplete)
            }
        }
    }

    private func respond(
        _ transfer: CurlTransfer, _ head: CurlHead, _ hop: Hop, _ redirectCount: Int
    ) throws(OutboundError) -> OutboundResponse {
        let headers: Headers
        do throws(HeaderError) {
            headers = try HopByHop.strip(head.headers)
        } catch {
            transfer.cancel()
            throw .connectionLost(reason: "response: \(error)")
        }
        let hasBody = hop.method != "HEAD" && ![204, 205, 304].contains(head.status) && head.status >= 200
        var length: Int64?
        if hasBody, !head.headers.contains(where: { $0.name == "transfer-encoding" }) {
            length = headers.get("content-length").flatMap { Int64($0) }
        }
        let body = hasBody && length != 0 ? OutboundResponseBody(transfer) : nil
        return OutboundResponse(
            status: head.status, headers: headers, body: body, bodyLength: hasBody ? length : nil,
            url: hop.url.href, redirectCount: redirectCount)
    }

    // MARK: Redirects

    static func isFetchable(_ url: WebURL) -> Bool {
        (url.scheme == "http" || url.scheme == "https") && !url.hostname.isEmpty
    }

    /// Where the response sends the client; `nil` for one that is to be returned as it is.
    static func location(_ head: CurlHead) -> String? {
        guard [301, 302, 303, 307, 308].contains(head.status) else { return nil }
        return head.headers.first { $0.name == "location" }?.value
    }

    private static func error(_ error: CurlError, host: String) -> OutboundError {
        switch error {
        case .cancelled: .cancelled
        case .refused(let address): .addressNotAllowed(host: host, address: address.description)
        case .timedOut, .failed, .headTooLarge, .uploadIncomplete, .closed:
            .connectionLost(reason: error.description, status: proxyStatus(error))
        }
    }

    /// The product's numbers for what can go wrong between a proxy and an origin (spec: runtime, "Error pages").
    private static func proxyStatus(_ error: CurlError) -> Int {
        switch error {
        case .failed(6, _): 530  // The name can't be resolved.
        case .failed(7, _): 521
        case .timedOut(.connect): 522
        case .timedOut: 524
        case .failed(35, _): 525
        case .failed(60, _): 526
        default: 520
        }
    }

    /// The request as it is for one origin.
    struct Hop {
        var url: WebURL
        var method: String
        var headers: [(name: String, value: String)]
        var body: OutboundRequest.Body

        init(_ request: OutboundRequest, _ url: WebURL) throws(OutboundError) {
            self.url = url
            method = request.method
            body = request.body
            headers = HopByHop.requestFields(request.headers)
            if let host = request.host { headers.append(("host", host)) }
            guard Method(validating: method) != nil, method != "CONNECT", method != "TRACE", method != "TRACK"
            else {
                body.cancel()
                throw .invalidHeader("\"\(method)\" is not a method that fetch can send.")
            }
        }

        /// Without user name, password and fragment.
        var wireURL: String {
            "\(url.scheme)://\(url.host)\(url.path)" + (url.query.map { "?\($0)" } ?? "")
        }

        /// Reads a body whose length is known and small enough into memory.
        mutating func keepBody(upTo bytesMax: Int64) async throws(OutboundError) {
            guard case .stream(let source, let length?) = body, length <= bytesMax else {
                return
            }
            var bytes: [UInt8] = []
            do {
                while let piece = try await source.next() {
                    bytes.append(contentsOf: piece)
                    if bytes.count > length { break }
                }
            } catch { throw .connectionLost(reason: "the request's body: \(error)") }
            guard bytes.count == length else {
                throw .connectionLost(reason: CurlError.uploadIncomplete.description)
            }
            body = .bytes(bytes)
        }

        mutating func follow(_ location: String, status: Int) throws(OutboundError) {
            guard let next = WebURL(location, base: url), OutboundClient.isFetchable(next) else {
                throw .invalidLocation
            }
            let dropsBody =
                status == 303 ? method != "HEAD" && method != "GET" : status < 303 && method == "POST"
            if dropsBody {
                method = "GET"
                body.cancel()
                body = .none
                remove(["content-encoding", "content-language", "content-location", "content-type"])
            } else if case .stream = body {
                throw .oneTimeBody
            }
            if next.origin != url.origin { remove(["authorization", "cookie", "proxy-authorization"]) }
            url = next
        }

        private mutating func remove(_ names: Set<String>) {
            headers.removeAll { names.contains($0.name) }
        }
    }
}

extension OutboundRequest.Body {
    fileprivate func cancel() {
        if case .stream(let source, _) = self { source.cancel() }
    }

    fileprivate var wireForm: CurlRequest.Body {
        switch self {
        case .none: .none
        case .bytes(let bytes): .bytes(bytes)
        case .stream(_, let length): .streamed(length: length)
        }
    }
}

/// The rest of a response, pulled by whoever passes it on.
private final class OutboundResponseBody: BodySource {
    private let transfer: CurlTransfer

    init(_ transfer: CurlTransfer) { self.transfer = transfer }

    deinit { transfer.cancel() }

    func next() async throws -> [UInt8]? {
        do throws(CurlError) {
            return try await transfer.next()
        } catch {
            if error == .cancelled { throw OutboundError.cancelled }
            throw OutboundError.connectionLost(reason: error.description)
        }
    }

    func cancel() { transfer.cancel() }
}
