internal import OpenSSL

/// Random values that nobody can guess.
public enum SecureBytes {
    /// - Parameter count: At most 1 MiB; more at once is a mistake.
    public static func random(_ count: Int) -> [UInt8] {
        precondition((0...1 << 20).contains(count), "0 to 1 MiB of random bytes at once")
        return SecureRandom.bytes(count)
    }

    /// A token for links, cookies and the like, in base64url: 32 bytes are 43 characters.
    public static func token(byteCount: Int = 32) -> String { Base64URL.encode(random(byteCount)) }

    /// Equality in a time that depends on the lengths alone. For tokens, tags and digests.
    public static func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        ConstantTime.areEqual(left, right)
    }

    public static func areEqual(_ left: String, _ right: String) -> Bool {
        areEqual(Array(left.utf8), Array(right.utf8))
    }
}
