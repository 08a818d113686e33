internal import Interfaces
internal import Wire

/// One end of a WebSocket: what has come and was not taken yet, and the way to the other end. Touched by the loop's thread
/// alone.
///
/// The other end is a stream to the node (`SocketLine`), or, in a pair of which no end was returned yet, in this process.
final class SocketEnd: @unchecked Sendable {
    private enum Link {
        case none
        case peer(SocketEnd)
        case line(SocketLine)
        /// The node has the connection.
        case hibernating(any HibernatingSocket)
    }
    private var link = Link.none
    private(set) var isAccepted = false
    /// It was returned in a response: whoever still has it can do nothing with it.
    private(set) var isReleased = false
    /// A handler may still use it.
    private(set) var isHeld = true
    private var hasClosed = false
    /// The other side's close is answered once the handler has seen what came before it, and has said what it has to say.
    private var owesAnswer = false
    private var hasBeenRead = false
    /// What the other side said last.
    private(set) var closing: SocketClose?
    private var inbox: [WebSocketMessage] = []
    private var firstInInbox = 0
    private var waiters: [Waiter] = []

    static func pair() -> (SocketEnd, SocketEnd) {
        let (first, second) = (SocketEnd(), SocketEnd())
        first.link = .peer(second)
        second.link = .peer(first)
        return (first, second)
    }

    private init() {}

    /// The end of a connection that another worker, or a server, has accepted.
    init(_ endpoint: OutgoingCall, for invocation: Invocation) {
        link = .line(SocketLine(self, on: endpoint, for: invocation, credit: 0))
        if endpoint.isClosed { closed(.disconnected) }
    }

    /// A connection that the node has.
    init(_ socket: any HibernatingSocket) {
        link = .hibernating(socket)
        isAccepted = true
    }

    var readyState: WebSocket.ReadyState {
        if case .hibernating(let socket) = link { return socket.readyState }
        if case .none = link { return .closed }
        if closing != nil { return hasClosed ? .closed : .closing }
        return hasClosed ? .closing : .open
    }

    private var line: SocketLine? {
        guard case .line(let line) = link else { return nil }
        return line
    }

    // MARK: Hibernation

    var hibernating: (any HibernatingSocket)? {
        guard case .hibernating(let socket) = link else { return nil }
        return socket
    }

    /// The other end of its pair, when an object has accepted that to hibernate.
    var hibernatingPeer: (any HibernatingSocket)? {
        guard case .peer(let peer) = link else { return nil }
        return peer.hibernating
    }

    /// The object takes this end of a pair: the node is to keep the connection.
    func accept(_ socket: any HibernatingSocket) throws {
        guard case .peer = link, !isReleased else { throw WorkersError.webSocketCannotHibernate }
        isAccepted = true
        link = .hibernating(socket)
    }

    /// The client's end of a pair goes to the node.
    func handToNode() throws {
        try release()
        link = .none
    }

    var queuedByteCount: Int { line?.queuedByteCount ?? 0 }
    var isInboxEmpty: Bool { firstInInbox == inbox.count }

    // MARK: The handler's side

    func accept() throws {
        guard !isReleased else { throw WorkersError.webSocketReleased }
        guard !isAccepted else { return }
        isAccepted = true
        line?.accepted()
        wake()
    }

    func send(_ kind: SocketRecord.Kind, _ bytes: [UInt8], queuedByteCountMax: Int) throws {
        guard isAccepted else { throw WorkersError.webSocketNotAccepted }
        guard !hasClosed else { throw WorkersError.webSocketClosed }
        guard closing == nil || owesAnswer else { return }
        switch link {
        case .none: break
        case .peer(let peer):
            peer.deliver(kind == .text ? .text(String(decoding: bytes, as: UTF8.self)) : .binary(bytes))
        case .line(let line):
            guard line.queuedByteCount <= queuedByteCountMax else {
                let count = line.queuedByteCount
                hasClosed = true
                line.giveUp()
                throw WorkersError.webSocketTooSlow(count, max: queuedByteCountMax)
            }
            line.send(kind, bytes)
        case .hibernating(let socket): try socket.send(kind, bytes)
        }
    }

    func close(_ close: SocketClose) throws {
        guard isAccepted else { throw WorkersError.webSocketNotAccepted }
        sayClose(close)
    }

    /// As above; with codes that only the runtime uses.
    func sayClose(_ close: SocketClose) {
        if case .hibernating(let socket) = link { return socket.close(close) }
        guard !hasClosed else { return }
        hasClosed = true
        owesAnswer = false
        switch link {
        case .none: break
        case .peer(let peer): peer.closed(close)
        case .line(let line): line.close(close)
        case .hibernating: break
        }
    }

    func drained() async throws { try await line?.drained() }

    func next() async throws -> WebSocketMessage? {
        if case .hibernating = link { throw WorkersError.webSocketHibernates }
        guard isAccepted else { throw WorkersError.webSocketNotAccepted }
        hasBeenRead = true
        while true {
            if let message = takeMessage() { return message }
            if closing != nil {
                answerClose()
                return nil
            }
            if case .none = link { return nil }
            try Task.checkCancellation()
            await wait()
        }
    }

    private func takeMessage() -> WebSocketMessage? {
        guard firstInInbox < inbox.count else { return nil }
        let message = inbox[firstInInbox]
        firstInInbox += 1
        if firstInInbox == inbox.count {
            inbox.removeAll(keepingCapacity: inbox.count <= 16)
            firstInInbox = 0
            line?.giveBack()
        } else if firstInInbox >= 1024 {
            inbox.removeFirst(firstInInbox)
            firstInInbox = 0
        }
        return message
    }

    private func wait() async {
        let loop = line?.loop ?? EventLoop.current
        await withTaskCancellationHandler {
            await Waiter.suspend(countedBy: loop) { waiter in
                waiters.append(waiter)
                if Task.isCancelled { wake() }
            }
        } onCancel: {
            if let loop { loop.onLoop { self.wake() } }
        }
    }

    private func wake() {
        guard !waiters.isEmpty else { return }
        let woken = waiters
        waiters = []
        for waiter in woken { waiter.wake() }
    }

    /// No handler has it any more. May be called on any thread.
    func letGo() {
        if let loop = line?.loop, !loop.isOnThread { return loop.onLoop { self.letGo() } }
        if case .hibernating = link { return }
        guard !isReleased, isHeld else { return }
        isHeld = false
        answerClose()
        if closing == nil { sayClose(SocketClose(code: 1001, reason: "the worker let go of the WebSocket")) }
        switch link {
        case .none, .peer, .hibernating: link = .none
        case .line(let line): line.finishIfDone()
        }
    }

    // MARK: The other side

    func deliver(_ message: WebSocketMessage) {
        guard closing == nil else { return }
        inbox.append(message)
        if isAccepted { wake() }
    }

    /// The other side has said its last word, or is gone.
    func closed(_ close: SocketClose) {
        guard closing == nil else { return }
        closing = close
        owesAnswer = !hasClosed
        // Who doesn't read, or has read everything, has nothing more to say to it.
        if isInboxEmpty, !hasBeenRead || !waiters.isEmpty { answerClose() }
        wake()
    }

    private func answerClose() {
        guard owesAnswer, let closing else { return }
        sayClose(SocketClose(code: closing.code))
    }

    /// There is no way to the other side any more.
    func unlink() {
        link = .none
        wake()
    }

    // MARK: Responses

    /// Takes this end for a response.
    ///
    /// - Throws: a TypeError when it isn't free for that.
    private func release() throws {
        guard !isReleased else { throw WorkersError.webSocketReturnedTwice }
        guard !isAccepted else { throw WorkersError.webSocketReturnedAccepted }
        isReleased = true
    }

    /// Makes `invocation`, which returns this end, the way between the other end of the pair and the client.
    ///
    /// - Returns: the call whose connection the node is to pass on, when this end is no pair's.
    /// - Parameter begin: Sends the head of the answer; what the other end has said already comes behind it.
    func couple(with invocation: Invocation, _ begin: (_ splice: UInt32) -> Void) throws -> OutgoingCall? {
        switch link {
        case .none, .hibernating: throw WorkersError.webSocketPeerGone
        case .line(let line):
            guard let call = line.endpoint as? OutgoingCall, call.channel === invocation.channel, !call.isClosed else {
                throw WorkersError.webSocketPeerGone
            }
            try release()
            begin(call.stream)
            line.passOn()
            return call
        case .peer(let peer):
            try release()
            begin(0)
            let line = SocketLine(peer, on: invocation, for: invocation, credit: WireLimits.initialCredit)
            peer.link = .line(line)
            link = .none
            for message in inbox[firstInInbox...] {
                switch message {
                case .text(let text): line.send(.text, Array(text.utf8))
                case .binary(let bytes): line.send(.binary, bytes)
                }
            }
            inbox = []
            firstInInbox = 0
            if let closing { line.close(closing) }
            if !peer.isHeld { line.finishIfDone() }
            return nil
        }
    }
}
