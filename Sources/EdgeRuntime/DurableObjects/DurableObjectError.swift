/// What goes wrong with an object, as its callers see it (spec: durable-objects, section 7).
public struct DurableObjectError: Error, Equatable, Sendable, CustomStringConvertible {
    public let message: String
    /// Thrown by the object's own code, or made for it on the other side of the call.
    public var isRemote = false
    /// The call may be made again, with a new stub, if it is idempotent and `isOverloaded` is false.
    public var isRetryable = false
    /// There was too much to do: calling again makes it worse.
    public var isOverloaded = false
    /// The object lost its memory; the next call makes it anew.
    public var isObjectReset = false

    public init(
        _ message: String, isRemote: Bool = false, isRetryable: Bool = false, isOverloaded: Bool = false,
        isObjectReset: Bool = false
    ) {
        self.message = message
        self.isRemote = isRemote
        self.isRetryable = isRetryable
        self.isOverloaded = isOverloaded
        self.isObjectReset = isObjectReset
    }

    public var description: String { message }
}
