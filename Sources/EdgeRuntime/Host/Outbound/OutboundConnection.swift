internal import Curl
internal import HTTP
internal import System
internal import TLS
internal import Wire

/// One request over HTTP/1.1 on a connection of its own, made on a reactor, that a server may answer by switching protocols: what
/// libcurl has no words for. Reactor thread only.
///
/// States, each with what ends it:
/// - `resolving`: the host's addresses are looked up; the answer, the connect time-out.
/// - `connecting`: one address after the other is tried; the first that takes the connection, the last that doesn't, the time-out.
/// - `securing`: TLS; its end, an error, the time-out.
/// - `waiting`: the request is written, the head of the answer read; its end, the head time-out.
/// - `done`: the outcome was told.
final class OutboundConnection: PollTarget, Ticker, @unchecked Sendable {  // What resolves names answers on the reactor.
    enum Outcome: ~Copyable {
        /// The server has switched. What it sent behind its head is in the opening.
        case switched(CurlHead, WebSocketLink.Opening)
        case answered(CurlHead, OutboundReply)
        case failed(OutboundError)
    }

    private enum Phase { case resolving, connecting, securing, waiting, done }

    private let reactor: Reactor
    private let url: WebURL
    private let policy: OutboundPolicy
    private var completion: ((consuming Outcome) -> Void)?
    private var phase = Phase.resolving
    private var addresses: [PeerAddress] = []
    private var lastFailure: OutboundError?
    private var tlsContext: TLSClientContext?
    private var transport: Transport?
    private var input = ByteBuffer()
    private var output = ByteBuffer()
    private var interest = Epoll.Interest.write
    private var parser = ResponseHeadParser(limits: HTTPLimits())
    private var deadline: Instant
    /// Of the address that is being tried, when others are left.
    private var attemptDeadline = Instant(nanoseconds: .max)

    /// After this an address that doesn't answer is given up for the next one.
    private static let attemptTime = Duration.seconds(3)

    /// - Parameters:
    ///   - head: The whole request, which has no body.
    ///   - completion: Called once, on the reactor, unless `cancel` comes first; not before this returns.
    static func start(
        to url: WebURL, head: [UInt8], policy: OutboundPolicy, on reactor: Reactor,
        completion: @escaping (consuming Outcome) -> Void
    ) -> OutboundConnection {
        let connection = OutboundConnection(url, policy, reactor, completion)
        connection.output.append(head)
        reactor.addTicker(connection)
        connection.resolve()
        return connection
    }

    private init(
        _ url: WebURL, _ policy: OutboundPolicy, _ reactor: Reactor, _ completion: @escaping (consuming Outcome) -> Void
    ) {
        self.url = url
        self.policy = policy
        self.reactor = reactor
        self.completion = completion
        deadline = reactor.now + reactor.outbound.timeouts.connect
    }

    /// A name, or an address without brackets.
    private var host: String {
        let host = url.hostname
        return host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
    }

    // MARK: The way there

    private func resolve() {
        Task(executorPreference: reactor) {
            let found = await self.reactor.outbound.resolver.addresses(of: self.host)
            do throws(SystemError) {
                if self.url.scheme == "https" { self.tlsContext = try await self.reactor.outbound.tlsContext() }
            } catch {
                return self.fail(.connectionLost(reason: "TLS: \(error)", status: 525))
            }
            self.resolved(to: found)
        }
    }

    private func resolved(to found: [PeerAddress]) {
        guard phase == .resolving else { return }
        phase = .connecting
        lastFailure = .connectionLost(reason: "the name can't be resolved", status: 530)
        for address in found {
            if policy.allows(address) {
                addresses.append(address)
            } else {
                lastFailure = .addressNotAllowed(host: url.hostname, address: address.description)
            }
        }
        tryNext()
    }

    private func tryNext() {
        closeSocket()
        guard !addresses.isEmpty else { return fail(lastFailure ?? .cancelled) }
        let address = addresses.removeFirst()
        attemptDeadline = addresses.isEmpty ? Instant(nanoseconds: .max) : reactor.now + Self.attemptTime
        do {
            let descriptor = try address.connect(port: url.effectivePort ?? 0)
            let number = descriptor.rawValue
            transport = Transport(descriptor)
            interest = .write
            try reactor.watch(self, number, .write)
        } catch {
            lastFailure = .connectionLost(reason: "\(error)", status: 521)
            tryNext()
        }
    }

    private func connected() {
        guard let number = transport?.rawValue else { return }
        if let error = PeerAddress.connectFailure(of: number) {
            lastFailure = .connectionLost(reason: "\(error)", status: 521)
            return tryNext()
        }
        guard let tlsContext else { return wait() }
        do {
            let session = try TLSSession(tlsContext, socket: number, host: host, isAddress: PeerAddress(host) != nil)
            transport?.secure(by: session)
            phase = .securing
            shakeHands()
        } catch {
            fail(.connectionLost(reason: "\(error)", status: 525))
        }
    }

    private func shakeHands() {
        guard let session = transport?.tls else { return }
        switch session.handshake() {
        case .moved: wait()
        case .wantsRead: watch(for: .read)
        case .wantsWrite: watch(for: .write)
        case .ended, .failed(nil): fail(.connectionLost(reason: "the server ended the TLS handshake", status: 525))
        case .failed(let reason?):
            let problem = session.certificateProblem
            fail(.connectionLost(reason: "TLS: \(problem ?? reason)", status: problem == nil ? 525 : 526))
        }
    }

    // MARK: Request and answer

    private func wait() {
        phase = .waiting
        deadline = reactor.now + reactor.outbound.timeouts.head
        exchange()
    }

    private func exchange() {
        if !output.isEmpty, case .closed? = transport?.write(from: &output) { return lost() }
        while phase == .waiting {
            guard let result = transport?.read(into: &input, upTo: 16 << 10) else { return }
            switch result {
            case .closed: return lost()
            case .wouldBlock: return watch(for: output.isEmpty && transport?.waitsToWrite != true ? .read : [.read, .write])
            case .moved: parse()
            }
        }
    }

    private func parse() {
        while phase == .waiting {
            switch unsafe input.withReadable({ unsafe parser.parse($0) }) {
            case .needMore: return
            case .failed(let error): return fail(.connectionLost(reason: "response: \(error)"))
            case .complete(let byteCount):
                let head = readHead()
                // Interim ones are skipped (RFC 9110 §15.2).
                guard head.status >= 200 || head.status == 101 else {
                    input.consume(byteCount)
                    continue
                }
                let framing = parser.head.bodyFraming(isAnswerToHead: false)
                input.consume(byteCount)
                answered(head, framing)
            }
        }
    }

    private func readHead() -> CurlHead {
        var head = CurlHead(status: parser.head.status)
        unsafe input.withReadable { bytes in
            let span = unsafe bytes.bytes
            for index in 0..<parser.head.fields.count {
                let field = parser.head.fields[index]
                head.headers.append((span.text(field.name).lowercased(), span.text(field.value)))
            }
        }
        return head
    }

    private func answered(_ head: CurlHead, _ framing: ResponseHead.BodyFraming) {
        guard let transport = transport.take() else { return }
        reactor.unwatch(self, transport.rawValue)
        var received = ByteBuffer()
        swap(&received, &input)
        if head.status == 101 {
            finish(.switched(head, WebSocketLink.Opening(transport: transport, input: received)))
        } else {
            finish(.answered(head, OutboundReply(transport, received, framing, reactor)))
        }
    }

    private func watch(for wanted: Epoll.Interest) {
        guard wanted != interest, let number = transport?.rawValue else { return }
        interest = wanted
        reactor.change(self, number, wanted)
    }

    override func becameReady(_ events: Epoll.Interest) {
        switch phase {
        case .connecting: connected()
        case .securing: shakeHands()
        case .waiting: exchange()
        case .resolving, .done: break
        }
    }

    // MARK: Ends

    override func tick(_ now: Instant) {
        if now >= deadline {
            let isConnected = phase == .waiting
            fail(.connectionLost(reason: "timed out (\(isConnected ? "head" : "connect"))", status: isConnected ? 524 : 522))
        } else if phase == .connecting, now >= attemptDeadline {
            lastFailure = .connectionLost(reason: "timed out (connect)", status: 522)
            tryNext()
        }
    }

    private func lost() { fail(.connectionLost(reason: "the server closed the connection before it answered")) }

    private func fail(_ error: OutboundError) {
        closeSocket()
        finish(.failed(error))
    }

    /// Ends it without an outcome.
    func cancel() {
        completion = nil
        closeSocket()
        finish(.failed(.cancelled))
    }

    private func closeSocket() {
        guard let transport = transport.take() else { return }
        reactor.unwatch(self, transport.rawValue)
        transport.close(isComplete: false)
    }

    private func finish(_ outcome: consuming Outcome) {
        guard phase != .done else { return }
        phase = .done
        reactor.removeTicker(self)
        let completion = completion
        self.completion = nil
        completion?(outcome)
    }
}
