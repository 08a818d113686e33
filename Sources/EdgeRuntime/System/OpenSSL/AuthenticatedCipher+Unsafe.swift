internal import COpenSSL

/// AES-256-GCM (NIST SP 800-38D).
///
/// A nonce must never be used twice under one key: with random ones, at most 2³² messages per key (§8.3).
package enum AuthenticatedCipher {
    package static let keyByteCount = 32
    package static let nonceByteCount = 12
    package static let tagByteCount = 16
    /// The library counts in Int32; larger things are streamed in pieces of their own.
    package static let textBytesMax = 1 << 30

    /// - Returns: the ciphertext, as long as `plaintext`, and its tag of 16 bytes.
    package static func seal(
        _ plaintext: [UInt8], key: [UInt8], nonce: [UInt8], authenticating: [UInt8] = []
    ) throws(OpenSSLError) -> (ciphertext: [UInt8], tag: [UInt8]) {
        try check(key: key, nonce: nonce, text: plaintext, authenticating)
        let context = CipherContext()
        try context.start(.seal, key: key, nonce: nonce)
        try context.authenticate(authenticating)
        let ciphertext = try context.update(plaintext)
        try context.finish(orThrow: OpenSSLError.take("seal"))
        return (ciphertext, try context.tag())
    }

    /// - Throws: `.authenticationFailed` when anything was changed; no plaintext leaves in that case.
    package static func open(
        _ ciphertext: [UInt8], tag: [UInt8], key: [UInt8], nonce: [UInt8], authenticating: [UInt8] = []
    ) throws(OpenSSLError) -> [UInt8] {
        try check(key: key, nonce: nonce, text: ciphertext, authenticating)
        guard tag.count == tagByteCount else { throw .authenticationFailed }
        let context = CipherContext()
        try context.start(.open, key: key, nonce: nonce)
        try context.authenticate(authenticating)
        let plaintext = try context.update(ciphertext)
        try context.expect(tag: tag)
        try context.finish(orThrow: .authenticationFailed)
        return plaintext
    }

    private static func check(
        key: [UInt8], nonce: [UInt8], text: [UInt8], _ authenticated: [UInt8]
    ) throws(OpenSSLError) {
        guard key.count == keyByteCount else { throw .keyLength(key.count, expected: "32 bytes") }
        guard nonce.count == nonceByteCount else { throw .keyLength(nonce.count, expected: "a nonce of 12") }
        for count in [text.count, authenticated.count] where count > textBytesMax {
            throw .inputTooLong(count, limit: textBytesMax)
        }
    }
}

/// One EVP_CIPHER_CTX inside one call of `AuthenticatedCipher`.
@safe private struct CipherContext: ~Copyable {
    enum Direction: Int32 {
        case open = 0
        case seal = 1
    }
    private let context: OpaquePointer

    init() {
        guard let context = unsafe EVP_CIPHER_CTX_new() else {
            preconditionFailure("libcrypto returns no context only when memory is exhausted")
        }
        unsafe self.context = context
    }

    deinit { unsafe EVP_CIPHER_CTX_free(context) }  // Also wipes the key schedule.

    func start(_ direction: Direction, key: [UInt8], nonce: [UInt8]) throws(OpenSSLError) {
        // SAFETY: the caller checked that key and nonce have the lengths that AES-256-GCM reads.
        let started = unsafe EVP_CipherInit_ex2(
            context, EVP_aes_256_gcm(), key, nonce, direction.rawValue, nil)
        guard started == 1 else { throw .take("AES-256-GCM") }
    }

    func authenticate(_ bytes: [UInt8]) throws(OpenSSLError) {
        guard !bytes.isEmpty else { return }
        var length: Int32 = 0
        // SAFETY: without an output buffer the bytes are only authenticated (EVP_EncryptInit(3)).
        guard unsafe EVP_CipherUpdate(context, nil, &length, bytes, Int32(bytes.count)) == 1 else {
            throw .take("authenticate")
        }
    }

    func update(_ bytes: [UInt8]) throws(OpenSSLError) -> [UInt8] {
        guard !bytes.isEmpty else { return [] }
        var succeeded = false
        let result = unsafe [UInt8](unsafeUninitializedCapacity: bytes.count) { buffer, count in
            var length: Int32 = 0
            // SAFETY: GCM writes as many bytes as it reads.
            succeeded =
                unsafe EVP_CipherUpdate(
                    context, buffer.baseAddress, &length, bytes, Int32(bytes.count)) == 1
            count = succeeded ? Int(length) : 0
        }
        guard succeeded, result.count == bytes.count else { throw .take("AES-256-GCM") }
        return result
    }

    func tag() throws(OpenSSLError) -> [UInt8] {
        var tag = [UInt8](repeating: 0, count: AuthenticatedCipher.tagByteCount)
        // SAFETY: the array has the length that is passed.
        let got = unsafe EVP_CIPHER_CTX_ctrl(context, EDGE_GCM_GET_TAG, Int32(tag.count), &tag)
        guard got == 1 else { throw .take("tag") }
        return tag
    }

    func expect(tag: [UInt8]) throws(OpenSSLError) {
        var tag = tag
        // SAFETY: the library copies `tag.count` bytes; the parameter is only declared mutable.
        let set = unsafe EVP_CIPHER_CTX_ctrl(context, EDGE_GCM_SET_TAG, Int32(tag.count), &tag)
        guard set == 1 else { throw .take("tag") }
    }

    func finish(orThrow failure: @autoclosure () -> OpenSSLError) throws(OpenSSLError) {
        var rest = [UInt8](repeating: 0, count: 16)
        var length: Int32 = 0
        // SAFETY: GCM has no final block; 16 bytes are room for any.
        guard unsafe EVP_CipherFinal_ex(context, &rest, &length) == 1 else {
            let failure = failure()
            ERR_clear_error()
            throw failure
        }
    }
}
