package import Wire

/// A rate limit: `env.rateLimit("PER_USER")`.
///
/// A window of the configured period slides over the calls of each key; what was allowed within it counts, what was
/// refused doesn't. The counters belong to the node: all isolates and all workers that name the same namespace share them.
/// They live in memory and start anew with the node; several nodes count each for itself.
public struct RateLimit: Sendable {
    private let transport: any BindingTransport
    private let binding: UInt16

    package init(transport: any BindingTransport, binding: UInt16) {
        self.transport = transport
        self.binding = binding
    }

    /// Counts a call of `key`, if the limit allows one more.
    ///
    /// - Parameter key: At most 512 bytes of UTF-8, compared as bytes: whom or what to limit.
    /// - Throws: `CallFailure`: `invalid key: …`. A call over the limit doesn't throw.
    public func limit(key: String) async throws -> RateLimitOutcome {
        try RateLimitMessage.check(key)
        let reply = try await transport.perform(
            BindingCall(.rateLimit, binding: binding, message: RateLimitMessage(key: key).encoded()))
        var decoder = WireDecoder(reply.message)
        return try RateLimitOutcome(decoding: &decoder)
    }
}

/// What a rate limit says to one call. Everything but `success` goes beyond the product, for `RateLimit-…` headers.
public struct RateLimitOutcome: Equatable, Sendable {
    /// Whether the call was within the limit, and so has been counted.
    public var success: Bool
    /// Calls per period.
    public var limit: Int
    /// Calls that would be allowed now.
    public var remaining: Int
    /// The time after which a call would be allowed if none comes in between; zero when one is allowed now.
    public var retryAfter: Duration
    /// The time after which the whole limit is free again if no call comes in between.
    public var reset: Duration

    public init(success: Bool, limit: Int, remaining: Int, retryAfter: Duration, reset: Duration) {
        self.success = success
        self.limit = limit
        self.remaining = remaining
        self.retryAfter = retryAfter
        self.reset = reset
    }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 40)
        encoder.put(success)
        encoder.put(Int64(limit))
        encoder.put(Int64(remaining))
        encoder.put(Self.nanoseconds(retryAfter))
        encoder.put(Self.nanoseconds(reset))
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        success = try decoder.takeBool()
        limit = Int(clamping: try decoder.takeInt64())
        remaining = Int(clamping: try decoder.takeInt64())
        retryAfter = .nanoseconds(try decoder.takeInt64())
        reset = .nanoseconds(try decoder.takeInt64())
        try decoder.finish()
    }

    /// Both are at most a period long.
    private static func nanoseconds(_ duration: Duration) -> Int64 {
        duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000
    }
}

/// The message of `rateLimit`. The reply is a `RateLimitOutcome`.
package struct RateLimitMessage: Equatable, Sendable {
    package var key: String

    /// Keys are kept in the node's memory.
    package static let keyBytesMax = 512

    package init(key: String) { self.key = key }

    package static func check(_ key: String) throws(CallFailure) {
        guard key.utf8.count <= keyBytesMax else {
            throw CallFailure("invalid key: it has \(key.utf8.count) bytes, at most \(keyBytesMax) are allowed")
        }
    }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: key.utf8.count + 4)
        encoder.put(key)
        return encoder.bytes
    }

    package init(decoding bytes: [UInt8]) throws(WireError) {
        var decoder = WireDecoder(bytes)
        key = try decoder.takeString()
        try decoder.finish()
    }
}
