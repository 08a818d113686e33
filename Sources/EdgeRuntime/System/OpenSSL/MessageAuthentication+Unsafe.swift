internal import COpenSSL

/// HMAC (RFC 2104), in one call.
package enum MessageAuthentication {
    /// The tag of `message`, as long as the digest. Any key length is taken, as the RFC says.
    package static func hmac(_ message: [UInt8], key: [UInt8], _ algorithm: Digest.Algorithm) -> [UInt8] {
        precondition(key.count <= Int(Int32.max), "a key that fits the library's length type")
        return unsafe [UInt8](unsafeUninitializedCapacity: algorithm.byteCount) { buffer, count in
            var length: UInt32 = 0
            // SAFETY: all pointers are valid for the lengths beside them; the buffer holds one digest. An
            // empty key is passed as a non-NULL pointer or as NULL with length 0, which HMAC(3) takes.
            let tag = unsafe key.withUnsafeBytes { key in
                unsafe message.withUnsafeBufferPointer { message in
                    unsafe HMAC(
                        algorithm.implementation, key.baseAddress, Int32(key.count), message.baseAddress,
                        message.count, buffer.baseAddress, &length)
                }
            }
            let succeeded = unsafe tag != nil && Int(length) == algorithm.byteCount
            precondition(succeeded, "Debian's libcrypto always offers HMAC with \(algorithm)")
            count = Int(length)
        }
    }
}
