internal import Interfaces
public import Workers

/// The way to one object.
///
/// Calls made on one stub come to the object in the order in which they were made. When the object, or the way to it, is lost, the
/// stub is of no use any more: that call and all later ones fail with the same `CallFailure`, and a new stub has to be
/// made. A call may be made again if its failure is marked `.retryable` and not `.overloaded`.
public final class DurableObjectStub: @unchecked Sendable {  // Owner: the isolate's thread.
    public let id: DurableObjectID
    public var name: String? { id.name }

    private let caller: ObjectCaller
    private var failure: CallFailure?

    init(_ id: DurableObjectID, _ caller: ObjectCaller) {
        self.id = id
        self.caller = caller
    }

    /// Sends a request to the object's `fetch`. The host in its URL is free.
    ///
    /// - Throws: `CallFailure`: what the object threw, marked `.remote`, or why it can't answer; `CancellationError`.
    public func fetch(_ request: Request) async throws -> Response {
        try await attempt { try await caller.fetch(reference, request) }
    }

    /// As above, for a GET.
    public func fetch(_ url: String) async throws -> Response { try await fetch(try Request(url)) }

    /// Calls a method of the object.
    @discardableResult
    public func call<Arguments, Result>(
        _ method: RPCMethod<Arguments, Result>, _ arguments: Arguments
    ) async throws -> Result {
        try await callStreaming(method, arguments).result
    }

    @discardableResult
    public func call<Result>(_ method: RPCMethod<RPCNothing, Result>) async throws -> Result {
        try await call(method, RPCNothing())
    }

    /// As above, for methods that take or give a stream of bytes.
    public func callStreaming<Arguments, Result>(
        _ method: RPCMethod<Arguments, Result>, _ arguments: Arguments, body: ByteStream? = nil
    ) async throws -> RPCReply<Result> {
        try await attempt { try await caller.invoke(reference, method, arguments, body: body) }
    }

    private var reference: ObjectReference { ObjectReference(id: id.bytes, name: id.name) }

    private func attempt<Result>(_ body: () async throws -> Result) async throws -> Result {
        if let failure { throw failure }
        do { return try await body() } catch let error as CallFailure {
            if error.marks.contains(.stubBroken) { failure = failure ?? error }
            throw error
        }
    }
}

extension CallFailure {
    /// Thrown by the code on the other side.
    public var isRemote: Bool { marks.contains(.remote) }
    /// The call may be made again, with a new stub, if it is idempotent and `isOverloaded` is false.
    public var isRetryable: Bool { marks.contains(.retryable) }
    /// There was too much to do: calling again makes it worse.
    public var isOverloaded: Bool { marks.contains(.overloaded) }
    /// The object lost its memory; the next call makes it anew.
    public var isObjectReset: Bool { marks.contains(.objectReset) }
}
