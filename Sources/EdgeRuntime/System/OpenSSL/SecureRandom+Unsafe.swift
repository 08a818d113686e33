internal import COpenSSL

/// Random bytes fit for keys and tokens, from the library's generator (seeded by the kernel).
package enum SecureRandom {
    /// `count` fresh bytes, safe on any thread.
    package static func bytes(_ count: Int) -> [UInt8] {
        precondition(count >= 0 && count <= Int(Int32.max), "a count that the library can take")
        return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            // SAFETY: the buffer has room for `count` bytes.
            let done = unsafe count == 0 ? 1 : RAND_bytes(buffer.baseAddress, Int32(count))
            // Going on with predictable bytes would be worse than not going on.
            precondition(done == 1, "the kernel always seeds the generator")
            filled = count
        }
    }
}

/// Comparison whose time depends on the lengths alone.
package enum ConstantTime {
    package static func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        guard !left.isEmpty else { return true }
        // SAFETY: both pointers are valid for `left.count` bytes during the call.
        return unsafe left.withUnsafeBytes { l in
            unsafe right.withUnsafeBytes { r in
                guard let l = l.baseAddress, let r = r.baseAddress else { return false }
                return unsafe CRYPTO_memcmp(l, r, left.count) == 0
            }
        }
    }
}
