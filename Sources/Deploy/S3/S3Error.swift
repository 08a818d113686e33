/// An answer that is an error: Amazon's code with the status and the text that R2 gives it (spec r2.md §2 and §3).
package struct S3Error: Error, Equatable, Sendable {
    package let code: String
    package let status: Int
    package let message: String
    /// Further elements below `Error`, in their order.
    package var details: [Detail] = []

    package struct Detail: Equatable, Sendable {
        package let name: String
        package let text: String
    }

    package init(_ code: String, _ status: Int, _ message: String, details: [Detail] = []) {
        self.code = code
        self.status = status
        self.message = message
        self.details = details
    }

    package static func invalidArgument(_ message: String) -> S3Error { S3Error("InvalidArgument", 400, message) }
    package static func invalidRequest(_ message: String) -> S3Error { S3Error("InvalidRequest", 400, message) }
    package static let unauthorized = S3Error("Unauthorized", 401, "Unauthorized")
    package static let requestTimeTooSkewed = S3Error(
        "RequestTimeTooSkewed", 403, "The difference between the request time and the server's time is too large.")
    package static let expiredRequest = S3Error("ExpiredRequest", 403, "Request has expired")
    package static let signatureDoesNotMatch = S3Error(
        "SignatureDoesNotMatch", 403,
        "The request signature we calculated does not match the signature you provided. "
            + "Check your secret access key and signing method.")
    package static let payloadMismatch = S3Error(
        "XAmzContentSHA256Mismatch", 400,
        "The provided 'x-amz-content-sha256' header does not match what was computed.")
    package static let incompleteBody = S3Error(
        "IncompleteBody", 400, "You did not provide the number of bytes specified by the Content-Length HTTP header.")
    package static func notImplemented(_ what: String) -> S3Error {
        S3Error("NotImplemented", 501, "\(what) not implemented")
    }

    /// The document of the answer. Unlike those of success it names no namespace.
    package var document: String {
        var text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error>"
        for detail in [Detail(name: "Code", text: code), Detail(name: "Message", text: message)] + details {
            text += "<\(detail.name)>\(Self.escape(detail.text))</\(detail.name)>"
        }
        return text + "</Error>"
    }

    /// `text` as the content of an element. What XML 1.0 can't hold at all becomes U+FFFD.
    package static func escape(_ text: String) -> String {
        var escaped = ""
        escaped.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&apos;"
            case "\r": escaped += "&#13;"  // A bare one would be read as a line feed (XML 1.0 §2.11).
            case "\t", "\n", " "..."\u{D7FF}", "\u{E000}"..."\u{FFFD}", "\u{10000}"..."\u{10FFFF}":
                escaped.unicodeScalars.append(scalar)
            default: escaped += "\u{FFFD}"
            }
        }
        return escaped
    }
}
