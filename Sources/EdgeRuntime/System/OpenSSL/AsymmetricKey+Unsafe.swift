internal import COpenSSL

/// An RSA, elliptic-curve or Ed25519 key: a pair, or the public part alone. Immutable, safe on any thread.
@safe package final class AsymmetricKey: @unchecked Sendable, CustomStringConvertible {
    // `@unchecked`: the EVP_PKEY is never changed after init, and such a key may be shared
    // (EVP_PKEY_new(3)).
    package enum Part: Sendable { case pair, publicKey }

    package let kind: KeyKind
    package let part: Part
    let pointer: OpaquePointer

    /// No key material, whatever prints it.
    package var description: String { "\(kind) \(part == .pair ? "key pair" : "public key") (redacted)" }

    deinit { unsafe EVP_PKEY_free(pointer) }

    /// Takes over `pointer`; frees it when it throws.
    private init(owning pointer: OpaquePointer, _ part: Part) throws(OpenSSLError) {
        // SAFETY: the pointer is a key that this object owns from here on. When the check throws, the
        // object isn't complete and deinit doesn't run: the key is freed here.
        unsafe self.pointer = pointer
        self.part = part
        do throws(OpenSSLError) {
            kind = unsafe try Self.kind(of: pointer)
        } catch {
            unsafe EVP_PKEY_free(pointer)
            throw error
        }
    }

    // MARK: Generating

    /// A fresh pair. RSA takes from 50 ms to seconds: never on an event loop.
    package static func generate(_ kind: KeyKind) throws(OpenSSLError) -> AsymmetricKey {
        let pointer: OpaquePointer?
        switch kind {
        case .rsa(let bits):
            guard KeyKind.rsaBits.contains(bits), bits % 8 == 0 else { throw .keyKind("RSA-\(bits)") }
            unsafe pointer = edge_generate_rsa(bits)
        case .p256, .p384:
            guard let group = kind.group else { preconditionFailure("curves have a group") }
            unsafe pointer = edge_generate_ec(group)
        case .ed25519: unsafe pointer = edge_generate_ed25519()
        }
        guard let pointer = unsafe pointer else { throw .take("generate \(kind)") }
        return unsafe try AsymmetricKey(owning: pointer, .pair)
    }

    // MARK: PEM

    /// A certificate chain is larger; a key never is.
    package static let pemBytesMax = 32 << 10

    /// Reads a PKCS #8, PKCS #1 or SEC 1 private key (not encrypted), or an SPKI public key.
    package convenience init(pem: String, _ part: Part) throws(OpenSSLError) {
        let bytes = Array(pem.utf8)
        guard bytes.count <= Self.pemBytesMax else {
            throw .inputTooLong(bytes.count, limit: Self.pemBytesMax)
        }
        // Without a callback of our own the library would ask for a passphrase on the terminal
        // (pem_password_cb(3)).
        let refusePassphrase:
            @convention(c) (UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?)
                -> Int32 = { _, _, _, _ in -1 }
        // SAFETY: the BIO reads `bytes` only inside this closure.
        let pointer = unsafe bytes.withUnsafeBytes { bytes -> OpaquePointer? in
            guard let bio = unsafe BIO_new_mem_buf(bytes.baseAddress, Int32(bytes.count)) else { return nil }
            defer { unsafe BIO_free(bio) }
            return switch part {
            case .pair: unsafe PEM_read_bio_PrivateKey(bio, nil, refusePassphrase, nil)
            case .publicKey: unsafe PEM_read_bio_PUBKEY(bio, nil, refusePassphrase, nil)
            }
        }
        guard let pointer = unsafe pointer else { throw .take("read PEM") }
        unsafe try self.init(owning: pointer, part)
        if part == .pair { try checkConsistency() }
    }

    /// PKCS #8 for a pair, SPKI for a public key.
    package func pem() throws(OpenSSLError) -> String { try write(part) }

    /// SPKI of the public part.
    package func publicPEM() throws(OpenSSLError) -> String { try write(.publicKey) }

    /// The public part alone.
    package func publicKey() throws(OpenSSLError) -> AsymmetricKey {
        try AsymmetricKey(pem: publicPEM(), .publicKey)
    }

    private func write(_ part: Part) throws(OpenSSLError) -> String {
        guard let bio = unsafe BIO_new(BIO_s_mem()) else { throw .take("write PEM") }
        defer { unsafe BIO_free(bio) }
        let written =
            switch part {
            case .pair: unsafe PEM_write_bio_PrivateKey(bio, pointer, nil, nil, 0, nil, nil)
            case .publicKey: unsafe PEM_write_bio_PUBKEY(bio, pointer)
            }
        guard written == 1 else { throw .take("write PEM") }
        var start: UnsafePointer<CChar>?
        let count = unsafe edge_bio_contents(bio, &start)
        // SAFETY: the BIO owns `count` bytes at `start` until it is freed below.
        return unsafe String(
            decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
    }

    // MARK: Components

    package convenience init(_ components: KeyComponents) throws(OpenSSLError) {
        switch components {
        case .rsa(let publicPart, let privatePart):
            // Larger exponents are of no use and make verification slow.
            guard publicPart.exponent.count <= 8 else { throw .keyKind("RSA with a large exponent") }
            var numbers = [("n", publicPart.modulus), ("e", publicPart.exponent)]
            if let privatePart {
                numbers += [
                    ("d", privatePart.exponent),
                    ("rsa-factor1", privatePart.primes.first), ("rsa-factor2", privatePart.primes.second),
                    ("rsa-exponent1", privatePart.exponents.first),
                    ("rsa-exponent2", privatePart.exponents.second),
                    ("rsa-coefficient1", privatePart.coefficient),
                ]
            }
            for (name, number) in numbers
            where number.isEmpty || number.count > KeyKind.rsaBits.upperBound / 8 {
                throw .refused("RSA key", reason: "number \(name) has \(number.count) bytes")
            }
            let part: Part = privatePart == nil ? .publicKey : .pair
            unsafe try self.init(
                owning: Self.make("RSA", part, numbers: numbers, group: nil, point: nil), part)
            if part == .pair { try checkConsistency() }
        case .elliptic(let kind, let x, let y, let scalar):
            guard let group = kind.group else { throw .keyKind("elliptic \(kind)") }
            let length = kind.fieldByteCount
            guard x.count == length, y.count == length, scalar.map({ $0.count == length }) ?? true else {
                throw .refused("\(kind) key", reason: "coordinates have \(length) bytes each")
            }
            let part: Part = scalar == nil ? .publicKey : .pair
            unsafe try self.init(
                owning: Self.make(
                    "EC", part, numbers: scalar.map { [("priv", $0)] } ?? [], group: group,
                    point: [4] + x + y),  // 4: uncompressed (SEC 1 §2.3.3).
                part)
            if part == .pair { try checkConsistency() }
        case .ed25519(let publicKey, let seed):
            let part: Part = seed == nil ? .publicKey : .pair
            guard let raw = seed ?? publicKey, raw.count == 32 else {
                throw .refused("Ed25519 key", reason: "32 bytes are expected")
            }
            // SAFETY: the library copies the 32 bytes it is told about.
            let pointer =
                switch part {
                case .pair: unsafe EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nil, raw, raw.count)
                case .publicKey: unsafe EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, raw, raw.count)
                }
            guard let pointer = unsafe pointer else { throw .take("Ed25519 key") }
            unsafe try self.init(owning: pointer, part)
            if part == .pair, let publicKey {
                guard case .ed25519(let actual, _) = try self.components(), actual == publicKey else {
                    throw .keyInconsistent
                }
            }
        }
    }

    /// The numbers of the key, with the private ones when it is a pair.
    package func components() throws(OpenSSLError) -> KeyComponents {
        switch kind {
        case .rsa:
            let publicPart = KeyComponents.RSAPublic(modulus: try number("n"), exponent: try number("e"))
            guard part == .pair else { return .rsa(publicPart, nil) }
            return .rsa(
                publicPart,
                KeyComponents.RSAPrivate(
                    exponent: try number("d"),
                    primes: (try number("rsa-factor1"), try number("rsa-factor2")),
                    exponents: (try number("rsa-exponent1"), try number("rsa-exponent2")),
                    coefficient: try number("rsa-coefficient1")))
        case .p256, .p384:
            let length = kind.fieldByteCount
            return .elliptic(
                kind, x: try number("qx", paddedTo: length), y: try number("qy", paddedTo: length),
                scalar: part == .pair ? try number("priv", paddedTo: length) : nil)
        case .ed25519:
            var publicKey = [UInt8](repeating: 0, count: 32)
            var seed = [UInt8](repeating: 0, count: 32)
            var length = 32
            // SAFETY: both arrays have the 32 bytes that `length` promises.
            guard unsafe EVP_PKEY_get_raw_public_key(pointer, &publicKey, &length) == 1 else {
                throw .take("Ed25519 key")
            }
            guard part == .pair else { return .ed25519(publicKey: publicKey, seed: nil) }
            length = 32
            guard unsafe EVP_PKEY_get_raw_private_key(pointer, &seed, &length) == 1 else {
                throw .take("Ed25519 key")
            }
            return .ed25519(publicKey: publicKey, seed: seed)
        }
    }

    // MARK: Signing

    package func sign(_ message: [UInt8], _ scheme: SignatureScheme) throws(OpenSSLError) -> [UInt8] {
        guard part == .pair else { throw .keyUse("a public key cannot sign") }
        guard scheme.suits(kind) else { throw .keyUse("a \(kind) key cannot sign with \(scheme)") }
        guard let context = unsafe EVP_MD_CTX_new() else {
            preconditionFailure("libcrypto returns no context only when memory is exhausted")
        }
        defer { unsafe EVP_MD_CTX_free(context) }
        var parameters: OpaquePointer?
        // SAFETY: the parameter context is owned by `context`; the key outlives both.
        guard
            unsafe EVP_DigestSignInit(
                context, &parameters, scheme.digest?.implementation ?? nil, nil, pointer) == 1,
            unsafe Self.choosePadding(scheme, parameters)
        else { throw .take("sign") }
        var length = 0
        guard unsafe EVP_DigestSign(context, nil, &length, message, message.count) == 1 else {
            throw .take("sign")
        }
        var signature = [UInt8](repeating: 0, count: length)
        guard unsafe EVP_DigestSign(context, &signature, &length, message, message.count) == 1 else {
            throw .take("sign")
        }
        signature.removeLast(signature.count - length)
        guard case .ecdsa = scheme else { return signature }
        guard let raw = Self.rawSignature(der: signature, fieldByteCount: kind.fieldByteCount) else {
            throw .take("sign")
        }
        return raw
    }

    /// Whether `signature` belongs to `message`. A malformed one does not.
    package func isValid(
        _ signature: [UInt8], for message: [UInt8], _ scheme: SignatureScheme
    ) throws(OpenSSLError) -> Bool {
        guard scheme.suits(kind) else { throw .keyUse("a \(kind) key cannot verify \(scheme)") }
        var signature = signature
        switch scheme {
        case .ecdsa:
            guard signature.count == 2 * kind.fieldByteCount,
                let der = Self.derSignature(raw: signature, fieldByteCount: kind.fieldByteCount)
            else { return false }
            signature = der
        case .rsaPKCS1, .rsaPSS:
            guard signature.count == kind.fieldByteCount else { return false }
        case .ed25519:
            guard signature.count == 64 else { return false }
        }
        guard let context = unsafe EVP_MD_CTX_new() else {
            preconditionFailure("libcrypto returns no context only when memory is exhausted")
        }
        defer { unsafe EVP_MD_CTX_free(context) }
        var parameters: OpaquePointer?
        // SAFETY: as in `sign`.
        guard
            unsafe EVP_DigestVerifyInit(
                context, &parameters, scheme.digest?.implementation ?? nil, nil, pointer) == 1,
            unsafe Self.choosePadding(scheme, parameters)
        else { throw .take("verify") }
        let result = unsafe EVP_DigestVerify(context, signature, signature.count, message, message.count)
        ERR_clear_error()
        return result == 1
    }

    /// Signs and verifies once: parts that were mixed up, or a faulty number, show here and not in the
    /// first signature that leaks a key.
    private func checkConsistency() throws(OpenSSLError) {
        let scheme: SignatureScheme =
            switch kind {
            case .rsa: .rsaPKCS1(.sha256)
            case .p256, .p384: .ecdsa(.sha256)
            case .ed25519: .ed25519
            }
        let message = Array("pairwise consistency".utf8)
        do throws(OpenSSLError) {
            guard try isValid(sign(message, scheme), for: message, scheme) else { throw .keyInconsistent }
        } catch { throw .keyInconsistent }
    }

    // MARK: The library's side

    private static func kind(of pointer: OpaquePointer) throws(OpenSSLError) -> KeyKind {
        switch unsafe EVP_PKEY_get_base_id(pointer) {
        case EVP_PKEY_RSA:
            let bits = unsafe Int(EVP_PKEY_get_bits(pointer))
            guard KeyKind.rsaBits.contains(bits) else { throw .keyKind("RSA-\(bits)") }
            return .rsa(bits: bits)
        case EVP_PKEY_EC:
            var name = [CChar](repeating: 0, count: 80)
            var length = 0
            // SAFETY: at most 80 bytes are written, NUL included.
            guard unsafe EVP_PKEY_get_utf8_string_param(pointer, "group", &name, name.count, &length) == 1
            else {
                throw .take("EC key")
            }
            let group = String(decoding: name.prefix(length).map(UInt8.init(bitPattern:)), as: UTF8.self)
            switch group {
            case "prime256v1", "P-256": return .p256
            case "secp384r1", "P-384": return .p384
            default: throw .keyKind("EC \(group)")
            }
        case EVP_PKEY_ED25519: return .ed25519
        default: throw .keyKind("these")
        }
    }

    private static func choosePadding(_ scheme: SignatureScheme, _ parameters: OpaquePointer?) -> Bool {
        switch scheme {
        case .rsaPKCS1: unsafe EVP_PKEY_CTX_set_rsa_padding(parameters, EDGE_RSA_PKCS1) > 0
        case .rsaPSS:
            unsafe EVP_PKEY_CTX_set_rsa_padding(parameters, EDGE_RSA_PSS) > 0
                && EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, EDGE_PSS_SALT_AS_DIGEST) > 0
        case .ecdsa, .ed25519: true
        }
    }
}
