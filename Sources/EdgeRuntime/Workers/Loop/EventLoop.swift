internal import Glibc
internal import Interfaces
internal import Synchronization
internal import System
internal import Wire

/// The isolate's loop: frames in, jobs, frames out.
///
/// One turn reads what the channels have, starts a task per event, runs each job that can run, and writes all that they
/// produced with one system call per channel. Everything is touched by the loop's thread alone; other threads hand over
/// jobs and closures through the mailbox.
final class EventLoop: @unchecked Sendable {
    enum Outcome: Equatable {
        /// The node closed a channel: there is nobody left to work for.
        case channelClosed
        /// The node asked for the end, and all work is done.
        case shutDown
        /// The node sent what it never sends.
        case malformed(WireError)
    }

    /// Nothing resumes an event that has been waiting for nothing for this long. Other threads may be at work
    /// that the loop doesn't know of, hence not at once.
    static let hangGrace = Duration.milliseconds(500)
    /// The same while other events are at work.
    static let hangGraceBesideOthers = Duration.seconds(3)
    private static let jobsPerTurnMax = 4096

    let clock: any NodeClock
    private let makeWorker: (Env) throws -> any Worker
    /// The durable objects of the worker, if it has any.
    let objects: (any ObjectHosting)?
    private let entrypoints: [any WorkerEntrypoint.Type]
    private var channels: [Channel] = []
    private var epoll: Epoll
    private var page: StatusPage
    private var jobs = JobQueue()
    private var timers = TimerHeap()
    private(set) var current: Invocation?
    /// The critical section whose code runs.
    private(set) var currentSection: GateSection?
    private var pass = GatePass.none
    private var deadlines = DeadlineHeap()
    private var turnEnds: [() -> Void] = []
    private var nextObjectCheck: Instant?
    private var thread: pthread_t?
    private var outcome: Outcome?

    private var isolate: IsolateContext?
    private var startup: Invocation?
    private var fetchHandler: (any FetchHandler)?
    private var scheduledHandler: (any ScheduledHandler)?
    private var queueHandler: (any QueueHandler)?

    /// Suspended tasks that a frame from the node will wake.
    var awaitedCount = 0
    /// Work on helper threads.
    var blockingCount = 0
    /// Events whose handler hasn't answered.
    var runningCount = 0
    /// Events that aren't over, `waitUntil` work included.
    private var liveCount = 0
    private var shutdownCount = 0
    private var isShuttingDown = false
    private var quietSince: Instant?
    private var nextHangCheck: Instant?
    /// Events that the node has ended and whose handlers still run.
    private var resetEvents: [Invocation] = []

    private enum Mail {
        case job(QueuedJob)
        case timer(QueuedJob, Instant)
        case call(@Sendable () -> Void)
    }
    private let mailbox = Mutex<[Mail]>([])
    /// Calls in the mailbox, so that nobody takes the lock for none.
    private let postedCalls = Atomic<Int>(0)
    private let wakeup = EventCounter()
    private static let wakeupToken = UInt64.max

    /// - Parameters:
    ///   - channels: Non-blocking sockets, in the order of their indices.
    ///   - makeWorker: Called once, when the configuration arrives.
    init(
        channels: consuming [Int32], page: consuming StatusPage, clock: any NodeClock,
        objects: (any ObjectHosting)? = nil, entrypoints: [any WorkerEntrypoint.Type] = [],
        makeWorker: @escaping (Env) throws -> any Worker
    ) throws(SystemError) {
        self.clock = clock
        self.objects = objects
        self.entrypoints = entrypoints
        self.page = page
        self.makeWorker = makeWorker
        epoll = try Epoll(eventsMax: 64)
        try epoll.register(wakeup.rawValue, .read, token: Self.wakeupToken)
        for (index, number) in channels.enumerated() {
            let channel = Channel(loop: self, index: UInt32(index), descriptor: Descriptor(owning: number))
            self.channels.append(channel)
            try epoll.register(number, .read, token: UInt64(index))
        }
        clock.onJump { [wakeup] in wakeup.signal() }
    }

    // MARK: The turn

    /// Runs until there is nothing left to do for the node.
    func run() -> Outcome {
        thread = pthread_self()
        makeCurrent()
        defer { resignCurrent() }
        while outcome == nil {
            let ready = wait()
            takeMail(ready)
            readChannels(ready)
            fireTimers()
            runJobs()
            flush()
            if isShuttingDown, liveCount == 0, outcome == nil, channels.allSatisfy({ $0.output.isEmpty }) {
                outcome = .shutDown
            }
            watchForHang()
        }
        return outcome ?? .channelClosed
    }

    /// A bit per channel that has something; bit 63 for the mailbox. An isolate has as many channels as the node has
    /// reactors, which are few; those above 62 are looked at whenever bit 62 is set.
    private func wait() -> UInt64 {
        var ready: UInt64 = 0
        let timeout = timeoutMilliseconds()
        epoll.wait(milliseconds: timeout) { event in
            ready |= 1 << min(event.token, event.token == Self.wakeupToken ? 63 : 62)
        }
        return ready
    }

    private func timeoutMilliseconds() -> Int32 {
        guard jobs.isEmpty else { return 0 }
        var deadline = timers.earliest
        if let earliest = deadlines.earliest { deadline = deadline.map { min($0, earliest) } ?? earliest }
        if let quietSince {
            let hang = quietSince + Self.hangGrace
            deadline = deadline.map { min($0, hang) } ?? hang
        }
        if runningCount > 0, let nextObjectCheck { deadline = deadline.map { min($0, nextObjectCheck) } ?? nextObjectCheck }
        if runningCount > 0, let nextHangCheck { deadline = deadline.map { min($0, nextHangCheck) } ?? nextHangCheck }
        guard let deadline else { return -1 }
        let nanoseconds = (deadline - clock.now()).wholeNanoseconds
        return Int32(max(0, min(Int64(Int32.max), (nanoseconds + 999_999) / 1_000_000)))
    }

    private func readChannels(_ ready: UInt64) {
        for (index, channel) in channels.enumerated() {
            guard ready & (1 << UInt64(min(index, 62))) != 0 else { continue }
            do {
                if try channel.readFrames() == .closed { outcome = .channelClosed }
            } catch {
                outcome = .malformed(error)
                return
            }
        }
    }

    private func fireTimers() {
        guard !timers.isEmpty || !deadlines.isEmpty else { return }
        let now = clock.now()
        while let job = timers.takeDue(now) {
            job.invocation.addPending(-1)
            job.section?.pendingCount -= 1
            jobs.append(job)
        }
        while let body = deadlines.takeDue(now) { body() }
    }

    /// Runs what can run, and what becomes runnable by that.
    func runJobs() {
        guard !jobs.isEmpty else { return }
        var left = Self.jobsPerTurnMax
        var before = IsolateClock.ticks()
        while left > 0, let next = jobs.takeFirst() {
            left -= 1
            let invocation = next.invocation
            // What is left of an event above its limit is never resumed; its memory goes with the isolate.
            if invocation.isStopped { continue }
            if let scope = invocation.scope, !scope.input.admits(next) {
                scope.input.hold(next)
                continue
            }
            currentSection = next.section
            if current !== invocation {
                current = invocation
                page.begin(stream: invocation.stream, channel: invocation.channel.index)
            }
            switch next.home {
            case .event: unsafe next.job.runSynchronously(on: invocation.asUnownedTaskExecutor())
            case .detached: IsolateExecutors.runDetached(next.job)
            case .main: IsolateExecutors.runMain(next.job)
            case .section:
                if let section = next.section { unsafe next.job.runSynchronously(on: section.asUnownedTaskExecutor()) }
            }
            if !turnEnds.isEmpty { endTurn() }
            invocation.scope?.noteIdle()
            let after = IsolateClock.ticks()
            next.section?.lastRan = after
            if invocation.ran(nanoseconds: after &- before, until: after) { invocation.endAsTooExpensive() }
            page.add(nanoseconds: after &- before)
            before = after
        }
        current = nil
        currentSection = nil
        page.rest()
    }

    /// Whether all is written that other channels than this one have.
    func flushed(allBut last: Channel) -> Bool {
        flush()
        return channels.allSatisfy { $0 === last || $0.output.isEmpty }
    }

    private func flush() {
        for channel in channels {
            if !channel.flush() { outcome = outcome ?? .channelClosed }
            // It reads on however much there is to write: the node stops reading when there is too much for it, and if
            // both did, neither would go on.
            var interest: Epoll.Interest = .read
            if !channel.output.isEmpty { interest.insert(.write) }
            guard interest != channel.interest else { continue }
            channel.interest = interest
            try? epoll.change(channel.descriptor.rawValue, interest, token: UInt64(channel.index))
        }
    }

    // MARK: Hang detection

    /// An event that hasn't answered and waits for nothing that could come will never answer (spec: runtime, section 1, error
    /// 1101): no call, timer, body or helper thread will wake it. When nothing else goes on either, that is certain soon; else
    /// one event could still be waiting for what another does, and gets more time.
    private func watchForHang() {
        watchForDeadlocks()
        guard runningCount > 0 else {
            quietSince = nil
            if !resetEvents.isEmpty { resetEvents = [] }  // None of them runs any more.
            return
        }
        let now = clock.now()
        if awaitedCount == 0, blockingCount == 0, jobs.isEmpty, !timers.hasLive, mailbox.withLock({ $0.isEmpty }) {
            let since = quietSince ?? now
            quietSince = since
            if now - since >= Self.hangGrace {
                quietSince = nil
                endHungEvents { _ in true }
            }
        } else {
            quietSince = nil
        }
        if let due = nextHangCheck, now < due { return }
        nextHangCheck = now + .seconds(1)
        let ticks = IsolateClock.ticks()
        let grace = UInt64(Self.hangGraceBesideOthers.wholeNanoseconds)
        endHungEvents { $0.pendingCount == 0 && $0.lastRan != 0 && ticks &- $0.lastRan >= grace }
    }

    private func endHungEvents(_ isHung: (Invocation) -> Bool) {
        for channel in channels {
            for case let event as Invocation in channel.streams.endpoints where !event.isForObject && isHung(event) {
                event.endAsHung()
            }
        }
        // Those that the node has ended stand in no table.
        for event in resetEvents where !event.isForObject && isHung(event) { event.endAsHung() }
        resetEvents.removeAll { !$0.isRunning }
        flush()
    }

    /// The node has ended an event whose handler still runs.
    func noteReset(_ event: Invocation) { resetEvents.append(event) }

    // MARK: Jobs and other threads

    var isOnThread: Bool { thread == pthread_self() }

    func enqueue(_ job: QueuedJob) {
        guard isOnThread else { return post(.job(job)) }
        switch pass {
        case .none: jobs.append(job)
        case .behindOthers:
            var job = job
            job.passesGate = true
            jobs.append(job)
        case .first:
            var job = job
            job.passesGate = true
            jobs.prepend(job)
        }
    }

    func enqueue<Delay>(_ job: QueuedJob, after delay: Delay) {
        let deadline = clock.now() + ((delay as? Duration) ?? .zero)
        if isOnThread { insertTimer(job, at: deadline) } else { post(.timer(job, deadline)) }
    }

    private func insertTimer(_ job: QueuedJob, at deadline: Instant) {
        job.invocation.addPending(1)
        job.section?.pendingCount += 1
        timers.insert(job, at: deadline)
    }

    /// An unstructured task's job: it counts for the event whose code made it runnable.
    func enqueueUnstructured(_ job: UnownedJob, home: JobHome) -> QueuedJob? {
        guard let invocation = (isOnThread ? current : nil) ?? startup else { return nil }
        return QueuedJob(job: job, invocation: invocation, home: home, section: isOnThread ? currentSection : nil)
    }

    /// Runs `body` on the loop's thread: now when this is it, else soon.
    func onLoop(_ body: @escaping @Sendable () -> Void) {
        guard isOnThread else {
            postedCalls.add(1, ordering: .relaxed)
            return post(.call(body))
        }
        runPostedCalls()
        body()
    }

    /// What other threads have posted is done before what comes after it in the order of the code: who has waited for a helper
    /// thread may go on before the mail was taken.
    func runPostedCalls() {
        guard postedCalls.load(ordering: .relaxed) > 0 else { return }
        var calls: [@Sendable () -> Void] = []
        mailbox.withLock { box in
            box.removeAll { mail in
                guard case .call(let body) = mail else { return false }
                calls.append(body)
                return true
            }
        }
        postedCalls.subtract(calls.count, ordering: .relaxed)
        for call in calls { call() }
    }

    private func post(_ mail: Mail) {
        let isFirst = mailbox.withLock { box in
            box.append(mail)
            return box.count == 1
        }
        if isFirst { wakeup.signal() }
    }

    private func takeMail(_ ready: UInt64) {
        guard ready & (1 << 63) != 0 else { return }
        wakeup.clear()
        let all = mailbox.withLock { box in
            let all = box
            box = []
            return all
        }
        for mail in all {
            switch mail {
            case .job(let job): jobs.append(job)
            case .timer(let job, let deadline): insertTimer(job, at: deadline)
            case .call(let body):
                postedCalls.subtract(1, ordering: .relaxed)
                body()
            }
        }
    }

    // MARK: What objects need of it

    /// Jobs that a gate lets go: in front of all others, in their order.
    func prepend(_ ready: [QueuedJob]) { for job in ready.reversed() { jobs.prepend(job) } }

    /// Whether code of an object could run now, or will by a timer.
    func hasJobs(of scope: ObjectScope) -> Bool {
        jobs.contains { $0.invocation.scope === scope } || timers.contains { $0.invocation.scope === scope }
    }

    /// What `body` wakes runs whether its object's gate is closed or not.
    func lettingPass(_ pass: GatePass, _ body: () -> Void) {
        let before = self.pass
        self.pass = pass
        body()
        self.pass = before
    }

    /// What `body` wakes runs in the name of `event`, in its critical section.
    func acting(for event: Invocation?, _ section: GateSection?, _ body: () -> Void) {
        let before = (current, currentSection)
        if let event { (current, currentSection) = (event, section) }
        body()
        (current, currentSection) = before
    }

    func schedule(after delay: Duration, _ body: @escaping () -> Void) -> LoopDeadline {
        deadlines.insert(clock.now() + delay, body)
    }

    /// Calls `body` when the code that runs now awaits something that isn't there yet, or has ended.
    func atEndOfTurn(_ body: @escaping () -> Void) { turnEnds.append(body) }

    private func endTurn() {
        while !turnEnds.isEmpty {
            let bodies = turnEnds
            turnEnds = []
            for body in bodies { body() }
        }
    }

    /// A one-way call on the channel of a reactor.
    func say(_ kind: CallKind, channel index: Int, _ message: [UInt8]) {
        guard index < channels.count else { return }
        let channel = channels[index]
        channel.appendCall(
            kind, stream: channel.takeStream(), binding: CallPrefix.noBinding, parent: 0, flags: [.end, .lazyBody], message)
    }

    /// A call that is nobody's, on the first channel.
    func ask(_ kind: CallKind, _ message: [UInt8], completion: @escaping (Result<[UInt8], any Error>) -> Void) {
        let channel = channels[0]
        let call = OutgoingCall(channel: channel, stream: channel.takeStream())
        channel.streams.insert(call.stream, call)
        channel.appendCall(
            kind, stream: call.stream, binding: CallPrefix.noBinding, parent: 0, flags: [.end, .lazyBody], message)
        call.completion = completion
    }

    private func watchForDeadlocks() {
        guard let objects else { return }
        let now = clock.now()
        if let due = nextObjectCheck, now < due { return }
        nextObjectCheck = now + .seconds(1)
        objects.checkForDeadlocks(now, grace: Self.hangGrace)
    }

    // MARK: Events

    func receivedEvent(
        _ header: FrameHeader, _ payload: UnsafeRawBufferPointer, on channel: Channel
    ) throws(WireError) {
        guard payload.count >= 2 else { throw .truncated(offset: 0) }
        let number = unsafe payload.loadUnaligned(as: UInt16.self).littleEndian
        let message = unsafe Array(UnsafeRawBufferPointer(rebasing: payload[2...]))
        switch CallKind(rawValue: number) {
        case .fetch: try startFetch(message, header, channel)
        case .configure:
            guard isolate == nil else { throw .unexpectedFrame(.open, stream: header.stream) }
            var decoder = WireDecoder(message)
            configure(try IsolateConfiguration(decoding: &decoder), header.stream, channel)
        case .scheduled:
            var decoder = WireDecoder(message)
            let message = try ScheduledMessage(decoding: &decoder)
            guard let handler = scheduledHandler else { return try refuse("scheduled", header, channel) }
            try begin(.scheduled, header, channel).startScheduled(message, handler)
        case .queue:
            var decoder = WireDecoder(message)
            let message = try QueueBatchMessage(decoding: &decoder)
            guard let handler = queueHandler else { return try refuse("queue", header, channel) }
            try begin(.queue, header, channel).startQueue(message, handler)
        case .rpc: try startEntrypoint(message, header, channel)
        case .entrypointFetch: try startEntrypointFetch(message, header, channel)
        case .objectOpen, .objectFetch, .objectCall, .objectAlarm, .objectSocket, .objectClose:
            guard let kind = CallKind(rawValue: number) else { return }
            try startObject(kind, message, header, channel)
        case .health: replyOK(header.stream, channel)
        case .shutdown:
            // Each channel says so behind the last event that it brings.
            shutdownCount += 1
            isShuttingDown = shutdownCount == channels.count
            replyOK(header.stream, channel)
        default: throw .invalidValue("call kind", offset: 0)
        }
    }

    private func startFetch(_ message: [UInt8], _ header: FrameHeader, _ channel: Channel) throws(WireError) {
        let layout = try FetchLayout(message)
        let headers = try layout.headers(message)
        guard let handler = fetchHandler else { return try refuse("fetch", header, channel) }
        let invocation = try begin(.fetch, header, channel)
        var body: ByteStream?
        if layout.hasBody, !header.flags.contains(.end) {
            let incoming = IncomingBody(
                channel: channel, stream: header.stream, isReply: false, isHeld: header.flags.contains(.heldBody))
            invocation.incoming = incoming
            body = ByteStream(source: incoming, length: layout.bodyLength)
        }
        invocation.startFetch(
            Request(RequestStorage(layout, block: message), headers: headers, body: body), handler)
    }

    func entrypoint(named name: String) -> (any WorkerEntrypoint.Type)? { entrypoints.first { $0.entrypointName == name } }

    func begin(
        _ event: Invocation.Event, _ header: FrameHeader, _ channel: Channel, scope: ObjectScope? = nil
    ) throws(WireError) -> Invocation {
        guard let isolate else { throw .unexpectedFrame(.open, stream: header.stream) }
        let invocation = Invocation(event, channel: channel, stream: header.stream, isolate: isolate)
        if let scope { invocation.enter(scope) }
        channel.streams.insert(header.stream, invocation)
        runningCount += 1
        liveCount += 1
        return invocation
    }

    func invocationEnded() { liveCount -= 1 }

    private func configure(_ configuration: IsolateConfiguration, _ stream: UInt32, _ channel: Channel) {
        let isolate = IsolateContext(configuration)
        let startup = Invocation(.startup, channel: channel, stream: stream, isolate: isolate)
        self.isolate = isolate
        self.startup = startup
        page.begin(stream: stream, channel: channel.index)
        defer { page.rest() }
        do {
            let worker = try makeWorker(Env(startup))
            fetchHandler = worker as? any FetchHandler
            scheduledHandler = worker as? any ScheduledHandler
            queueHandler = worker as? any QueueHandler
            objects?.configured(configuration)
        } catch { return replyFailure(CallFailure(describing: error), stream, channel) }
        var handlers: [String] = []
        if fetchHandler != nil { handlers.append("fetch") }
        if scheduledHandler != nil { handlers.append("scheduled") }
        if queueHandler != nil { handlers.append("queue") }
        let description = IsolateDescription(
            handlers: handlers, objectClasses: objects?.classes ?? [], entrypoints: entrypoints.map { $0.entrypointName })
        replyOK(stream, channel, description.encoded())
    }

    func refuse(_ handler: String, _ header: FrameHeader, _ channel: Channel) throws(WireError) {
        guard isolate != nil else { throw .unexpectedFrame(.open, stream: header.stream) }
        replyFailure(WorkersError.noHandler(handler), header.stream, channel)
    }

    private func replyOK(_ stream: UInt32, _ channel: Channel, _ message: [UInt8] = []) {
        channel.output.appendFrame(.open, stream: stream, flags: .end) { output in
            output.append(0 as UInt8)
            output.append(message)
        }
    }

    func replyFailure(_ failure: CallFailure, _ stream: UInt32, _ channel: Channel) {
        var encoder = WireEncoder()
        failure.encode(into: &encoder)
        channel.output.appendFrame(.open, stream: stream, flags: .end) { output in
            output.append(1 as UInt8)
            output.append(encoder.bytes)
        }
    }
}
