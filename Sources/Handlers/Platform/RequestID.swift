package import Workers
internal import WorkersCrypto

/// The name of one request in all logs and answers.
package enum RequestID {
    package static let header = "x-request-id"

    /// What the node or the gateway set; a fresh one when there is none that can be trusted in a log.
    package static func of(_ request: Request) -> String {
        guard let text = request.headers[header], isWellFormed(text) else {
            return SecureBytes.token(byteCount: 12)
        }
        return text
    }

    package static func isWellFormed(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { $0.isASCIILetterOrDigit || [0x2D, 0x2E, 0x5F].contains($0) }
    }
}
