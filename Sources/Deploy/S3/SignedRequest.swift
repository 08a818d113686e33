package import HTTP
internal import OpenSSL

/// The signature of a request, in its `Authorization` header or in its query (AWS Signature Version 4). Reading it and
/// verifying it are two steps: in between the caller looks up the secret of `accessKey`.
package struct SignedRequest: Sendable {
    package enum Place: Equatable, Sendable { case header, query }
    /// What is known of the body before it arrives.
    package enum Payload: Equatable, Sendable {
        /// Its SHA-256, 32 bytes.
        case digest([UInt8])
        case unsigned
        /// `aws-chunked`, without signatures; checksums in a trailer.
        case chunked
        /// `aws-chunked`, each chunk signed.
        case signedChunks(hasTrailer: Bool)
    }

    package let accessKey: String
    package let place: Place
    package let payload: Payload
    /// Of temporary credentials.
    package let securityToken: String?
    private let time: String
    private let scope: String
    private let signedHeaders: [String]
    private let signature: String
    private let payloadHash: String

    /// How far a client's clock may be from ours, either way.
    package static let skewMax: Int64 = 15 * 60
    package static let expirySecondsMax = 604_800

    /// Reads what the client says, and checks all that needs no secret, in the product's order.
    package init(_ request: S3Request, now: HTTPDate) throws(S3Error) {
        if let authorization = request.header("authorization") {
            try self.init(request, authorization, now)
        } else if request.parameters.contains(where: { $0.name.hasPrefix("X-Amz-") }) {
            try self.init(presigned: request, now)
        } else {
            throw .invalidArgument("Authorization")
        }
    }

    // MARK: In the header

    private init(_ request: S3Request, _ authorization: String, _ now: HTTPDate) throws(S3Error) {
        place = .header
        guard let hash = request.header("x-amz-content-sha256") else {
            throw .invalidRequest("Missing x-amz-content-sha256")
        }
        payloadHash = hash
        payload = try Self.payload(hash)
        let moment: HTTPDate
        if let text = request.header("x-amz-date") {
            guard let date = HTTPDate(basicISO8601: text) else {
                throw .invalidArgument("Date provided in 'x-amz-date' header (\(text)) didn't parse successfully")
            }
            moment = date
        } else {
            guard let text = request.header("date") else {
                throw .invalidArgument("No date provided in x-amz-date nor date header")
            }
            guard let date = HTTPDate(text, now: now) ?? HTTPDate(basicISO8601: text) else {
                throw .invalidArgument("Date provided in 'date' header (\(text)) didn't parse successfully")
            }
            moment = date
        }
        time = moment.basicISO8601
        guard let blank = authorization.firstIndex(of: " "), authorization[..<blank] == "AWS4-HMAC-SHA256" else {
            throw .invalidRequest("Please use AWS4-HMAC-SHA256")
        }
        var fields: [String: String] = [:]
        for field in authorization[blank...].split(separator: ",") {
            let halves = field.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard halves.count == 2 else { continue }
            fields[CanonicalRequest.collapse(String(halves[0]))] = CanonicalRequest.collapse(String(halves[1]))
        }
        let given: [String] = try ["Credential", "SignedHeaders", "Signature"].map { name throws(S3Error) in
            guard let value = fields[name], !value.isEmpty else {
                throw .invalidArgument("Authorization header is missing \(name)")
            }
            return value
        }
        (accessKey, scope) = try Self.credential(given[0], time: time, source: "'x-amz-date' header")
        signedHeaders = Self.names(given[1])
        signature = given[2].lowercased()
        securityToken = request.header("x-amz-security-token")
        guard abs(moment.unixSeconds - now.unixSeconds) <= Self.skewMax else { throw .requestTimeTooSkewed }
    }

    // MARK: In the query

    private init(presigned request: S3Request, _ now: HTTPDate) throws(S3Error) {
        place = .query
        let parameters = request.parameters
        func parameter(_ name: String) throws(S3Error) -> String {
            guard let value = parameters.first(where: { $0.name == name })?.value else {
                throw .invalidArgument("Required search parameter \(name) missing")
            }
            return value
        }
        guard try parameter("X-Amz-Algorithm") == "AWS4-HMAC-SHA256" else {
            throw .invalidRequest("Please use AWS4-HMAC-SHA256")
        }
        let credential = try parameter("X-Amz-Credential")
        let text = try parameter("X-Amz-Date")
        let lifetime = try parameter("X-Amz-Expires")
        let names = try parameter("X-Amz-SignedHeaders")
        signature = try parameter("X-Amz-Signature").lowercased()
        guard let moment = HTTPDate(basicISO8601: text) else {
            throw .invalidArgument("Date provided in 'X-Amz-Date' search parameter (\(text)) didn't parse successfully")
        }
        time = text
        guard let seconds = Int(lifetime), !lifetime.hasPrefix("+") else {
            throw .invalidArgument("X-Amz-Expires should be a number")
        }
        guard seconds >= 1 else { throw .invalidArgument("X-Amz-Expires must be at least one second") }
        guard seconds <= Self.expirySecondsMax else {
            throw .invalidArgument("X-Amz-Expires must be less than a week in seconds; that is, it must be at most 604800")
        }
        (accessKey, scope) = try Self.credential(credential, time: time, source: "'X-Amz-Date' search parameter")
        signedHeaders = Self.names(names)
        payloadHash = parameters.first { $0.name == "X-Amz-Content-Sha256" }?.value ?? "UNSIGNED-PAYLOAD"
        payload = try Self.payload(payloadHash)
        securityToken = parameters.first { $0.name == "X-Amz-Security-Token" }?.value
        guard moment.unixSeconds - now.unixSeconds <= Self.skewMax else { throw .requestTimeTooSkewed }
        guard now.unixSeconds <= moment.unixSeconds + Int64(seconds) else { throw .expiredRequest }
    }

    // MARK: The parts

    private static func payload(_ hash: String) throws(S3Error) -> Payload {
        switch hash {
        case "UNSIGNED-PAYLOAD": return .unsigned
        case "STREAMING-UNSIGNED-PAYLOAD-TRAILER": return .chunked
        case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": return .signedChunks(hasTrailer: false)
        case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": return .signedChunks(hasTrailer: true)
        default:
            guard let digest = Hex.bytes(hash, byteCount: 32) else {
                throw .invalidArgument(
                    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
                        + "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a SHA-256 "
                        + "in hexadecimal digits")
            }
            return .digest(digest)
        }
    }

    /// `KEY/20130524/REGION/s3/aws4_request`. The key may hold slashes of its own.
    static func credential(
        _ text: String, time: String, source: String
    ) throws(S3Error) -> (accessKey: String, scope: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 5 else {
            throw .invalidArgument(
                "Credential sigv4 header should have at least 5 slash-separated parts, not \(parts.count)")
        }
        let scope = parts.suffix(4)
        let (date, service, ending) = (parts[parts.count - 4], parts[parts.count - 2], parts[parts.count - 1])
        guard service == "s3" else { throw .invalidArgument("Credential service should be s3, not \(service)") }
        guard ending == "aws4_request" else {
            throw .invalidArgument("Credential should end with aws4_request, not \(ending)")
        }
        guard date == time.prefix(8) else {
            throw .invalidArgument("Credential signed date \(date) does not match \(time.prefix(8)) from \(source)")
        }
        return (parts.dropLast(4).joined(separator: "/"), scope.joined(separator: "/"))
    }

    /// - Parameter header: In lower case.
    package func isSigned(_ header: String) -> Bool { signedHeaders.contains(header) }

    private static func names(_ text: String) -> [String] {
        text.split(separator: ";", omittingEmptySubsequences: false).map { $0.lowercased() }
    }

    // MARK: Verifying

    /// Compares in constant time.
    ///
    /// - Parameter secret: That of `accessKey`; `nil` when nobody has that key.
    /// - Returns: What verifies the body.
    package func verify(
        _ request: S3Request, secret: String?, cache: SigningKeyCache? = nil
    ) throws(S3Error) -> PayloadDecoder {
        // Without the host a signature for one node would do for another.
        guard let secret, signedHeaders.contains("host") else { throw .unauthorized }
        let key = SigningKey(secret: secret, time: time, scope: scope, cache: cache)
        let canonical = CanonicalRequest(request, signedHeaders: signedHeaders, payloadHash: payloadHash)
        let text = key.stringToSign(canonical)
        guard ConstantTime.areEqual(Array(key.sign(text).utf8), Array(signature.utf8)) else {
            var error = S3Error.signatureDoesNotMatch
            error.details = [
                .init(name: "StringToSign", text: text),
                .init(name: "StringToSignBytes", text: Self.spaced(text)),
                .init(name: "CanonicalRequest", text: canonical.text),
                .init(name: "CanonicalRequestBytes", text: Self.spaced(canonical.text)),
                .init(name: "SignatureProvided", text: signature),
            ]
            throw error
        }
        return PayloadDecoder(
            payload, key: key, seed: signature,
            decodedByteCount: request.header("x-amz-decoded-content-length").flatMap { Int64($0) })
    }

    private static func spaced(_ text: String) -> String {
        text.utf8.map { Hex.text([$0]) }.joined(separator: " ")
    }
}
