internal import CCrypt
internal import Glibc

/// bcrypt as libxcrypt computes it (`$2b$`).
package enum BlowfishCrypt {
    package enum Failure: Error, Equatable, Sendable, CustomStringConvertible {
        case costOutOfRange(Int)
        /// bcrypt reads 72 bytes and would silently ignore the rest.
        case passwordTooLong(Int)
        /// bcrypt ends at a NUL and would silently ignore the rest.
        case passwordContainsNUL
        case malformedHash
        case refused(errno: Int32)

        package var description: String {
            switch self {
            case .costOutOfRange(let cost): "bcrypt cost \(cost) is outside 4...31"
            case .passwordTooLong(let count): "password of \(count) bytes is longer than 72"
            case .passwordContainsNUL: "password contains a NUL byte"
            case .malformedHash: "not a bcrypt hash"
            case .refused(let number): "libcrypt refused (errno \(number))"
            }
        }
    }

    package static let costs = 4...31
    package static let passwordBytesMax = 72
    package static let saltByteCount = 16
    private static let hashByteCount = 60

    /// Hashes with a fresh `salt` of 16 random bytes. 2^cost rounds: about 0.2 s at cost 12.
    package static func hash(_ password: [UInt8], cost: Int, salt: [UInt8]) throws(Failure) -> String {
        guard costs.contains(cost) else { throw .costOutOfRange(cost) }
        precondition(salt.count == saltByteCount, "a bcrypt salt is 16 bytes")
        var setting = [CChar](repeating: 0, count: 192)  // CRYPT_GENSALT_OUTPUT_SIZE
        let bytes = salt.map(CChar.init(bitPattern:))
        // SAFETY: both arrays have the lengths that are passed.
        let made = unsafe crypt_gensalt_rn(
            "$2b$", UInt(cost), bytes, Int32(bytes.count), &setting, Int32(setting.count))
        guard unsafe made != nil else { throw .refused(errno: errno) }
        return try compute(password, setting: setting)
    }

    /// Whether `hash` (`$2a$`, `$2b$` or `$2y$`) is `password`'s. As slow as the hash's own cost.
    package static func matches(_ password: [UInt8], _ hash: String) throws(Failure) -> Bool {
        guard cost(of: hash) != nil else { throw .malformedHash }
        let computed = Array(
            try compute(password, setting: hash.utf8.map(CChar.init(bitPattern:)) + [0]).utf8)
        let stored = Array(hash.utf8)
        guard computed.count == stored.count else { return false }
        // The time must not tell how far they agree.
        return zip(computed, stored).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    /// The cost that a hash was made with; `nil` when it is not a well-formed bcrypt hash.
    package static func cost(of hash: String) -> Int? {
        let bytes = Array(hash.utf8)
        guard bytes.count == hashByteCount, bytes.starts(with: "$2".utf8),
            [UInt8(ascii: "a"), UInt8(ascii: "b"), UInt8(ascii: "y")].contains(bytes[2]),
            bytes[3] == UInt8(ascii: "$"), bytes[6] == UInt8(ascii: "$"),
            bytes[7...].allSatisfy(isAlphabet)
        else { return nil }
        guard let tens = digit(bytes[4]), let ones = digit(bytes[5]), costs.contains(tens * 10 + ones) else {
            return nil
        }
        return tens * 10 + ones
    }

    private static func digit(_ byte: UInt8) -> Int? {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) ? Int(byte - UInt8(ascii: "0")) : nil
    }

    /// bcrypt's base64: `./A-Za-z0-9`.
    private static func isAlphabet(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "."), UInt8(ascii: "/"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }

    private static func compute(_ password: [UInt8], setting: [CChar]) throws(Failure) -> String {
        guard password.count <= passwordBytesMax else { throw .passwordTooLong(password.count) }
        guard !password.contains(0) else { throw .passwordContainsNUL }
        let phrase = password.map(CChar.init(bitPattern:)) + [0]
        let size = MemoryLayout<crypt_data>.size
        let scratch = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        unsafe scratch.initializeMemory(as: UInt8.self, repeating: 0, count: size)
        defer {
            // It has held the password: wiped, also when the optimiser sees that nobody reads it again.
            unsafe explicit_bzero(scratch, size)
            unsafe scratch.deallocate()
        }
        // SAFETY: phrase and setting end in NUL; scratch has the size that is passed and is ours alone.
        guard let output = unsafe crypt_rn(phrase, setting, scratch, Int32(size)) else {
            throw .refused(errno: errno)
        }
        let hash = unsafe String(cString: output)
        guard hash.utf8.count == hashByteCount else { throw .refused(errno: EINVAL) }
        return hash
    }
}
