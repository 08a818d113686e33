internal import OpenSSL

public enum SigningKeyKind: Hashable, Sendable {
    /// 2,048 to 8,192 bits in whole bytes.
    case rsa(bits: Int)
    case p256, p384
    case ed25519
}

/// How a message becomes a signature.
public enum SignatureAlgorithm: Hashable, Sendable {
    case rsaPKCS1(HashFunction)
    /// The salt is as long as the hash; MGF1 uses the same hash.
    case rsaPSS(HashFunction)
    /// r ‖ s, the form of JOSE and WebCrypto (not DER).
    case ecdsa(HashFunction)
    case ed25519

    var scheme: SignatureScheme {
        switch self {
        case .rsaPKCS1(let function): .rsaPKCS1(function.algorithm)
        case .rsaPSS(let function): .rsaPSS(function.algorithm)
        case .ecdsa(let function): .ecdsa(function.algorithm)
        case .ed25519: .ed25519
        }
    }
}

/// A key pair. Prints itself redacted.
public struct SigningKey: Sendable, CustomStringConvertible, CustomReflectable {
    let key: AsymmetricKey
    public let publicKey: VerificationKey

    init(_ key: AsymmetricKey) throws(CryptoError) {
        self.key = key
        publicKey = VerificationKey(try translating { () throws(OpenSSLError) in try key.publicKey() })
    }

    /// A fresh pair, made off the event loop (RSA takes from 50 ms to seconds).
    public static func generate(_ kind: SigningKeyKind) async throws(CryptoError) -> SigningKey {
        let result: Result<AsymmetricKey, OpenSSLError> = await offLoop {
            Result { () throws(OpenSSLError) in try AsymmetricKey.generate(kind.kind) }
        }
        return try SigningKey(try translating { () throws(OpenSSLError) in try result.get() })
    }

    /// Reads PKCS #8, PKCS #1 or SEC 1, not encrypted, at most 32 KiB.
    public init(pem: String) throws(CryptoError) {
        try self.init(try translating { () throws(OpenSSLError) in try AsymmetricKey(pem: pem, .pair) })
    }

    public init(jwk: JSONWebKey) throws(CryptoError) {
        let components = try jwk.components(.pair)
        try self.init(try translating { () throws(OpenSSLError) in try AsymmetricKey(components) })
    }

    public var kind: SigningKeyKind { SigningKeyKind(key.kind) }

    /// About 1 ms for RSA-2048 and less for the others; the time of an RSA signature grows with the cube
    /// of its bits.
    public func sign(_ message: [UInt8], _ algorithm: SignatureAlgorithm) throws(CryptoError) -> [UInt8] {
        try translating { () throws(OpenSSLError) in try key.sign(message, algorithm.scheme) }
    }

    /// PKCS #8, not encrypted: a secret.
    public func pem() throws(CryptoError) -> String {
        try translating { () throws(OpenSSLError) in try key.pem() }
    }

    /// With the private members: a secret.
    public func jwk(id: String? = nil) throws(CryptoError) -> JSONWebKey {
        JSONWebKey(try translating { () throws(OpenSSLError) in try key.components() }, id: id)
    }

    public var description: String { "SigningKey(\(key.kind), redacted)" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// A public key.
public struct VerificationKey: Sendable, CustomStringConvertible {
    let key: AsymmetricKey

    init(_ key: AsymmetricKey) { self.key = key }

    /// Reads SPKI (`BEGIN PUBLIC KEY`), at most 32 KiB.
    public init(pem: String) throws(CryptoError) {
        key = try translating { () throws(OpenSSLError) in try AsymmetricKey(pem: pem, .publicKey) }
    }

    /// Private members of `jwk` are ignored.
    public init(jwk: JSONWebKey) throws(CryptoError) {
        let components = try jwk.components(.publicKey)
        key = try translating { () throws(OpenSSLError) in try AsymmetricKey(components) }
    }

    public var kind: SigningKeyKind { SigningKeyKind(key.kind) }

    /// - Throws: `.unsupported` when the algorithm is not one for this kind of key. A malformed signature
    ///   is not valid, and no error.
    public func isValid(
        _ signature: [UInt8], for message: [UInt8], _ algorithm: SignatureAlgorithm
    ) throws(CryptoError) -> Bool {
        try translating { () throws(OpenSSLError) in
            try key.isValid(signature, for: message, algorithm.scheme)
        }
    }

    public func pem() throws(CryptoError) -> String {
        try translating { () throws(OpenSSLError) in try key.publicPEM() }
    }

    public func jwk(id: String? = nil) throws(CryptoError) -> JSONWebKey {
        JSONWebKey(try translating { () throws(OpenSSLError) in try key.components() }, id: id)
    }

    public var description: String { "VerificationKey(\(key.kind))" }
}

extension SigningKeyKind {
    var kind: KeyKind {
        switch self {
        case .rsa(let bits): .rsa(bits: bits)
        case .p256: .p256
        case .p384: .p384
        case .ed25519: .ed25519
        }
    }

    init(_ kind: KeyKind) {
        self =
            switch kind {
            case .rsa(let bits): .rsa(bits: bits)
            case .p256: .p256
            case .p384: .p384
            case .ed25519: .ed25519
            }
    }
}
