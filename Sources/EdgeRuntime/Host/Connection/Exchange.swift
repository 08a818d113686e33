internal import Caching
internal import HTTP
internal import Stores
internal import System

/// One request on a connection and what is known of its answer.
struct Exchange {
    /// Whether it was any request's.
    var isUsed = false
    var method = RequestHead.KnownMethod.other
    var minorVersion: UInt8 = 1
    var keepAlive = false
    /// The connection's framing can't be trusted any more, or the client was told that it ends.
    var mustClose = false
    /// Bytes of the head that stay in the input until the answer starts, for a second try.
    var unconsumedHead = 0
    /// How often the request has been here before.
    var hops = 0
    var wasRetried = false
    var wasRerouted = false
    /// The client waits to be asked for the body.
    var expectsContinue = false
    var bodyHandle: RequestBodyHandle?
    /// The request's body is the answer's: it is taken to its end.
    var isBodyReturned = false
    var isHeadSent = false
    var status = 0
    var started = Instant(nanoseconds: 0)
    /// How long the worker may take to answer, counted from the end of the request.
    var wallLimit: Duration?
    var waitsSince = Instant(nanoseconds: 0)
    /// The two halves of what identifies the request in `CF-Ray` and logs.
    var ray: UInt64 = 0
    /// What `traceparent` has beside it when the client sent none; drawn once, so that every isolate that is given the request,
    /// or a copy of it, is told of the same trace.
    var traceHalf: UInt64 = 0
    var span: UInt64 = 0
    /// What the client's own `traceparent` says.
    var sentSpan: TraceSpan?
    /// The trace that its worker is told of.
    var traceSpan: TraceSpan { sentSpan ?? TraceSpan(high: traceHalf, low: ray, id: span) }
    var route: RouteTarget?
    /// Whose answer it gets, once that is decided.
    var release: ReleaseRuntime?
    /// A copy of the request, whose answer is compared with this one's.
    var shadow: ShadowCall?
    /// The whole line of a cookie that keeps the client with its release.
    var affinityCookie: String?
    /// Counts for the release that has the request.
    private(set) var meter: MeterLane?
    /// An error of the worker's code was counted, or its answer.
    private var isJudged = false
    fileprivate var isCutShort = false
    /// Where it lies on the line that releases share, once that was drawn.
    var point: Int?
    /// What the target stands for, when it is written otherwise than a URL has it: routes must be compared with what the
    /// handler will see.
    var url: NormalizedURL?
    var isLocal = false
    /// Files answer it.
    var site: AssetSite?
    /// What `Accept-Encoding` says, once it was read.
    var codings: AcceptedCodings?
    /// The call to the server behind the workers that answers this request.
    var origin: OriginCall?
    /// What is told of the cache; `nil`: it had no part in the answer.
    var cacheStatus: CacheStatus?
    /// What the answer fills when it can be kept.
    var cacheFill: PendingCacheFill?
    /// The message that the worker gets instead of the client's own: it is asked whether what is stored still holds.
    var question: [UInt8]?
    /// What an answer other than an error puts out of date.
    var invalidation: CacheInvalidation?
    /// Whom the client asked, for error pages.
    var host = ""
    /// Whether an error is best shown as a page.
    var acceptsHTML = false
    /// What the answer's body must come to, when it was announced.
    var announced: Int?
    var bodyBytes: Int64 = 0
    var bodyBytesMax = Int.max
    /// The connection's count when the request began.
    var bytesMovedBefore = 0
    /// For the log; empty when requests are not logged.
    var description = ""

    // Inlined, since a call would be given a copy of all that the exchange refers to.
    @inline(__always) var isHead: Bool { method == .head }
    /// RFC 9110 §9.2.1: asking twice does no harm.
    @inline(__always) var isSafe: Bool { method == .get || method == .head || method == .options }

    // MARK: What the release's meter is told

    /// The request is the worker's that `meter` counts for.
    mutating func begin(_ meter: MeterLane?) {
        guard meter !== self.meter else { return }
        self.meter?.count(.moved)
        meter?.count(.started)
        self.meter = meter
    }

    mutating func retry() {
        wasRetried = true
        meter?.count(.retried)
    }

    /// The handler has begun to answer.
    mutating func answered(status: Int, at now: Instant) {
        guard !isJudged else { return }
        isJudged = true
        meter?.noteAnswer(status: status, from: waitsSince, to: now)
    }

    /// The node answers in the worker's place, if only with something older.
    mutating func failed(_ error: EdgeError) {
        guard !isJudged, let counter = error.counter else { return }
        isJudged = true
        meter?.count(counter)
    }

    /// The answer can't be completed.
    mutating func cutShort() { isCutShort = true }

    fileprivate func log(on connection: HTTPStream, outcome: String) {
        let milliseconds = (connection.reactor.now - started).wholeNanoseconds / 10_000
        // The worker's own secrets in a URL, such as a token that it gave to a client.
        connection.node.logger.redacting(route?.worker.pool.redactor).log(
            .info, description,
            [
                ("status", "\(status)"), ("ms", "\(Double(milliseconds) / 100)"), ("outcome", outcome),
                (
                    "worker",
                    site.map { "\($0.worker) (assets)" } ?? route?.worker.name
                        ?? (isLocal ? "edge" : origin != nil ? "origin" : "-")
                ),
                ("http", connection.protocolName), ("ray", RayID.text(ray, connection.node.settings.colo)),
            ])
    }
}

/// What is said of an exchange at its end. Not by itself: each call would be given a copy of all that it refers to.
extension HTTPStream {
    final func noteEnd() {
        exchange.meter?.noteEnd(status: exchange.status)
        reactor.counters.responsesByClass[max(1, min(5, exchange.status / 100)) - 1] += 1
        if !exchange.description.isEmpty { exchange.log(on: self, outcome: "ok") }
    }

    final func noteAbort() {
        exchange.meter?.count(exchange.isCutShort ? .cutShort : .abandoned)
        if !exchange.description.isEmpty { exchange.log(on: self, outcome: "canceled") }
    }
}

/// A request's URL that had to be rewritten.
struct NormalizedURL {
    let bytes: [UInt8]
    let hostname: Range<Int>
    let pathAndQuery: Range<Int>

    init(_ url: RequestURL, _ bytes: [UInt8]) {
        self.bytes = bytes
        hostname = url.hostname.range
        pathAndQuery = url.path.offset..<(url.query.offset + url.query.count)
    }
}

/// What is left of a request's body on its connection.
enum RequestBody {
    case none
    case length(left: Int64)
    /// Its state is the connection's decoder.
    case chunked
    /// The end of the HTTP/2 stream is the end of the body.
    case untilEnd

    var isPending: Bool {
        if case .none = self { return false }
        return true
    }

    /// `nil` when only the end will tell.
    var bytesLeft: Int64? {
        switch self {
        case .none: 0
        case .length(let left): left
        case .chunked, .untilEnd: nil
        }
    }
}

/// What is left of an answer's body.
enum ResponseBody {
    case none
    /// Announced with `Content-Length`.
    case length(left: Int)
    case chunked
    /// The end of the connection (HTTP/1.0), or of the HTTP/2 stream, is the end of the body.
    case untilClose
    /// The answer has no body on the wire (HEAD, 304): what comes is dropped.
    case dropped
    /// What is left of a file, and how many bytes of further files come behind it.
    case file(FileSlice, offset: Int64, left: Int, behind: Int)
    /// A large body in memory, sent from where it is.
    case bytes([UInt8], left: Int)
    /// All of it is in the output buffer or sent.
    case complete

    /// Whether it isn't copied to the output, but sent behind it from where it is.
    var isApart: Bool {
        switch self {
        case .file, .bytes: true
        case .none, .length, .chunked, .untilClose, .dropped, .complete: false
        }
    }

    var hasLength: Bool {
        if case .length = self { return true }
        return false
    }

    var isComplete: Bool {
        if case .complete = self { return true }
        return false
    }
}
