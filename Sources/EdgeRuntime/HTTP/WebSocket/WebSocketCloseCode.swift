/// Why a WebSocket ends (RFC 6455 §7.4, and IANA's registry).
package struct WebSocketCloseCode: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let normal = WebSocketCloseCode(rawValue: 1000)
    package static let goingAway = WebSocketCloseCode(rawValue: 1001)
    package static let protocolError = WebSocketCloseCode(rawValue: 1002)
    package static let unsupportedData = WebSocketCloseCode(rawValue: 1003)
    /// Stands for a Close frame without a code; never in a frame.
    package static let noCode = WebSocketCloseCode(rawValue: 1005)
    /// Stands for an end without a Close frame; never in a frame.
    package static let abnormal = WebSocketCloseCode(rawValue: 1006)
    package static let invalidPayload = WebSocketCloseCode(rawValue: 1007)
    package static let policyViolation = WebSocketCloseCode(rawValue: 1008)
    package static let messageTooBig = WebSocketCloseCode(rawValue: 1009)
    package static let internalError = WebSocketCloseCode(rawValue: 1011)
    package static let serviceRestart = WebSocketCloseCode(rawValue: 1012)

    /// Whether a Close frame may have it. 1004, 1005, 1006 and 1015 are reserved; what the registry doesn't name below 3000 is
    /// nobody's to use.
    package var isAllowedInFrames: Bool {
        switch rawValue {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}

/// The peer broke a rule of the protocol, or a limit: the connection fails, with this code (RFC 6455 §7.1.7).
package struct WebSocketFailure: Error, Equatable, Sendable, CustomStringConvertible {
    package let code: WebSocketCloseCode
    /// At most 123 bytes.
    package let reason: String

    package init(_ code: WebSocketCloseCode, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    package var description: String { "\(code.rawValue) \(reason)" }

    static func protocolError(_ reason: String) -> WebSocketFailure { WebSocketFailure(.protocolError, reason) }
    static let invalidText = WebSocketFailure(.invalidPayload, "text is not UTF-8")

    /// In the product's words.
    static func tooLarge(_ byteCount: UInt64, max: Int) -> WebSocketFailure {
        WebSocketFailure(.messageTooBig, "Message is too large: \(byteCount) > \(max)")
    }
}
