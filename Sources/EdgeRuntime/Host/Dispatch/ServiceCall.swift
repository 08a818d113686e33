internal import Interfaces
internal import System
internal import Wire

/// A typed call of another worker's entrypoint.
final class ServiceCall: WorkerCall {
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
            answerMissing(call, entrypoint.worker)
            return nil
        }
        guard countInvocation(call, of: event, .serviceInvoke) else { return nil }
        var encoder = WireEncoder(capacity: message.count + 64)
        encoder.put(entrypoint.props)
        rpc.encode(into: &encoder)
        let made = ServiceCall(
            call, parent: event, to: RouteTarget(release: event.release, worker: worker), .rpc, entrypoint: entrypoint.name,
            encoder.bytes)
        made.submit()
        return made
    }

    override func answered(_ event: EventStream, _ message: UnsafeRawBufferPointer) {
        call.answer(body: event.isLastFrame ? nil : .stream(event)) { unsafe $0.append(message) }
    }
}
