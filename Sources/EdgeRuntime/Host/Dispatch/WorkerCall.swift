internal import Interfaces
internal import System
internal import Wire

/// A call from one worker to another of the same release, a request or a typed one. It never leaves the reactor.
class WorkerCall: EventOwner, Dispatchable, CallActivity {
    final unowned let call: CallStream
    final let parent: EventStream
    private let release: ReleaseRuntime
    private let worker: WorkerRuntime
    private let kind: CallKind
    private let entrypoint: String?
    /// Of the event: it has to wait when all isolates of the target are busy.
    private let message: [UInt8]
    /// Whether a body follows the message: it may have come and ended while the call waited for an isolate.
    private let hasBody: Bool
    private var target: EventStream?
    private var isOver = false

    /// Counts one more worker behind the request that all this answers; answers `call` when they are too many.
    static func countInvocation(_ call: CallStream, of event: EventStream, _ kind: CallKind) -> Bool {
        guard event.invocations.count < EventStream.Invocations.max else {
            call.answer(failure: .tooDeep)
            return false
        }
        event.invocations.count += 1
        event.worker.counted(event.invocations.count, of: .invocations, EventStream.Invocations.max, (call.binding, kind))
        return true
    }

    static func answerMissing(_ call: CallStream, _ worker: String) {
        call.answer(failure: CallFailure("Service binding target \"\(worker)\" is not in this release."))
    }

    /// - Parameter entrypoint: `nil`: it is for the worker's own handlers.
    init(
        _ call: CallStream, parent: EventStream, to target: RouteTarget, _ kind: CallKind, entrypoint: String?,
        _ message: [UInt8]
    ) {
        self.call = call
        self.parent = parent
        release = target.release
        worker = target.worker
        self.kind = kind
        self.entrypoint = entrypoint
        self.message = message
        hasBody = call.hasBody
    }

    final func submit() { call.channel.reactor.dispatcher.submitNested(self, to: worker) }

    /// Passes the answer on.
    func answered(_ event: EventStream, _ message: UnsafeRawBufferPointer) throws(WireError) {}

    // MARK: Dispatchable

    final var isAbandoned: Bool { isOver }

    final func dispatch(on channel: Channel) {
        let stream = channel.open(
            kind, flags: hasBody ? [] : .end,
            make: {
                EventStream(
                    number: $0, channel: channel, worker: worker, release: release, kind: kind, owner: self,
                    zone: parent.zone, invocations: parent.invocations)
            },
            { $0.append(message) })
        stream.beginAccount(
            for: entrypoint.map { .entrypoint($0) } ?? .worker, caller: parent, meter: release.meter[worker.name]
        ) { $0.append(message) }
        target = stream
        if hasBody {
            stream.producer = call.connectBody(to: stream, window: 0)
            stream.requestBody()
        }
    }

    final func refuse(_ reason: Refusal) {
        finish(CallFailure("Worker \"\(worker.name)\" could not be reached: \(reason).", marks: .retryable))
    }

    private func finish(_ failure: CallFailure) {
        guard !isOver else { return }
        isOver = true
        call.answer(failure: failure)
    }

    // MARK: EventOwner

    final func event(_ event: EventStream, answered message: UnsafeRawBufferPointer) throws(WireError) {
        guard !isOver else { return }
        // First: the call ends with its answer, and must not take that for its caller's leaving.
        isOver = true
        do throws(WireError) { try unsafe answered(event, message) } catch {
            isOver = false
            throw error
        }
    }

    final func event(_ event: EventStream, threw failure: CallFailure, passThrough: Bool) { finish(failure) }

    final func event(_ event: EventStream, wasReset reason: StreamReset) {
        finish(
            reason.message.isEmpty
                ? CallFailure("Network connection lost.", marks: .retryable) : CallFailure(reason.message, marks: .remote))
    }

    // MARK: CallActivity

    final func callEnded(_ reason: StreamReset) {
        guard !isOver else { return }
        isOver = true
        target?.abandon(reason)
    }
}
