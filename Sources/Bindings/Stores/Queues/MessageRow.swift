internal import Interfaces
internal import LMDB

/// What is stored about a message beside its body: 70 bytes, little-endian. Nodes of format 1 wrote the first 65.
struct MessageRow: Equatable {
    /// A worker's lease has no end: it is settled, or the node ends.
    static let noEnd = Int64.max
    /// What a message counts beside its body, against quotas and the history's limit.
    static let overheadByteCount: Int64 = 100

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
    /// The last lease it was in; 0 once that was settled. A lease that lapsed can still be settled until the
    /// next one.
    var lease: UInt64 = 0
    var source: QueueMessageSource
    /// CRC-32C of the body; `nil` in rows of format 1.
    var checksum: UInt32?

    init(
        id: [UInt8], timestamp: Int64, arrival: Int64, contentType: QueueContentType, bodyByteCount: UInt32,
        readyAt: Int64, source: QueueMessageSource, checksum: UInt32?
    ) {
        self.id = id
        self.timestamp = timestamp
        self.arrival = arrival
        self.contentType = contentType
        self.bodyByteCount = bodyByteCount
        self.readyAt = readyAt
        self.source = source
        self.checksum = checksum
    }

    init?(_ bytes: [UInt8]) {
        guard bytes.count == 65 || bytes.count == 70, let contentType = QueueContentType(rawValue: bytes[32])
        else { return nil }
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
        source = .worker
        guard bytes.count == 70 else { return }
        guard let source = QueueMessageSource(rawValue: bytes[65] & 0x7F) else { return nil }
        self.source = source
        if bytes[65] & Self.checksumFlag != 0 { checksum = bytes.littleEndian(at: 66) }
    }

    private static let checksumFlag: UInt8 = 0x80

    var bytes: [UInt8] {
        var bytes = id
        bytes.reserveCapacity(70)
        bytes.append(littleEndian: timestamp)
        bytes.append(littleEndian: arrival)
        bytes.append(contentType.rawValue)
        bytes.append(littleEndian: attempts)
        bytes.append(littleEndian: bodyByteCount)
        bytes.append(littleEndian: readyAt)
        bytes.append(littleEndian: leasedUntil ?? 0)
        bytes.append(littleEndian: lease)
        bytes.append(source.rawValue | (checksum == nil ? 0 : Self.checksumFlag))
        bytes.append(littleEndian: checksum ?? 0)
        return bytes
    }

    /// 32 lowercase hex digits.
    var idText: String { Hex.text(id) }

    func isExpired(at now: Int64, _ settings: QueueSettings) -> Bool {
        arrival &+ settings.retentionSeconds &* 1000 <= now
    }

    /// What is wrong with the body that is stored beside it; `nil` when nothing is.
    func fault(of body: [UInt8]?) -> String? {
        guard let body else { return "has no body" }
        guard body.count == Int(bodyByteCount) else {
            return "has \(body.count) of \(bodyByteCount) bytes of its body"
        }
        if let checksum, Checksum.crc32c(body) != checksum { return "has a body that isn't the one that was sent" }
        return nil
    }
}

/// Lower-case hexadecimal digits, as in ids.
enum Hex {
    private static let digits = Array("0123456789abcdef".utf8)

    static func text(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    /// `nil` unless `text` is made of pairs of them.
    static func bytes(_ text: String) -> [UInt8]? {
        let utf8 = Array(text.utf8)
        guard utf8.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(utf8.count / 2)
        for index in stride(from: 0, to: utf8.count, by: 2) {
            guard let high = value(utf8[index]), let low = value(utf8[index + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x61...0x66: digit - 0x61 + 10
        default: nil
        }
    }
}
