internal import Interfaces

typealias BindingKind = IsolateConfiguration.BindingKind

/// What `configure` told the isolate, laid out for look-ups. Immutable.
final class IsolateContext: Sendable {
    let configuration: IsolateConfiguration
    let variables: [String: IsolateConfiguration.Variable]
    let secrets: [String: String]
    private let bindings: [String: UInt16]

    init(_ configuration: IsolateConfiguration) {
        self.configuration = configuration
        variables = Dictionary(configuration.variables.map { ($0.name, $0.value) }) { first, _ in first }
        secrets = Dictionary(configuration.secrets.map { ($0.name, $0.value) }) { first, _ in first }
        bindings = Dictionary(
            configuration.bindings.enumerated().map { ($1.name, UInt16(truncatingIfNeeded: $0)) }
        ) { first, _ in first }
    }

    /// The number that the wire knows a binding by.
    func binding(_ name: String, _ kind: BindingKind) throws(BindingError) -> UInt16 {
        guard let index = bindings[name], configuration.bindings[Int(index)].kind == kind else {
            throw BindingError(
                kind: kind.text, name: name,
                bound: configuration.bindings.map { "\"\($0.name)\" (\($0.kind.text))" })
        }
        return index
    }
}

extension IsolateConfiguration.BindingKind {
    var text: String {
        switch self {
        case .kv: "KV namespace"
        case .d1: "D1 database"
        case .r2: "R2 bucket"
        case .queue: "queue"
        case .service: "service"
        case .rateLimit: "rate limit"
        case .versionMetadata: "version metadata"
        case .analytics: "analytics dataset"
        case .assets: "assets"
        case .durableObject: "durable object namespace"
        }
    }
}
