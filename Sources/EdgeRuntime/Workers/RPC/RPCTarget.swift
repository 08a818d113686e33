internal import Interfaces

/// Something whose methods can be called from elsewhere: an entrypoint of a worker, or a durable object.
///
/// ```swift
/// final class Counter: DurableObject, RPCTarget {
///     static var methods: [RPCHandler<Counter>] {
///         [RPCHandler(CounterMethods.add) { counter, amount in try await counter.add(amount) }]
///     }
/// }
/// ```
///
/// What a method throws reaches the caller as a `CallFailure` with the error's type as `name` and its description as `message`,
/// marked `.remote`. When the caller goes away the method's task is cancelled.
public protocol RPCTarget: AnyObject {
    /// All of them; asked for once.
    static var methods: [RPCHandler<Self>] { get }
}

/// A method and the code that answers it.
public struct RPCHandler<Target> {
    let name: String
    let answer: (Target, RPCArguments) async throws -> RPCResult

    public init<Arguments, Result>(
        _ method: RPCMethod<Arguments, Result>, _ body: @escaping (Target, Arguments) async throws -> Result
    ) {
        name = method.name
        answer = { target, call in
            let result = try await body(target, try call.decoded(as: Arguments.self))
            return RPCResult(bytes: try BinaryValueEncoder.encode(result), body: nil)
        }
    }

    /// For methods with a stream of bytes on one side or on both.
    public init<Arguments, Result>(
        streaming method: RPCMethod<Arguments, Result>,
        _ body: @escaping (Target, Arguments, RPCCall) async throws -> RPCReply<Result>
    ) {
        name = method.name
        answer = { target, call in
            let reply = try await body(target, try call.decoded(as: Arguments.self), RPCCall(body: call.body))
            return RPCResult(bytes: try BinaryValueEncoder.encode(reply.result), body: reply.body)
        }
    }
}

/// A call as it came.
struct RPCArguments {
    let bytes: [UInt8]
    let body: ByteStream?

    func decoded<Arguments: Decodable>(as type: Arguments.Type) throws -> Arguments {
        try BinaryValueDecoder.decode(type, from: bytes)
    }
}

/// An answer as it goes.
struct RPCResult {
    let bytes: [UInt8]
    let body: ByteStream?
}

/// The methods of one target by name, whose type is known no more.
package struct RPCTable {
    private let answers: [String: (RPCArguments) async throws -> RPCResult]

    package init<Target: RPCTarget>(_ target: Target) {
        answers = Dictionary(
            Target.methods.map { handler in
                (handler.name, { call in try await handler.answer(target, call) })
            }
        ) { first, _ in first }
    }

    /// A target without methods.
    package init() { answers = [:] }

    func answer(_ method: String, _ call: RPCArguments) async throws -> RPCResult {
        guard let answer = answers[method] else { throw WorkersError.noMethod(method) }
        return try await answer(call)
    }
}
