import Testing
import WorkersCrypto

private struct Claims: Codable, Equatable {
    var sub: String?
    var exp: Double?
    var nbf: Double?
    var iat: Double?
    var iss: String?
    var aud: [String]?
}

@Suite struct `A JWT verifier` {
    private static let secret = SymmetricKey(
        "an HMAC secret that is at least 64 bytes long, for HS512 as well.")
    private static let now = 1_800_000_000.0

    private static func sign(_ claims: some Encodable, _ key: JWTKey) throws -> String {
        try JWTSigner(key).sign(claims)
    }

    @Test func `accepts the example of RFC 7515 A 1 before its expiry`() throws {
        struct Example: Decodable { var iss: String }
        var jwk = JSONWebKey(kty: "oct")
        jwk.k = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
        let verifier = try JWTVerifier([JWTKey(jwk.symmetricKey())])
        let token =
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
            + "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
            + "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        #expect(try verifier.verify(token, as: Example.self, now: 1_300_819_379).iss == "joe")
        #expect(throws: JWTError.expired(at: 1_300_819_380)) {
            try verifier.verify(token, as: Example.self, now: 1_300_819_380 + 30)
        }
    }

    static let published: [(JWTAlgorithm, JSONWebKey, String)] = [
        (
            .rs256, PublishedKeys.rsa,
            "eyJhbGciOiJSUzI1NiJ9."
                + "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
                + "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5"
                + "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07"
                + "Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI"
                + "8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
        ),
        (
            .es256, PublishedKeys.p256,
            "eyJhbGciOiJFUzI1NiJ9."
                + "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
                + "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        ),
    ]

    @Test(arguments: published) func `accepts the examples of RFC 7515 A 2 and A 3`(
        algorithm: JWTAlgorithm, jwk: JSONWebKey, token: String
    ) throws {
        let verifier = try JWTVerifier([JWTKey(VerificationKey(jwk: jwk), algorithm)])
        #expect(try verifier.verify(token, as: Claims.self, now: 1_300_000_000).iss == "joe")
        let tampered = token.replacing("eyJpc3MiOiJqb2Ui", with: "eyJpc3MiOiJqb2Uh")
        #expect(throws: JWTError.self) {
            try verifier.verify(tampered, as: Claims.self, now: 1_300_000_000)
        }
    }

    @Test(arguments: JWTAlgorithm.allCases) func `accepts what a signer of the same key made`(
        algorithm: JWTAlgorithm
    ) async throws {
        let key = try await Self.key(algorithm, id: "k1")
        let claims = Claims(sub: "u", exp: Self.now + 60, iat: Self.now)
        let token = try Self.sign(claims, key)
        let verifier = try JWTVerifier([key])
        #expect(try verifier.verify(token, as: Claims.self, now: Self.now) == claims)
        // Every other algorithm refuses it before looking at the signature.
        for other in JWTAlgorithm.allCases where other != algorithm {
            let verifier = try JWTVerifier([try await Self.key(other, id: "k1")])
            #expect(throws: JWTError.algorithmNotAllowed(algorithm.rawValue)) {
                try verifier.verify(token, as: Claims.self, now: Self.now)
            }
        }
        // Each character of the signature counts.
        var characters = Array(token)
        characters[characters.count - 5] = characters[characters.count - 5] == "A" ? "B" : "A"
        #expect(throws: JWTError.signatureInvalid) {
            try verifier.verify(String(characters), as: Claims.self, now: Self.now)
        }
    }

    private static func key(_ algorithm: JWTAlgorithm, id: String? = nil) async throws -> JWTKey {
        switch algorithm {
        case .hs256, .hs384, .hs512: try JWTKey(secret, algorithm, id: id)
        case .rs256, .ps256: try JWTKey(SigningKey(jwk: PublishedKeys.rsa), algorithm, id: id)
        case .es256: try JWTKey(SigningKey(jwk: PublishedKeys.p256), algorithm, id: id)
        case .edDSA: try JWTKey(SigningKey(jwk: PublishedKeys.ed25519), algorithm, id: id)
        }
    }

    @Test func `is not confused by an HMAC made with the public key`() throws {
        let publicKey = try SigningKey(jwk: PublishedKeys.rsa).publicKey
        let pem = try publicKey.pem()
        let claims = Claims(sub: "admin", exp: Self.now + 60)
        let input =
            Base64URL.encode(Array(#"{"alg":"HS256"}"#.utf8)) + "."
            + Base64URL.encode(Array(#"{"sub":"admin","exp":\#(Int(Self.now) + 60)}"#.utf8))
        let forged =
            input + "." + Base64URL.encode(HMAC.authenticate(Array(input.utf8), key: SymmetricKey(pem)))
        let verifier = try JWTVerifier([JWTKey(publicKey, .rs256)])
        #expect(throws: JWTError.algorithmNotAllowed("HS256")) {
            try verifier.verify(forged, as: Claims.self, now: Self.now)
        }
        // Nor can somebody make that key by mistake.
        #expect(throws: CryptoError.self) { try JWTKey(SymmetricKey(pem)) }
        _ = claims
    }

    @Test(arguments: ["none", "None", "NONE", "nOnE", "", "HS255"]) func `refuses the algorithm`(name: String)
        throws
    {
        let verifier = try JWTVerifier([JWTKey(Self.secret)])
        for signature in ["", "AA"] {
            let token =
                Base64URL.encode(Array(#"{"alg":"\#(name)"}"#.utf8)) + "."
                + Base64URL.encode(Array(#"{"exp":99999999999}"#.utf8)) + "." + signature
            #expect(throws: JWTError.algorithmNotAllowed(name)) {
                try verifier.verify(token, as: Claims.self, now: Self.now)
            }
        }
    }

    @Test(arguments: ["", ".", "..", "a.b", "a.b.c.d", "....", "é.é.é", "e30.e30.e30", "e30=.e30.AA"])
    func `refuses malformed`(token: String) throws {
        let verifier = try JWTVerifier([JWTKey(Self.secret)])
        #expect(throws: JWTError.self) { try verifier.verify(token, as: Claims.self, now: Self.now) }
    }

    @Test func `refuses overlong tokens unread`() throws {
        let verifier = try JWTVerifier([JWTKey(Self.secret)])
        let token = String(repeating: "a", count: JWTVerifier.tokenBytesMax + 1)
        #expect(throws: JWTError.tooLong(JWTVerifier.tokenBytesMax + 1)) {
            try verifier.verify(token, as: Claims.self, now: Self.now)
        }
    }

    @Test func `refuses extensions that must be understood, and other types`() throws {
        let verifier = try JWTVerifier([JWTKey(Self.secret)])
        for (header, error) in [
            (#"{"alg":"HS256","crit":["exp"]}"#, JWTError.criticalExtension),
            (#"{"alg":"HS256","b64":false}"#, .criticalExtension),
            (#"{"alg":"HS256","typ":"JWE"}"#, .malformed("typ is JWE")),
            (#"{"typ":"JWT"}"#, .malformed("header")),
            (#"["HS256"]"#, .malformed("header")),
            (#"{"alg":"HS256","kid":7}"#, .malformed("header")),
        ] {
            let input =
                Base64URL.encode(Array(header.utf8)) + "."
                + Base64URL.encode(Array(#"{"exp":99999999999}"#.utf8))
            let token = input + "." + Base64URL.encode(HMAC.authenticate(Array(input.utf8), key: Self.secret))
            #expect(throws: error) { try verifier.verify(token, as: Claims.self, now: Self.now) }
        }
    }

    @Test func `takes exp, nbf and iat to the second, with leeway`() throws {
        let key = try JWTKey(Self.secret)
        let verifier = try JWTVerifier([key], policy: .init(leewaySeconds: 10))
        let now = Self.now
        func verify(_ claims: Claims) throws {
            _ = try verifier.verify(Self.sign(claims, key), as: Claims.self, now: now)
        }
        try verify(Claims(exp: now - 9))
        #expect(throws: JWTError.expired(at: now - 10)) { try verify(Claims(exp: now - 10)) }
        try verify(Claims(exp: now + 1, nbf: now + 10))
        #expect(throws: JWTError.notYetValid(from: now + 11)) {
            try verify(Claims(exp: now + 1, nbf: now + 11))
        }
        try verify(Claims(exp: now + 1, iat: now + 10))
        #expect(throws: JWTError.issuedInFuture(at: now + 11)) {
            try verify(Claims(exp: now + 1, iat: now + 11))
        }
        #expect(throws: JWTError.claimMissing("exp")) { try verify(Claims(sub: "u")) }
        let eternal = try JWTVerifier([key], policy: .init(requiresExpiry: false))
        #expect(try eternal.verify(Self.sign(Claims(sub: "u"), key), as: Claims.self, now: now).sub == "u")
    }

    @Test func `compares issuer and audience when asked to`() throws {
        let key = try JWTKey(Self.secret)
        let verifier = try JWTVerifier([key], policy: .init(issuer: "edge", audience: "api"))
        let now = Self.now
        func verify(_ claims: Claims) throws {
            _ = try verifier.verify(Self.sign(claims, key), as: Claims.self, now: now)
        }
        try verify(Claims(exp: now + 1, iss: "edge", aud: ["other", "api"]))
        #expect(throws: JWTError.claimMissing("iss")) { try verify(Claims(exp: now + 1, aud: ["api"])) }
        #expect(throws: JWTError.claimMismatch("iss")) {
            try verify(Claims(exp: now + 1, iss: "x", aud: ["api"]))
        }
        #expect(throws: JWTError.claimMissing("aud")) { try verify(Claims(exp: now + 1, iss: "edge")) }
        #expect(throws: JWTError.claimMismatch("aud")) {
            try verify(Claims(exp: now + 1, iss: "edge", aud: ["x"]))
        }
        struct OneAudience: Encodable {
            var exp: Double
            var iss = "edge"
            var aud = "api"
        }
        _ = try verifier.verify(Self.sign(OneAudience(exp: now + 1), key), as: OneClaims.self, now: now)
    }
    private struct OneClaims: Decodable { var aud: String }

    @Test func `chooses the key by its id, during a rotation`() throws {
        let old = try JWTKey(Self.secret, id: "2025")
        let new = try JWTKey(SymmetricKey("another secret of at least 32 bytes!"), id: "2026")
        let verifier = try JWTVerifier([old, new])
        let claims = Claims(sub: "u", exp: Self.now + 60)
        for key in [old, new] {
            #expect(try verifier.verify(Self.sign(claims, key), as: Claims.self, now: Self.now).sub == "u")
        }
        // The id of one key with the secret of the other.
        let mixed = try JWTKey(SymmetricKey("another secret of at least 32 bytes!"), id: "2025")
        #expect(throws: JWTError.signatureInvalid) {
            try verifier.verify(Self.sign(claims, mixed), as: Claims.self, now: Self.now)
        }
        let unknown = try JWTKey(Self.secret, id: "2024\"x")
        #expect(throws: JWTError.unknownKey("2024\"x")) {
            try verifier.verify(Self.sign(claims, unknown), as: Claims.self, now: Self.now)
        }
        #expect(throws: CryptoError.self) { try JWTVerifier([]) }
        #expect(throws: CryptoError.self) { try JWTVerifier(Array(repeating: old, count: 17)) }
    }

    @Test func `has keys that suit their algorithm alone`() throws {
        #expect(throws: CryptoError.self) { try JWTKey(SymmetricKey("short"), .hs256) }
        #expect(throws: CryptoError.self) { try JWTKey(.random(byteCount: 32), .hs512) }
        #expect(throws: CryptoError.self) { try JWTKey(.random(byteCount: 64), .rs256) }
        #expect(throws: CryptoError.self) { try JWTKey(SigningKey(jwk: PublishedKeys.p256), .rs256) }
        #expect(throws: CryptoError.self) { try JWTKey(SigningKey(jwk: PublishedKeys.p256), .hs256) }
        let publicOnly = try JWTKey(SigningKey(jwk: PublishedKeys.p256).publicKey, .es256)
        #expect(throws: CryptoError.self) { try JWTSigner(publicOnly).sign(Claims(sub: "u")) }
    }
}
