/// The code of one worker. The isolate makes one instance and hands it every event:
///
/// ```swift
/// @main final class Hello: FetchHandler {
///     init(env: Env) throws {}
///     func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
///         .text("hello")
///     }
/// }
/// ```
///
/// A worker needs no locks and need not be `Sendable`: all handler code of an isolate runs on one thread. Events
/// interleave only where handler code awaits. More parallelism is more isolates, which share nothing.
public protocol Worker {
    /// Runs once, before the first event, within one second. Variables and secrets can be read here; bindings
    /// can't be used yet.
    init(env: Env) throws
}

/// A worker that answers HTTP requests.
public protocol FetchHandler: Worker {
    /// Answers one request.
    ///
    /// The task is cancelled when the client goes away. What must go on then belongs under
    /// `context.waitUntil`.
    ///
    /// - Throws: anything; the client gets error 1101, the log name and text of the error.
    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response
}

/// A worker that is called by the clock.
public protocol ScheduledHandler: Worker {
    func scheduled(_ event: ScheduledEvent, env: Env, context: ExecutionContext) async throws
}

/// A worker that consumes a queue.
public protocol QueueHandler: Worker {
    /// Handles one batch. When it returns, every message that was not marked otherwise is acknowledged; when it
    /// throws, each one that was not acknowledged is delivered again.
    func queue(_ batch: MessageBatch, env: Env, context: ExecutionContext) async throws
}

extension Worker {
    /// The isolate's entry point, for `@main`. Does not return.
    public static func main() { IsolateMain.run(Self.self) }

    /// As above, for a worker that has durable objects.
    package static func main(objects: any ObjectHosting) -> Never { IsolateMain.run(Self.self, objects: objects) }
}
