/// What a response's head says, as places in the bytes that were parsed.
package struct ResponseHead: ~Copyable {
    package internal(set) var minorVersion: UInt8 = 1
    /// 100...599.
    package internal(set) var status = 0
    package internal(set) var reason: ByteRange = .empty
    package internal(set) var fields = FieldSection()
    package internal(set) var contentLength: Int64?
    package internal(set) var isChunked = false
    package internal(set) var keepAlive = true

    /// How the body of a response ends (RFC 9112 §6.3).
    package enum BodyFraming: Equatable, Sendable {
        case none
        case length(Int64)
        case chunked
        case untilClose
    }

    init() {}

    /// - Parameter isAnswerToHead: such a response has no body, whatever its fields say.
    package func bodyFraming(isAnswerToHead: Bool) -> BodyFraming {
        if isAnswerToHead || status < 200 || status == 204 || status == 304 { return .none }
        if isChunked { return .chunked }
        return contentLength.map { .length($0) } ?? .untilClose
    }

    mutating func reset() {
        fields.reset(at: 0)
        contentLength = nil
        isChunked = false
        keepAlive = true
    }
}
