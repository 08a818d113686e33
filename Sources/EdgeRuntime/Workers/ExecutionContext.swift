internal import Interfaces
internal import System

/// An event's hold on its isolate: work that outlives the response, requests to the outside, log and time.
public struct ExecutionContext: Sendable {
    private let scope: EventScope
    var invocation: Invocation { scope.invocation }

    init(_ invocation: Invocation) { scope = .event(invocation) }
    init(_ object: ObjectScope) { scope = .object(object) }

    /// Lets `work` go on after the response was sent or the client has left, for up to 30 seconds that all such work
    /// of the event shares; then it is cancelled. In scheduled and queue events the event ends when it has ended.
    ///
    /// It runs on the isolate's thread and starts at the next `await`. An error it throws is logged and doesn't
    /// touch the response.
    public func waitUntil(_ work: @escaping () async throws -> Void) { invocation.waitUntil(work) }

    /// When the handler throws before it has answered, the request goes on to the worker's `origin` (see
    /// docs/configuration.md) and the client gets what that answers. Not a request with a body, which is the worker's by then,
    /// and not an event that broke a limit: those get the error page, as does all when there is no origin.
    public func passThroughOnException() { invocation.passesThroughOnException = true }

    /// Sends a request to the outside, through the node.
    ///
    /// - Parameter redirect: Whether the node follows redirects, 20 at most; `nil` takes the request's own mode.
    /// - Throws: `CallFailure` with the documented text: no connection, too many redirects, too many subrequests.
    public func fetch(_ request: Request, redirect: RedirectMode? = nil) async throws -> Response {
        try await invocation.subrequest(request, redirect: redirect, binding: CallPrefix.noBinding)
    }

    /// As above, for a GET.
    public func fetch(_ url: String) async throws -> Response { try await fetch(try Request(url)) }

    /// Suspends for `duration` on the loop's timers.
    ///
    /// - Throws: `CancellationError` when the task was cancelled.
    public func sleep(for duration: Duration) async throws { try await invocation.sleep(for: duration) }

    /// Responses that the node keeps for later requests.
    public var cache: CacheStorage { CacheStorage(invocation: invocation) }

    public var log: Log { Log(invocation) }

    /// The time, in milliseconds since 1970.
    public var now: Int64 { invocation.loop.clock.wallTime().milliseconds }

    /// Which worker this is.
    public var metadata: WorkerMetadata {
        let configuration = invocation.isolate.configuration
        return WorkerMetadata(
            tenant: configuration.tenant, worker: configuration.worker, version: configuration.version,
            environment: configuration.environment, colo: configuration.colo)
    }
}

public struct WorkerMetadata: Equatable, Sendable {
    public let tenant: String
    public let worker: String
    public let version: String
    public let environment: String
    /// Three letters: where the node stands.
    public let colo: String
}
