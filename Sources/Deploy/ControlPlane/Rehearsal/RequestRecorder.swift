internal import HTTP
internal import Host
internal import Releases
internal import Stores
internal import Synchronization
internal import System

/// Requests that clients send to a tenant's workers, as they come: a line of JSON each. Requests that workers send each other are
/// none. Only safe ones (RFC 9110 §9.2.1), since their bodies aren't kept. One reader at a time.
final class RequestRecorder: BodySource {
    private struct State {
        var lines: [[UInt8]] = []
        var count = 0
        var droppedCount = 0
        var isOver = false
        var wasSilent = false
    }

    private let routes: RouteTable<String>
    private let traces: [WorkerTraces]
    private let clock: any NodeClock
    private let countMax: Int
    private let hasCredentials: Bool
    private let state = Mutex(State())
    private let sinks: Mutex<[Sink]>

    /// Lines that wait for a slow reader.
    private static let waitingMax = 1024
    private static let lineBytesMax = 64 << 10
    private static let interval = Duration.milliseconds(100)
    private static let silenceMax = 50

    /// - Parameters:
    ///   - countMax: Ends after so many.
    ///   - hasCredentials: Whether headers that authenticate are part of it.
    init(
        _ description: ReleaseDescription, traces: (String) -> WorkerTraces, clock: any NodeClock, countMax: Int,
        hasCredentials: Bool
    ) {
        routes = RouteTable(
            routes: description.workers.flatMap { worker in worker.routes.map { ($0, worker.name) } },
            domains: description.workers.flatMap { worker in worker.domains.map { ($0, worker.name) } })
        self.traces = description.workers.map { traces($0.name) }
        self.clock = clock
        self.countMax = countMax
        self.hasCredentials = hasCredentials
        sinks = Mutex([])
        let made = self.traces.map { traces in (traces, Sink(self)) }
        sinks.withLock { $0 = made.map(\.1) }
        for (traces, sink) in made { traces.add(sink) }
    }

    /// Events of a worker begin here. It doesn't hold the recorder, which holds it.
    private final class Sink: TraceSink {
        private weak let recorder: RequestRecorder?
        init(_ recorder: RequestRecorder) { self.recorder = recorder }

        func takesSample() -> Bool { recorder != nil }
        /// All is known when it begins: what comes of it needn't be gathered.
        func wants(_ cause: TraceEvent.Cause, of worker: TraceEvent.Worker) -> Bool {
            if case .fetch(let request) = cause { recorder?.note(request, of: worker.name) }
            return false
        }
        func receive(_ event: TraceEvent) {}
    }

    private func note(_ request: TraceEvent.Request, of worker: String) {
        guard ["GET", "HEAD", "OPTIONS"].contains(request.method), leads(request.url, to: worker) else { return }
        let line = line(request)
        guard line.count <= Self.lineBytesMax else { return }
        state.withLock { state in
            guard !state.isOver, state.count < countMax else { return }
            guard state.lines.count < Self.waitingMax else { return state.droppedCount += 1 }
            state.lines.append(line)
            state.count += 1
        }
    }

    /// Whether a client would reach the worker so.
    private func leads(_ url: String, to worker: String) -> Bool {
        guard let parsed = WebURL(url) else { return false }
        let (host, target) = (Array(parsed.host.utf8), Array(Self.target(of: url).utf8))
        // SAFETY: both arrays outlive the call.
        switch unsafe routes.match(
            host: host.span.bytes, target: target.span.bytes, scheme: parsed.scheme == "https" ? .https : .http)
        {
        case .route(let name), .domain(let name): return name == worker
        case .knownHost, .unknownHost: return false
        }
    }

    /// Path and query.
    private static func target(of url: String) -> String {
        guard let scheme = url.firstRange(of: "://") else { return "/" }
        let rest = url[scheme.upperBound...]
        return rest.firstIndex(of: "/").map { String(rest[$0...]) } ?? "/"
    }

    private func line(_ request: TraceEvent.Request) -> [UInt8] {
        let headers = request.headers.filter { header in
            !Self.ownHeaders.contains(header.name) && !header.name.hasPrefix("cf-") && !header.name.hasPrefix("x-forwarded-")
                && (hasCredentials || !Redaction.hides(header: header.name))
        }
        return JSON.object([
            "method": .string(request.method), "url": .string(request.url),
            "headers": .object(headers.map { JSON.Member(name: $0.name, value: .string($0.value)) }),
        ]).bytes + [0x0A]
    }

    /// Those that a node or a client makes anew.
    private static let ownHeaders: Set<String> = [
        "host", "connection", "content-length", "transfer-encoding", "accept-encoding", "traceparent", "tracestate",
        "cdn-loop", "x-real-ip",
    ]

    // MARK: Reading

    func next() async throws -> [UInt8]? {
        for _ in 0..<Self.silenceMax {
            let (piece, isOver) = state.withLock { state -> ([UInt8], Bool) in
                let lines = state.lines
                state.lines = []
                return (Array(lines.joined()), state.isOver || state.count >= countMax && lines.isEmpty)
            }
            if !piece.isEmpty { return piece }
            if isOver {
                end()
                return nil
            }
            try await clock.sleep(for: Self.interval)
        }
        // A line end now and then finds out whether anybody still reads.
        return [0x0A]
    }

    func cancel() { end() }

    private func end() {
        state.withLock { $0.isOver = true }
        let added = sinks.withLock { sinks in
            let added = sinks
            sinks = []
            return added
        }
        for (traces, sink) in zip(traces, added) { traces.remove(sink) }
    }

    deinit { end() }
}
