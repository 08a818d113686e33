internal import LMDB

/// What stands before each stored value: 15 bytes, little-endian, then the metadata's text, then the value.
///
///     u8 form (1) · i64 expiration (0: none) · u32 place in the expiry index · u16 metadata length
struct RecordHeader {
    static let byteCount = 15
    private static let form: UInt8 = 1

    var expiry: ExpiryEntry?
    var metadataByteCount: Int

    /// Where the value begins.
    var valueOffset: Int { Self.byteCount + metadataByteCount }

    init(expiry: ExpiryEntry?, metadataByteCount: Int) {
        self.expiry = expiry
        self.metadataByteCount = metadataByteCount
    }

    /// `nil`: not written by this store.
    @inline(__always)
    init?(_ record: RawSpan) {
        // SAFETY: any bit pattern is an integer; the span checks the offsets.
        guard record.byteCount >= Self.byteCount,
            unsafe record.unsafeLoad(fromByteOffset: 0, as: UInt8.self) == Self.form
        else { return nil }
        let expiration = Int64(
            littleEndian: unsafe record.unsafeLoadUnaligned(fromByteOffset: 1, as: Int64.self))
        let place = UInt32(
            littleEndian: unsafe record.unsafeLoadUnaligned(fromByteOffset: 9, as: UInt32.self))
        metadataByteCount = Int(
            UInt16(littleEndian: unsafe record.unsafeLoadUnaligned(fromByteOffset: 13, as: UInt16.self)))
        expiry = expiration == 0 ? nil : ExpiryEntry(second: expiration, place: place)
        guard valueOffset <= record.byteCount else { return nil }
    }

    func encoded(metadata: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(valueOffset)
        bytes.append(Self.form)
        bytes.append(littleEndian: expiry?.second ?? 0)
        bytes.append(littleEndian: expiry?.place ?? 0)
        bytes.append(littleEndian: UInt16(metadata.count))
        bytes += metadata
        return bytes
    }

    func isLive(at now: Int64) -> Bool { expiry.map { $0.second > now } ?? true }
}

/// An entry's place in the expiry index.
struct ExpiryEntry: Equatable {
    /// The second, since 1970, at which the record is gone.
    var second: Int64
    /// Tells records of the same second apart.
    var place: UInt32
}
