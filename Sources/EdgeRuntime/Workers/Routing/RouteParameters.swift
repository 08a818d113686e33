/// What the variable parts of a pattern matched.
public struct RouteParameters: Sendable {
    private let names: [String]
    private let values: [String]

    public init() {
        names = []
        values = []
    }

    public init(names: [String], values: [String]) {
        self.names = names
        self.values = values
    }

    /// The percent-decoded text of a parameter; `*` names an unnamed tail.
    public func get(_ name: String) -> String? {
        guard let index = names.firstIndex(of: name), index < values.count else { return nil }
        return values[index]
    }

    /// - Throws: `RouteParameterError` when the parameter doesn't exist or its text isn't a `Value`.
    public func get<Value: LosslessStringConvertible>(_ name: String, as type: Value.Type) throws -> Value {
        guard let text = get(name) else { throw RouteParameterError(name: name, text: nil, type: "\(type)") }
        guard let value = Value(text) else {
            throw RouteParameterError(name: name, text: text, type: "\(type)")
        }
        return value
    }
}

public struct RouteParameterError: Error, Equatable, Sendable, CustomStringConvertible {
    public let name: String
    /// `nil` when the pattern has no such parameter.
    public let text: String?
    public let type: String

    public var description: String {
        guard let text else { return "the route has no parameter \"\(name)\"" }
        return "route parameter \"\(name)\" is \"\(text)\", which is not of type \(type)"
    }
}
