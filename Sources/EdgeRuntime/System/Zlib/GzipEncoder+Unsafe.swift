internal import CZlib
package import System

/// Writes one gzip stream, piece by piece. One owner, one thread at a time.
@safe package final class GzipEncoder {
    // The library keeps a pointer back to it, so it must not move.
    private let stream: UnsafeMutablePointer<z_stream>
    private var room = [UInt8](repeating: 0, count: 16 << 10)

    /// - Parameter level: 1 (fast) ... 9 (small).
    /// - Returns: `nil` when there is no memory for it.
    package init?(level: Int) {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        guard unsafe edge_gzip_deflate_init(stream, Int32(level)) == Z_OK else {
            unsafe stream.deallocate()
            return nil
        }
    }

    /// Takes all of `bytes`, and hands to `output` what comes out, each piece valid during its call only.
    ///
    /// - Returns: false when the stream is broken or over; nothing more is to be asked of it.
    package func encode(
        _ bytes: UnsafeRawBufferPointer, _ step: EncodingStep, _ output: (UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        let mode = step == .more ? Z_NO_FLUSH : step == .flush ? Z_SYNC_FLUSH : Z_FINISH
        // SAFETY: the library only reads its input, and during the call only, though the field's type says otherwise.
        unsafe stream.pointee.next_in = UnsafeMutableRawPointer(mutating: bytes.baseAddress)?
            .assumingMemoryBound(to: UInt8.self)
        unsafe stream.pointee.avail_in = UInt32(bytes.count)
        defer { unsafe stream.pointee.next_in = nil }
        while true {
            let (code, count, isFull) = unsafe room.withUnsafeMutableBufferPointer { target in
                // SAFETY: the library writes at most as many bytes as it is told the room has.
                unsafe stream.pointee.next_out = target.baseAddress
                unsafe stream.pointee.avail_out = UInt32(target.count)
                let code = unsafe deflate(stream, mode)
                let left = unsafe Int(stream.pointee.avail_out)
                return (code, target.count - left, left == 0)
            }
            // Z_BUF_ERROR: there was nothing to do, which is no error.
            guard code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR else { return false }
            if count > 0 { unsafe room.withUnsafeBytes { unsafe output(UnsafeRawBufferPointer(rebasing: $0.prefix(count))) } }
            if code == Z_STREAM_END { return true }
            if !isFull { return step != .finish }
        }
    }

    deinit {
        unsafe deflateEnd(stream)
        unsafe stream.deallocate()
    }
}

/// Whole bodies.
package enum Gzip {
    package static func encode(_ bytes: [UInt8], level: Int) -> [UInt8]? {
        guard let encoder = GzipEncoder(level: level) else { return nil }
        var encoded: [UInt8] = []
        let isDone = unsafe bytes.withUnsafeBytes {
            unsafe encoder.encode($0, .finish) { unsafe encoded.append(contentsOf: $0) }
        }
        return isDone ? encoded : nil
    }

    /// - Returns: `nil` when `bytes` are no gzip stream, or one of more than `byteCountMax` bytes.
    package static func decode(_ bytes: [UInt8], byteCountMax: Int) -> [UInt8]? {
        var stream = unsafe z_stream()
        guard unsafe edge_gzip_inflate_init(&stream) == Z_OK else { return nil }
        defer { unsafe inflateEnd(&stream) }
        var decoded = [UInt8](repeating: 0, count: byteCountMax + 1)
        var input = bytes
        let (code, isAllRead) = unsafe input.withUnsafeMutableBufferPointer { source in
            unsafe decoded.withUnsafeMutableBufferPointer { target in
                // SAFETY: the library reads and writes no more than the two counts, during the call only.
                unsafe stream.next_in = source.baseAddress
                unsafe stream.avail_in = UInt32(source.count)
                unsafe stream.next_out = target.baseAddress
                unsafe stream.avail_out = UInt32(target.count)
                let code = unsafe inflate(&stream, Z_FINISH)
                return unsafe (code, stream.avail_in == 0)
            }
        }
        let count = unsafe Int(stream.total_out)
        guard code == Z_STREAM_END, isAllRead, count <= byteCountMax else { return nil }
        return Array(decoded.prefix(count))
    }
}
