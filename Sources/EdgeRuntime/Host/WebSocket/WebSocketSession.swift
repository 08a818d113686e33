internal import Synchronization
package import HTTP

/// One end of a WebSocket, for the handler that has it: what it sends waits here until the connection has room for it.
///
/// What waits is bounded. Beyond that the oldest messages go, and are counted: a client that reads slowly loses messages, the node
/// no memory, and whoever sends no time. Safe on any thread.
package final class WebSocketSession: Sendable {
    package struct Limits: Sendable {
        /// What may wait to be sent. A single message may be larger.
        package var queuedBytesMax = 1 << 20
        package var queuedMessagesMax = 4096
        /// Of a message from the client.
        package var messageBytesMax = 64 << 10
        /// Clients that forget to mask their frames are let in.
        package var needsMasking = true
        /// After so much silence the client is asked whether it is still there.
        package var pingInterval = Duration.seconds(30)
        /// A client that says nothing for so long, though it was asked, is gone.
        package var silenceMax = Duration.seconds(90)

        package init() {}
    }

    /// A text to be sent. It is written only when the connection has room for it: what is dropped costs nothing more.
    package struct Message: Sendable {
        /// How long the text will be, about.
        package let byteCount: Int
        package let text: @Sendable () -> [UInt8]

        package init(byteCount: Int, text: @escaping @Sendable () -> [UInt8]) {
            self.byteCount = byteCount
            self.text = text
        }
    }

    /// What the connection has to do next.
    enum Step {
        case send(Message)
        /// So many messages were dropped that would have come here.
        case tellOfDropped(Int)
        case close(WebSocketCloseCode, reason: String)
    }

    private struct State {
        /// `nil`: taken, and soon to be forgotten.
        var messages: [Message?] = []
        /// Of the first message that wasn't taken.
        var first = 0
        var count: Int { messages.count - first }
        var byteCount = 0
        var droppedCount = 0
        var end: (code: WebSocketCloseCode, reason: String)?
        var wake: (@Sendable () -> Void)?
        var isOver = false
    }

    let limits: Limits
    let receiver: any WebSocketReceiver
    private let state = Mutex(State())

    package init(limits: Limits = Limits(), receiver: any WebSocketReceiver) {
        self.limits = limits
        self.receiver = receiver
    }

    package func send(_ message: Message) {
        let wake = state.withLock { state -> (@Sendable () -> Void)? in
            guard !state.isOver, state.end == nil else { return nil }
            let wasEmpty = state.count == 0
            state.messages.append(message)
            state.byteCount += message.byteCount
            while state.byteCount > limits.queuedBytesMax || state.count > limits.queuedMessagesMax, state.count > 1 {
                _ = Self.takeFirst(&state)
                state.droppedCount += 1
            }
            return wasEmpty ? state.wake : nil
        }
        wake?()
    }

    /// Ends the conversation once what waits has been sent.
    package func close(_ code: WebSocketCloseCode, reason: String = "") {
        let wake = state.withLock { state -> (@Sendable () -> Void)? in
            guard !state.isOver, state.end == nil else { return nil }
            state.end = (code, reason)
            return state.wake
        }
        wake?()
    }

    private static func takeFirst(_ state: inout State) -> Message? {
        guard state.count > 0 else { return nil }
        let message = state.messages[state.first]
        state.messages[state.first] = nil
        state.first += 1
        state.byteCount -= message?.byteCount ?? 0
        // Not with each: moving the others costs as much as there are.
        if state.first >= 1024 || state.count == 0 {
            state.messages.removeFirst(state.first)
            state.first = 0
        }
        return message
    }

    // MARK: The connection's side

    /// - Parameter wake: Called on any thread when there is a step where there was none.
    func attach(_ wake: @escaping @Sendable () -> Void) {
        let isWanted = state.withLock { state in
            state.wake = wake
            return state.count > 0 || state.end != nil
        }
        if isWanted { wake() }
    }

    func nextStep() -> Step? {
        state.withLock { state in
            if state.droppedCount > 0 {
                defer { state.droppedCount = 0 }
                return .tellOfDropped(state.droppedCount)
            }
            if let message = Self.takeFirst(&state) { return .send(message) }
            return state.end.map { .close($0.code, reason: $0.reason) }
        }
    }

    /// The connection is gone; the receiver learns it, once.
    func ended(_ code: WebSocketCloseCode, reason: String) {
        let isFirst = state.withLock { state in
            defer { state = State(isOver: true) }
            return !state.isOver
        }
        if isFirst { receiver.closed(code, reason: reason) }
    }
}

/// Who has the handler's end of a WebSocket. Called on the reactor that has the connection: nothing here may block.
package protocol WebSocketReceiver: Sendable {
    func opened()
    /// - Parameter text: UTF-8.
    func received(text: [UInt8])
    func received(binary: [UInt8])
    /// The last call. 1005: the client gave no code; 1006: it went without a word, or never came.
    func closed(_ code: WebSocketCloseCode, reason: String)
    /// What the client is told in the place of `count` messages that it was too slow for; `nil` for nothing.
    func notice(ofDropped count: Int) -> [UInt8]?
}

/// The answer of a local handler to a request that becomes a WebSocket.
package struct WebSocketUpgrade: Sendable {
    /// `Sec-WebSocket-Accept`.
    let accept: String
    /// The one that was chosen of those the client offers.
    let subprotocol: String?
    /// How messages are compressed; `nil`: they aren't.
    let compression: PerMessageDeflate?
    let session: WebSocketSession

    package init(
        accept: String, subprotocol: String?, compression: PerMessageDeflate? = nil, session: WebSocketSession
    ) {
        self.accept = accept
        self.subprotocol = subprotocol
        self.compression = compression
        self.session = session
    }
}
