internal import LMDB
internal import Zlib

/// What stands before each stored value: 23 bytes, little-endian, then the metadata's text, then the value.
///
///     u8 form (2) · i64 expiration (0: none) · u32 place in the expiry index · u16 metadata length · u32 value length
///     · u32 CRC-32 of metadata and value
///
/// Records of form 1, which format `kv 1` wrote, end behind the metadata's length: 15 bytes. They are read for ever.
/// Lengths are checked at each read, the checksum by `verify`.
struct RecordHeader {
    static let byteCount = 23
    private static let form1ByteCount = 15

    var expiry: ExpiryEntry?
    var metadataByteCount: Int
    /// `nil`: of form 1, or not yet known.
    var checksum: UInt32?
    /// Where the metadata begins.
    private(set) var metadataOffset = Self.byteCount

    /// Where the value begins.
    var valueOffset: Int { metadataOffset + metadataByteCount }

    init(expiry: ExpiryEntry?, metadataByteCount: Int, checksum: UInt32) {
        self.expiry = expiry
        self.metadataByteCount = metadataByteCount
        self.checksum = checksum
    }

    /// `nil`: not written by this store, or not all of it.
    @inline(__always)
    init?(_ record: RawSpan) {
        // SAFETY: any bit pattern is an integer; the span checks the offsets.
        guard record.byteCount >= Self.form1ByteCount else { return nil }
        let expiration = Int64(
            littleEndian: unsafe record.unsafeLoadUnaligned(fromByteOffset: 1, as: Int64.self))
        let place = UInt32(
            littleEndian: unsafe record.unsafeLoadUnaligned(fromByteOffset: 9, as: UInt32.self))
        metadataByteCount = Int(
            UInt16(littleEndian: unsafe record.unsafeLoadUnaligned(fromByteOffset: 13, as: UInt16.self)))
        expiry = expiration == 0 ? nil : ExpiryEntry(second: expiration, place: place)
        switch unsafe record.unsafeLoad(fromByteOffset: 0, as: UInt8.self) {
        case 2:
            guard record.byteCount >= Self.byteCount else { return nil }
            let valueByteCount = UInt32(
                littleEndian: unsafe record.unsafeLoadUnaligned(fromByteOffset: 15, as: UInt32.self))
            checksum = UInt32(
                littleEndian: unsafe record.unsafeLoadUnaligned(fromByteOffset: 19, as: UInt32.self))
            guard valueOffset + Int(valueByteCount) == record.byteCount else { return nil }
        case 1:
            metadataOffset = Self.form1ByteCount
            guard valueOffset <= record.byteCount else { return nil }
        default: return nil
        }
    }

    func encoded(metadata: [UInt8], valueByteCount: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(valueOffset)
        bytes.append(2)
        bytes.append(littleEndian: expiry?.second ?? 0)
        bytes.append(littleEndian: expiry?.place ?? 0)
        bytes.append(littleEndian: UInt16(metadata.count))
        bytes.append(littleEndian: UInt32(valueByteCount))
        bytes.append(littleEndian: checksum ?? 0)
        bytes += metadata
        return bytes
    }

    func isLive(at now: Int64) -> Bool { expiry.map { $0.second > now } ?? true }

    /// Whether metadata and value are those that were written; of a record of form 1 nobody knows.
    func isIntact(_ record: RawSpan) -> Bool {
        guard let checksum else { return true }
        var found = CRC32()
        found.update(record.extracting(metadataOffset..<record.byteCount))
        return found.value == checksum
    }

    static func checksum(metadata: [UInt8], value: ArraySlice<UInt8>) -> UInt32 {
        var checksum = CRC32()
        // SAFETY: spans of the two that are read during the calls.
        unsafe checksum.update(metadata.span.bytes)
        unsafe checksum.update(value.span.bytes)
        return checksum.value
    }
}

/// An entry's place in the expiry index.
struct ExpiryEntry: Equatable {
    /// The second, since 1970, at which the record is gone.
    var second: Int64
    /// Tells records of the same second apart.
    var place: UInt32
}
