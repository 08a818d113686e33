/// A method that a service or a durable object has: its name and the types of what goes in and comes out. Declared once, in code
/// that both sides share:
///
/// ```swift
/// enum Auth {
///     static let verify = RPCMethod<Token, Session>("verify")
/// }
/// ```
///
/// What goes in and what comes out is at most 32 MiB, encoded; beside it either side may send a stream of bytes.
public struct RPCMethod<Arguments: Codable & Sendable, Result: Codable & Sendable>: Sendable {
    /// As the other side knows it; 1...256 bytes.
    public let name: String

    public init(_ name: String) { self.name = name }
}

/// What a method takes or gives that has nothing to say.
public struct RPCNothing: Codable, Sendable, Equatable {
    public init() {}
}

/// The caller's side of a call that is being answered, beyond its arguments.
public struct RPCCall: Sendable {
    /// The caller's stream of bytes; `nil` when it sends none.
    public let body: ByteStream?
}

/// A result with a stream of bytes beside it.
public struct RPCReply<Result: Codable & Sendable>: Sendable {
    public var result: Result
    /// Sent as fast as the other side reads it.
    public var body: ByteStream?

    public init(_ result: Result, body: ByteStream? = nil) {
        self.result = result
        self.body = body
    }
}
