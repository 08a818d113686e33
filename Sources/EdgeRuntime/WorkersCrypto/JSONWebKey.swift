internal import OpenSSL

/// A key as JSON (RFC 7517, RFC 7518 §6, RFC 8037 §2). With private members it is a secret; it prints
/// itself without them.
public struct JSONWebKey: Codable, Equatable, Sendable, CustomStringConvertible, CustomReflectable {
    /// `RSA`, `EC`, `OKP` or `oct`.
    public var kty: String
    public var kid: String?
    public var use: String?
    public var alg: String?
    public var crv: String?
    public var x: String?
    public var y: String?
    public var n: String?
    public var e: String?
    // Private members.
    public var d: String?
    public var p: String?
    public var q: String?
    public var dp: String?
    public var dq: String?
    public var qi: String?
    public var k: String?

    public init(kty: String) { self.kty = kty }

    public var description: String {
        let isPrivate = d != nil || k != nil
        return "JSONWebKey(\(kty)\(crv.map { " \($0)" } ?? "")\(isPrivate ? ", redacted" : ""))"
    }
    public var customMirror: Mirror { Mirror(self, children: []) }

    /// The same without its private members, fit for publishing. `nil` for `oct`, which is private
    /// altogether.
    public var publicPart: JSONWebKey? {
        guard kty != "oct" else { return nil }
        var key = self
        (key.d, key.p, key.q, key.dp, key.dq, key.qi, key.k) = (nil, nil, nil, nil, nil, nil, nil)
        return key
    }

    /// The key's SHA-256 thumbprint in base64url (RFC 7638), a good `kid`.
    public func thumbprint() throws(CryptoError) -> String {
        let members: [(String, String?)] =
            switch kty {
            case "RSA": [("e", e), ("kty", kty), ("n", n)]
            case "EC": [("crv", crv), ("kty", kty), ("x", x), ("y", y)]
            case "OKP": [("crv", crv), ("kty", kty), ("x", x)]
            case "oct": [("k", k), ("kty", kty)]
            default: throw .unsupported("JWK kty \(kty)")
            }
        var parts: [String] = []
        for (name, value) in members {
            guard let value, value.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C })
            else {
                throw .invalidKey("JWK member \(name) is missing or malformed")
            }
            parts.append("\"\(name)\":\"\(value)\"")
        }
        return Base64URL.encode(HashFunction.sha256.hash("{" + parts.joined(separator: ",") + "}"))
    }

    /// The key of an `oct` JWK.
    public func symmetricKey() throws(CryptoError) -> SymmetricKey {
        guard kty == "oct" else { throw .invalidKey("JWK kty \(kty) is not oct") }
        return SymmetricKey(try member("k", k))
    }

    public init(_ key: SymmetricKey, id: String? = nil) {
        kty = "oct"
        k = Base64URL.encode(key.bytes)
        kid = id
    }

    init(_ components: KeyComponents, id: String?) {
        kid = id
        switch components {
        case .rsa(let publicPart, let privatePart):
            kty = "RSA"
            n = Base64URL.encode(publicPart.modulus)
            e = Base64URL.encode(publicPart.exponent)
            d = privatePart.map { Base64URL.encode($0.exponent) }
            p = privatePart.map { Base64URL.encode($0.primes.first) }
            q = privatePart.map { Base64URL.encode($0.primes.second) }
            dp = privatePart.map { Base64URL.encode($0.exponents.first) }
            dq = privatePart.map { Base64URL.encode($0.exponents.second) }
            qi = privatePart.map { Base64URL.encode($0.coefficient) }
        case .elliptic(let kind, let x, let y, let scalar):
            kty = "EC"
            crv = kind.description
            self.x = Base64URL.encode(x)
            self.y = Base64URL.encode(y)
            d = scalar.map(Base64URL.encode)
        case .ed25519(let publicKey, let seed):
            kty = "OKP"
            crv = "Ed25519"
            x = publicKey.map(Base64URL.encode)
            d = seed.map(Base64URL.encode)
        }
    }

    func components(_ part: AsymmetricKey.Part) throws(CryptoError) -> KeyComponents {
        switch (kty, crv) {
        case ("RSA", _):
            let publicPart = KeyComponents.RSAPublic(
                modulus: try member("n", n), exponent: try member("e", e))
            guard part == .pair else { return .rsa(publicPart, nil) }
            return .rsa(
                publicPart,
                KeyComponents.RSAPrivate(
                    exponent: try member("d", d), primes: (try member("p", p), try member("q", q)),
                    exponents: (try member("dp", dp), try member("dq", dq)),
                    coefficient: try member("qi", qi)))
        case ("EC", "P-256"), ("EC", "P-384"):
            return .elliptic(
                crv == "P-256" ? .p256 : .p384, x: try member("x", x), y: try member("y", y),
                scalar: part == .pair ? try member("d", d) : nil)
        case ("OKP", "Ed25519"):
            return .ed25519(
                publicKey: try member("x", x), seed: part == .pair ? try member("d", d) : nil)
        default: throw .unsupported("JWK kty \(kty)\(crv.map { " crv \($0)" } ?? "")")
        }
    }

    private func member(_ name: String, _ value: String?) throws(CryptoError) -> [UInt8] {
        guard let value else { throw .invalidKey("JWK member \(name) is missing") }
        // An RSA-8192 number has 1,366 characters.
        guard value.utf8.count <= 2048, let bytes = Base64URL.decode(value), !bytes.isEmpty else {
            throw .invalidKey("JWK member \(name) is not base64url")
        }
        return bytes
    }
}

/// `{"keys":[…]}`, as published at a `jwks_uri`.
public struct JSONWebKeySet: Codable, Equatable, Sendable {
    public var keys: [JSONWebKey]
    public init(keys: [JSONWebKey]) { self.keys = keys }
}
