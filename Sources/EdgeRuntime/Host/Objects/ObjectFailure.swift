internal import Interfaces

/// What callers of objects are told by the node (spec: durable-objects, section 7).
enum ObjectFailure {
    static let lost = CallFailure("Network connection lost.", marks: [.retryable, .stubBroken])
    static let invalidID = CallFailure("Durable Object ID is not valid for this namespace.")

    static func refusal(_ refusal: ObjectRegistry.Refusal, _ space: ObjectSpace) -> CallFailure {
        func overloaded(_ reason: String) -> CallFailure {
            CallFailure("Durable Object is overloaded. \(reason)", marks: .overloaded)
        }
        return switch refusal {
        case .notServed: CallFailure("No version that is in service has this Durable Object's class.", marks: .stubBroken)
        case .noIsolate:
            CallFailure("The Durable Object can't be started: the worker's isolates end as they start.", marks: .retryable)
        case .tooMany: overloaded("Too many requests queued.")
        case .tooMuch: overloaded("Too much data queued.")
        case .tooLong: overloaded("Requests queued for too long.")
        case .tooOften: overloaded("Too many requests for the same object within a 10 second window.")
        }
    }

    /// What the early end of an event's stream means to its caller.
    static func reset(_ reason: StreamReset) -> CallFailure {
        switch reason.code {
        case .exceededCPU:
            CallFailure(
                "Durable Object exceeded its CPU time limit and was reset.", marks: [.remote, .objectReset, .stubBroken])
        case .exceededMemory:
            CallFailure(
                "Durable Object's isolate exceeded its memory limit and was reset.",
                marks: [.remote, .objectReset, .stubBroken])
        case .hung, .exception:
            CallFailure(
                reason.message.isEmpty ? "The Durable Object's code will never answer." : reason.message, marks: .remote)
        case .cancelled, .overloaded, .internal: lost
        }
    }
}
