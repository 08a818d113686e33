internal import CZlib

/// Whole messages, each compressed on its own, without header and trailer, up to a byte's end (RFC 1951; RFC 7692 §7.2).
package enum RawDeflate {
    /// - Parameter windowBits: 9...15.
    /// - Returns: `nil` when there is no memory for it.
    package static func encode(_ bytes: [UInt8], level: Int, windowBits: Int) -> [UInt8]? {
        var stream = unsafe z_stream()
        guard unsafe edge_raw_deflate_init(&stream, Int32(level), Int32(windowBits)) == Z_OK else { return nil }
        defer { unsafe deflateEnd(&stream) }
        // A flush adds some bytes to what a stream takes at most.
        var encoded = [UInt8](repeating: 0, count: unsafe Int(deflateBound(&stream, UInt(bytes.count))) + 16)
        var input = bytes
        let isDone = unsafe input.withUnsafeMutableBufferPointer { source in
            unsafe encoded.withUnsafeMutableBufferPointer { target in
                // SAFETY: the library reads and writes no more than the two counts, during the call only.
                unsafe stream.next_in = source.baseAddress
                unsafe stream.avail_in = UInt32(source.count)
                unsafe stream.next_out = target.baseAddress
                unsafe stream.avail_out = UInt32(target.count)
                let code = unsafe deflate(&stream, Z_SYNC_FLUSH)
                return unsafe code == Z_OK && stream.avail_in == 0 && stream.avail_out > 0
            }
        }
        guard isDone else { return nil }
        return Array(encoded.prefix(unsafe Int(stream.total_out)))
    }
}

/// Undoes the compression of one message, piece by piece. One thread at a time.
@safe package final class RawInflater {
    package enum Outcome: Sendable { case done, tooLarge, malformed }

    // The library keeps a pointer back to it, so it must not move.
    private let stream: UnsafeMutablePointer<z_stream>
    private var room = [UInt8](repeating: 0, count: 16 << 10)

    /// - Returns: `nil` when there is no memory for it.
    package init?() {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        guard unsafe edge_raw_inflate_init(stream) == Z_OK else {
            unsafe stream.deallocate()
            return nil
        }
    }

    /// Appends what `bytes` stand for to `plain`, which is to hold `byteCountMax` bytes at most.
    package func inflate(_ bytes: [UInt8], into plain: inout [UInt8], upTo byteCountMax: Int) -> Outcome {
        var input = bytes
        return unsafe input.withUnsafeMutableBufferPointer { source in
            // SAFETY: the library reads no more than the count, during the calls below only.
            unsafe stream.pointee.next_in = source.baseAddress
            unsafe stream.pointee.avail_in = UInt32(source.count)
            defer { unsafe stream.pointee.next_in = nil }
            while true {
                let (code, count) = unsafe room.withUnsafeMutableBufferPointer { target in
                    // SAFETY: the library writes at most as many bytes as it is told the room has.
                    unsafe stream.pointee.next_out = target.baseAddress
                    unsafe stream.pointee.avail_out = UInt32(target.count)
                    let code = unsafe CZlib.inflate(stream, Z_SYNC_FLUSH)
                    return (code, unsafe target.count - Int(stream.pointee.avail_out))
                }
                guard plain.count + count <= byteCountMax else { return .tooLarge }
                plain += room.prefix(count)
                switch code {
                case Z_OK: if unsafe stream.pointee.avail_in == 0, count < room.count { return .done }
                // There was nothing to do, which is no error.
                case Z_BUF_ERROR: return .done
                // A final block ends the stream; what follows is another one (RFC 7692 §7.2.3.5).
                case Z_STREAM_END:
                    guard unsafe inflateReset(stream) == Z_OK else { return .malformed }
                    if unsafe stream.pointee.avail_in == 0 { return .done }
                default: return .malformed
                }
            }
        }
    }

    /// The next bytes begin a message of their own.
    package func reset() -> Bool { unsafe inflateReset(stream) == Z_OK }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }
}
