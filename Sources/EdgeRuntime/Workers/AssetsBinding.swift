internal import Interfaces

/// The worker's own static files, as the release has them.
public struct AssetsBinding: Sendable {
    let scope: EventScope
    let binding: UInt16

    /// Answers `request` as the node would without the worker: with a file, a redirect to one, or what the configuration
    /// gives for what isn't there. The host in its URL matters only to rules of `_headers` that name one.
    ///
    /// The body comes as the file has it, never compressed, and is transferred only when it is read; returned as the
    /// handler's own response it goes to the client without passing through this isolate.
    ///
    /// - Throws: `CallFailure` when the file can't be read; `CancellationError`.
    public func fetch(_ request: Request) async throws -> Response {
        try await scope.invocation.subrequest(request, redirect: .manual, binding: binding)
    }

    /// Answers a GET for a path such as `/index.html`.
    public func fetch(path: String) async throws -> Response {
        try await fetch(try Request("http://assets.local" + (path.hasPrefix("/") ? path : "/" + path)))
    }
}
