internal import HTTP
internal import Host
internal import OpenSSL
internal import Synchronization
internal import System

/// A live view of one worker's events for one client: made by a call of the API, then followed over a WebSocket.
///
/// States: *made*, until its client comes or its time is over; *followed*, until the client leaves, the tail is deleted or its time
/// is over; *over*. Only a tail that is followed costs events anything.
final class Tail: TraceSink, WebSocketReceiver, Sendable {
    static let subprotocol = "trace-v1"

    private struct State {
        var filter: TailFilter
        var session: WebSocketSession?
        var isOver = false
    }

    /// 32 hexadecimal digits.
    let id: String
    /// What the WebSocket's URL ends with: who knows it needs no token.
    let secret: String
    let tenant: String
    let worker: String
    /// What `self` stands for in filters.
    private let client: String
    let made: Instant
    let expiresAt: UnixTime
    private let traces: WorkerTraces
    private let clock: any NodeClock
    private let state: Mutex<State>
    private let onEnd: @Sendable (Tail) -> Void

    init(
        worker: String, tenant: String, client: String, filter: TailFilter, lifetime: Duration, traces: WorkerTraces,
        clock: any NodeClock, onEnd: @escaping @Sendable (Tail) -> Void
    ) {
        id = TokenStore.hex(SecureRandom.bytes(16))
        secret = TokenStore.hex(SecureRandom.bytes(32))
        self.worker = worker
        self.tenant = tenant
        self.client = client
        self.traces = traces
        self.clock = clock
        self.onEnd = onEnd
        made = clock.now()
        expiresAt = clock.wallTime() + lifetime
        state = Mutex(State(filter: filter))
    }

    var isFollowed: Bool { state.withLock { $0.session != nil } }

    /// Begins to be followed.
    ///
    /// - Returns: `nil` when somebody follows it already, or it is over.
    func follow() -> WebSocketSession? {
        state.withLock { state in
            guard state.session == nil, !state.isOver else { return nil }
            var limits = WebSocketSession.Limits()
            // wrangler's tail sends the only frame that it sends without a mask.
            limits.needsMasking = false
            let session = WebSocketSession(limits: limits, receiver: self)
            state.session = session
            return session
        }
    }

    /// Ends it. Its client is told why.
    func end(_ reason: String) {
        let session = state.withLock { state in
            state.isOver = true
            return state.session
        }
        traces.remove(self)
        if let session { session.close(.normal, reason: reason) } else { onEnd(self) }
    }

    // MARK: Events

    func takesSample() -> Bool { state.withLock { $0.filter }.takesSample() }

    func wants(_ cause: TraceEvent.Cause, of worker: TraceEvent.Worker) -> Bool {
        state.withLock { $0.filter }.passes(cause, of: worker)
    }

    func receive(_ event: TraceEvent) {
        let (filter, session) = state.withLock { ($0.filter, $0.session) }
        guard let session, filter.passes(event) else { return }
        session.send(WebSocketSession.Message(byteCount: event.byteCount) { event.json.bytes })
    }

    // MARK: The client

    func opened() {
        traces.add(self)
        // It may have ended in between.
        if state.withLock({ $0.isOver }) { traces.remove(self) }
    }

    /// The first message says `{"debug":false}`; older clients of the product bring their filters with it.
    func received(text: [UInt8]) {
        guard let message = JSON(text), message["filters"] != nil else { return }
        do {
            do throws(APISchema.Mismatch) { try TailFilter.schema.check(message) } catch {
                throw APIError(400, 10021, "\(error.pointer) must be \(error.expected)")
            }
            let filter = try TailFilter(message, client: client)
            state.withLock { $0.filter = filter }
        } catch {
            let session = state.withLock { $0.session }
            session?.close(.policyViolation, reason: (error as? APIError)?.message ?? "the filters can't be read")
        }
    }

    func received(binary: [UInt8]) {}

    func closed(_ code: WebSocketCloseCode, reason: String) {
        traces.remove(self)
        state.withLock { state in
            state.session = nil
            state.isOver = true
        }
        onEnd(self)
    }

    /// As the product says it; the count is ours.
    func notice(ofDropped count: Int) -> [UInt8]? {
        JSON.object([
            "outcome": "unknown", "scriptName": .string(worker), "exceptions": .array([]), "logs": .array([]),
            "eventTimestamp": .integer(clock.wallTime().milliseconds),
            "event": .object([
                "type": "overload",
                "message": .string(
                    "Tail is currently in sampling mode due to the high volume of messages. "
                        + "To prevent messages from being dropped consider adding filters."),
                "dropped": .integer(Int64(count)),
            ]),
        ]).bytes
    }
}
