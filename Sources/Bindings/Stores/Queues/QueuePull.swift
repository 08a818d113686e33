internal import FoundationEssentials
package import Interfaces
internal import LMDB
package import System

/// The answer to a pull.
package struct QueuePull: Equatable, Sendable {
    package var messages: [QueuePulledMessage]
    /// After the pull: what was pulled counts until it is acknowledged.
    package var metrics: QueueMetrics
}

package struct QueuePulledMessage: Equatable, Sendable {
    /// 32 lowercase hex digits.
    package var id: String
    /// Text as it is, everything else as Base64 (spec: queues, section 4).
    package var body: String
    package var contentType: QueueContentType
    package var source: QueueMessageSource
    /// Deliveries, this one included.
    package var attempts: UInt32
    /// When it was sent.
    package var timestamp: UnixTime
    /// Opaque; one per delivery.
    package var leaseID: String
}

package struct QueuePeekedMessage: Equatable, Sendable {
    package var id: String
    /// As in a pull.
    package var body: String
    package var contentType: QueueContentType
    package var source: QueueMessageSource
    /// Deliveries so far.
    package var attempts: UInt32
    package var timestamp: UnixTime
    /// Opaque; names the message to `purge`.
    package var reference: String
}

package struct QueuePullRetry: Equatable, Sendable {
    package var leaseID: String
    /// 0...86,400; `nil`: the consumer's.
    package var delaySeconds: Int64?

    package init(leaseID: String, delaySeconds: Int64? = nil) {
        self.leaseID = leaseID
        self.delaySeconds = delaySeconds
    }
}

package struct QueuePullSettlement: Equatable, Sendable {
    package var acknowledgedCount = 0
    /// Those among them that had their last attempt are dead letters now, or gone.
    package var retriedCount = 0
    /// Text by lease.
    package var warnings: [String: String] = [:]
}

/// What a lease id or a reference says: which message, as which delivery. Part of the message's own random id makes
/// sure that none speaks of a message of another queue, or of one that came later.
struct MessageTicket: Equatable {
    var sequence: UInt64
    /// 0 in a reference.
    var lease: UInt64
    var proof: UInt64

    init(_ sequence: UInt64, lease: UInt64, _ message: MessageRow) {
        self.sequence = sequence
        self.lease = lease
        proof = Self.proof(message.id)
    }

    /// - Parameter messageID: In hexadecimal digits.
    init(_ sequence: UInt64, lease: UInt64, messageID: String) {
        self.sequence = sequence
        self.lease = lease
        proof = Hex.bytes(messageID).map(Self.proof) ?? 0
    }

    init?(_ text: String) {
        guard text.utf8.count == 48, let bytes = Hex.bytes(text) else { return nil }
        proof = bytes.littleEndian(at: 0)
        sequence = bytes.littleEndian(at: 8)
        lease = bytes.littleEndian(at: 16)
    }

    var text: String {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: proof)
        bytes.append(littleEndian: sequence)
        bytes.append(littleEndian: lease)
        return Hex.text(bytes)
    }

    func names(_ message: MessageRow) -> Bool { proof == Self.proof(message.id) }

    private static func proof(_ id: [UInt8]) -> UInt64 { id.littleEndian(at: 0) }
}

extension QueueContentType {
    /// How a client that pulls gets a body.
    func pullEncoding(of body: [UInt8]) -> String {
        switch self {
        case .text: String(decoding: body, as: UTF8.self)
        case .json, .bytes: Data(body).base64EncodedString()
        }
    }
}
