internal import Caching
internal import HTTP
internal import Interfaces
internal import Stores
internal import Wire

/// What a request asks of the cache in front of its worker.
struct CacheQuestion: Sendable {
    let store: any ResponseCache
    let key: CacheKey
    let url: String
    /// As the worker sees them.
    let headers: Headers
    let defaultLifetime: DefaultLifetime
    let isHead: Bool
}

/// A response that is to be kept when the worker has made it.
final class PendingCacheFill {
    let question: CacheQuestion
    /// Ends with this, or with the fill that comes of it.
    private let claim: CacheClaim?
    /// What is there already, but not fresh.
    let stale: CacheHit?

    init(_ question: CacheQuestion, claim: CacheClaim?, stale: CacheHit?) {
        self.question = question
        self.claim = claim
        self.stale = stale
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
        let rule = StorageRule(
            requestHeaders: question.headers, defaultLifetime: question.defaultLifetime, now: now / 1000)
        let verdict = rule.verdict(status: head.status, headers: headers)
        guard case .store(let terms) = verdict else {
            claim?.end()
            return (verdict.statusWhenSkipped == .bypass ? .bypass : .dynamic, nil)
        }
        let response = StoredResponse(
            key: question.key, url: question.url, variant: Variant(of: question.headers, response: headers),
            status: head.status, headers: headers, terms: terms, storedAt: now,
            tags: CacheTags.parse(headers["cache-tag"] ?? ""))
        let length = head.hasBody ? head.bodyLength.map(Int64.init) : 0
        let fill = question.store.beginFill(response, length: length, claim: claim)
        if fill == nil { claim?.end() }
        return (stale == nil ? .miss : .expired, fill)
    }
}

/// A request to a worker that nobody waits for: it makes anew what the cache has, and what may be used meanwhile.
/// Reactor thread only.
final class CacheRefresh: Dispatchable, EventOwner {
    private let pending: PendingCacheFill
    private let route: RouteTarget
    /// The fetch message.
    private let message: [UInt8]
    private unowned let reactor: Reactor

    init(_ pending: PendingCacheFill, _ route: RouteTarget, _ message: [UInt8], on reactor: Reactor) {
        self.pending = pending
        self.route = route
        self.message = message
        self.reactor = reactor
    }

    // MARK: Dispatchable

    var isAbandoned: Bool { false }

    func dispatch(on channel: Channel) {
        _ = channel.open(
            .fetch, flags: .end,
            make: {
                EventStream(
                    number: $0, channel: channel, worker: route.worker, release: route.release, kind: .fetch, owner: self)
            },
            { $0.append(message) })
    }

    // What is stale stays until somebody asks again.
    func refuse(_ reason: Refusal) {}
    func event(_ event: EventStream, threw failure: CallFailure, passThrough: Bool) {}
    func event(_ event: EventStream, wasReset reason: StreamReset) {}

    func event(_ event: EventStream, answered message: UnsafeRawBufferPointer) throws(WireError) {
        let head = try ReplyHead(reading: unsafe message.bytes)
        let body = try event.replyBody(head)
        // An error must not take the place of what may be used in its stead.
        let (_, fill) =
            head.status >= 500
            ? (CacheStatus.none, nil)
            : try pending.begin(
                head, unsafe Array(message), at: reactor.clock.wallTime().milliseconds)
        guard let fill else {
            body?.cancel(.cancelled)
            return
        }
        guard let body else {
            Task { await fill.commit() }
            return
        }
        let source = BufferedSource(reactor: reactor)
        source.start(from: body.start(on: reactor, to: source, window: WireLimits.initialCredit))
        let filling = FillingSource(source, fill)
        // Ends with the body.
        Task(executorPreference: reactor) {
            do { while try await filling.next() != nil {} } catch { filling.cancel() }
        }
    }
}
