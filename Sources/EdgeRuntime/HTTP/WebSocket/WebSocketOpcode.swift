/// What a frame of a WebSocket carries (RFC 6455 §5.2). Other numbers are reserved, and refused.
package enum WebSocketOpcode: UInt8, Sendable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    var isControl: Bool { rawValue >= 8 }
}

/// The limits that the protocol itself sets.
package enum WebSocketLimits {
    /// Of a control frame's payload (RFC 6455 §5.5).
    package static let controlPayloadBytesMax = 125
    /// Of the text in a Close frame: what two bytes of code leave.
    package static let closeReasonBytesMax = 123
    /// Of a frame's header.
    package static let headerBytesMax = 14
}
