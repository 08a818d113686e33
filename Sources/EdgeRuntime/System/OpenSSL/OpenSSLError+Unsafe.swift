internal import COpenSSL

/// What the library refused. No case carries key material.
package enum OpenSSLError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A call that inputs from outside can make fail, with the library's own reason.
    case refused(String, reason: String)
    /// A tag or a ciphertext was changed, or the key is another one.
    case authenticationFailed
    case keyLength(Int, expected: String)
    case inputTooLong(Int, limit: Int)
    /// The key is of a kind, size or curve that is not offered here.
    case keyKind(String)
    /// The parts of a private key do not belong together.
    case keyInconsistent
    /// The operation does not suit the kind of key, or needs the private part.
    case keyUse(String)

    package var description: String {
        switch self {
        case .refused(let what, let reason): "\(what): \(reason)"
        case .authenticationFailed: "the data is not authentic"
        case .keyLength(let count, let expected): "a key of \(count) bytes is not \(expected)"
        case .inputTooLong(let count, let limit): "input of \(count) bytes is longer than \(limit)"
        case .keyKind(let kind): "\(kind) keys are not supported"
        case .keyInconsistent: "the parts of the private key do not belong together"
        case .keyUse(let use): use
        }
    }

    /// Takes the newest reason from the thread's error queue and empties the queue.
    static func take(_ what: String) -> OpenSSLError {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        // SAFETY: the reason is a static string of the library, or NULL.
        let reason = unsafe ERR_reason_error_string(code).map { unsafe String(cString: $0) }
        return .refused(what, reason: reason ?? "error \(code)")
    }
}
