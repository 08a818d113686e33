/// A word that a command takes by its place, as `--help` shows it.
struct Operand: Sendable {
    enum Count: Sendable {
        case one, optional
        /// All that remain; stands last.
        case any
    }
    let name: String
    let count: Count
    let completion: Completion

    static func one(_ name: String, _ completion: Completion = .nothing) -> Operand {
        Operand(name: name, count: .one, completion: completion)
    }
    static func optional(_ name: String, _ completion: Completion = .nothing) -> Operand {
        Operand(name: name, count: .optional, completion: completion)
    }
    static func any(_ name: String, _ completion: Completion = .nothing) -> Operand {
        Operand(name: name, count: .any, completion: completion)
    }

    var usage: String {
        switch count {
        case .one: name
        case .optional: "[\(name)]"
        case .any: "[\(name)...]"
        }
    }
}

/// What a shell can offer in a place of the command line.
enum Completion: Sendable {
    case nothing
    case files
    case directories
    case choices([String])
    /// Files in `environments/`.
    case environments
    // Names that the running node is asked for.
    case tenants, workers, namespaces, databases, buckets, queues
}
