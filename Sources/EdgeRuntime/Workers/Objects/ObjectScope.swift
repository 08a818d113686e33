package import Interfaces
package import System

/// One durable object as the isolate's loop knows it: its gates, and the events that run in its name. The loop's thread alone.
package final class ObjectScope: @unchecked Sendable {  // Owner: the loop's thread.
    let loop: EventLoop
    let input: InputGate
    package let output: OutputGate
    /// 64 digits: names it in the log.
    package let name: String
    /// Why the incarnation is over; `nil` while it lives.
    package private(set) var failure: CallFailure?
    /// Told once when it is.
    package var wasReset: ((CallFailure) -> Void)?

    /// Events that aren't over, the background work that they have started included.
    private var events: [Invocation] = []
    /// The event that made it: what acts in nobody's name acts in its.
    private var opener: Invocation?
    /// What will wake code of the object: as `Invocation.pendingCount`.
    var pendingCount = 0
    private var idleWaiters: [() -> Void] = []
    /// The critical section that waited for nothing at the last look: when it had run last, and since when that is known.
    private var stalled: (section: GateSection, lastRan: UInt64, since: Instant)?

    private static let sectionMax = Duration.seconds(30)

    init(name: String, opener: Invocation) {
        self.name = name
        self.opener = opener
        loop = opener.loop
        input = InputGate(loop: opener.loop)
        output = OutputGate(loop: opener.loop)
    }

    // MARK: Events

    /// The event whose code runs.
    var running: Invocation {
        guard let current = loop.current ?? events.last ?? opener else {
            preconditionFailure("code runs in the name of an event")
        }
        // Work that outlived its event goes on in another's name while there is one.
        guard current.scope === self, current.isOver else { return current }
        return events.last { !$0.isOver } ?? current
    }

    func began(_ event: Invocation) { events.append(event) }

    func ended(_ event: Invocation) {
        events.removeAll { $0 === event }
        noteIdle()
    }

    /// Whether nothing would be lost if it went: no event, no timer, no call, no work that somebody waits for.
    package var isIdle: Bool {
        events.isEmpty && pendingCount == 0 && input.isIdle && output.isOpen && !loop.hasJobs(of: self)
    }

    /// Calls `body` when it is idle: now, or soon.
    package func whenIdle(_ body: @escaping () -> Void) {
        idleWaiters.append(body)
        noteIdle()
    }

    func noteIdle() {
        guard !idleWaiters.isEmpty, isIdle else { return }
        let ready = idleWaiters
        idleWaiters = []
        for body in ready { body() }
    }

    /// Standard WebSockets end where the object does.
    package func closeSockets() { for event in events { event.restartSocket() } }

    // MARK: Critical sections

    /// Runs `body` at once, and nothing else of the object until it is over.
    ///
    /// - Parameters:
    ///   - limit: How long it may take; afterwards the object is reset.
    ///   - completion: Called when it is over, before anything else runs.
    /// - Throws: when sections are nested too deeply.
    package func section(
        limit: CallFailure?, _ body: @escaping () async throws -> Void, completion: @escaping (Result<Void, any Error>) -> Void
    ) throws {
        if let failure { throw failure }
        guard input.isAtInnermost else {
            return input.startLater { self.begin(self.running, limit, body, completion) }
        }
        guard input.sections.count < InputGate.depthMax else { throw ObjectFailures.nestedTooDeeply }
        begin(running, limit, body, completion)
    }

    private func begin(
        _ event: Invocation, _ limit: CallFailure?, _ body: @escaping () async throws -> Void,
        _ completion: @escaping (Result<Void, any Error>) -> Void
    ) {
        let section = GateSection(event, inside: input.sections.last)
        input.push(section)
        let deadline = limit.map { failure in
            loop.schedule(after: Self.sectionMax) { self.reset(failure) }
        }
        section.whenOver = { result in
            deadline?.cancel()
            self.input.pop(section)
            completion(result)
            self.noteIdle()
        }
        let work = Confined(body)
        section.task = Task(executorPreference: section) {
            do {
                try await work.value()
                section.end(.success(()))
            } catch { section.end(.failure(error)) }
        }
    }

    /// As above; returns when it is over.
    package func section(limit: CallFailure?, _ body: @escaping () async throws -> Void) async throws {
        var waiter: Waiter?
        var result: Result<Void, any Error>?
        try section(limit: limit, body) { ended in
            result = ended
            guard let waiting = waiter else { return }
            waiter = nil
            // Whoever waits for it goes on before others come.
            self.loop.lettingPass(.first) { waiting.wake() }
        }
        if result == nil { await Waiter.suspend(countedBy: loop) { waiter = $0 } }
        guard let result else { throw failure ?? WorkersError.connectionLost }
        try result.get()
    }

    /// Waits for storage, while nothing else of the object runs. `start` is given what ends the waiting.
    package func locked(_ start: (@escaping ((any Error)?) -> Void) -> Void) async throws {
        var waiter: Waiter?
        var outcome: Result<Void, any Error>?
        input.lock()
        start { error in
            outcome = error.map { .failure($0) } ?? .success(())
            guard let waiting = waiter else { return }
            waiter = nil
            self.loop.lettingPass(.first) { waiting.wake() }
        }
        if outcome == nil { await Waiter.suspend(countedBy: loop) { waiter = $0 } }
        input.unlock()
        try outcome?.get()
    }

    /// What a critical section waits for can't come any more: nothing outside of it may run, and nothing of it will.
    ///
    /// - Parameter grace: How long a section must have stood still: other threads may be at work that the loop doesn't know of.
    package func checkForDeadlock(_ now: Instant, grace: Duration) {
        guard let section = input.sections.last, section.pendingCount == 0, section.lastRan != 0, !loop.hasJobs(of: self)
        else {
            stalled = nil
            return
        }
        guard let known = stalled, known.section === section, known.lastRan == section.lastRan else {
            stalled = (section, section.lastRan, now)
            return
        }
        guard now - known.since >= grace else { return }
        stalled = nil
        reset(ObjectFailures.deadlock)
    }

    // MARK: The end

    /// The incarnation is over: what its events have not said is never said, and whatever its code does next fails.
    package func reset(_ failure: CallFailure) {
        guard self.failure == nil else { return }
        self.failure = failure
        output.fail(failure)
        let ending = events
        wasReset?(failure)
        wasReset = nil
        for event in ending { event.endAsReset(failure) }
        input.breakOpen(failure)
        opener = nil
        noteIdle()
    }

    // MARK: The loop's services

    /// Calls `body` when the code that runs now awaits something, or has ended.
    package func atEndOfTurn(_ body: @escaping () -> Void) { loop.atEndOfTurn(body) }
    package func onLoop(_ body: @escaping @Sendable () -> Void) { loop.onLoop(body) }
    package var now: Int64 { loop.clock.wallTime().milliseconds }
    package var context: ExecutionContext { ExecutionContext(self) }
    package var env: Env { Env(self) }

    /// Calls `body` after a while, unless the result is cancelled before.
    package func schedule(after delay: Duration, _ body: @escaping () -> Void) -> LoopDeadline {
        loop.schedule(after: delay, body)
    }

    /// What is said one way: when everything written before is durable.
    package func say(_ kind: CallKind, channel: Int, _ message: @escaping () -> [UInt8]) {
        output.emit { [loop] in loop.say(kind, channel: channel, message()) }
    }

    /// The same, but at once.
    package func sayNow(_ kind: CallKind, channel: Int, _ message: [UInt8]) { loop.say(kind, channel: channel, message) }

    /// A call of the object itself, past its gates.
    package func ask(_ kind: CallKind, _ message: [UInt8], completion: @escaping (Result<[UInt8], any Error>) -> Void) {
        loop.ask(kind, message, completion: completion)
    }
}

/// The documented texts of what goes wrong with an object (spec: durable-objects, sections 2 and 7).
package enum ObjectFailures {
    package static let connectionLost = CallFailure("Network connection lost.", marks: [.retryable, .stubBroken])
    package static let aborted = "Application called abort() to reset Durable Object."
    package static let codeUpdated = CallFailure(
        "Durable Object reset because its code was updated.", marks: [.retryable, .objectReset, .stubBroken])
    package static let closed = CallFailure(
        "Durable Object was closed by its operator.", marks: [.retryable, .objectReset, .stubBroken])
    package static let nestedTooDeeply = CallFailure("blockConcurrencyWhile() calls are nested too deeply.")
    package static let sectionTooLong = CallFailure(
        "A call to blockConcurrencyWhile() in a Durable Object waited for too long. The call was canceled and the Durable Object "
            + "was reset.", marks: [.overloaded, .objectReset, .stubBroken])
    package static let deadlock = CallFailure(
        "A critical section within this Durable Object awaited a Promise that apparently will never complete. This could "
            + "happen in particular if a critical section awaits a task that was initiated outside of the critical section. Since "
            + "a critical section blocks all other tasks from completing, this leads to deadlock.",
        marks: [.objectReset, .stubBroken])
    package static let storageTimeout = CallFailure(
        "Durable Object storage operation exceeded timeout which caused object to be reset.",
        marks: [.overloaded, .objectReset, .stubBroken])
    package static let exceededCPU = CallFailure(
        "Durable Object exceeded its CPU time limit and was reset.", marks: [.remote, .objectReset, .stubBroken])
}
