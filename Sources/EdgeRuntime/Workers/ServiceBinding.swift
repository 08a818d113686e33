internal import Interfaces

/// Another worker of the same release. A call never leaves the node.
public struct ServiceBinding: Sendable {
    let scope: EventScope
    let binding: UInt16

    /// Sends `request` to the worker, or to its entrypoint if the binding names one. The host in its URL is free; the worker sees it as it is.
    ///
    /// The body of the response is transferred only when it is read; returned as the handler's own response it
    /// goes to the client without passing through this isolate.
    ///
    /// - Throws: `CallFailure` when the worker failed or a limit was reached; `CancellationError`.
    public func fetch(_ request: Request) async throws -> Response {
        try await scope.invocation.subrequest(request, redirect: .manual, binding: binding)
    }

    /// Calls a method of the worker's entrypoint: the one that the binding names, or its default one.
    ///
    /// - Throws: `CallFailure`: what the method threw, marked `.remote`, with the name of the error's type; `CancellationError`, and
    ///   the method's task is cancelled then, too.
    @discardableResult
    public func call<Arguments, Result>(
        _ method: RPCMethod<Arguments, Result>, _ arguments: Arguments
    ) async throws -> Result {
        try await callStreaming(method, arguments).result
    }

    /// As above, for methods that take or give a stream of bytes.
    public func callStreaming<Arguments, Result>(
        _ method: RPCMethod<Arguments, Result>, _ arguments: Arguments, body: ByteStream? = nil
    ) async throws -> RPCReply<Result> {
        try await scope.invocation.invoke(method, arguments, body: body, .serviceInvoke, binding: binding)
    }

    @discardableResult
    public func call<Result>(_ method: RPCMethod<RPCNothing, Result>) async throws -> Result {
        try await call(method, RPCNothing())
    }
}
