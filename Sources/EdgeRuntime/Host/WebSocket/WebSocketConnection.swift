internal import HTTP
internal import Interfaces
internal import System
internal import Wire

/// A WebSocket that a local handler has: its session's messages go out as the client takes them, and what the client says goes to
/// the session's receiver. Reactor thread only: what other threads send waits in the session.
final class WebSocketConnection: WebSocketLinkOwner, @unchecked Sendable {  // What is posted for it runs on its reactor.
    private let session: WebSocketSession
    /// Kept until it has ended.
    private var link: WebSocketLink?
    /// What the receiver is told in the end.
    private var outcome: (code: WebSocketCloseCode, reason: String)?
    private var isWorking = false

    /// Messages written in one turn, each of at most some 64 KiB as a rule.
    private static let writesPerTurn = 16

    static func start(
        _ opening: consuming WebSocketLink.Opening, session: WebSocketSession, reactor: Reactor
    ) {
        let limits = WebSocketLink.Limits(
            messageBytesMax: session.limits.messageBytesMax, needsMasking: session.limits.needsMasking,
            pingInterval: session.limits.pingInterval, silenceMax: session.limits.silenceMax)
        let link = WebSocketLink(opening, side: .server, limits: limits, delivery: .whole, reactor: reactor)
        WebSocketConnection(session, link).begin(link, reactor)
    }

    private init(_ session: WebSocketSession, _ link: WebSocketLink) {
        self.session = session
        self.link = link
    }

    private func begin(_ link: WebSocketLink, _ reactor: Reactor) {
        session.receiver.opened()
        // It lives as long as its link, or until the call that it posts.
        session.attach { [weak self, reactor] in
            guard let connection = self else { return }
            reactor.post { connection.link?.flush() }
        }
        // The client may have sent its first frames with the request.
        link.begin(for: self)
    }

    // MARK: What the client says

    var canReceive: Bool { true }

    func received(_ kind: WebSocketOpcode, _ bytes: [UInt8], isFinal: Bool, by link: WebSocketLink) {
        // Once this side has said its last word nobody listens any more.
        guard link.phase == .open else { return }
        if kind == .text { session.receiver.received(text: bytes) } else { session.receiver.received(binary: bytes) }
    }

    func receivedAll(by link: WebSocketLink) {}

    func received(_ close: SocketClose, by link: WebSocketLink) {
        outcome = (close.code.map { WebSocketCloseCode(rawValue: $0) } ?? .noCode, close.reason)
        link.answerClose()
    }

    // MARK: What is sent

    /// Writes what waits in the session, as far as the client takes it; what is more than a turn's share, in the next one.
    func canSend(on link: WebSocketLink) {
        guard !isWorking else { return }
        isWorking = true
        defer { isWorking = false }
        var writeCount = 0
        while link.phase == .open, link.hasRoom, let step = session.nextStep() {
            switch step {
            case .send(let message): send(message.text(), on: link)
            case .tellOfDropped(let count):
                if let notice = session.receiver.notice(ofDropped: count) { send(notice, on: link) }
            case .close(let code, let reason): return say(code, reason, on: link)
            }
            guard !link.hasRoom else { continue }
            link.write()
            writeCount += 1
            guard writeCount < Self.writesPerTurn else { return link.flushLater() }
        }
    }

    private func send(_ text: [UInt8], on link: WebSocketLink) {
        unsafe text.withUnsafeBytes { unsafe link.send(.text, $0) }
    }

    private func say(_ code: WebSocketCloseCode, _ reason: String, on link: WebSocketLink) {
        outcome = (code, reason)
        link.say(SocketClose(code: code.rawValue, reason: reason))
    }

    func tick(_ link: WebSocketLink, _ now: Instant) {
        guard let farewell = link.farewell, let code = farewell.code else { return }
        say(WebSocketCloseCode(rawValue: code), farewell.reason, on: link)
    }

    // MARK: The end

    func closed(_ link: WebSocketLink) { tellOutcome(.abnormal, "the connection was lost") }

    func ended(_ link: WebSocketLink, because reason: String) {
        self.link = nil
        tellOutcome(.abnormal, reason)
    }

    private func tellOutcome(_ code: WebSocketCloseCode, _ reason: String) {
        let outcome = outcome ?? (code, reason)
        session.ended(outcome.code, reason: outcome.reason)
    }
}
