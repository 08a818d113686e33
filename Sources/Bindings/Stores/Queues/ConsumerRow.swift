internal import Interfaces
internal import System
internal import LMDB
internal import Wire

/// How a consumer is stored.
extension QueueConsumerRecord {
    private static let version: UInt8 = 1

    var stored: [UInt8] {
        var encoder = WireEncoder()
        encoder.put(Self.version)
        encoder.put(id)
        encoder.put(createdAt.milliseconds)
        encoder.put(origin.rawValue)
        switch kind {
        case .worker(let script): encoder.put(script as String?)
        case .pull: encoder.put(nil as String?)
        }
        encoder.put(Int64(settings.batchSizeMax))
        encoder.put(settings.batchTimeout.wholeMilliseconds)
        encoder.put(Int64(settings.retriesMax))
        encoder.put(settings.retryDelaySeconds)
        encoder.put(settings.deadLetterQueue)
        encoder.put(settings.concurrencyMax.map(Int64.init))
        encoder.put(settings.visibilityTimeout.wholeMilliseconds)
        return encoder.bytes
    }

    init?(stored bytes: [UInt8]) {
        var decoder = WireDecoder(bytes)
        do throws(WireError) {
            guard try decoder.takeUInt8() == Self.version else { return nil }
            let id = try decoder.takeString()
            let createdAt = UnixTime(milliseconds: try decoder.takeInt64())
            guard let origin = Origin(rawValue: try decoder.takeUInt8()) else { return nil }
            let script = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeString() }
            var settings = QueueConsumerSettings()
            settings.batchSizeMax = Int(try decoder.takeInt64())
            settings.batchTimeout = .milliseconds(try decoder.takeInt64())
            settings.retriesMax = Int(try decoder.takeInt64())
            settings.retryDelaySeconds = try decoder.takeInt64()
            settings.deadLetterQueue = try decoder.takeOptional { decoder throws(WireError) in
                try decoder.takeString()
            }
            settings.concurrencyMax = try decoder.takeOptional { decoder throws(WireError) in
                Int(try decoder.takeInt64())
            }
            settings.visibilityTimeout = .milliseconds(try decoder.takeInt64())
            try decoder.finish()
            self.init(
                id: id, createdAt: createdAt, origin: origin, kind: script.map { .worker(script: $0) } ?? .pull,
                settings: settings)
        } catch { return nil }
    }
}

/// Sixteen bytes that name a message, a queue or a consumer.
enum RandomID {
    static func make() -> [UInt8] {
        var id: [UInt8] = []
        id.append(littleEndian: UInt64.random(in: 0 ... .max))
        id.append(littleEndian: UInt64.random(in: 0 ... .max))
        return id
    }
}
