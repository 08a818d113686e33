internal import Interfaces
internal import Isolates
internal import Observability
internal import Synchronization
internal import System
internal import Wire

/// One running isolate, as its pool and the reactors share it. Safe on any thread.
final class Isolate: Sendable {
    let id: IsolateID
    let processID: Int32
    let usage: IsolateUsage
    private let statusPage: StatusPage
    let pool: IsolatePool
    private let spawner: any IsolateSpawner
    /// Events started in the upper half, events open in the lower: one operation at either end of an event, because all
    /// reactors contend for this word.
    private let events = Atomic<UInt64>(0)
    /// Log records that belong to no open event.
    private let strayLogBytes = Atomic<Int>(0)

    /// What one event may log. The SDK stops at 256 KiB and says so; this stops isolates that speak Wire by
    /// themselves, and counts the frames' other fields as well.
    static let logBytesMax = 512 << 10

    /// Called once a second: what an event may log is there again after a minute.
    func refillStrayLogs() {
        let used = strayLogBytes.load(ordering: .relaxed)
        guard used > 0 else { return }
        strayLogBytes.wrappingSubtract(min(used, Self.logBytesMax / 60), ordering: .relaxed)
    }

    init(_ spawned: SpawnedIsolate, pool: IsolatePool, spawner: any IsolateSpawner) {
        id = spawned.id
        processID = spawned.processID
        usage = spawned.usage
        statusPage = spawned.statusPage
        self.pool = pool
        self.spawner = spawner
    }

    private let backgroundWork = Atomic<Int>(0)
    func backgroundWorkStarted() { backgroundWork.wrappingAdd(1, ordering: .relaxed) }
    func backgroundWorkEnded() { backgroundWork.wrappingSubtract(1, ordering: .relaxed) }
    var backgroundCount: Int { backgroundWork.load(ordering: .relaxed) }
    private let sockets = Atomic<Int>(0)
    func socketOpened() { sockets.wrappingAdd(1, ordering: .relaxed) }
    func socketClosed() { sockets.wrappingSubtract(1, ordering: .relaxed) }
    /// WebSockets that its code handles. They take no event's place.
    var openSockets: Int { sockets.load(ordering: .relaxed) }
    /// Whether anything of it goes on, `waitUntil` work included. Not WebSockets, which may say nothing for days.
    var isBusy: Bool { openEvents > 0 || backgroundWork.load(ordering: .relaxed) > 0 }

    /// Events that are open now, over all reactors.
    var openEvents: Int { Int(events.load(ordering: .sequentiallyConsistent) & 0xffff_ffff) }
    var servedEvents: Int { Int(events.load(ordering: .relaxed) >> 32) }

    func eventStarted() { events.wrappingAdd(1 << 32 | 1, ordering: .relaxed) }

    /// Ordered before the look at who waits for a place, as asking for one is ordered before the look at `openEvents`:
    /// one of the two always sees the other.
    func eventEnded() { events.wrappingSubtract(1, ordering: .sequentiallyConsistent) }

    /// What it does now, by its own account.
    var activity: String {
        guard statusPage.turn & 1 == 1 else { return "it runs no event" }
        return "it runs the event on channel \(statusPage.event.channel), stream \(statusPage.event.stream)"
    }

    func kill(_ reason: KillReason) { spawner.kill(id, reason: reason) }

    /// A channel broke. Nearly always the process is ending, and its exit, which says why, follows; one that only closed its
    /// channel must not live on.
    func channelFailed(_ channel: Channel) {
        channel.reactor.dispatcher.channelGone(channel, of: pool)
        let clock = channel.reactor.clock
        _ = clock.schedule(at: clock.now() + .milliseconds(500)) { [self] in
            kill(.unresponsive("it closed its channel"))
        }
    }

    var logFields: [(name: String, value: String)] {
        [("worker", pool.configuration.worker), ("version", pool.configuration.version)] + ownFields
    }

    /// For a logger that names worker and version already.
    var ownFields: [(name: String, value: String)] { [("isolate", "\(id)"), ("pid", "\(processID)")] }

    /// A handler's log record.
    func receiveLog(_ payload: UnsafeRawBufferPointer, from event: EventStream?) throws(WireError) {
        let total =
            event?.countLog(payload.count)
            ?? strayLogBytes.wrappingAdd(payload.count, ordering: .relaxed).newValue
        guard total <= Self.logBytesMax else { return }
        var decoder = unsafe WireDecoder(Array(payload))
        let message = try LogMessage(decoding: &decoder)
        event?.trace?.log(message)
        let level: LogLevel =
            switch message.level {
            case 0: .debug
            case 1, 2: .info
            case 3: .warning
            default: .error
            }
        let fields = message.fields.map { (Self.ownFieldNames.contains($0.name) ? "handler.\($0.name)" : $0.name, $0.value) }
        pool.logger.log(level, message.text, fields + [("isolate", "\(id)")])
    }

    /// Names under which the node says who speaks: a handler that uses them must not be taken for another.
    private static let ownFieldNames: Set<String> = [
        "time", "level", "message", "environment", "tenant", "worker", "version", "release", "isolate", "pid", "reactor",
        "stream", "ray", "outcome",
    ]
}

/// A call of the node's own to an isolate: `configure`, `health`, `shutdown`. Reactor thread only.
final class ControlStream: ChannelStream {
    private var completion: ((Result<[UInt8], StreamReset>) -> Void)?
    /// For the watchdog: what an initializer does is counted like an event. Health events are not, or each
    /// would add an event's CPU time to what the isolate may use.
    private var ledgerEntry: EventLedger.Entry?

    init(
        number: UInt32, channel: Channel, kind: CallKind,
        completion: @escaping (Result<[UInt8], StreamReset>) -> Void
    ) {
        self.completion = completion
        super.init(
            number: number, channel: channel, sendCredit: WireLimits.initialCredit,
            receiveCredit: WireLimits.initialCredit, hasPeerOpened: false)
        if kind == .configure { ledgerEntry = channel.openLedger(number, .startUp) }
    }

    override func receivedReply(_ payload: UnsafeRawBufferPointer) throws(WireError) {
        guard let status = unsafe payload.first else { throw .truncated(offset: 0) }
        var decoder = unsafe WireDecoder(Array(payload.dropFirst()))
        switch status {
        case 0: complete(.success(decoder.takeRest()))
        case 1:
            let failure = try CallFailure(decoding: &decoder).redacted(by: channel.isolate.pool.redactor)
            complete(.failure(StreamReset(.exception, "\(failure)")))
        default: throw .invalidValue("reply status", offset: 0)
        }
    }

    override func wasReset(_ reason: StreamReset) { complete(.failure(reason)) }
    override func closed() { complete(.failure(.cancelled)) }

    private func complete(_ result: Result<[UInt8], StreamReset>) {
        if let entry = ledgerEntry { channel.closeLedger(entry) }
        ledgerEntry = nil
        let completion = completion
        self.completion = nil
        completion?(result)
    }
}
