/// What other workers of the release call by `env.service("NAME").call(…)`. A worker that has any names them in
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

/// A worker with entrypoints for typed calls.
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
