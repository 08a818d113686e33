/// What other workers of the release call by `env.service("NAME").call(…)`; see also `WorkerEntrypointFetchHandler`. A worker that has any names them in
/// `EntrypointWorker.entrypoints`; a service binding chooses one of them by its `entrypoint`, the worker's default one otherwise.
///
/// An instance is made for each call.
public protocol WorkerEntrypoint: RPCTarget {
    /// The name by which bindings choose it; empty: the default one.
    static var entrypointName: String { get }

    init(context: EntrypointContext, env: Env) throws
}

extension WorkerEntrypoint {
    public static var entrypointName: String { "" }
}

/// An entrypoint that answers requests, beside its typed calls or without any: a binding that names it reaches it by `fetch`. Requests
/// over a binding that names none are the worker's own.
public protocol WorkerEntrypointFetchHandler: WorkerEntrypoint {
    /// As `FetchHandler.fetch`.
    func fetch(_ request: Request) async throws -> Response
}

extension WorkerEntrypointFetchHandler {
    public static var methods: [RPCHandler<Self>] { [] }
}

/// A worker with entrypoints.
public protocol EntrypointWorker: Worker {
    static var entrypoints: [any WorkerEntrypoint.Type] { get }
}

/// What an entrypoint knows of its call.
public struct EntrypointContext: Sendable {
    /// Work that outlives the answer, log and time.
    public let execution: ExecutionContext
    /// The `props` of the caller's binding, as JSON: who calls, as the configuration says it. Empty when it says nothing.
    public let props: String
}
