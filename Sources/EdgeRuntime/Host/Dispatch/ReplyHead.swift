internal import Interfaces
internal import Wire

/// The fixed part of the answer to a `fetch`: see `Interfaces/Isolate/FetchLayout.swift`.
struct ReplyHead {
    static let byteCount = 17

    let status: Int
    let hasBody: Bool
    /// The handler has done what its `Content-Encoding` says, or wants the body left as it is.
    let isEncoded: Bool
    /// An object keeps the WebSocket beyond its own life: a `HibernationMessage` stands behind the headers.
    let hibernates: Bool
    /// `nil`: not known before the body ends.
    let bodyLength: Int?
    /// A call stream of the same channel whose body is this answer's; 0: none.
    let spliceStream: UInt32
    let headerCount: Int

    init(reading bytes: RawSpan) throws(WireError) {
        guard bytes.byteCount >= Self.byteCount else { throw .truncated(offset: bytes.byteCount) }
        status = Int(bytes.littleEndianUInt16(at: 0))
        guard (200...599).contains(status) || status == 101 else { throw .invalidValue("HTTP status", offset: 0) }
        hasBody = bytes.byte(at: 2) & 1 != 0
        isEncoded = bytes.byte(at: 2) & 2 != 0
        hibernates = bytes.byte(at: 2) & 4 != 0
        let length = Int64(bitPattern: bytes.littleEndianUInt64(at: 3))
        bodyLength = length >= 0 ? Int(length) : nil
        spliceStream = bytes.littleEndianUInt32(at: 11)
        headerCount = Int(bytes.littleEndianUInt16(at: 15))
    }

    /// Whether the answer is a WebSocket of the event's own, which its stream carries.
    static func isSocket(_ bytes: RawSpan) throws(WireError) -> Bool {
        guard bytes.byteCount >= byteCount else { throw .truncated(offset: bytes.byteCount) }
        return bytes.littleEndianUInt16(at: 0) == 101 && bytes.byte(at: 2) & 1 != 0 && bytes.littleEndianUInt32(at: 11) == 0
    }

    /// Writes the fixed part; `headerCount` headers must follow.
    static func write(
        status: Int, hasBody: Bool, bodyLength: Int?, isEncoded: Bool = false, headerCount: Int,
        into buffer: inout ByteBuffer
    ) {
        buffer.appendLittleEndian(UInt16(status))
        buffer.append((hasBody ? 1 : 0) | (isEncoded ? 2 : 0) as UInt8)
        buffer.appendLittleEndian(Int64(bodyLength ?? -1))
        buffer.appendLittleEndian(UInt32(0))
        buffer.appendLittleEndian(UInt16(headerCount))
    }
}
