/// A name in `env` that the configuration does not bind, or binds to something else.
public struct BindingError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was asked for, e.g. `KV namespace`.
    public let kind: String
    public let name: String
    /// The bindings that exist, each with its kind.
    public let bound: [String]

    public var description: String {
        let list = bound.isEmpty ? "nothing is bound" : "bound are: " + bound.joined(separator: ", ")
        return "no \(kind) is bound as \"\(name)\"; \(list)"
    }
}
