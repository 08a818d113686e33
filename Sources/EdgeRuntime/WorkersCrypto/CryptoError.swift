internal import OpenSSL

/// What went wrong in a cryptographic operation. No case carries key material.
public enum CryptoError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Data, tag, nonce or key are not those that the data was sealed with.
    case authenticationFailed
    case invalidKey(String)
    case invalidInput(String)
    /// A key kind, size or combination that is not offered.
    case unsupported(String)

    public var description: String {
        switch self {
        case .authenticationFailed: "the data is not authentic"
        case .invalidKey(let reason): "invalid key: \(reason)"
        case .invalidInput(let reason): "invalid input: \(reason)"
        case .unsupported(let what): "not supported: \(what)"
        }
    }

    init(_ error: OpenSSLError) {
        self =
            switch error {
            case .authenticationFailed: .authenticationFailed
            case .refused(let what, let reason): .invalidKey("\(what): \(reason)")
            case .keyLength, .keyInconsistent: .invalidKey(error.description)
            case .inputTooLong: .invalidInput(error.description)
            case .keyKind, .keyUse: .unsupported(error.description)
            }
    }
}

/// Runs `body` and translates the library's error.
func translating<Result>(_ body: () throws(OpenSSLError) -> Result) throws(CryptoError) -> Result {
    do throws(OpenSSLError) { return try body() } catch { throw CryptoError(error) }
}
