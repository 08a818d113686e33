internal import CZlib

/// CRC-32 as in ISO-HDLC (gzip, PNG), over several pieces one after the other.
package struct CRC32: Equatable, Sendable {
    package private(set) var value: UInt32 = 0

    package init() {}

    package mutating func update(_ bytes: RawSpan) {
        // SAFETY: the library reads the bytes that the span lends, during the call only.
        let next = unsafe bytes.withUnsafeBytes { buffer in
            unsafe crc32_z(uLong(value), buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), buffer.count)
        }
        // For no address, the library answers with the initial value.
        if bytes.byteCount > 0 { value = UInt32(truncatingIfNeeded: next) }
    }
}
