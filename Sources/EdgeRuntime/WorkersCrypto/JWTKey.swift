/// The signature algorithms of RFC 7518 §3 and RFC 8037 §3.1 that are offered. `none` is not one of them.
public enum JWTAlgorithm: String, Sendable, CaseIterable, Codable {
    case hs256 = "HS256"
    case hs384 = "HS384"
    case hs512 = "HS512"
    case rs256 = "RS256"
    case ps256 = "PS256"
    case es256 = "ES256"
    case edDSA = "EdDSA"

    /// `nil` for the algorithms with a shared secret.
    var signature: SignatureAlgorithm? {
        switch self {
        case .hs256, .hs384, .hs512: nil
        case .rs256: .rsaPKCS1(.sha256)
        case .ps256: .rsaPSS(.sha256)
        case .es256: .ecdsa(.sha256)
        case .edDSA: .ed25519
        }
    }

    var hash: HashFunction {
        switch self {
        case .hs256, .rs256, .ps256, .es256: .sha256
        case .hs384: .sha384
        case .hs512, .edDSA: .sha512
        }
    }
}

/// A key together with the one algorithm that it is used with.
///
/// The algorithm belongs to the key and not to the token: a token that names another algorithm than its
/// key's is refused before any computation, so a public key can never be taken for an HMAC secret (RFC
/// 8725 §3.1).
public struct JWTKey: Sendable, CustomStringConvertible, CustomReflectable {
    enum Material: Sendable {
        case secret(SymmetricKey)
        case pair(SigningKey)
        case publicKey(VerificationKey)
    }

    public let algorithm: JWTAlgorithm
    /// The `kid` that tokens name it by.
    public let id: String?
    let material: Material

    /// A shared secret, at least as long as the hash (RFC 7518 §3.2): 32, 48 or 64 bytes.
    public init(
        _ secret: SymmetricKey, _ algorithm: JWTAlgorithm = .hs256, id: String? = nil
    ) throws(CryptoError) {
        guard algorithm.signature == nil else { throw .unsupported("\(algorithm.rawValue) with a secret") }
        guard secret.byteCount >= algorithm.hash.byteCount else {
            throw .invalidKey(
                "\(algorithm.rawValue) needs a secret of at least \(algorithm.hash.byteCount) bytes, "
                    + "not \(secret.byteCount)")
        }
        // A PEM text is somebody's public key that came to the wrong place.
        guard !secret.bytes.starts(with: "-----BEGIN".utf8) else {
            throw .invalidKey("a PEM key is not an HMAC secret")
        }
        self.algorithm = algorithm
        self.id = id
        material = .secret(secret)
    }

    /// Signs and verifies.
    public init(_ pair: SigningKey, _ algorithm: JWTAlgorithm, id: String? = nil) throws(CryptoError) {
        try Self.check(pair.kind, algorithm)
        self.algorithm = algorithm
        self.id = id
        material = .pair(pair)
    }

    /// Verifies.
    public init(_ publicKey: VerificationKey, _ algorithm: JWTAlgorithm, id: String? = nil)
        throws(CryptoError)
    {
        try Self.check(publicKey.kind, algorithm)
        self.algorithm = algorithm
        self.id = id
        material = .publicKey(publicKey)
    }

    private static func check(_ kind: SigningKeyKind, _ algorithm: JWTAlgorithm) throws(CryptoError) {
        switch (algorithm, kind) {
        case (.rs256, .rsa), (.ps256, .rsa), (.es256, .p256), (.edDSA, .ed25519): return
        default: throw .unsupported("\(algorithm.rawValue) with a \(kind) key")
        }
    }

    func sign(_ input: [UInt8]) throws(CryptoError) -> [UInt8] {
        switch (material, algorithm.signature) {
        case (.secret(let secret), _): return HMAC.authenticate(input, key: secret, algorithm.hash)
        case (.pair(let pair), let signature?): return try pair.sign(input, signature)
        case (.publicKey, _), (.pair, nil): throw .unsupported("signing with a public key")
        }
    }

    func isValid(_ signature: [UInt8], for input: [UInt8]) throws(CryptoError) -> Bool {
        switch (material, algorithm.signature) {
        case (.secret(let secret), _): HMAC.isValid(signature, for: input, key: secret, algorithm.hash)
        case (.pair(let pair), let scheme?): try pair.publicKey.isValid(signature, for: input, scheme)
        case (.publicKey(let key), let scheme?): try key.isValid(signature, for: input, scheme)
        case (.pair, nil), (.publicKey, nil): false
        }
    }

    public var description: String { "JWTKey(\(algorithm.rawValue)\(id.map { ", \($0)" } ?? ""), redacted)" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
