internal import LMDB

/// What is stored about a queue, little-endian, under its name: 141 bytes. Nodes of format 1 wrote the first 53.
struct QueueRow: Equatable {
    static let byteCount = 141

    /// Stands for the queue in the keys of all other databases.
    var number: UInt32
    var settings: QueueSettings
    var nextSequence: UInt64 = 0
    var nextLease: UInt64 = 1
    var backlogCount: Int64 = 0
    var backlogBytes: Int64 = 0
    /// Sixteen random bytes; empty in a row of format 1.
    var id: [UInt8]
    /// In milliseconds since 1970.
    var createdAt: Int64
    var modifiedAt: Int64
    /// Acknowledged messages that can be put back.
    var historyCount: Int64 = 0
    var historyBytes: Int64 = 0
    /// The last purge, in milliseconds since 1970; 0 when there was none.
    var purgeStartedAt: Int64 = 0
    /// 0 while it goes on.
    var purgeEndedAt: Int64 = 0
    /// A purge that goes on removes what stands before this sequence; `nil` without one.
    var purgeEnd: UInt64?

    init(number: UInt32, settings: QueueSettings, id: [UInt8], createdAt: Int64) {
        self.number = number
        self.settings = settings
        self.id = id
        self.createdAt = createdAt
        modifiedAt = createdAt
    }

    /// What waits counts so much against quotas.
    var backlogCost: Int64 { backlogBytes + backlogCount * MessageRow.overheadByteCount }
    var historyCost: Int64 { historyBytes + historyCount * MessageRow.overheadByteCount }

    init?(_ bytes: [UInt8]) {
        guard bytes.count == 53 || bytes.count == Self.byteCount else { return nil }
        number = bytes.littleEndian(at: 0)
        settings = QueueSettings(
            deliveryDelaySeconds: bytes.littleEndian(at: 4), isPaused: bytes[12] == 1,
            retentionSeconds: bytes.littleEndian(at: 13))
        nextSequence = bytes.littleEndian(at: 21)
        nextLease = bytes.littleEndian(at: 29)
        backlogCount = bytes.littleEndian(at: 37)
        backlogBytes = bytes.littleEndian(at: 45)
        id = []
        createdAt = 0
        modifiedAt = 0
        guard bytes.count == Self.byteCount else { return }
        id = Array(bytes[53..<69])
        createdAt = bytes.littleEndian(at: 69)
        modifiedAt = bytes.littleEndian(at: 77)
        historyCount = bytes.littleEndian(at: 85)
        historyBytes = bytes.littleEndian(at: 93)
        purgeStartedAt = bytes.littleEndian(at: 101)
        purgeEndedAt = bytes.littleEndian(at: 109)
        let purgeEnd: UInt64 = bytes.littleEndian(at: 117)
        self.purgeEnd = purgeEnd == .max ? nil : purgeEnd
        let rate: Int64 = bytes.littleEndian(at: 125)
        settings.messagesPerSecondMax = rate == 0 ? nil : rate
        let backlog: Int64 = bytes.littleEndian(at: 133)
        settings.backlogBytesMax = backlog == 0 ? nil : backlog
    }

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.byteCount)
        bytes.append(littleEndian: number)
        bytes.append(littleEndian: settings.deliveryDelaySeconds)
        bytes.append(settings.isPaused ? 1 : 0)
        bytes.append(littleEndian: settings.retentionSeconds)
        bytes.append(littleEndian: nextSequence)
        bytes.append(littleEndian: nextLease)
        bytes.append(littleEndian: backlogCount)
        bytes.append(littleEndian: backlogBytes)
        bytes.append(contentsOf: id)
        bytes.append(littleEndian: createdAt)
        bytes.append(littleEndian: modifiedAt)
        bytes.append(littleEndian: historyCount)
        bytes.append(littleEndian: historyBytes)
        bytes.append(littleEndian: purgeStartedAt)
        bytes.append(littleEndian: purgeEndedAt)
        bytes.append(littleEndian: purgeEnd ?? .max)
        bytes.append(littleEndian: settings.messagesPerSecondMax ?? 0)
        bytes.append(littleEndian: settings.backlogBytesMax ?? 0)
        return bytes
    }
}

/// All queues of the tenant together: what their quotas are measured against.
struct QueueTotals: Equatable {
    var queueCount: Int64 = 0
    var backlogCost: Int64 = 0
    var historyCost: Int64 = 0

    init() {}

    init?(_ bytes: [UInt8]) {
        guard bytes.count == 24 else { return nil }
        queueCount = bytes.littleEndian(at: 0)
        backlogCost = bytes.littleEndian(at: 8)
        historyCost = bytes.littleEndian(at: 16)
    }

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: queueCount)
        bytes.append(littleEndian: backlogCost)
        bytes.append(littleEndian: historyCost)
        return bytes
    }

    mutating func replace(_ old: QueueRow?, by new: QueueRow?) {
        queueCount += (new == nil ? 0 : 1) - (old == nil ? 0 : 1)
        backlogCost += (new?.backlogCost ?? 0) - (old?.backlogCost ?? 0)
        historyCost += (new?.historyCost ?? 0) - (old?.historyCost ?? 0)
    }
}
