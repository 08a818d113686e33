internal import OpenSSL

/// Authenticated encryption with a key of 32 bytes (AES-256-GCM).
public enum AESGCM {
    public static let overheadByteCount =
        AuthenticatedCipher.nonceByteCount + AuthenticatedCipher.tagByteCount

    /// Encrypts under a fresh random nonce; at most 2³² messages per key.
    ///
    /// - Parameter context: Authenticated, not stored: what the box is for (a user's id, a column's name),
    ///   so that it can't be moved elsewhere. `open` needs the same.
    /// - Returns: nonce (12) ‖ ciphertext ‖ tag (16).
    public static func seal(
        _ plaintext: [UInt8], key: SymmetricKey, context: [UInt8] = []
    ) throws(CryptoError) -> [UInt8] {
        let nonce = SecureRandom.bytes(AuthenticatedCipher.nonceByteCount)
        let sealed = try translating { () throws(OpenSSLError) in
            try AuthenticatedCipher.seal(plaintext, key: key.bytes, nonce: nonce, authenticating: context)
        }
        return nonce + sealed.ciphertext + sealed.tag
    }

    /// - Throws: `.authenticationFailed` when the box, the key or the context is another one.
    public static func open(
        _ box: [UInt8], key: SymmetricKey, context: [UInt8] = []
    ) throws(CryptoError) -> [UInt8] {
        guard box.count >= overheadByteCount else { throw .authenticationFailed }
        let nonce = Array(box.prefix(AuthenticatedCipher.nonceByteCount))
        let tag = Array(box.suffix(AuthenticatedCipher.tagByteCount))
        let ciphertext = Array(
            box.dropFirst(AuthenticatedCipher.nonceByteCount).dropLast(AuthenticatedCipher.tagByteCount))
        return try translating { () throws(OpenSSLError) in
            try AuthenticatedCipher.open(
                ciphertext, tag: tag, key: key.bytes, nonce: nonce, authenticating: context)
        }
    }
}
