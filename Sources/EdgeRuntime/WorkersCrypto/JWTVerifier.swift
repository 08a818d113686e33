internal import FoundationEssentials

/// Why a token was refused. Fit for logs; a client should only hear that its token is not valid.
public enum JWTError: Error, Equatable, Sendable, CustomStringConvertible {
    case malformed(String)
    case tooLong(Int)
    case algorithmNotAllowed(String)
    case unknownKey(String)
    /// RFC 7515 §4.1.11: extensions that must be understood. None are.
    case criticalExtension
    case signatureInvalid
    case expired(at: Double)
    case notYetValid(from: Double)
    case issuedInFuture(at: Double)
    case claimMissing(String)
    case claimMismatch(String)

    public var description: String {
        switch self {
        case .malformed(let what): "token is malformed: \(what)"
        case .tooLong(let count): "token of \(count) bytes is too long"
        case .algorithmNotAllowed(let name): "algorithm \(name) is not allowed here"
        case .unknownKey(let id): "no key has the id \(id)"
        case .criticalExtension: "token demands an extension"
        case .signatureInvalid: "signature is not valid"
        case .expired(let time): "token expired at \(time)"
        case .notYetValid(let time): "token is valid from \(time)"
        case .issuedInFuture(let time): "token was issued at \(time), in the future"
        case .claimMissing(let name): "claim \(name) is missing"
        case .claimMismatch(let name): "claim \(name) has another value"
        }
    }
}

/// Checks JSON Web Tokens against a fixed list of keys, each with its one algorithm.
public struct JWTVerifier: Sendable {
    /// Tokens beyond are refused unread; HTTP heads are not much larger.
    public static let tokenBytesMax = 8 << 10
    /// A rotation needs two keys; many more would let one token cost many signature checks.
    public static let keysMax = 16

    public struct Policy: Sendable {
        /// How far the clocks of issuer and verifier may be apart.
        public var leewaySeconds: Double = 30
        /// Whether a token without `exp` is refused.
        public var requiresExpiry = true
        /// When set, `iss` must be this.
        public var issuer: String?
        /// When set, `aud` must be or contain this.
        public var audience: String?
        public init(
            leewaySeconds: Double = 30, requiresExpiry: Bool = true, issuer: String? = nil,
            audience: String? = nil
        ) {
            self.leewaySeconds = leewaySeconds
            self.requiresExpiry = requiresExpiry
            self.issuer = issuer
            self.audience = audience
        }
    }

    private let keys: [JWTKey]
    private let policy: Policy

    /// - Parameter keys: 1...16; their algorithms are the allow-list.
    public init(_ keys: [JWTKey], policy: Policy = Policy()) throws(CryptoError) {
        guard (1...Self.keysMax).contains(keys.count) else {
            throw .invalidKey("a verifier takes 1 to \(Self.keysMax) keys, not \(keys.count)")
        }
        self.keys = keys
        self.policy = policy
    }

    /// Checks signature and times, then decodes the claims.
    ///
    /// - Parameter now: Seconds since 1970.
    public func verify<Claims: Decodable>(
        _ token: String, as: Claims.Type = Claims.self, now: Double
    ) throws(JWTError) -> Claims {
        guard token.utf8.count <= Self.tokenBytesMax else { throw .tooLong(token.utf8.count) }
        let parts = token.split(separator: ".", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 3 else { throw .malformed("three parts are expected") }
        guard let headerBytes = Base64URL.decode(parts[0]), let payload = Base64URL.decode(parts[1]),
            let signature = Base64URL.decode(parts[2])
        else { throw .malformed("not base64url") }
        let header = try Self.decode(Header.self, headerBytes, "header")
        guard header.crit == nil, header.b64 == nil else { throw .criticalExtension }
        if let type = header.typ, !["jwt", "at+jwt"].contains(type.lowercased()) {
            throw .malformed("typ is \(type)")
        }
        let candidates = try self.candidates(header)
        let input = Array(token.utf8.prefix(parts[0].utf8.count + 1 + parts[1].utf8.count))
        let isAuthentic = candidates.contains { key in
            // A failing library counts as a failing signature.
            (try? key.isValid(signature, for: input)) ?? false
        }
        guard isAuthentic else { throw .signatureInvalid }
        try check(Self.decode(RegisteredClaims.self, payload, "claims"), now: now)
        return try Self.decode(Claims.self, payload, "claims")
    }

    private func candidates(_ header: Header) throws(JWTError) -> [JWTKey] {
        let allowed = keys.filter { $0.algorithm.rawValue == header.alg }
        guard !allowed.isEmpty else { throw .algorithmNotAllowed(String(header.alg.prefix(32))) }
        guard let id = header.kid else { return allowed }
        let named = allowed.filter { $0.id == nil || $0.id == id }
        guard !named.isEmpty else { throw .unknownKey(String(id.prefix(64))) }
        return named
    }

    private func check(_ claims: RegisteredClaims, now: Double) throws(JWTError) {
        let leeway = policy.leewaySeconds
        if let expiry = claims.exp {
            guard now < expiry + leeway else { throw .expired(at: expiry) }
        } else if policy.requiresExpiry {
            throw .claimMissing("exp")
        }
        if let start = claims.nbf, now + leeway < start { throw .notYetValid(from: start) }
        if let issued = claims.iat, now + leeway < issued { throw .issuedInFuture(at: issued) }
        if let issuer = policy.issuer {
            guard let claimed = claims.iss else { throw .claimMissing("iss") }
            guard claimed == issuer else { throw .claimMismatch("iss") }
        }
        if let audience = policy.audience {
            guard let claimed = claims.aud else { throw .claimMissing("aud") }
            guard claimed.values.contains(audience) else { throw .claimMismatch("aud") }
        }
    }

    private static func decode<Value: Decodable>(
        _ type: Value.Type, _ bytes: [UInt8], _ what: String
    ) throws(JWTError) -> Value {
        do { return try JSONDecoder().decode(type, from: Data(bytes)) } catch { throw .malformed(what) }
    }
}

/// `jwk`, `jku`, `x5u` and `x5c` are deliberately not read: a token doesn't choose the key it is checked
/// with.
private struct Header: Decodable {
    var alg: String
    var kid: String?
    var typ: String?
    var crit: [String]?
    var b64: Bool?
}

private struct RegisteredClaims: Decodable {
    struct Audience: Decodable {
        var values: [String]
        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let one = try? container.decode(String.self) {
                values = [one]
            } else {
                values = try container.decode([String].self)
            }
        }
    }
    var iss: String?
    var aud: Audience?
    var exp: Double?
    var nbf: Double?
    var iat: Double?
}
