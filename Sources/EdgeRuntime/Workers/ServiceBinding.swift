internal import Interfaces

/// Another worker of the same release. A call never leaves the node.
public struct ServiceBinding: Sendable {
    let invocation: Invocation
    let binding: UInt16

    /// Sends `request` to the worker. The host in its URL is free; the worker sees it as it is.
    ///
    /// The body of the response is transferred only when it is read; returned as the handler's own response it
    /// goes to the client without passing through this isolate.
    ///
    /// - Throws: `CallFailure` when the worker failed or a limit was reached; `CancellationError`.
    public func fetch(_ request: Request) async throws -> Response {
        try await invocation.subrequest(request, redirect: .manual, binding: binding)
    }
}
