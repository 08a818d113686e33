/// A state of a database in time: `0000008b-00000005-00004d2e-<32 hex>`. Bookmarks are ordered, and their
/// texts in the same way.
package struct HistoryBookmark: Sendable, Equatable, Comparable, CustomStringConvertible {
    /// Raised by each restore, so that time goes on even when the content goes back.
    package var generation: UInt32
    /// Raised before each checkpoint: which piece of the write-ahead log.
    package var segment: UInt32
    /// Frames in the log after the commit.
    package var frame: UInt32
    /// Salt and running checksum of the commit's last frame
    /// (https://www.sqlite.org/fileformat2.html#walformat), 16 bytes; they tell two states apart that share a
    /// place, which only a restored copy of the files can make.
    package var digest: [UInt8]

    package static let zeroDigest = [UInt8](repeating: 0, count: 16)
    package static let lastDigest = [UInt8](repeating: 0xFF, count: 16)

    /// The newest state of a generation: also one that is still to come.
    package static func end(ofGeneration number: UInt32) -> HistoryBookmark {
        HistoryBookmark(generation: number, segment: .max, frame: .max, digest: lastDigest)
    }

    package init(generation: UInt32, segment: UInt32, frame: UInt32, digest: [UInt8] = zeroDigest) {
        self.generation = generation
        self.segment = segment
        self.frame = frame
        self.digest = digest
    }

    package init?(_ text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0].count == 8, parts[1].count == 8, parts[2].count == 8,
            parts[3].count == 32
        else { return nil }
        var numbers: [UInt8] = []
        for part in parts {
            var half: UInt8?
            for byte in part {
                guard let digit = Self.value(of: byte) else { return nil }
                if let high = half {
                    numbers.append(high << 4 | digit)
                    half = nil
                } else {
                    half = digit
                }
            }
        }
        func number(_ offset: Int) -> UInt32 {
            numbers[offset..<(offset + 4)].reduce(0) { $0 << 8 | UInt32($1) }
        }
        self.init(
            generation: number(0), segment: number(4), frame: number(8), digest: Array(numbers[12...]))
    }

    package var description: String {
        var text: [UInt8] = []
        text.reserveCapacity(59)
        for number in [generation, segment, frame] {
            for shift in stride(from: 28, through: 0, by: -4) {
                text.append(Self.digits[Int(number >> UInt32(shift) & 15)])
            }
            text.append(UInt8(ascii: "-"))
        }
        for byte in digest {
            text.append(Self.digits[Int(byte >> 4)])
            text.append(Self.digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    package static func < (left: HistoryBookmark, right: HistoryBookmark) -> Bool {
        if !left.isSamePlace(as: right) {
            return (left.generation, left.segment, left.frame) < (
                right.generation, right.segment, right.frame
            )
        }
        return left.digest.lexicographicallyPrecedes(right.digest)
    }

    /// Whether both are the same place in the log, whatever their digests.
    package func isSamePlace(as other: HistoryBookmark) -> Bool {
        (generation, segment, frame) == (other.generation, other.segment, other.frame)
    }

    private static let digits = Array("0123456789abcdef".utf8)

    private static func value(of digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}
