internal import Interfaces
internal import System
internal import Wire

/// A typed call from one worker to an entrypoint of another of the same release. It never leaves the reactor.
final class ServiceCall: EventOwner, Dispatchable, CallActivity {
    private unowned let call: CallStream
    private let parent: EventStream
    private let worker: WorkerRuntime
    private let entrypoint: String
    /// Of the `rpc` event: it has to wait when all isolates of the target are busy.
    private let message: [UInt8]
    /// Whether a body follows the message: it may have come and ended while the call waited for an isolate.
    private let hasBody: Bool
    private var target: EventStream?
    private var isOver = false

    /// - Parameter message: An `RPCMessage`, without the entrypoint, which the binding names.
    static func start(
        _ call: CallStream, of event: EventStream, _ head: CallHead, _ message: UnsafeRawBufferPointer
    ) throws(WireError) -> AnyObject? {
        guard Int(head.binding) < event.worker.bindings.count,
            let entrypoint = event.worker.bindings[Int(head.binding)].entrypoint
        else { throw .invalidValue("service binding number", offset: 2) }
        var decoder = unsafe WireDecoder(Array(message))
        var rpc = try RPCMessage(decoding: &decoder)
        rpc.entrypoint = entrypoint.name
        guard let worker = event.release.workers[entrypoint.worker] else {
            call.answer(failure: CallFailure("Service binding target \"\(entrypoint.worker)\" is not in this release."))
            return nil
        }
        guard event.invocations.count < EventStream.Invocations.max else {
            call.answer(failure: .tooDeep)
            return nil
        }
        event.invocations.count += 1
        event.worker.counted(
            event.invocations.count, of: .invocations, EventStream.Invocations.max, (head.binding, .serviceInvoke))
        var encoder = WireEncoder(capacity: message.count + 64)
        encoder.put(entrypoint.props)
        rpc.encode(into: &encoder)
        let made = ServiceCall(call, parent: event, worker, entrypoint.name, encoder.bytes)
        call.channel.reactor.dispatcher.submitNested(made, to: worker)
        return made
    }

    private init(
        _ call: CallStream, parent: EventStream, _ worker: WorkerRuntime, _ entrypoint: String, _ message: [UInt8]
    ) {
        self.call = call
        self.parent = parent
        self.worker = worker
        self.entrypoint = entrypoint
        self.message = message
        hasBody = call.hasBody
    }

    // MARK: Dispatchable

    var isAbandoned: Bool { isOver }

    func dispatch(on channel: Channel) {
        let stream = channel.open(
            .rpc, flags: hasBody ? [] : .end,
            make: {
                EventStream(
                    number: $0, channel: channel, worker: worker, release: parent.release, kind: .rpc, owner: self,
                    zone: parent.zone, invocations: parent.invocations)
            },
            { $0.append(message) })
        stream.beginAccount(for: .entrypoint(entrypoint), caller: parent, meter: parent.release.meter[worker.name]) {
            $0.append(message)
        }
        target = stream
        if hasBody {
            stream.producer = call.connectBody(to: stream, window: 0)
            stream.requestBody()
        }
    }

    func refuse(_ reason: Refusal) {
        finish(CallFailure("Worker \"\(worker.name)\" could not be reached: \(reason).", marks: .retryable))
    }

    private func finish(_ failure: CallFailure) {
        guard !isOver else { return }
        isOver = true
        call.answer(failure: failure)
    }

    // MARK: EventOwner

    func event(_ event: EventStream, answered message: UnsafeRawBufferPointer) throws(WireError) {
        guard !isOver else { return }
        isOver = true
        call.answer(body: event.isLastFrame ? nil : .stream(event)) { unsafe $0.append(message) }
    }

    func event(_ event: EventStream, threw failure: CallFailure, passThrough: Bool) { finish(failure) }

    func event(_ event: EventStream, wasReset reason: StreamReset) {
        finish(
            reason.message.isEmpty
                ? CallFailure("Network connection lost.", marks: .retryable) : CallFailure(reason.message, marks: .remote))
    }

    // MARK: CallActivity

    func callEnded(_ reason: StreamReset) {
        guard !isOver else { return }
        isOver = true
        target?.abandon(reason)
    }
}
