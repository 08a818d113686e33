internal import OpenSSL

/// The key that signs for one day, region and service, derived from a secret (AWS Signature Version 4, task 3).
struct SigningKey: Sendable {
    private let bytes: [UInt8]
    /// `20130524T000000Z` and `20130524/us-east-1/s3/aws4_request`, as they stand in what is signed.
    let time: String
    let scope: String

    init(secret: String, time: String, scope: String, cache: SigningKeyCache? = nil) {
        bytes =
            cache?.bytes(secret, scope) { Self.derive(secret: secret, scope: scope) }
            ?? Self.derive(secret: secret, scope: scope)
        self.time = time
        self.scope = scope
    }

    private static func derive(secret: String, scope: String) -> [UInt8] {
        var key = Array("AWS4".utf8) + Array(secret.utf8)
        for part in scope.split(separator: "/", omittingEmptySubsequences: false) {
            key = MessageAuthentication.hmac(Array(part.utf8), key: key, .sha256)
        }
        return key
    }

    /// In hexadecimal digits.
    func sign(_ text: String) -> String { Hex.text(MessageAuthentication.hmac(Array(text.utf8), key: bytes, .sha256)) }

    func stringToSign(_ request: CanonicalRequest) -> String {
        "AWS4-HMAC-SHA256\n\(time)\n\(scope)\n\(Hex.text(Digest.hash(request.text, with: .sha256)))"
    }

    /// The signature of a chunk, which signs the one before it too.
    func signature(ofChunk digest: [UInt8], after previous: String) -> String {
        sign("AWS4-HMAC-SHA256-PAYLOAD\n\(time)\n\(scope)\n\(previous)\n\(Self.emptyHash)\n\(Hex.text(digest))")
    }

    /// The signature of the trailer: `name:value` and a line feed for each of its lines.
    func signature(ofTrailer text: String, after previous: String) -> String {
        sign("AWS4-HMAC-SHA256-TRAILER\n\(time)\n\(scope)\n\(previous)\n\(Hex.text(Digest.hash(text, with: .sha256)))")
    }

    /// The digest of nothing.
    static let emptyHash = Hex.text(Digest.hash([], with: .sha256))
}

enum Hex {
    static func text(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        text.reserveCapacity(2 * bytes.count)
        for byte in bytes {
            text.append(digit(byte >> 4))
            text.append(digit(byte & 15))
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// - Returns: `nil` for anything but `2 * byteCount` hexadecimal digits.
    static func bytes(_ text: String, byteCount: Int) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard digits.count == 2 * byteCount else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = value(digits[index]), let low = value(digits[index + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? value + 0x30 : value + 0x57 }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x41...0x46: digit - 0x37
        case 0x61...0x66: digit - 0x57
        default: nil
        }
    }
}
