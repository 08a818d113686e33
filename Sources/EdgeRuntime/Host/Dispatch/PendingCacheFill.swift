internal import Caching
internal import HTTP
internal import Interfaces
internal import Stores
internal import System
internal import Wire

/// What a request asks of the cache in front of its worker.
struct CacheQuestion: Sendable {
    let store: any ResponseCache
    let key: CacheKey
    let zone: String
    /// As the worker is to get it, behind one byte of `FetchMessage`'s own.
    let message: [UInt8]
    let fetch: FetchMessage
    let defaultLifetime: DefaultLifetime
    let isHead: Bool

    var url: String { key.text }
    var headers: Headers { fetch.headers }

    /// The event's message that asks for the whole response, or whether `stale` still holds.
    func event(validating stale: StoredResponse?) -> [UInt8] {
        fetch.event(message, headers: StoredResponse.validating(stale, headers))
    }
}

/// A response that is to be kept when the worker has made it.
final class PendingCacheFill {
    let question: CacheQuestion
    /// Ends with this, or with the fill that comes of it.
    private let claim: CacheClaim?
    /// What is there already, but not fresh.
    let stale: CacheHit?
    /// Whether the worker is asked for no more than whether `stale` still holds.
    let isValidating: Bool
    /// Seconds since 1970.
    private let askedAt: Int64

    /// - Parameter now: in milliseconds since 1970.
    init(_ question: CacheQuestion, claim: CacheClaim?, stale: CacheHit?, isValidating: Bool, at now: Int64) {
        self.question = question
        self.claim = claim
        self.stale = stale
        self.isValidating = isValidating
        askedAt = now / 1000
    }

    /// The same when the worker is asked again, for the whole response.
    func unconditional(at now: Int64) -> PendingCacheFill {
        PendingCacheFill(question, claim: claim, stale: stale, isValidating: false, at: now)
    }

    private func rule(_ now: Int64) -> StorageRule {
        StorageRule(
            requestHeaders: question.headers, defaultLifetime: question.defaultLifetime, now: now / 1000, askedAt: askedAt)
    }

    /// Looks whether the answer can be kept.
    ///
    /// - Parameter message: the whole reply that `head` stands at the start of.
    /// - Returns: what the client is told, and where the body goes as well; `nil`: nowhere.
    func begin(
        _ head: ReplyHead, _ message: [UInt8], at now: Int64
    ) throws(WireError) -> (CacheStatus, (any CacheFilling)?) {
        var offset = ReplyHead.byteCount
        let headers = try Headers(message: message, count: head.headerCount, from: &offset)
        let verdict = rule(now).verdict(status: head.status, headers: headers)
        guard case .store(let terms) = verdict else {
            claim?.end()
            return (verdict.statusWhenSkipped == .bypass ? .bypass : .dynamic, nil)
        }
        let response = StoredResponse(
            key: question.key, url: question.url, variant: Variant(of: question.headers, response: headers),
            status: head.status, headers: headers, terms: terms, storedAt: now,
            tags: CacheTags.parse(headers["cache-tag"] ?? ""), isEncoded: head.isEncoded)
        let length = head.hasBody ? head.bodyLength.map(Int64.init) : 0
        let fill = question.store.beginFill(response, length: length, claim: claim)
        if fill == nil { claim?.end() }
        return (stale == nil ? .miss : .expired, fill)
    }

    /// Takes over what a 304 says of `stale`.
    ///
    /// - Returns: what to answer with; `nil` when the worker speaks of another response than the one that is stored.
    func freshen(_ head: ReplyHead, _ message: [UInt8], at now: Int64) throws(WireError) -> CacheHit? {
        guard let stale else { return nil }
        var offset = ReplyHead.byteCount
        let headers = try Headers(message: message, count: head.headerCount, from: &offset)
        let (rule, store, claim) = (rule(now), question.store, claim)
        switch stale.response.freshened(
            by: headers, { rule.verdict(status: stale.response.status, headers: $0) }, at: now)
        {
        case .kept(let response):
            // Whoever waits for the claim finds what is fresh.
            Task {
                await store.refresh(stale, with: response)
                claim?.end()
            }
            return CacheHit(id: stale.id, response: response)
        case .dropped:
            claim?.end()
            return stale
        case .unrelated: return nil
        }
    }
}

/// A request to a worker that nobody waits for: it makes anew what the cache has, and what may be used meanwhile.
/// Reactor thread only.
final class CacheRefresh: Dispatchable, EventOwner, Ticker, @unchecked Sendable {  // Its task runs on the reactor only.
    private let pending: PendingCacheFill
    private let route: RouteTarget
    private let message: [UInt8]
    private unowned let reactor: Reactor

    init(_ pending: PendingCacheFill, _ route: RouteTarget, on reactor: Reactor) {
        self.pending = pending
        self.route = route
        message = pending.question.event(validating: pending.isValidating ? pending.stale?.response : nil)
        self.reactor = reactor
    }

    private var now: Int64 { reactor.clock.wallTime().milliseconds }

    /// While it holds the claim, others who need the response anew wait for it: a worker that hangs must not keep it.
    private static let durationMax = Duration.seconds(60)
    private weak var event: EventStream?
    private var deadline = Instant(nanoseconds: .max)

    func tick(_ now: Instant) {
        guard now >= deadline else { return }
        end()
        event?.abandon(.cancelled)
    }

    private func end() { reactor.removeTicker(self) }

    // MARK: Dispatchable

    var isAbandoned: Bool { false }

    func dispatch(on channel: Channel) {
        deadline = reactor.now + Self.durationMax
        reactor.addTicker(self)
        event = channel.open(
            .fetch, flags: .end,
            make: {
                EventStream(
                    number: $0, channel: channel, worker: route.worker, release: route.release, kind: .fetch, owner: self,
                    zone: route.zone)
            },
            { $0.append(message) })
        event?.watch { $0.append(message) }
    }

    // What is stale stays until somebody asks again.
    func refuse(_ reason: Refusal) {}
    func event(_ event: EventStream, threw failure: CallFailure, passThrough: Bool) { end() }
    func event(_ event: EventStream, wasReset reason: StreamReset) { end() }

    func event(_ event: EventStream, answered message: UnsafeRawBufferPointer) throws(WireError) {
        let head = try ReplyHead(reading: unsafe message.bytes)
        let body = try event.replyBody(head)
        guard let fill = try fill(head, unsafe Array(message)) else {
            end()
            body?.cancel(.cancelled)
            return
        }
        guard let body else {
            end()
            Task { await fill.commit() }
            return
        }
        let source = BufferedSource(reactor: reactor)
        source.start(from: body.start(on: reactor, to: source, window: WireLimits.initialCredit))
        let filling = FillingSource(source, fill)
        // Ends with the body.
        Task(executorPreference: reactor) {
            do { while try await filling.next() != nil {} } catch { filling.cancel() }
            self.end()
        }
    }

    private func fill(_ head: ReplyHead, _ message: [UInt8]) throws(WireError) -> (any CacheFilling)? {
        // An error must not take the place of what may be used in its stead.
        guard head.status < 500 else { return nil }
        if head.status == 304, pending.isValidating {
            if try pending.freshen(head, message, at: now) != nil { return nil }
            reactor.dispatcher.submit(CacheRefresh(pending.unconditional(at: now), route, on: reactor), to: route.worker)
            return nil
        }
        return try pending.begin(head, message, at: now).1
    }
}
