internal import Wire

/// Writes the reply to a `d1Query` call as its rows come: no value exists twice on the way from the page to
/// the wire.
///
///     u8 form          0: this is it; a reply too large for one frame is the single byte 1 and a body with
///     the rest u8 work          1 results, 2 exec
///     results: u32 count, then each:
///         u16 columns, each u32 length + UTF-8
///         u32 rows, each value: u8 tag, then its bytes (`Tag`)
///         f64 duration, i64 changes, i64 lastRowID, u8 changedDB, i64 sizeAfter, i64 rowsRead, i64
///         rowsWritten
///     exec: u32 count, f64 duration
///     u32 length + UTF-8 bookmark, empty outside of sessions;   u32 length + UTF-8 region
@safe package struct D1ReplyWriter: Sendable {
    /// What a value is. Integers and lengths are as short as they can be.
    package enum Tag: UInt8 {
        case null = 0
        case integer8, integer16, integer32, integer64
        case real
        case shortText, text
        case shortBlob, blob
    }

    package private(set) var bytes: [UInt8] = []
    private var resultCount: UInt32 = 0
    private var rowCount: UInt32 = 0
    private var rowCountOffset = 0
    private static let resultCountOffset = 2

    /// Starts a reply of results.
    package init() {
        bytes.reserveCapacity(256)
        bytes.append(0)
        bytes.append(1)
        put(UInt32(0))
    }

    /// A whole reply to `exec`.
    package init(execCount: Int, duration: Double) {
        bytes = [0, 2]
        put(UInt32(truncatingIfNeeded: execCount))
        put(duration.bitPattern)
    }

    package var byteCount: Int { bytes.count }

    /// Columns as `beginResult` wants them, encoded once for a statement that runs often.
    package static func encodeColumns(_ names: [String]) -> [UInt8] {
        var writer = D1ReplyWriter(execCount: 0, duration: 0)
        writer.bytes = []
        writer.put(UInt16(truncatingIfNeeded: names.count))
        for name in names { writer.put(text: name) }
        return writer.bytes
    }

    package mutating func beginResult(columns: [UInt8]) {
        resultCount += 1
        rowCount = 0
        bytes.append(contentsOf: columns)
        rowCountOffset = bytes.count
        put(UInt32(0))
    }

    @inline(__always)
    package mutating func putNull() { bytes.append(Tag.null.rawValue) }

    @inline(__always)
    package mutating func put(integer value: Int64) {
        if let value = Int8(exactly: value) {
            bytes.append(Tag.integer8.rawValue)
            bytes.append(UInt8(bitPattern: value))
        } else if let value = Int16(exactly: value) {
            bytes.append(Tag.integer16.rawValue)
            put(UInt16(bitPattern: value))
        } else if let value = Int32(exactly: value) {
            bytes.append(Tag.integer32.rawValue)
            put(UInt32(bitPattern: value))
        } else {
            bytes.append(Tag.integer64.rawValue)
            put(UInt64(bitPattern: value))
        }
    }

    @inline(__always)
    package mutating func put(real value: Double) {
        guard value.isFinite else { return putNull() }
        bytes.append(Tag.real.rawValue)
        put(value.bitPattern)
    }

    // SAFETY: the caller lends bytes for the length of the call; they are copied.
    @inline(__always)
    package mutating func put(text: UnsafeRawBufferPointer) {
        unsafe put(text, short: .shortText, long: .text)
    }

    @inline(__always)
    package mutating func put(blob: UnsafeRawBufferPointer) {
        unsafe put(blob, short: .shortBlob, long: .blob)
    }

    package mutating func endRow() { rowCount &+= 1 }

    package mutating func endResult(_ meta: D1Meta) {
        patch(rowCount, at: rowCountOffset)
        put(meta.duration.bitPattern)
        put(UInt64(bitPattern: meta.changes))
        put(UInt64(bitPattern: meta.lastRowID))
        bytes.append(meta.changedDB ? 1 : 0)
        put(UInt64(bitPattern: meta.sizeAfter))
        put(UInt64(bitPattern: meta.rowsRead))
        put(UInt64(bitPattern: meta.rowsWritten))
    }

    /// Ends the reply. The bookmark is known only once the transaction is durable.
    package mutating func finish(bookmark: String?, region: String) {
        if bytes[1] == 1 { patch(resultCount, at: Self.resultCountOffset) }
        put(text: bookmark ?? "")
        put(text: region)
    }

    @inline(__always)
    private mutating func put(_ value: UnsafeRawBufferPointer, short: Tag, long: Tag) {
        let count = value.count
        if count < 256 {
            bytes.append(short.rawValue)
            bytes.append(UInt8(truncatingIfNeeded: count))
        } else {
            bytes.append(long.rawValue)
            put(UInt32(truncatingIfNeeded: count))
        }
        unsafe bytes.append(contentsOf: value)
    }

    private mutating func put(text: String) {
        put(UInt32(truncatingIfNeeded: text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    @inline(__always)
    private mutating func put(_ value: some FixedWidthInteger & UnsignedInteger) {
        // SAFETY: lends the bytes of an integer on this frame.
        unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    private mutating func patch(_ value: UInt32, at offset: Int) {
        for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index))) }
    }
}
