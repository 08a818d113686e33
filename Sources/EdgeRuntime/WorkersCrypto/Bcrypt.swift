internal import Crypt

public enum BcryptError: Error, Equatable, Sendable, CustomStringConvertible {
    case costOutOfRange(Int)
    /// bcrypt reads 72 bytes of UTF-8 and would silently ignore the rest, so longer passwords are refused.
    case passwordTooLong(byteCount: Int)
    /// bcrypt ends at a NUL and would silently ignore the rest.
    case passwordContainsNUL
    case malformedHash
    case libraryFailure(String)

    public var description: String {
        switch self {
        case .costOutOfRange(let cost): "bcrypt cost \(cost) is outside 4...31"
        case .passwordTooLong(let count): "a password has at most 72 bytes, not \(count)"
        case .passwordContainsNUL: "a password cannot contain NUL"
        case .malformedHash: "not a bcrypt hash"
        case .libraryFailure(let reason): reason
        }
    }

    init(_ failure: BlowfishCrypt.Failure) {
        self =
            switch failure {
            case .costOutOfRange(let cost): .costOutOfRange(cost)
            case .passwordTooLong(let count): .passwordTooLong(byteCount: count)
            case .passwordContainsNUL: .passwordContainsNUL
            case .malformedHash: .malformedHash
            case .refused: .libraryFailure(failure.description)
            }
    }
}

/// Password hashing with bcrypt (`$2b$`). All of it runs off the event loop.
public enum Bcrypt {
    /// The most bytes of UTF-8 that a password can have.
    public static let passwordBytesMax = BlowfishCrypt.passwordBytesMax

    /// - Parameter cost: 4...31; each step doubles the time. 12 takes about 0.2 s.
    /// - Returns: 60 characters with cost and salt, ready to be stored.
    public static func hash(_ password: String, cost: Int = 12) async throws(BcryptError) -> String {
        let bytes = Array(password.utf8)
        let salt = SecureBytes.random(BlowfishCrypt.saltByteCount)
        let result = await offLoop {
            Result { () throws(BlowfishCrypt.Failure) in
                try BlowfishCrypt.hash(bytes, cost: cost, salt: salt)
            }
        }
        do throws(BlowfishCrypt.Failure) { return try result.get() } catch { throw BcryptError(error) }
    }

    /// Whether `password` has the hash `hash` (`$2a$`, `$2b$` or `$2y$`).
    public static func verify(_ password: String, _ hash: String) async throws(BcryptError) -> Bool {
        let bytes = Array(password.utf8)
        let result = await offLoop {
            Result { () throws(BlowfishCrypt.Failure) in try BlowfishCrypt.matches(bytes, hash) }
        }
        do throws(BlowfishCrypt.Failure) { return try result.get() } catch { throw BcryptError(error) }
    }

    /// The cost that `hash` was made with; `nil` when it is not a bcrypt hash. Rehash when it is below
    /// today's.
    public static func cost(of hash: String) -> Int? { BlowfishCrypt.cost(of: hash) }
}
