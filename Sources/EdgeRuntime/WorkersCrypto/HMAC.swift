internal import OpenSSL

/// Message authentication with a shared key (RFC 2104).
public enum HMAC {
    /// The tag, as long as the hash.
    public static func authenticate(
        _ message: [UInt8], key: SymmetricKey, _ function: HashFunction = .sha256
    ) -> [UInt8] {
        MessageAuthentication.hmac(message, key: key.bytes, function.algorithm)
    }

    /// Compares in constant time.
    public static func isValid(
        _ tag: [UInt8], for message: [UInt8], key: SymmetricKey, _ function: HashFunction = .sha256
    ) -> Bool {
        SecureBytes.areEqual(tag, authenticate(message, key: key, function))
    }
}
