internal import Interfaces
internal import LMDB

/// What is stored about a message beside its body: 65 bytes, little-endian.
struct MessageRow: Equatable {
    /// A worker's lease has no end: it is settled, or the node ends.
    static let noEnd = Int64.max

    /// Sixteen random bytes.
    var id: [UInt8]
    /// When it was sent, in milliseconds since 1970; a dead letter keeps it.
    var timestamp: Int64
    /// When it came to this queue: its retention counts from here.
    var arrival: Int64
    var contentType: QueueContentType
    /// Deliveries so far.
    var attempts: UInt32 = 0
    var bodyByteCount: UInt32
    /// In milliseconds since 1970. While it is leased: when it was ready before.
    var readyAt: Int64
    /// `nil`: it is ready, or will be.
    var leasedUntil: Int64?
    /// The last lease it was in; 0 once that was settled. A lease that lapsed can still be settled until the next one.
    var lease: UInt64 = 0

    init(
        id: [UInt8], timestamp: Int64, arrival: Int64, contentType: QueueContentType, bodyByteCount: UInt32,
        readyAt: Int64
    ) {
        self.id = id
        self.timestamp = timestamp
        self.arrival = arrival
        self.contentType = contentType
        self.bodyByteCount = bodyByteCount
        self.readyAt = readyAt
    }

    init?(_ bytes: [UInt8]) {
        guard bytes.count == 65, let contentType = QueueContentType(rawValue: bytes[32]) else { return nil }
        id = Array(bytes[0..<16])
        timestamp = bytes.littleEndian(at: 16)
        arrival = bytes.littleEndian(at: 24)
        self.contentType = contentType
        attempts = bytes.littleEndian(at: 33)
        bodyByteCount = bytes.littleEndian(at: 37)
        readyAt = bytes.littleEndian(at: 41)
        let leasedUntil: Int64 = bytes.littleEndian(at: 49)
        self.leasedUntil = leasedUntil == 0 ? nil : leasedUntil
        lease = bytes.littleEndian(at: 57)
    }

    var bytes: [UInt8] {
        var bytes = id
        bytes.reserveCapacity(65)
        bytes.append(littleEndian: timestamp)
        bytes.append(littleEndian: arrival)
        bytes.append(contentType.rawValue)
        bytes.append(littleEndian: attempts)
        bytes.append(littleEndian: bodyByteCount)
        bytes.append(littleEndian: readyAt)
        bytes.append(littleEndian: leasedUntil ?? 0)
        bytes.append(littleEndian: lease)
        return bytes
    }

    /// 32 lowercase hex digits.
    var idText: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: id.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    func isExpired(at now: Int64, _ settings: QueueSettings) -> Bool {
        arrival &+ settings.retentionSeconds &* 1000 <= now
    }
}
