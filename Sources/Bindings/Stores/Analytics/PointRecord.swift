internal import Interfaces

/// One point as a segment has it.
struct PointRecord {
    static let headByteCount = 8
    /// At least a time and three counts; more than any point within the limits takes.
    static let payloadBytes = 11...(32 << 10)

    /// Appends a record.
    static func append(_ point: AnalyticsPoint, milliseconds: Int64, to bytes: inout [UInt8]) {
        let start = bytes.count
        put(UInt64(0), 8, to: &bytes)
        put(UInt64(bitPattern: milliseconds), 8, to: &bytes)
        bytes.append(UInt8(point.indexes.count))
        for index in point.indexes {
            bytes.append(UInt8(index.utf8.count))
            bytes += index.utf8
        }
        bytes.append(UInt8(point.blobs.count))
        for blob in point.blobs {
            put(UInt64(blob?.utf8.count ?? 0), 2, to: &bytes)
            if let blob { bytes += blob.utf8 }
        }
        bytes.append(UInt8(point.doubles.count))
        for double in point.doubles { put(double.bitPattern, 8, to: &bytes) }
        let payload = start + headByteCount
        patch(UInt32(bytes.count - payload), at: start, in: &bytes)
        patch(Checksum.crc32(bytes[payload...]), at: start + 4, in: &bytes)
    }

    private static func put(_ value: UInt64, _ byteCount: Int, to bytes: inout [UInt8]) {
        for index in 0..<byteCount { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * UInt64(index)))) }
    }

    private static func patch(_ value: UInt32, at offset: Int, in bytes: inout [UInt8]) {
        for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index))) }
    }

    let milliseconds: Int64
    let index: Range<Int>
    let blobs: [Range<Int>]
    let doubles: [Double]

    /// Finds the parts of a payload; texts stay where they are.
    ///
    /// - Returns: `nil` when the bytes are no point, which their checksum should have told before.
    init?(_ bytes: [UInt8], _ payload: Range<Int>) {
        var offset = payload.lowerBound
        func number(_ byteCount: Int) -> UInt64? {
            guard offset + byteCount <= payload.upperBound else { return nil }
            defer { offset += byteCount }
            return (0..<byteCount).reduce(UInt64(0)) { $0 | UInt64(bytes[offset + $1]) << (8 * UInt64($1)) }
        }
        func text(_ lengthBytes: Int) -> Range<Int>? {
            guard let length = number(lengthBytes).map({ Int($0) }), offset + length <= payload.upperBound else { return nil }
            defer { offset += length }
            return offset..<(offset + length)
        }
        guard let time = number(8), let indexCount = number(1) else { return nil }
        milliseconds = Int64(bitPattern: time)
        var index = 0..<0
        for _ in 0..<indexCount {
            guard let found = text(1) else { return nil }
            index = found
        }
        self.index = index
        guard let blobCount = number(1) else { return nil }
        var blobs: [Range<Int>] = []
        for _ in 0..<blobCount {
            guard let blob = text(2) else { return nil }
            blobs.append(blob)
        }
        self.blobs = blobs
        guard let doubleCount = number(1) else { return nil }
        var doubles: [Double] = []
        for _ in 0..<doubleCount {
            guard let bits = number(8) else { return nil }
            doubles.append(Double(bitPattern: bits))
        }
        self.doubles = doubles
        guard offset == payload.upperBound else { return nil }
    }
}

/// CRC-32 as in ISO-HDLC (zlib, PNG).
enum Checksum {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
    }

    static func crc32(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        ~bytes.reduce(~UInt32(0)) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] }
    }
}
