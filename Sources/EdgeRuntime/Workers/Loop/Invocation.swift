internal import Caching
internal import Interfaces
internal import System
internal import Wire
@_spi(ExperimentalScheduling) internal import _Concurrency

/// One event: its stream, its task, its calls and what it may still use. It is also the executor of its tasks, which is how
/// the loop knows for whom each job runs.
///
/// States: *running* until the handler's answer is complete or the stream was reset; then, as long as `waitUntil` work
/// is left, *lingering*; then *over*, when nothing may be done in its name any more. Touched by the loop's
/// thread alone, except for `enqueue`, which the concurrency runtime calls from anywhere.
final class Invocation: StreamEndpoint, TaskExecutor, SchedulingExecutor, BindingTransport,
    @unchecked Sendable
{
    enum Event { case startup, fetch, scheduled, queue, rpc, object, objectClose }

    /// Log lines of one event, in bytes (spec: runtime, section 6).
    static let logBytesMax = LogMessage.bytesPerEventMax

    let event: Event
    let isolate: IsolateContext
    var passesThroughOnException = false
    /// Time that its code ran.
    private var runNanoseconds: UInt64 = 0
    private let runNanosecondsMax: UInt64
    /// CPU time since the time that passed went beyond the limit, and the thread's at the last look.
    private var cpuNanoseconds: UInt64 = 0
    private var cpuMark: UInt64?
    private(set) var isStopped = false
    /// The node has ended the event and waits to hear that its handler has.
    private var wasReset = false

    /// What will wake its code: calls and bodies that it waits for, timers, work on helper threads.
    private(set) var pendingCount = 0
    /// The durable object whose event it is.
    private(set) var scope: ObjectScope?
    var isForObject: Bool { event == .object || event == .objectClose }
    /// What the client's WebSocket is called if its object lets it hibernate.
    var hibernatingID = SocketID(0)
    /// When its code ran last, in the loop's ticks.
    private(set) var lastRan: UInt64 = 0

    private var task: Task<Void, Never>?
    /// Has the answer's WebSocket, when the response said what becomes of it.
    private var conversation: Task<Void, Never>?
    private var hasReplied = false
    private(set) var isRunning = true
    private(set) var isOver = false
    private var callCount = 0
    private var storeCallCount = 0
    private var logByteCount = 0
    /// Data points that its code has written.
    var dataPointCount = 0
    private var waitUntilCount = 0
    private var waitUntilTasks: [Task<Void, Never>] = []
    private var waitUntilFailure: (any Error)?
    private var waitUntilStream: WaitUntilStream?
    private var waitUntilWaiter: Waiter?

    init(_ event: Event, channel: Channel, stream: UInt32, isolate: IsolateContext) {
        self.event = event
        self.isolate = isolate
        // The node's watchdog measures CPU time and ends code that doesn't come back. This catches what does come back, again
        // and again. Events without a client have limits of the node's own.
        let limit =
            switch event {
            case .fetch, .rpc, .object: isolate.configuration.cpuLimitNanoseconds
            case .startup, .scheduled, .queue, .objectClose: 0 as UInt64
            }
        runNanosecondsMax = limit == 0 ? .max : limit
        super.init(channel: channel, stream: stream)
    }

    /// From now on its code is the object's, behind the object's gates.
    func enter(_ scope: ObjectScope) {
        self.scope = scope
        scope.pendingCount += pendingCount
        outputGate = scope.output
        scope.began(self)
    }

    func addPending(_ count: Int) {
        pendingCount += count
        scope?.pendingCount += count
    }

    // MARK: Executor

    func enqueue(_ job: consuming ExecutorJob) {
        loop.enqueue(QueuedJob(job: UnownedJob(job), invocation: self, home: .event))
    }

    func enqueue<C: Clock>(
        _ job: consuming ExecutorJob, after delay: C.Duration, tolerance: C.Duration?, clock: C
    ) {
        loop.enqueue(QueuedJob(job: UnownedJob(job), invocation: self, home: .event), after: delay)
    }

    func enqueue<C: Clock>(
        _ job: consuming ExecutorJob, at instant: C.Instant, tolerance: C.Duration?, clock: C
    ) {
        loop.enqueue(
            QueuedJob(job: UnownedJob(job), invocation: self, home: .event),
            after: clock.now.duration(to: instant))
    }

    // MARK: Running a handler

    func startFetch(_ request: Request, _ handler: any FetchHandler) {
        // The handler isn't Sendable and need not be: this task, like all of the isolate, runs on the loop's thread.
        let handler = Confined(handler)
        task = Task(executorPreference: self) {
            do {
                let response = try await handler.value.fetch(
                    request, env: Env(self), context: ExecutionContext(self))
                try await self.respond(response, to: request)
            } catch { self.fail(error) }
            self.finish()
        }
    }

    func startScheduled(_ message: ScheduledMessage, _ handler: any ScheduledHandler) {
        let event = ScheduledEvent(cron: message.cron, scheduledTime: message.scheduledTime)
        let handler = Confined(handler)
        task = Task(executorPreference: self) {
            do {
                try await handler.value.scheduled(event, env: Env(self), context: ExecutionContext(self))
                await self.waitUntilIdle()
                if let failure = self.waitUntilFailure { throw failure }
                self.reply { $0.append(event.isFinal ? 1 : 0 as UInt8) }
            } catch {
                await self.waitUntilIdle()
                self.fail(error)
            }
            self.finish()
        }
    }

    func startQueue(_ message: QueueBatchMessage, _ handler: any QueueHandler) {
        let log = Log(self)
        let batch = MessageBatch(message) { log.warn($0) }
        let handler = Confined(handler)
        task = Task(executorPreference: self) {
            var failure: (any Error)?
            do {
                try await handler.value.queue(batch, env: Env(self), context: ExecutionContext(self))
            } catch { failure = error }
            await self.waitUntilIdle()
            if let failure = failure ?? self.waitUntilFailure {
                self.log(
                    LogMessage(level: LogMessage.uncaughtLevel, text: "uncaught error: \(CallFailure(describing: failure))"))
            }
            let reply = batch.reply(succeeded: failure == nil && self.waitUntilFailure == nil)
            var encoder = WireEncoder()
            reply.encode(into: &encoder)
            self.reply { $0.append(encoder.bytes) }
            self.finish()
        }
    }

    /// Runs `body` as the event's code.
    func start(_ body: @escaping () async throws -> Void) {
        let body = Confined(body)
        task = Task(executorPreference: self) {
            do { try await body.value() } catch { await self.failBehindGate(error) }
            self.finish()
        }
    }

    func cancelTask() { task?.cancel() }

    /// An error says something, too: not before what was written is durable.
    private func failBehindGate(_ error: any Error) async {
        do {
            try await outputGate?.pass()
            fail(error)
        } catch { fail(error) }
    }

    /// The object whose event it is was reset: what it has not said, it will not say.
    func endAsReset(_ failure: CallFailure) {
        fail(failure)
        close(incoming: failure)
        acknowledgeReset()
        if isRunning {
            isRunning = false
            loop.runningCount -= 1
        }
        task?.cancel()
        conversation?.cancel()
        for work in waitUntilTasks { work.cancel() }
        end()
    }

    /// The object goes: the client of a standard WebSocket is to come again.
    func restartSocket() {
        guard let socket else { return }
        socket.close(SocketClose(code: 1012, reason: "the object is being moved: connect again"))
        conversation?.cancel()
    }

    /// The event's answer is complete, or was cut off.
    private func finish() {
        task = nil
        if isRunning {
            isRunning = false
            loop.runningCount -= 1
        }
        guard socket == nil else { return }  // It goes on until that has ended.
        close(incoming: WorkersError.connectionLost)
        acknowledgeReset()
        if waitUntilCount == 0 { end() }
    }

    private func end() {
        guard !isOver else { return }
        loop.runPostedCalls()
        isOver = true
        if let waitUntilStream {
            waitUntilStream.finish()
            self.waitUntilStream = nil
        }
        scope?.ended(self)
        loop.invocationEnded()
    }

    // MARK: Answering

    func respond(_ response: Response, to request: Request) async throws {
        if response.webSocket != nil {
            try respondWithSocket(response, to: request)
        } else if !respondAtOnce(response) {
            try await respondStreaming(response)
        }
    }

    /// Sends a response whose body needs no waiting.
    ///
    /// - Returns: false when its body has to be streamed.
    func respondAtOnce(_ response: Response) -> Bool {
        guard !isClosed else { return true }
        if let flaw = response.flaw {
            fail(flaw)
            return true
        }
        switch response.content {
        case .none:
            respond(response, bodyLength: 0, hasBody: false, end: true)
        case .text(var text):
            let count = text.utf8.count
            guard count <= min(sendCredit, WireLimits.dataPayloadBytesMax) else { return false }
            respond(response, bodyLength: count, hasBody: count > 0, end: true) { output in
                text.withUTF8 { unsafe output.append(UnsafeRawBufferPointer($0)) }
            }
        case .bytes(let bytes):
            guard bytes.count <= min(sendCredit, WireLimits.dataPayloadBytesMax) else { return false }
            respond(response, bodyLength: bytes.count, hasBody: !bytes.isEmpty, end: true) {
                $0.append(bytes)
            }
        case .stream(let body):
            guard let source = body.unreadSource as? IncomingBody, source.channel === channel,
                canPassOn(source)
            else { return false }
            respond(
                response, bodyLength: body.length, hasBody: true, end: true, splice: source.stream)
            source.splice()
        }
        return true
    }

    // MARK: WebSockets

    /// Answers with a WebSocket, and lets what the response says about it begin.
    func respondWithSocket(_ response: Response, to request: Request) throws {
        guard !isClosed, let client = response.webSocket else { return }
        if let flaw = response.flaw { throw flaw }
        guard request.asksForWebSocket else { throw WorkersError.webSocketNotAskedFor }
        if let hibernating = client.end.hibernatingPeer { return try hibernate(hibernating, response, client.end) }
        let call = try client.end.couple(with: self) { splice in
            respond(response, bodyLength: nil, hasBody: true, end: splice != 0, splice: splice)
        }
        guard call == nil, let work = response.conversation else { return }
        conversation = Task(executorPreference: self) { await self.converse(work) }
    }

    /// The node keeps the client's WebSocket; the stream ends here.
    private func hibernate(_ socket: any HibernatingSocket, _ response: Response, _ end: SocketEnd) throws {
        guard scope != nil, hibernatingID.rawValue != 0 else { throw WorkersError.webSocketCannotHibernate }
        try end.handToNode()
        hasReplied = true
        openWaitUntilIfNeeded()
        channel.output.appendFrame(.open, stream: stream, flags: .end) { output in
            output.append(0 as UInt8)
            output.appendFetchReply(response, bodyLength: nil, hasBody: false, hibernates: true)
            var message = WireEncoder()
            socket.hibernation.encode(into: &message)
            output.append(message.bytes)
        }
        socket.opened(hibernatingID)
    }

    private func converse(_ work: SocketConversation) async {
        let socket = work.socket
        do {
            try socket.accept()
            try await work.body(socket)
            socket.end.sayClose(SocketClose(code: 1000))
        } catch {
            if !(error is CancellationError) {
                log(
                    LogMessage(
                        level: LogMessage.uncaughtLevel,
                        text: "uncaught error in a WebSocket: \(CallFailure(describing: error))"))
            }
            socket.end.sayClose(SocketClose(code: 1011, reason: "the worker failed"))
        }
        conversation = nil
        socket.end.letGo()
    }

    /// Each message may use what a request may.
    func renewAllowance() {
        runNanoseconds = 0
        cpuNanoseconds = 0
        cpuMark = nil
        callCount = 0
        storeCallCount = 0
        logByteCount = 0
        dataPointCount = 0
    }

    /// The last moment before the event's stream ends.
    func endOfSocket() { openWaitUntilIfNeeded() }

    /// The WebSocket is over, and nobody has it any more.
    func socketEnded() {
        guard !isRunning else { return }
        acknowledgeReset()
        if waitUntilCount == 0 { end() }
    }

    /// Whether the node can send the body on by itself: a reply that this isolate holds, or its own request's body.
    private func canPassOn(_ body: IncomingBody) -> Bool { body.canSplice && (body.isReply || body.stream == stream) }

    func respondStreaming(_ response: Response) async throws {
        guard let body = response.body else { return }
        guard !body.isUsed else { throw WorkersError.bodyUsed }
        respond(response, bodyLength: body.length, hasBody: true, end: false)
        do {
            var sent = 0
            while let piece = try await body.next() {
                sent += piece.count
                if let length = body.length, sent > length { break }
                try await send(piece)
            }
            if let length = body.length, sent != length {
                throw CallFailure("response body has \(sent) bytes instead of the \(length) it announced")
            }
            try await outputGate?.pass()
            guard !isClosed else { return }
            openWaitUntilIfNeeded()
            channel.appendEnd(stream: stream)
        } catch {
            body.cancel()
            throw error
        }
    }

    /// Writes the head, and the body that `write` appends when the whole answer is there.
    private func respond(
        _ response: Response, bodyLength: Int?, hasBody: Bool, end: Bool, splice: UInt32 = 0,
        _ write: ((inout ByteBuffer) -> Void)? = nil
    ) {
        loop.runPostedCalls()
        hasReplied = true
        if end { openWaitUntilIfNeeded() }
        let isHeadOnly = end && (write == nil || !hasBody)
        channel.output.appendFrame(.open, stream: stream, flags: isHeadOnly ? .end : []) { output in
            output.append(0 as UInt8)
            output.appendFetchReply(
                response, bodyLength: bodyLength, hasBody: hasBody, spliceStream: splice)
        }
        guard !isHeadOnly, end, let write else { return }
        sendCredit -= bodyLength ?? 0
        channel.output.appendFrame(.data, stream: stream, flags: .end, write)
    }

    /// Begins an answer whose body follows.
    ///
    /// - Returns: false when nobody waits for it any more.
    func beginReply(_ message: [UInt8]) -> Bool {
        guard !isClosed, !hasReplied else { return false }
        loop.runPostedCalls()
        hasReplied = true
        channel.output.appendFrame(.open, stream: stream) { output in
            output.append(0 as UInt8)
            output.append(message)
        }
        return true
    }

    func endReply() {
        guard !isClosed else { return }
        openWaitUntilIfNeeded()
        channel.appendEnd(stream: stream)
    }

    func reply(_ write: (inout ByteBuffer) -> Void) {
        guard !isClosed, !hasReplied else { return }
        loop.runPostedCalls()
        hasReplied = true
        openWaitUntilIfNeeded()
        channel.output.appendFrame(.open, stream: stream, flags: .end) { output in
            output.append(0 as UInt8)
            write(&output)
        }
    }

    /// Answers with the error, or cuts the answer off when it has begun.
    func fail(_ error: any Error) {
        guard !isClosed else { return }
        var failure = CallFailure(describing: error).shortened
        if event == .object || event == .rpc {
            // An error of the code itself says nothing about the object, wherever the code has it from.
            failure = scope?.failure ?? CallFailure(failure.message, name: failure.name, code: failure.code, marks: .remote)
        }
        openWaitUntilIfNeeded()
        guard !hasReplied else { return sendReset(.exception, failure.description) }
        loop.runPostedCalls()
        hasReplied = true
        var encoder = WireEncoder()
        failure.encode(into: &encoder)
        encoder.put(passesThroughOnException)
        channel.output.appendFrame(.open, stream: stream, flags: .end) { output in
            output.append(1 as UInt8)
            output.append(encoder.bytes)
        }
    }

    override func receivedReset(code: UInt16, message: String) {
        openWaitUntilIfNeeded()
        close(incoming: WorkersError.connectionLost)
        wasReset = true
        conversation?.cancel()
        guard isRunning else { return socket == nil ? acknowledgeReset() : () }
        loop.noteReset(self)
        task?.cancel()
    }

    /// The node keeps the event's place until it hears that the handler has ended.
    private func acknowledgeReset() {
        guard wasReset else { return }
        wasReset = false
        channel.appendEnd(stream: stream)
    }

    /// - Returns: whether the event has used more CPU time than it may.
    @inline(__always)
    func ran(nanoseconds: UInt64, until now: UInt64) -> Bool {
        lastRan = now
        runNanoseconds &+= nanoseconds
        return runNanoseconds > runNanosecondsMax && hasUsedUp(nanoseconds)
    }

    /// The time that passed is above the limit, which says little on a busy machine: from now on the thread's CPU time is
    /// looked at, which costs more to ask for.
    private func hasUsedUp(_ nanoseconds: UInt64) -> Bool {
        let cpu = IsolateClock.threadCPUTime()
        defer { cpuMark = IsolateClock.threadCPUTime() }
        guard let mark = cpuMark else { return false }
        // Since the last look other events ran on the thread too, but in this slice no other.
        cpuNanoseconds &+= min(nanoseconds, cpu &- mark)
        return cpuNanoseconds > runNanosecondsMax
    }

    /// The event's code has run for too long in all.
    func endAsTooExpensive() {
        guard !isStopped else { return }
        isStopped = true
        if isRunning {
            isRunning = false
            loop.runningCount -= 1
        }
        sendReset(.exceededCPU, WorkersError.exceededCPU)
        close(incoming: WorkersError.connectionLost)
        acknowledgeReset()
        end()
        scope?.reset(ObjectFailures.exceededCPU)
    }

    /// Nothing can ever resume the handler: see `EventLoop.endHungEvents`.
    func endAsHung() {
        guard isRunning else { return }
        isRunning = false
        loop.runningCount -= 1
        openWaitUntilIfNeeded()
        sendReset(.hung, WorkersError.hung)
        close(incoming: WorkersError.connectionLost)
        acknowledgeReset()
        task?.cancel()
        if waitUntilCount == 0 { end() }
    }

    // MARK: waitUntil

    func waitUntil(_ work: @escaping () async throws -> Void) {
        guard !isOver else { return }
        waitUntilCount += 1
        if isClosed { openWaitUntilIfNeeded() }
        let work = Confined(work)  // Runs on the loop's thread, where it was made.
        waitUntilTasks.append(
            Task(executorPreference: self) {
                do { try await work.value() } catch { self.waitUntilFailed(error) }
                self.waitUntilFinished()
            })
    }

    private func waitUntilFailed(_ error: any Error) {
        if waitUntilFailure == nil { waitUntilFailure = error }
        guard event != .queue, event != .scheduled, !(error is CancellationError) else { return }
        log(
            LogMessage(level: LogMessage.uncaughtLevel, text: "waitUntil() task failed: \(CallFailure(describing: error))"))
    }

    private func waitUntilFinished() {
        waitUntilCount -= 1
        guard waitUntilCount == 0 else { return }
        waitUntilTasks = []
        if let waiter = waitUntilWaiter {
            waitUntilWaiter = nil
            waiter.wake()
        }
        if !isRunning, socket == nil { end() }
    }

    private func waitUntilIdle() async {
        while waitUntilCount > 0 {
            await Waiter.suspend(countedBy: nil) { waitUntilWaiter = $0 }
        }
    }

    /// The node learns that work goes on before it learns that the answer is complete.
    private func openWaitUntilIfNeeded() {
        guard event == .fetch || event == .rpc || event == .object, waitUntilCount > 0, waitUntilStream == nil else { return }
        let opened = WaitUntilStream(self, channel: channel, stream: channel.takeStream())
        waitUntilStream = opened
        channel.streams.insert(opened.stream, opened)
        channel.appendCall(
            .waitUntil, stream: opened.stream, binding: CallPrefix.noBinding, parent: stream,
            flags: .lazyBody, [])
    }

    /// The node's 30 seconds are over.
    func cancelWaitUntil() {
        waitUntilStream = nil
        guard waitUntilCount > 0 else { return }
        Log(self).warn(WorkersError.waitUntilCancelled)
        for task in waitUntilTasks { task.cancel() }
    }

    // MARK: Calls

    func perform(_ call: BindingCall) async throws -> BindingReply {
        try await outputGate?.pass()
        let reply = try await begin(call).reply()
        return BindingReply(
            message: reply.message, body: reply.body.map { ByteStream(source: $0, length: nil) })
    }

    /// - Parameter object: Stands in front of the request to a durable object.
    func subrequest(
        _ request: Request, redirect: RedirectMode?, binding: UInt16, object: [UInt8]? = nil
    ) async throws -> Response {
        if let body = request.body, body.isUsed { throw WorkersError.bodyUsed }
        let goesOut = binding == CallPrefix.noBinding
        if goesOut, let flaw = request.cache.contradiction { throw CallFailure(flaw, name: "TypeError") }
        let message = request.encodedForSubrequest(
            redirect: redirect ?? request.redirect, options: goesOut ? request.cache : nil)
        let asksForWebSocket = request.asksForWebSocket
        try await outputGate?.pass()
        let call = try begin(
            BindingCall(
                object == nil ? .subrequest : .objectRequest, binding: binding, message: (object ?? []) + message,
                body: request.body), staysOpen: asksForWebSocket)
        let reply = try await call.reply()
        let head = try FetchReplyHead(reply.message)
        if asksForWebSocket {
            if head.status == 101, reply.body != nil {
                call.incoming = nil
                return Response(head.headers, WebSocket(SocketEnd(call, for: self)))
            }
            // What was kept open for the WebSocket.
            channel.appendEnd(stream: call.stream)
        }
        var response = Response(
            unchecked: head.status, head.headers,
            reply.body.map { .stream(ByteStream(source: $0, length: head.bodyLength)) } ?? .none)
        if head.isEncoded { response.encoding = .manual }
        return response
    }

    /// The node counts as well; this saves the way for those who are beyond the limit.
    private func countCall(_ kind: CallKind) throws {
        let subrequestsMax = Int(isolate.configuration.subrequestsMax)
        if kind.isForStore {
            guard storeCallCount < CallKind.storeCallsMax(subrequestsMax: subrequestsMax) else {
                throw WorkersError.tooManySubrequests
            }
            storeCallCount += 1
        } else {
            guard callCount < subrequestsMax else { throw WorkersError.tooManySubrequests }
            callCount += 1
        }
    }

    /// - Parameter staysOpen: More may be sent on the call once it was answered.
    private func begin(_ call: BindingCall, staysOpen: Bool = false) throws -> OutgoingCall {
        precondition(loop.isOnThread, "handler code runs on the isolate's thread")
        guard event != .startup else { throw WorkersError.globalScope }
        if let failure = scope?.failure { throw failure }
        guard !isOver else { throw WorkersError.otherEvent }
        try Task.checkCancellation()
        guard call.message.count <= WireLimits.openPayloadBytesMax - CallPrefix.byteCount else {
            throw CallFailure("call of \(call.message.count) bytes is larger than the node takes at once")
        }
        try countCall(call.kind)
        let outgoing = OutgoingCall(channel: channel, stream: channel.takeStream())
        outgoing.outputGate = outputGate
        channel.streams.insert(outgoing.stream, outgoing)
        if let body = call.body?.unreadSource as? IncomingBody, body.channel === channel, !body.isReply, canPassOn(body) {
            // The request's body goes to where the call leads without a detour through this process.
            channel.appendCall(
                call.kind, stream: outgoing.stream, binding: call.binding, parent: stream,
                flags: [.lazyBody, .requestBody, .end], call.message)
            call.body?.markPassedOn()
            body.splice()
            return outgoing
        }
        let inMemory = call.body.map { $0.isUsed ? [] : $0.bytesInMemory } ?? []
        let isWhole = inMemory.map { $0.isEmpty } ?? false
        channel.appendCall(
            call.kind, stream: outgoing.stream, binding: call.binding, parent: stream,
            flags: isWhole && !staysOpen ? [.lazyBody, .end] : .lazyBody, call.message)
        guard !isWhole, let body = call.body else { return outgoing }
        if let bytes = inMemory, bytes.count <= WireLimits.dataPayloadBytesMax {
            body.cancel()
            outgoing.sendCredit -= bytes.count
            channel.appendData(bytes[...], stream: outgoing.stream, end: true)
        } else {
            outgoing.startUpload(body, for: self)
        }
        return outgoing
    }

    /// The task sleeps on the loop's timers, because its executor is a `SchedulingExecutor`.
    func sleep(for duration: Duration) async throws {
        guard event != .startup else { throw WorkersError.globalScope }
        try await Task.sleep(for: duration)
    }

    // MARK: Log

    func log(_ message: LogMessage) {
        guard loop.isOnThread else { return loop.onLoop { self.log(message) } }
        guard logByteCount < Self.logBytesMax else { return }
        logByteCount += message.text.utf8.count + 32
        for field in message.fields { logByteCount += field.name.utf8.count + field.value.utf8.count + 8 }
        // A node that doesn't read gets no more lines either: they are the first thing to go.
        guard logByteCount < Self.logBytesMax, channel.output.readableByteCount < 8 * Channel.outputBytesMax
        else {
            logByteCount = Self.logBytesMax
            return send(
                LogMessage(
                    level: Log.Level.warn.rawValue, text: "log truncated: more than 256 KiB in one event"))
        }
        send(message)
    }

    private func send(_ message: LogMessage) {
        var encoder = WireEncoder(capacity: 64 + message.text.utf8.count)
        message.encode(into: &encoder)
        channel.appendCall(
            .log, stream: channel.takeStream(), binding: CallPrefix.noBinding, parent: stream,
            flags: [.end, .lazyBody], encoder.bytes)
    }
}
