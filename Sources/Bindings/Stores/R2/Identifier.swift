internal import Interfaces
internal import System

/// What blobs, versions and uploads are called: 16 bytes, of which the first six tell the time. Later ones
/// sort behind earlier ones, so that they are appended to the index's tables.
struct Identifier: Hashable, Sendable {
    static let byteCount = 16

    let high: UInt64
    let low: UInt64

    static func make(at time: UnixTime) -> Identifier {
        var generator = SystemRandomNumberGenerator()
        let milliseconds = UInt64(max(0, time.milliseconds))
        return Identifier(
            high: milliseconds << 16 | UInt64.random(in: 0...0xFFFF, using: &generator),
            low: UInt64.random(in: 0...UInt64.max, using: &generator))
    }

    init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// `nil` unless there are exactly 16 bytes.
    init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        high = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        low = bytes.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// `nil` unless `text` is exactly as `hexadecimal` writes it.
    init?(hexadecimal text: String) {
        guard text.utf8.count == 32, let bytes = R2Hex.decode(text), let value = Identifier(bytes),
            value.hexadecimal == text
        else { return nil }
        self = value
    }

    /// In an order that sorts like the numbers.
    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.byteCount)
        for word in [high, low] {
            for shift in stride(from: 56, through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> shift))
            }
        }
        return bytes
    }

    /// When it was made, in milliseconds since 1970.
    var milliseconds: Int64 { Int64(high >> 16) }

    var hexadecimal: String { R2Hex.encode(bytes) }

    /// The directory of a blob's file: some 65 seconds of blobs share one, so that they share its sync.
    var shard: UInt8 { UInt8(truncatingIfNeeded: high >> 32) }
}
