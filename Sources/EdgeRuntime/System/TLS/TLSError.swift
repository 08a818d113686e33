internal import CTLS
package import System

/// Why a certificate can't be used, with what to do.
package enum TLSError: Error, Equatable, Sendable, CustomStringConvertible {
    case system(SystemError)
    case tooLarge(String, limit: Int)
    case noCertificate(String)
    case noKey(String)
    case keyEncrypted(String)
    /// Others than its owner and group may read the key.
    case keyIsOpen(String, mode: UInt32)
    case keyMismatch(TLSFiles)
    case expired(String, since: UnixTime)
    case notYetValid(String, from: UnixTime)
    /// One of several certificates that names no host can never be chosen.
    case namesNoHost(String)
    case refused(String, reason: String)

    package var description: String {
        switch self {
        case .system(let error): "\(error)"
        case .tooLarge(let path, let limit): "\(path) is larger than \(limit) bytes: it can't be a certificate or a key"
        case .noCertificate(let path):
            "\(path) has no certificate in PEM form (-----BEGIN CERTIFICATE-----); openssl x509 -inform DER converts one"
        case .noKey(let path): "\(path) has no private key in PEM form (-----BEGIN PRIVATE KEY-----)"
        case .keyEncrypted(let path):
            "\(path) is encrypted, and a node has nobody to ask for the passphrase: openssl pkey -in \(path) -out FILE decrypts it"
        case .keyIsOpen(let path, let mode):
            "\(path) can be read by every user (mode 0\(String(mode, radix: 8))): chmod 600 \(path)"
        case .keyMismatch(let files): "the key in \(files.key) isn't that of the first certificate in \(files.certificate)"
        case .expired(let path, let time): "the certificate in \(path) expired on \(Self.day(time)): renew it"
        case .notYetValid(let path, let time):
            "the certificate in \(path) is valid from \(Self.day(time)) only: is this machine's clock right?"
        case .namesNoHost(let path):
            "the certificate in \(path) names no host (subjectAltName), so no client can ever be given it"
        case .refused(let path, let reason): "\(path): \(reason)"
        }
    }

    /// Takes the newest reason from the thread's error queue and empties the queue.
    static func take(_ subject: String) -> TLSError { .refused(subject, reason: Self.takeReason() ?? "refused by libssl") }

    static func takeReason() -> String? {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        guard code != 0 else { return nil }
        // SAFETY: the reason is a static string of the library, or NULL.
        return unsafe ERR_reason_error_string(code).map { unsafe String(cString: $0) } ?? "error \(code)"
    }

    /// `2026-08-01T12:00:00Z` without what is too fine.
    static func day(_ time: UnixTime) -> String {
        var days = time.seconds / 86_400 - (time.seconds % 86_400 < 0 ? 1 : 0)
        // Civil date from days since 1970 (https://howardhinnant.github.io/date_algorithms.html#civil_from_days).
        days += 719_468
        let era = (days >= 0 ? days : days - 146_096) / 146_097
        let dayOfEra = days - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthIndex + 2) / 5 + 1
        let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)-\(two(month))-\(two(day))"
    }
}
