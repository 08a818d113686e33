internal import COpenSSL

/// A hash that is fed piece by piece. One owner; may move between threads.
@safe package struct Digest: ~Copyable, @unchecked Sendable {  // The context has one owner, like this value.
    package enum Algorithm: Sendable, Hashable, CaseIterable {
        /// For ETags and `Content-MD5` only; broken as protection against intent.
        case md5
        /// For protocols that name it; broken as protection against intent.
        case sha1
        case sha256, sha384, sha512

        package var byteCount: Int {
            switch self {
            case .md5: 16
            case .sha1: 20
            case .sha256: 32
            case .sha384: 48
            case .sha512: 64
            }
        }

        /// Static data of the library.
        var implementation: OpaquePointer? {
            switch self {
            case .md5: unsafe EVP_md5()
            case .sha1: unsafe EVP_sha1()
            case .sha256: unsafe EVP_sha256()
            case .sha384: unsafe EVP_sha384()
            case .sha512: unsafe EVP_sha512()
            }
        }
    }

    package let algorithm: Algorithm
    private let context: OpaquePointer

    package init(_ algorithm: Algorithm) {
        self.algorithm = algorithm
        // SAFETY: the fresh context is ours alone until deinit frees it.
        guard let context = unsafe EVP_MD_CTX_new() else {
            preconditionFailure("libcrypto returns no context only when memory is exhausted")
        }
        unsafe self.context = context
        let started = unsafe EVP_DigestInit_ex(context, algorithm.implementation, nil)
        precondition(started == 1, "Debian's libcrypto always offers \(algorithm)")
    }

    deinit { unsafe EVP_MD_CTX_free(context) }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        // SAFETY: the library reads `bytes.count` bytes from an address valid for this call.
        let fed = unsafe EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
        precondition(fed == 1, "a started digest takes any bytes")
    }

    package mutating func update(_ bytes: RawSpan) {
        unsafe bytes.withUnsafeBytes { unsafe update($0) }
    }

    package mutating func update(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe update($0) }
    }

    package mutating func update(_ bytes: ArraySlice<UInt8>) {
        unsafe bytes.withUnsafeBytes { unsafe update($0) }
    }

    /// The digest of what was fed until now; more may follow.
    package borrowing func current() -> [UInt8] {
        guard let copy = unsafe EVP_MD_CTX_new() else {
            preconditionFailure("libcrypto returns no context only when memory is exhausted")
        }
        defer { unsafe EVP_MD_CTX_free(copy) }
        let copied = unsafe EVP_MD_CTX_copy_ex(copy, context)
        precondition(copied == 1, "a digest of the default provider can be copied")
        return unsafe Self.finish(copy, algorithm)
    }

    /// The digest, `algorithm.byteCount` bytes.
    package consuming func finish() -> [UInt8] { unsafe Self.finish(context, algorithm) }

    /// The digest of `bytes` in one call.
    package static func hash(_ bytes: [UInt8], with algorithm: Algorithm) -> [UInt8] {
        unsafe bytes.withUnsafeBytes { unsafe hash($0, with: algorithm) }
    }

    package static func hash(_ text: String, with algorithm: Algorithm) -> [UInt8] {
        hash(Array(text.utf8), with: algorithm)
    }

    package static func hash(_ bytes: UnsafeRawBufferPointer, with algorithm: Algorithm) -> [UInt8] {
        var digest = Digest(algorithm)
        unsafe digest.update(bytes)
        return digest.finish()
    }

    private static func finish(_ context: OpaquePointer, _ algorithm: Algorithm) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: algorithm.byteCount) { buffer, count in
            var length: UInt32 = 0
            // SAFETY: the buffer holds exactly the digest's size, which is what the library writes.
            let finished = unsafe EVP_DigestFinal_ex(context, buffer.baseAddress, &length)
            precondition(finished == 1 && Int(length) == algorithm.byteCount, "a started digest finishes")
            count = Int(length)
        }
    }
}
