internal import Interfaces

/// In whose name code acts: an event, or an object, of which it is the event whose code runs.
enum EventScope: Sendable {
    case event(Invocation)
    case object(ObjectScope)

    var invocation: Invocation {
        switch self {
        case .event(let invocation): invocation
        case .object(let object): object.running
        }
    }

    var transport: any BindingTransport & DataPointTransport {
        switch self {
        case .event(let invocation): invocation
        case .object(let object): object
        }
    }
}

/// What an object keeps of its bindings acts through the event that runs when it is used.
extension ObjectScope: BindingTransport, DataPointTransport {
    package func perform(_ call: BindingCall) async throws -> BindingReply { try await running.perform(call) }
    package func onItsThread(_ body: @escaping @Sendable () -> Void) { loop.onLoop(body) }
    package func countDataPoint() -> Int { running.countDataPoint() }
    package func post(_ call: BindingCall) -> Bool { running.post(call) }
    package func warn(_ text: String) { running.warn(text) }
}
