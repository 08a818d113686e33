internal import LMDB

/// What is stored about a queue: 53 bytes, little-endian, under its name.
struct QueueRow: Equatable {
    /// Stands for the queue in the keys of all other databases.
    var number: UInt32
    var settings: QueueSettings
    var nextSequence: UInt64 = 0
    var nextLease: UInt64 = 1
    var backlogCount: Int64 = 0
    var backlogBytes: Int64 = 0

    init(number: UInt32, settings: QueueSettings) {
        self.number = number
        self.settings = settings
    }

    init?(_ bytes: [UInt8]) {
        guard bytes.count == 53 else { return nil }
        number = bytes.littleEndian(at: 0)
        settings = QueueSettings(
            deliveryDelaySeconds: bytes.littleEndian(at: 4), isPaused: bytes[12] == 1,
            retentionSeconds: bytes.littleEndian(at: 13))
        nextSequence = bytes.littleEndian(at: 21)
        nextLease = bytes.littleEndian(at: 29)
        backlogCount = bytes.littleEndian(at: 37)
        backlogBytes = bytes.littleEndian(at: 45)
    }

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(53)
        bytes.append(littleEndian: number)
        bytes.append(littleEndian: settings.deliveryDelaySeconds)
        bytes.append(settings.isPaused ? 1 : 0)
        bytes.append(littleEndian: settings.retentionSeconds)
        bytes.append(littleEndian: nextSequence)
        bytes.append(littleEndian: nextLease)
        bytes.append(littleEndian: backlogCount)
        bytes.append(littleEndian: backlogBytes)
        return bytes
    }
}
