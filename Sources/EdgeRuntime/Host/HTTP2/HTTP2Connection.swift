internal import HTTP
internal import HTTP2
internal import Observability
internal import System
internal import TLS
internal import Wire

/// One client's connection that speaks HTTP/2 (RFC 9113): feeds the session with what comes, keeps its streams, writes what
/// they and the session have to say. Reactor thread only.
///
/// States, each with what ends it:
/// - `open`: requests are taken and answered. The client leaving; a broken or abusive client; nothing to do for the idle
///   time-out, or the node's end, after which the connection says that it will end, takes what was sent before the client knew,
///   and finishes its streams.
/// - `ending`: the client has heard, or will, why the connection ends; what is left is written.
/// - `lingering`: all is written; what the client still sends is dropped for a moment, so that it reads before it sees a reset.
/// - `closed`.
///
/// Bounded: heads by `HTTPLimits`, bodies by the windows, streams by `streamsMax`, output by `outputHighWater`, beyond which
/// nothing is read either; and what leads nowhere by `HTTP2Patience`.
final class HTTP2Connection: PollTarget {
    enum Phase { case open, ending, lingering, closed }

    let reactor: Reactor
    let node: NodeContext
    let role: ListenerRole
    let client: Client
    let redirectPort: UInt16?

    private var transport: Transport?
    var tlsSession: TLSSession? { transport?.tls }
    var session: HTTP2Session?
    var phase = Phase.open
    private var input: ByteBuffer
    var output = ByteBuffer()
    private var interest: Epoll.Interest?
    private var isDirty = false
    private var readsOnLater = false

    var streams = StreamTable<HTTP2Stream>(ringSize: 256)
    var draft: HTTP2HeadDraft
    /// The stream whose head comes: heads of streams never mix (RFC 9113 §4.3).
    var draftNumber: Int32?
    /// For the next requests.
    var restingStreams: [HTTP2Stream] = []
    private var dirtyStreams: [HTTP2Stream] = []
    private var servedStreams: [HTTP2Stream] = []
    var patience = HTTP2Patience()
    /// Fields of trailers so far on the stream that sends some.
    var trailerByteCount = 0

    /// Body bytes of all streams that nobody has taken yet, and those whose window the client doesn't have back.
    var heldByteCount = 0
    var owedByteCount = 0

    /// Without a stream, or for the end of the connection.
    var deadline: Instant
    private var stallDeadline = Instant(nanoseconds: .max)
    private var bytesWritten = 0
    private var bytesWrittenAtTick = 0
    enum Farewell { case none, announced(takesUntil: Instant), said }
    var farewell = Farewell.none

    /// Requests in flight. Browsers ask for about a hundred at once.
    private static let streamsMax = 128
    /// What the client may send of one body, and of all, before some is taken.
    private static let streamWindow = 256 << 10
    private static let connectionWindow = 1 << 20
    /// Up to here, the connection's window is given back at once, so that a body that nobody takes doesn't hold up the others.
    static let freelyHeldByteCount = 2 << 20
    /// Frames are made only while less waits to be written; and only then is anything read.
    static let outputHighWater = 128 << 10
    /// Written in one turn: a fast client must not keep the others waiting.
    private static let bytesPerTurn = 1 << 20
    private static let lingerTime = Duration.seconds(2)
    /// How long requests are taken that the client has sent before it knew of the end, if it doesn't say that it knows.
    private static let farewellTime = Duration.seconds(1)
    static let restingStreamsMax = 32

    // MARK: The start

    enum Preface { case whole, partial, absent }

    /// Whether `bytes` start as a client does that knows that we speak HTTP/2 (RFC 9113 §3.3, §3.4).
    static func preface(at bytes: borrowing ByteBuffer) -> Preface {
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" as StaticString
        return unsafe bytes.withReadable { bytes in
            let count = min(bytes.count, preface.utf8CodeUnitCount)
            // SAFETY: `index` is inside both.
            for index in 0..<count where unsafe bytes[index] != preface.utf8Start[index] { return .absent }
            return count == preface.utf8CodeUnitCount ? .whole : .partial
        }
    }

    /// Goes on with the socket of `old` and what was read from it.
    static func takeOver(_ old: Connection, _ transport: consuming Transport, read: consuming ByteBuffer) {
        let connection = HTTP2Connection(old, transport, read)
        old.reactor.replace(old, by: connection)
        old.reactor.counters.http2Connections += 1
        connection.start()
    }

    private init(_ old: Connection, _ transport: consuming Transport, _ read: consuming ByteBuffer) {
        reactor = old.reactor
        node = old.node
        role = old.role
        client = old.client
        redirectPort = old.redirectPort
        self.transport = consume transport
        input = read
        deadline = old.reactor.now + old.node.settings.headTimeout
        draft = HTTP2HeadDraft(bytesMax: old.node.settings.limits.headBytesMax)
    }

    private func start() {
        let limits = HTTP2Limits(
            streamsMax: UInt32(Self.streamsMax), fieldBytesMax: UInt32(clamping: node.settings.limits.headBytesMax),
            streamWindow: Int32(Self.streamWindow), connectionWindow: Int32(Self.connectionWindow),
            takesProtocols: role != .s3)
        session = HTTP2Session(limits, delegate: self)
        guard session != nil else { return close() }
        feed()
        if phase == .open { readInput() }
        markDirty()
    }

    // MARK: Reading

    override func becameReady(_ events: Epoll.Interest) {
        if events.isWritable { markDirty() }
        guard events.isReadable || transport?.waitsToWrite == true, transport != nil else { return }
        readInput()
    }

    private func readInput() {
        guard let result = transport?.read(into: &input, upTo: 64 << 10) else { return }
        switch result {
        case .wouldBlock: return
        case .closed: return close()
        case .moved: feed()
        }
        if transport?.hasUnread == true, canRead { readOnLater() }
    }

    /// As `Connection` does.
    private func readOnLater() {
        guard !readsOnLater else { return }
        readsOnLater = true
        reactor.later { [self] in
            readsOnLater = false
            if transport?.hasUnread == true, canRead { readInput() }
        }
    }

    /// Gives the session what was read.
    private func feed() {
        guard phase == .open, let session else { return input.consume(input.readableByteCount) }
        // Out of the way: what the session says of it may end the connection.
        var bytes = ByteBuffer()
        swap(&bytes, &input)
        let failure: HTTP2Session.Failure? = unsafe bytes.withReadable { bytes in
            do throws(HTTP2Session.Failure) {
                unsafe try session.receive(bytes)
                return nil
            } catch {
                return error
            }
        }
        bytes.consume(bytes.readableByteCount)
        swap(&bytes, &input)
        if let failure { end(failure) }
        markDirty()
    }

    private func end(_ failure: HTTP2Session.Failure) {
        switch failure {
        case .flooded:
            reactor.counters.http2Floods += 1
            node.logger.log(.notice, "a client sends too much that leads nowhere", [("client", client.address.text)])
            end(.enhanceYourCalm)
        case .malformed:
            reactor.counters.parseErrors += 1
            end(.protocolError)
        case .outOfMemory: close()
        }
    }

    /// Ends all streams and, once that is said, the connection.
    private func end(_ code: HTTP2ErrorCode) {
        guard phase == .open else { return }
        phase = .ending
        deadline = reactor.now + Self.lingerTime
        session?.terminate(code)
        for stream in streams.all { _ = stream.wasClosed() }
        markDirty()
    }

    /// A head that doesn't end keeps all else of the connection waiting.
    func headTookTooLong() { end(.enhanceYourCalm) }

    // MARK: Writing

    func markDirty() {
        guard !isDirty else { return }
        isDirty = true
        reactor.markDirty(self)
    }

    func markDirty(_ stream: HTTP2Stream) {
        dirtyStreams.append(stream)
        markDirty()
    }

    func noteServed(_ stream: HTTP2Stream) {
        guard !stream.isListedAsServed else { return }
        stream.isListedAsServed = true
        servedStreams.append(stream)
    }

    /// Writes what has gathered; called once per turn.
    func flush() {
        isDirty = false
        guard transport != nil else { return }
        if phase == .lingering {
            if transport?.waitsToWrite == true { transport?.shutdownSending() }
            return updateInterest()
        }
        let before = bytesWritten
        repeat {
            flushStreams()
            makeFrames()
            settle()
            guard write() else { return close() }
        } while output.isEmpty && hasMoreToWrite && bytesWritten - before < Self.bytesPerTurn
        if output.isEmpty {
            if hasMoreToWrite {
                markDirty()
            } else if session?.isDone != false {
                return linger()
            }
        }
        updateInterest()
    }

    private var hasMoreToWrite: Bool { !dirtyStreams.isEmpty || session?.wantsWrite == true }

    private func flushStreams() {
        guard !dirtyStreams.isEmpty else { return }
        var dirty: [HTTP2Stream] = []
        swap(&dirty, &dirtyStreams)
        for stream in dirty { stream.flush() }
        guard dirtyStreams.isEmpty else { return }
        dirty.removeAll(keepingCapacity: true)
        swap(&dirty, &dirtyStreams)
    }

    private func makeFrames() {
        guard let session else { return }
        while output.readableByteCount < Self.outputHighWater, let bytes = unsafe session.nextOutput() {
            unsafe output.append(bytes)
        }
    }

    /// Tells streams what was taken of them; not from inside of the session.
    private func settle() {
        guard !servedStreams.isEmpty else { return }
        var served: [HTTP2Stream] = []
        swap(&served, &servedStreams)
        for stream in served {
            stream.isListedAsServed = false
            stream.wasServed()
        }
        guard servedStreams.isEmpty else { return }
        served.removeAll(keepingCapacity: true)
        swap(&served, &servedStreams)
    }

    /// - Returns: false when the client is gone.
    private func write() -> Bool {
        guard !output.isEmpty else { return true }
        guard let result = transport?.write(from: &output) else { return false }
        switch result {
        case .moved(let count): bytesWritten &+= count
        case .wouldBlock: break
        case .closed: return false
        }
        return true
    }

    private var canRead: Bool {
        switch phase {
        case .open: output.readableByteCount < Self.outputHighWater
        case .ending, .lingering: true
        case .closed: false
        }
    }

    private func updateInterest() {
        guard let rawValue = transport?.rawValue else { return }
        let canRead = canRead
        if canRead, transport?.hasUnread == true { readOnLater() }
        var wanted = canRead ? Epoll.Interest.read : .peerClosed
        if !output.isEmpty || transport?.waitsToWrite == true { wanted.insert(.write) }
        guard wanted != interest else { return }
        interest = wanted
        reactor.change(self, rawValue, wanted)
    }

    // MARK: What streams ask for

    func respond(_ stream: HTTP2Stream, status: Int, _ head: inout ByteBuffer, hasBody: Bool) -> Bool {
        guard let session, phase == .open else { return false }
        return unsafe head.withReadable { bytes in
            // Behind the status line.
            var start = 0
            while start < bytes.count, unsafe bytes[start] != UInt8(ascii: "\n") { start += 1 }
            let lines = unsafe UnsafeRawBufferPointer(rebasing: bytes.dropFirst(start + 1))
            return unsafe session.respond(stream.number, status: status, lines: lines, hasBody: hasBody)
        }
    }

    func sendContinue(_ stream: HTTP2Stream) {
        session?.submitContinue(stream.number)
        markDirty()
    }

    func resume(_ stream: HTTP2Stream) { session?.resume(stream.number) }

    func reset(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        session?.reset(stream.number, code)
        markDirty()
    }

    // MARK: Deadlines

    override func drain(_ look: DrainLook) {
        for stream in streams.all where phase == .open { stream.drain(look) }
    }

    override func tick(_ now: Instant) {
        patience.tick()
        switch phase {
        case .open: tickOpen(now)
        case .ending: if now >= deadline { close() }
        case .lingering: if now >= deadline { close() }
        case .closed: break
        }
    }

    private func tickOpen(_ now: Instant) {
        for stream in streams.all where phase == .open { stream.tick(now) }
        guard phase == .open else { return }
        if output.isEmpty || bytesWritten != bytesWrittenAtTick {
            bytesWrittenAtTick = bytesWritten
            stallDeadline = now + node.settings.bodyTimeout
        } else if now >= stallDeadline {
            return close()
        }
        switch farewell {
        case .none:
            if reactor.announcesEnd(canBeParked: false) || streams.count == 0 && now >= deadline { sayFarewell(now) }
        case .announced(let takesUntil): if now >= takesUntil { takeNoMore() }
        // A client that doesn't go is left.
        case .said: if streams.count == 0, now >= deadline { close() }
        }
        guard streams.count == 0 else { return }
        input.releaseIfEmpty()
        output.releaseIfEmpty()
        restingStreams.removeAll()
    }

    /// The first of the two goodbyes: what the client sends before it has heard it is still answered.
    private func sayFarewell(_ now: Instant) {
        farewell = .announced(takesUntil: now + Self.farewellTime)
        session?.announceEnd()
        markDirty()
    }

    /// What the client sends from now on it has to send elsewhere: it has had time to hear that the connection ends.
    func hold() {
        guard phase == .open else { return }
        if case .said = farewell { return }
        takeNoMore()
    }

    func takeNoMore() {
        farewell = .said
        deadline = reactor.now + Self.lingerTime
        session?.takeNoMore()
        markDirty()
    }

    // MARK: The end

    private func linger() {
        guard phase != .lingering else { return }
        phase = .lingering
        deadline = reactor.now + Self.lingerTime
        transport?.shutdownSending()
        updateInterest()
    }

    private func close() {
        guard let transport = transport.take() else { return }
        phase = .closed
        reactor.unwatch(self, transport.rawValue)
        transport.close()
        reactor.connectionCount -= 1
        node.admission.leave(client.address, isExempt: client.isTrusted)
        for stream in streams.all { _ = stream.wasClosed() }
        streams = StreamTable(ringSize: 1)
        restingStreams = []
        dirtyStreams = []
        servedStreams = []
        // The session may be what calls.
        reactor.later { [self] in session = nil }
        output.consume(output.readableByteCount)
    }
}
