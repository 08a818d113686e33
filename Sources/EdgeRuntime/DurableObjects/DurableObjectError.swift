package import Interfaces
internal import Workers

/// What goes wrong with an object's storage, its ids and its sockets, in the words that its callers get too (spec: durable-objects,
/// section 7).
public struct DurableObjectError: Error, Equatable, Sendable, CustomStringConvertible {
    public let message: String
    /// There was too much to do.
    public var isOverloaded = false
    /// The object lost its memory; the next call makes it anew.
    public var isObjectReset = false

    public init(_ message: String, isOverloaded: Bool = false, isObjectReset: Bool = false) {
        self.message = message
        self.isOverloaded = isOverloaded
        self.isObjectReset = isObjectReset
    }

    public var description: String { message }

    package var callFailure: CallFailure {
        var marks: CallFailure.Marks = isObjectReset ? [.objectReset, .stubBroken] : []
        if isOverloaded { marks.insert(.overloaded) }
        return CallFailure(message, marks: marks)
    }
}

extension DurableObjectError: CallFailureConvertible {}
