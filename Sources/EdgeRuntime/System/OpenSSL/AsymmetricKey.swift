/// What a key can be. Anything else is refused at import.
package enum KeyKind: Hashable, Sendable, CustomStringConvertible {
    case rsa(bits: Int)
    case p256, p384
    case ed25519

    /// Below 2,048 RSA is too weak (RFC 7518 §3.3), above 8,192 one signature would hold a core for too
    /// long.
    package static let rsaBits = 2048...8192

    package var description: String {
        switch self {
        case .rsa(let bits): "RSA-\(bits)"
        case .p256: "P-256"
        case .p384: "P-384"
        case .ed25519: "Ed25519"
        }
    }

    /// Bytes of one coordinate or scalar.
    var fieldByteCount: Int {
        switch self {
        case .rsa(let bits): (bits + 7) / 8
        case .p256, .ed25519: 32
        case .p384: 48
        }
    }

    /// OpenSSL's name of the curve.
    var group: String? {
        switch self {
        case .p256: "prime256v1"
        case .p384: "secp384r1"
        case .rsa, .ed25519: nil
        }
    }
}

/// How a message becomes a signature.
package enum SignatureScheme: Hashable, Sendable {
    case rsaPKCS1(Digest.Algorithm)
    /// The salt is as long as the digest, MGF1 uses the same digest (RFC 7518 §3.5).
    case rsaPSS(Digest.Algorithm)
    /// The signature is r ‖ s, each as long as a coordinate (RFC 7518 §3.4).
    case ecdsa(Digest.Algorithm)
    case ed25519

    var digest: Digest.Algorithm? {
        switch self {
        case .rsaPKCS1(let digest), .rsaPSS(let digest), .ecdsa(let digest): digest
        case .ed25519: nil
        }
    }

    func suits(_ kind: KeyKind) -> Bool {
        switch (self, kind) {
        case (.rsaPKCS1, .rsa), (.rsaPSS, .rsa), (.ecdsa, .p256), (.ecdsa, .p384), (.ed25519, .ed25519): true
        default: false
        }
    }
}

/// A key as numbers, big-endian: what JWK (RFC 7518 §6) spells in base64url.
package enum KeyComponents: Sendable {
    package struct RSAPublic: Equatable, Sendable {
        package var modulus: [UInt8]
        package var exponent: [UInt8]
        package init(modulus: [UInt8], exponent: [UInt8]) {
            self.modulus = modulus
            self.exponent = exponent
        }
    }

    package struct RSAPrivate: Equatable, Sendable {
        package var exponent: [UInt8]
        package var primes: (first: [UInt8], second: [UInt8])
        package var exponents: (first: [UInt8], second: [UInt8])
        package var coefficient: [UInt8]

        package init(
            exponent: [UInt8], primes: (first: [UInt8], second: [UInt8]),
            exponents: (first: [UInt8], second: [UInt8]), coefficient: [UInt8]
        ) {
            self.exponent = exponent
            self.primes = primes
            self.exponents = exponents
            self.coefficient = coefficient
        }

        package static func == (left: Self, right: Self) -> Bool {
            left.exponent == right.exponent && left.primes == right.primes
                && left.exponents == right.exponents && left.coefficient == right.coefficient
        }
    }

    case rsa(RSAPublic, RSAPrivate?)
    /// `kind` is `.p256` or `.p384`; x, y and the scalar have the curve's length.
    case elliptic(KeyKind, x: [UInt8], y: [UInt8], scalar: [UInt8]?)
    /// The public key may be left out when the seed is there.
    case ed25519(publicKey: [UInt8]?, seed: [UInt8]?)
}
