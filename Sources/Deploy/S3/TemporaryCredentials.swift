internal import FoundationEssentials
internal import OpenSSL

/// Credentials that end by themselves, and may do less than the key that they were made with. Nothing of them is kept: the
/// session token says what they may do, signed with the parent's secret (a JSON Web Token, RFC 7519, with HS256), and their
/// own secret follows from it. They end with their parent.
package struct TemporaryCredentials: Sendable {
    package enum Permission: String, Codable, CaseIterable, Sendable {
        case administrateAndWrite = "admin-read-write"
        case administrateAndRead = "admin-read-only"
        case write = "object-read-write"
        case read = "object-read-only"
    }

    package struct Claims: Codable, Equatable, Sendable {
        /// The parent's id.
        package var sub: String
        package var bucket: String
        package var scope: Permission
        /// The tenant's name.
        package var account: String?
        /// `nil`: all objects of the bucket. Otherwise those that are named, and those with one of the prefixes.
        package var objects: [String]?
        package var prefixes: [String]?
        /// Seconds since 1970.
        package var exp: Int64

        package init(
            sub: String, bucket: String, scope: Permission, account: String, objects: [String]?, prefixes: [String]?, exp: Int64
        ) {
            self.sub = sub
            self.bucket = bucket
            self.scope = scope
            self.account = account
            self.objects = objects
            self.prefixes = prefixes
            self.exp = exp
        }

        var isAdministrator: Bool { scope == .administrateAndRead || scope == .administrateAndWrite }

        func allows(_ level: S3Scope.Level, object: String?, in bucket: String, of tenant: String) -> Bool {
            guard bucket == self.bucket, account.map({ $0 == tenant }) ?? true else { return false }
            guard level == .read || scope == .write || scope == .administrateAndWrite else { return false }
            let (objects, prefixes) = (objects ?? [], prefixes ?? [])
            guard let object, !(objects.isEmpty && prefixes.isEmpty) else { return true }
            return objects.contains(object) || prefixes.contains { object.utf8.starts(with: $0.utf8) }
        }
    }

    package let secretAccessKey: String
    package let sessionToken: String

    private static let header = Base64.url(Array(#"{"alg":"HS256","typ":"JWT"}"#.utf8))

    /// - Parameter secret: The parent's.
    package init(_ claims: Claims, secret: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let signed = Self.header + "." + Base64.url(Array(try encoder.encode(claims)))
        sessionToken = signed + "." + Base64.url(Self.signature(of: signed, secret))
        secretAccessKey = Self.secret(of: sessionToken)
    }

    static func secret(of sessionToken: String) -> String { Hex.text(Digest.hash(sessionToken, with: .sha256)) }

    /// What a session token says, when the parent's secret has signed it and it hasn't ended.
    static func claims(of sessionToken: String, parent: S3AccessKey, now: Int64) -> Claims? {
        let parts = sessionToken.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard sessionToken.utf8.count <= 64 << 10, parts.count == 3, parts[0] == header,
            let given = Base64.bytes(url: parts[2]),
            ConstantTime.areEqual(given, signature(of: parts[0] + "." + parts[1], parent.secret)),
            let payload = Base64.bytes(url: parts[1]),
            let claims = try? JSONDecoder().decode(Claims.self, from: Data(payload)),
            claims.sub == parent.id, now < claims.exp
        else { return nil }
        return claims
    }

    private static func signature(of text: String, _ secret: String) -> [UInt8] {
        MessageAuthentication.hmac(Array(text.utf8), key: Array(secret.utf8), .sha256)
    }
}
