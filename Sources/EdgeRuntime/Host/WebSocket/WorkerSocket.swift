internal import HTTP
internal import Interfaces
internal import System
internal import Wire

/// Where a socket's records go and come from: an isolate's stream, or the socket of another connection. Reactor thread only.
protocol SocketFarEnd: RedirectableProducer, BodyConsumer {
    var isOpen: Bool { get }
    func reset(_ reason: StreamReset)
    /// What it sends are no records.
    func broken(by mistake: WireError)
    /// From now on its records are `socket`'s: it takes those of `socket`, and sends its own there, of which `window` bytes may be
    /// under way.
    func couple(with socket: WorkerSocket, window: Int)
    /// A whole message has gone there.
    func tookMessage()
}

extension SocketFarEnd {
    func tookMessage() {}
}

/// A WebSocket whose messages are handled elsewhere: frames on its link, records on the other side (see
/// `Interfaces/Isolate/SocketRecords.swift`), which is a stream to an isolate, or, when nobody looks at the messages, the socket of
/// another connection. Messages pass it piece by piece, under credit both ways. Reactor thread only.
///
/// When the link has gone, what the worker has still to hear goes to it. When it has ended its side too, or has had half a minute
/// for that, this object is forgotten.
///
/// What is held is bounded: towards the worker by its credit and `heldForWorkerMax`, beyond which the peer is not read; towards
/// the peer by the stream's window and the output's high water, beyond which the worker gets no more credit.
final class WorkerSocket: Ticker {
    private let reactor: Reactor
    private let link: WebSocketLink
    private var far: (any SocketFarEnd)?
    private var consumer: (any BodyConsumer)?
    private var producer: (any BodyProducer)?
    /// Called once, when the connection is gone.
    private let onEnd: () -> Void
    private var hasLink = true
    private let idleTimeout: Duration?
    /// When a message last went by, in either direction.
    private var usedAt: Instant
    /// Of a socket without a link.
    private var deadline = Instant(nanoseconds: .max)

    // Towards the worker.
    private var forWorker = ByteBuffer()
    private var allowance = 0
    private var isPushing = false
    /// The close record is written: nothing follows.
    private var hasToldWorker = false

    // Towards the peer.
    private var records = SocketRecordReader()
    /// Bytes that were taken and not granted again.
    private var ungranted = 0

    private static let heldForWorkerMax = 64 << 10
    private static let workerEndTime = Duration.seconds(30)

    /// - Parameters:
    ///   - idleTimeout: After so long without a message the conversation is ended.
    ///   - onEnd: Called once, when the connection is gone.
    init(_ link: WebSocketLink, idleTimeout: Duration? = nil, onEnd: @escaping () -> Void = {}) {
        self.link = link
        self.idleTimeout = idleTimeout
        self.onEnd = onEnd
        reactor = link.reactor
        usedAt = link.reactor.now
    }

    /// Begins with what the peer has sent behind the handshake.
    func begin(with far: any SocketFarEnd) {
        self.far = far
        consumer = far
        producer = far
        far.couple(with: self, window: WireLimits.initialCredit)
        link.begin(for: self)
    }

    /// `producer` sends the records that go to the peer; it was granted a window of them.
    func takeRecords(from producer: any BodyProducer) { self.producer = producer }

    /// The worker is replaced, or the node ends.
    func say(_ close: SocketClose) { link.say(close) }
}

// MARK: - The connection's side

extension WorkerSocket: WebSocketLinkOwner {
    var canReceive: Bool { forWorker.readableByteCount < Self.heldForWorkerMax }

    func received(_ kind: WebSocketOpcode, _ bytes: [UInt8], isFinal: Bool, by link: WebSocketLink) {
        usedAt = reactor.now
        forWorker.appendSocketHeader(kind == .text ? .text : .binary, byteCount: bytes.count, isFinal: isFinal)
        forWorker.append(bytes)
        if isFinal { far?.tookMessage() }
    }

    func receivedAll(by link: WebSocketLink) { push() }

    func received(_ close: SocketClose, by link: WebSocketLink) { tellWorker(close) }

    func canSend(on link: WebSocketLink) { grantWhatWasTaken() }

    func closed(_ link: WebSocketLink) {}

    func tick(_ link: WebSocketLink, _ now: Instant) {
        // Its isolate ends with this process, and has no stores once another one has them.
        if let farewell = link.farewell { return say(farewell) }
        if let most = idleTimeout, now - usedAt >= most {
            return say(SocketClose(code: 1001, reason: "no message for \(most.components.seconds) seconds"))
        }
        forWorker.releaseIfEmpty()
    }

    /// The connection is of no more use. The worker hears of it in its turn.
    func ended(_ link: WebSocketLink, because reason: String) {
        hasLink = false
        onEnd()
        tellWorker(.disconnected)
        guard let far, far.isOpen else { return forget() }
        // What the worker still sends is taken and forgotten, so that it can end.
        deadline = reactor.now + Self.workerEndTime
        reactor.addTicker(self)
        grantWhatWasTaken()
    }

    private func tellWorker(_ close: SocketClose) {
        guard !hasToldWorker else { return }
        hasToldWorker = true
        forWorker.appendSocketClose(close)
        push()
    }
}

// MARK: - To the worker

extension WorkerSocket: RedirectableProducer {
    func redirect(to consumer: any BodyConsumer) { self.consumer = consumer }

    func grant(_ byteCount: Int) {
        allowance += byteCount
        push()
        // The peer was not read while there was no room.
        if !isPushing, hasLink { link.readOn() }
    }

    /// The worker takes no more. Its end is told by the other half.
    func cancel(_ reason: StreamReset) {
        allowance = 0
        forWorker = ByteBuffer()
        hasToldWorker = true
        consumer = nil
    }

    private func push() {
        guard !isPushing, let consumer else { return }
        isPushing = true
        defer { isPushing = false }
        while allowance > 0, !forWorker.isEmpty {
            let count = min(allowance, forWorker.readableByteCount)
            allowance -= count
            unsafe forWorker.withReadable { unsafe consumer.receive(UnsafeRawBufferPointer(rebasing: $0.prefix(count))) }
            forWorker.consume(count)
        }
        if hasToldWorker, forWorker.isEmpty { consumer.finish() }
    }
}

// MARK: - From the worker

extension WorkerSocket: BodyConsumer {
    func receive(_ bytes: UnsafeRawBufferPointer) {
        ungranted += bytes.count
        // Behind the last word, and behind the connection, nothing is of use any more.
        guard link.takesMessages else { return hasLink ? link.flushLater() : grantWhatWasTaken() }
        var offset = 0
        do throws(WireError) {
            while let step = try records.next(unsafe bytes.bytes, from: &offset) { unsafe take(step, bytes) }
        } catch {
            far?.broken(by: error)
        }
        link.flushLater()
    }

    private func take(_ step: SocketRecordReader.Step, _ bytes: UnsafeRawBufferPointer) {
        switch step {
        case .message(let kind, let byteCount, let isFinal):
            usedAt = reactor.now
            link.begin(kind == .text ? .text : .binary, byteCount: byteCount, isFinal: isFinal)
        case .payload(let range, let isLast):
            unsafe link.append(UnsafeRawBufferPointer(rebasing: bytes[range]), isLast: isLast)
        case .close(let close): take(close)
        }
    }

    private func take(_ close: SocketClose) {
        // The other connection was lost: so is this one.
        guard close.wasClean else { return link.disconnect() }
        if link.phase == .open { link.say(close) } else { link.answerClose() }
    }

    /// The worker has ended its side: behind a close, which it owes.
    func finish() {
        link.answerClose()
        link.say(SocketClose(code: 1011, reason: "the worker ended without closing the WebSocket"))
    }

    func fail(_ reason: StreamReset) { workerFailed(reason) }

    /// There is nobody any more who would answer the peer.
    private func workerFailed(_ reason: StreamReset) {
        guard far != nil else { return }
        workerEnded()
        switch link.phase {
        case .open:
            if link.isInFrame { return link.disconnect() }
            link.say(close(for: reason))
        case .answering: link.answerClose()
        case .closing where link.isInFrame: link.disconnect()
        case .closing, .lingering, .gone: break
        }
    }

    private func close(for reason: StreamReset) -> SocketClose {
        switch reason.code {
        case .overloaded: SocketClose(code: 1013, reason: "the client reads too slowly")
        // The event that had asked for the connection is over.
        case .cancelled where link.side == .client: SocketClose(code: 1001, reason: "the worker let go of the WebSocket")
        case .cancelled, .exception, .exceededCPU, .exceededMemory, .hung, .internal:
            SocketClose(code: 1011, reason: "the worker failed")
        }
    }

    private func grantWhatWasTaken() {
        guard ungranted > 0 else { return }
        let count = ungranted
        ungranted = 0
        producer?.grant(count)
    }
}

// MARK: - Ends

extension WorkerSocket {
    /// Of a socket whose connection has gone.
    func tick(_ now: Instant) {
        guard far?.isOpen == true else { return forget() }
        if now >= deadline { far?.reset(.cancelled) }
    }

    private func workerEnded() {
        far = nil
        consumer = nil
        producer = nil
        forWorker = ByteBuffer()
        hasToldWorker = true
        if !hasLink { forget() }
    }

    private func forget() {
        far = nil
        consumer = nil
        producer = nil
        reactor.removeTicker(self)
    }
}

extension WorkerSocket: EventOwner {
    func event(_ event: EventStream, answered message: UnsafeRawBufferPointer) throws(WireError) {
        throw .unexpectedFrame(.open, stream: event.number)
    }
    func event(_ event: EventStream, threw failure: CallFailure, passThrough: Bool) {}
    func event(_ event: EventStream, wasReset reason: StreamReset) { workerFailed(reason) }
}

// MARK: - As the other side of another socket

extension WorkerSocket: SocketFarEnd {
    var isOpen: Bool { hasLink }

    /// Nobody between the two looks at what passes.
    func couple(with socket: WorkerSocket, window: Int) {
        far = socket
        consumer = socket
        producer = socket
        grant(window)
        socket.grant(WireLimits.initialCredit)
    }

    func reset(_ reason: StreamReset) {
        workerEnded()
        link.disconnect()
    }

    func broken(by mistake: WireError) { reset(.cancelled) }
}

extension EventStream: SocketFarEnd {
    func broken(by mistake: WireError) { channel.broken(by: "\(mistake)") }

    func couple(with socket: WorkerSocket, window: Int) {
        hand(to: socket)
        connect(to: socket, window: window)
        replaceProducer(by: socket)
    }

    func tookMessage() { renewAllowance() }
}

/// The worker that has asked for the connection.
extension CallStream: SocketFarEnd {
    func broken(by mistake: WireError) { channel.broken(by: "\(mistake)") }

    func couple(with socket: WorkerSocket, window: Int) {
        socket.takeRecords(from: connectBody(to: socket, window: window))
    }
}
