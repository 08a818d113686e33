internal import HTTP
internal import Interfaces
internal import Stores
internal import System
internal import Wire

/// A copy of a request, for a candidate to answer beside the release that answers the client. Reactor thread only.
///
/// The client never waits for it: it begins a turn later, keeps to a number and a time of its own, and whatever becomes of it is
/// only counted. Of both answers status, some headers, and the body's length and digest are compared, not the bodies themselves.
final class ShadowCall: EventOwner, Dispatchable, BodyConsumer, Ticker {
    /// At once on one reactor: so many can a candidate's isolates be burdened with, beside its own requests.
    static let callsMax = 16
    private static let durationMax = Duration.seconds(30)
    private static let window = 64 << 10
    private static let comparedHeaders: Set<String> = [
        "content-type", "location", "cache-control", "content-language", "etag", "vary", "www-authenticate",
    ]

    /// What is known of one of the two answers.
    private struct Answer {
        var status: Int?
        var headers: [String: String] = [:]
        var byteCount = 0
        /// FNV-1a: both are of this process, and none is chosen to collide.
        var digest: UInt64 = 0xcbf2_9ce4_8422_2325
        var isComplete = false

        mutating func take(_ bytes: UnsafeRawBufferPointer) {
            byteCount += bytes.count
            for index in bytes.indices { digest = (digest ^ UInt64(unsafe bytes[index])) &* 0x100_0000_01b3 }
        }

        mutating func take(_ head: ReplyHead, _ bytes: RawSpan) throws(WireError) {
            status = head.status
            var cursor = HeaderBlockCursor(count: head.headerCount, from: ReplyHead.byteCount)
            while let entry = try cursor.next(bytes) {
                let name = bytes.text(entry.name).lowercased()
                if ShadowCall.comparedHeaders.contains(name) { headers[name] = bytes.text(entry.value) }
            }
        }
    }

    private let reactor: Reactor
    private let target: RouteTarget
    private let message: [UInt8]
    private let request: String
    private let report: ShadowReport
    private let deadline: Instant
    private var event: EventStream?
    private var producer: (any BodyProducer)?
    private var ungranted = 0
    private var original = Answer()
    private var copy = Answer()
    private var comparesBodies: Bool
    private var isOver = false

    /// - Parameter message: as the isolate of the original gets it.
    init(
        _ target: RouteTarget, message: [UInt8], request: String, comparesBodies: Bool, report: ShadowReport,
        on reactor: Reactor
    ) {
        self.reactor = reactor
        self.target = target
        self.message = message
        self.request = request
        self.comparesBodies = comparesBodies
        self.report = report
        deadline = reactor.now + Self.durationMax
        reactor.shadowCount += 1
        reactor.addTicker(self)
        reactor.later { [self] in if !isOver { reactor.dispatcher.submit(self, to: target.worker) } }
    }

    func tick(_ now: Instant) { if now >= deadline { fail("no answer within \(Self.durationMax)") } }

    // MARK: The original

    func originalAnswered(_ head: ReplyHead, _ bytes: RawSpan) {
        // What is no head ends the original's isolate elsewhere.
        guard (try? original.take(head, bytes)) != nil else { return cancel() }
    }

    func originalReceived(_ bytes: UnsafeRawBufferPointer) { if comparesBodies, !isOver { unsafe original.take(bytes) } }

    /// Its body doesn't pass by here.
    func originalIsApart() { comparesBodies = false }

    func originalEnded() {
        guard original.status != nil else { return cancel() }
        original.isComplete = true
        compare()
    }

    /// There is nothing to compare with: files, the cache or the node have answered, or the client left.
    func cancel() {
        guard !isOver else { return }
        report.skipped()
        end()
    }

    // MARK: Dispatchable

    var isAbandoned: Bool { isOver }

    func dispatch(on channel: Channel) {
        event = channel.open(
            .fetch, flags: .end,
            make: {
                EventStream(
                    number: $0, channel: channel, worker: target.worker, release: target.release, kind: .fetch, owner: self,
                    zone: target.zone)
            },
            { $0.append(message) })
    }

    func refuse(_ reason: Refusal) {
        switch reason {
        case .unavailable(let reason): fail(reason)
        case .queueFull, .timedOut, .backingOff, .shuttingDown, .replaced: cancel()
        }
    }

    // MARK: EventOwner

    func event(_ event: EventStream, answered message: UnsafeRawBufferPointer) throws(WireError) {
        guard !isOver else { return }
        let head = try ReplyHead(reading: unsafe message.bytes)
        let body = try event.replyBody(head)
        try copy.take(head, unsafe message.bytes)
        guard let body, comparesBodies else {
            body?.cancel(.cancelled)
            return finish()
        }
        let producer = body.start(on: reactor, to: self, window: Self.window)
        if isOver { producer.cancel(.cancelled) } else if !copy.isComplete { self.producer = producer }
    }

    func event(_ event: EventStream, threw failure: CallFailure, passThrough: Bool) { fail("candidate threw \(failure)") }

    func event(_ event: EventStream, wasReset reason: StreamReset) {
        fail("candidate ended: \(reason.message.isEmpty ? "\(reason.code)" : reason.message)")
    }

    // MARK: BodyConsumer

    func receive(_ bytes: UnsafeRawBufferPointer) {
        guard !isOver else { return }
        unsafe copy.take(bytes)
        // Granted later: the producer may be in the middle of pushing.
        if ungranted == 0 { reactor.later { [self] in grantReceived() } }
        ungranted += bytes.count
    }

    private func grantReceived() {
        let count = ungranted
        ungranted = 0
        if !isOver { producer?.grant(count) }
    }

    func finish() {
        copy.isComplete = true
        producer = nil
        compare()
    }

    func fail(_ reason: StreamReset) { fail("candidate's body broke off") }

    // MARK: The end

    private func compare() {
        guard !isOver, original.isComplete, copy.isComplete else { return }
        var differences: [String] = []
        if original.status != copy.status {
            differences.append("status \(original.status ?? 0), candidate \(copy.status ?? 0)")
        }
        for name in Set(original.headers.keys).union(copy.headers.keys).sorted()
        where original.headers[name] != copy.headers[name] {
            differences.append("\(name) \(original.headers[name] ?? "-"), candidate \(copy.headers[name] ?? "-")")
        }
        if comparesBodies, original.byteCount != copy.byteCount || original.digest != copy.digest {
            let isLength = original.byteCount != copy.byteCount
            differences.append(
                isLength ? "body of \(original.byteCount) bytes, candidate \(copy.byteCount)" : "body of other bytes")
        }
        report.compared(request, differences)
        end()
    }

    private func fail(_ reason: String) {
        guard !isOver else { return }
        report.failed(request, reason)
        end()
    }

    private func end() {
        isOver = true
        reactor.shadowCount -= 1
        reactor.removeTicker(self)
        producer?.cancel(.cancelled)
        producer = nil
        if !copy.isComplete { event?.abandon(.cancelled) }
        event = nil
    }
}

extension HTTPStream {
    /// Sends a copy of the request to a candidate, if it is one of those that get one.
    func shadow(_ target: RouteTarget, by split: TrafficSplit) {
        guard let shadow = split.shadow, exchange.shadow == nil, !exchange.wasRetried, !exchange.wasRerouted,
            exchange.method == .get || exchange.method == .head, !requestBody.isPending, !parser.head.isWebSocketUpgrade,
            target.release.meter !== shadow.candidate.primary.meter,
            reactor.random.next() % 100 < UInt64(shadow.percent)
        else { return }
        let report = shadow.candidate.primary.meter.shadow
        let release = shadow.candidate.release(at: exchange.point ?? 0)
        guard let worker = release.workers[target.worker.name] else { return }
        guard reactor.shadowCount < ShadowCall.callsMax, !worker.pool.someWait else { return report.skipped() }
        var buffer = ByteBuffer()
        writeFetch(into: &buffer)
        let path = unsafe withTarget { _, path in unsafe path.bytes.text(ByteRange(offset: 0, count: path.count)) }
        exchange.shadow = ShadowCall(
            RouteTarget(release: release, worker: worker, zone: target.zone),
            message: unsafe buffer.withReadable { unsafe Array($0) },
            request: "\(exchange.isHead ? "HEAD" : "GET") \(path.prefix { $0 != "?" })", comparesBodies: !exchange.isHead,
            report: report, on: reactor)
    }
}
