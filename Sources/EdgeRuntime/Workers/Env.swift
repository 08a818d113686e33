internal import FoundationEssentials

/// What the configuration grants to the worker: bindings, variables and secrets, by name.
///
/// An `Env` belongs to its event: the bindings it hands out act in the name of that event, count against its
/// limits and stop working when it is over.
///
/// That of a durable object belongs to the object, and acts in the name of whichever event of it runs.
public struct Env: Sendable {
    let scope: EventScope

    init(_ invocation: Invocation) { scope = .event(invocation) }
    init(_ object: ObjectScope) { scope = .object(object) }

    /// In whose name a call is made now.
    var invocation: Invocation { scope.invocation }
    private var transport: any BindingTransport & DataPointTransport { scope.transport }

    /// - Throws: `BindingError` when no KV namespace is bound under `name`.
    public func kv(_ name: String) throws -> KVNamespace {
        KVNamespace(transport: transport, binding: try binding(name, .kv))
    }

    /// - Throws: `BindingError` when no D1 database is bound under `name`.
    public func d1(_ name: String) throws -> D1Database {
        D1Database(transport: transport, binding: try binding(name, .d1))
    }

    /// - Throws: `BindingError` when no R2 bucket is bound under `name`.
    public func r2(_ name: String) throws -> R2Bucket {
        R2Bucket(transport: transport, binding: try binding(name, .r2))
    }

    /// - Throws: `BindingError` when no queue is bound under `name`.
    public func queue(_ name: String) throws -> Queue {
        Queue(transport: transport, binding: try binding(name, .queue))
    }

    /// - Throws: `BindingError` when no rate limit is bound under `name`.
    public func rateLimit(_ name: String) throws -> RateLimit {
        RateLimit(transport: transport, binding: try binding(name, .rateLimit))
    }

    /// - Throws: `BindingError` when no analytics dataset is bound under `name`.
    public func analytics(_ name: String) throws -> AnalyticsDataset {
        AnalyticsDataset(transport: transport, binding: try binding(name, .analytics))
    }

    /// Which version of the worker this is. There is no call behind it, so `init` may ask too.
    ///
    /// - Throws: `BindingError` when no version metadata is bound under `name`.
    public func versionMetadata(_ name: String) throws -> VersionMetadata {
        _ = try invocation.isolate.binding(name, .versionMetadata)
        return VersionMetadata(invocation.isolate.configuration)
    }

    /// - Throws: `BindingError` when no service is bound under `name`.
    public func service(_ name: String) throws -> ServiceBinding {
        ServiceBinding(scope: scope, binding: try binding(name, .service))
    }

    /// The worker's own files.
    ///
    /// - Throws: `BindingError` when no assets are bound under `name`.
    public func assets(_ name: String) throws -> AssetsBinding {
        AssetsBinding(scope: scope, binding: try binding(name, .assets))
    }

    /// A variable's text; `nil` when there is none of this name. A variable that is not text comes as JSON.
    public func variable(_ name: String) -> String? {
        switch invocation.isolate.variables[name] {
        case .text(let text), .json(let text): text
        case nil: nil
        }
    }

    /// A variable's value; `nil` when there is none of this name.
    ///
    /// - Throws: `DecodingError` when the variable is something else.
    public func variable<Value: Decodable>(_ name: String, as type: Value.Type) throws -> Value? {
        switch invocation.isolate.variables[name] {
        case .text(let text):
            if let text = text as? Value { return text }
            return try JSONDecoder().decode(type, from: Data(text.utf8))
        case .json(let text): return try JSONDecoder().decode(type, from: Data(text.utf8))
        case nil: return nil
        }
    }

    /// `nil` when the worker has no secret of this name.
    public func secret(_ name: String) -> Secret? { invocation.isolate.secrets[name].map { Secret($0) } }

    func binding(_ name: String, _ kind: BindingKind, allowedAtStart: Bool = false) throws -> UInt16 {
        guard allowedAtStart || invocation.event != .startup else { throw WorkersError.globalScope }
        return try invocation.isolate.binding(name, kind)
    }
}
