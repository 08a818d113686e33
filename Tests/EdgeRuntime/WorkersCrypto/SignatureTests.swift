import Testing
import WorkersCrypto

/// The keys of RFC 7515 appendix A.2 and A.3 and of RFC 8037 appendix A.1.
enum PublishedKeys {
    static var rsa: JSONWebKey {
        var key = JSONWebKey(kty: "RSA")
        key.n =
            "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
        key.e = "AQAB"
        key.d =
            "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ"
        key.p =
            "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc"
        key.q =
            "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc"
        key.dp =
            "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0"
        key.dq =
            "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU"
        key.qi =
            "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U"
        return key
    }

    static var p256: JSONWebKey {
        var key = JSONWebKey(kty: "EC")
        key.crv = "P-256"
        key.x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
        key.y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
        key.d = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
        return key
    }

    static var ed25519: JSONWebKey {
        var key = JSONWebKey(kty: "OKP")
        key.crv = "Ed25519"
        key.x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        key.d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
        return key
    }
}

@Suite struct `Signatures` {
    static let cases: [(SigningKeyKind, SignatureAlgorithm)] = [
        (.rsa(bits: 2048), .rsaPKCS1(.sha256)), (.rsa(bits: 2048), .rsaPSS(.sha512)),
        (.p256, .ecdsa(.sha256)), (.p384, .ecdsa(.sha384)), (.ed25519, .ed25519),
    ]
    private let message = Array("what is signed".utf8)

    @Test(arguments: cases) func `verify, and nothing else does`(
        kind: SigningKeyKind, algorithm: SignatureAlgorithm
    ) async throws {
        let pair = try await SigningKey.generate(kind)
        #expect(pair.kind == kind)
        let signature = try pair.sign(message, algorithm)
        #expect(try pair.publicKey.isValid(signature, for: message, algorithm))
        #expect(try !pair.publicKey.isValid(signature, for: message + [0], algorithm))
        #expect(try !pair.publicKey.isValid(signature.dropLast(), for: message, algorithm))
        #expect(try !pair.publicKey.isValid(signature + [0], for: message, algorithm))
        #expect(try !pair.publicKey.isValid([], for: message, algorithm))
        for position in [0, signature.count / 2, signature.count - 1] {
            var changed = signature
            changed[position] ^= 1
            #expect(try !pair.publicKey.isValid(changed, for: message, algorithm))
        }
        let other = try await SigningKey.generate(kind == .rsa(bits: 2048) ? .rsa(bits: 2048) : kind)
        #expect(try !other.publicKey.isValid(signature, for: message, algorithm))
    }

    @Test(arguments: cases) func `survive export and import of their keys`(
        kind: SigningKeyKind, algorithm: SignatureAlgorithm
    ) async throws {
        let pair = try await SigningKey.generate(kind)
        let signature = try pair.sign(message, algorithm)
        for copy in [try SigningKey(pem: pair.pem()), try SigningKey(jwk: pair.jwk())] {
            #expect(try copy.jwk() == pair.jwk())
            #expect(try pair.publicKey.isValid(copy.sign(message, algorithm), for: message, algorithm))
        }
        let publicJWK = try #require(try pair.jwk().publicPart)
        #expect(publicJWK.d == nil)
        #expect(try publicJWK == pair.publicKey.jwk())
        for copy in [
            try VerificationKey(pem: pair.publicKey.pem()), try VerificationKey(jwk: publicJWK),
        ] {
            #expect(try copy.isValid(signature, for: message, algorithm))
        }
        #expect(throws: CryptoError.self) { try SigningKey(jwk: publicJWK) }
        #expect(throws: CryptoError.self) { try SigningKey(pem: pair.publicKey.pem()) }
        #expect(throws: CryptoError.self) { try VerificationKey(pem: pair.pem()) }
    }

    @Test func `match RFC 8037 for Ed25519`() throws {
        let pair = try SigningKey(jwk: PublishedKeys.ed25519)
        let input = Array("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".utf8)
        #expect(
            Base64URL.encode(try pair.sign(input, .ed25519))
                == "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
        #expect(try pair.jwk().thumbprint() == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
    }

    @Test func `refuse a scheme of another kind of key`() throws {
        let pair = try SigningKey(jwk: PublishedKeys.p256)
        #expect(throws: CryptoError.self) { try pair.sign([1], .rsaPKCS1(.sha256)) }
        #expect(throws: CryptoError.self) { try pair.publicKey.isValid([1], for: [1], .ed25519) }
    }
}

@Suite struct `Key import` {
    @Test func `refuses a point off the curve`() {
        var key = PublishedKeys.p256
        key.y = key.x
        #expect(throws: CryptoError.self) { try VerificationKey(jwk: key) }
    }

    @Test func `refuses a private part that is not the public part's`() {
        var mixed = PublishedKeys.p256
        mixed.d = Base64URL.encode([UInt8](repeating: 1, count: 32))
        #expect(throws: CryptoError.self) { try SigningKey(jwk: mixed) }
        var okp = PublishedKeys.ed25519
        okp.d = Base64URL.encode([UInt8](repeating: 1, count: 32))
        #expect(throws: CryptoError.self) { try SigningKey(jwk: okp) }
        var rsa = PublishedKeys.rsa
        // One wrong CRT number alone does no harm: libcrypto checks the result and falls back to d.
        rsa.dp = rsa.dq
        rsa.d = rsa.p
        #expect(throws: CryptoError.self) { try SigningKey(jwk: rsa) }
    }

    @Test func `refuses missing, overlong and misspelt members`() {
        for change: (inout JSONWebKey) -> Void in [
            { $0.d = nil }, { $0.x = nil }, { $0.x = "AA" }, { $0.x = "****" }, { $0.crv = "P-521" },
            { $0.crv = nil }, { $0.kty = "oct" }, { $0.y = String(repeating: "A", count: 4000) },
            { $0.d = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI=" },
        ] {
            var key = PublishedKeys.p256
            change(&key)
            #expect(throws: CryptoError.self) { try SigningKey(jwk: key) }
        }
    }

    @Test func `refuses small RSA keys and large exponents`() async {
        await #expect(throws: CryptoError.self) { try await SigningKey.generate(.rsa(bits: 1024)) }
        await #expect(throws: CryptoError.self) { try await SigningKey.generate(.rsa(bits: 16384)) }
        var small = PublishedKeys.rsa
        small.n = small.p
        #expect(throws: CryptoError.self) { try VerificationKey(jwk: small) }
        var large = PublishedKeys.rsa
        large.e = large.q
        #expect(throws: CryptoError.self) { try VerificationKey(jwk: large) }
    }

    @Test(arguments: ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "hello"])
    func `refuses broken PEM`(pem: String) {
        #expect(throws: CryptoError.self) { try SigningKey(pem: pem) }
        #expect(throws: CryptoError.self) { try VerificationKey(pem: pem) }
        #expect(throws: CryptoError.self) {
            try SigningKey(pem: pem + String(repeating: "x", count: 40_000))
        }
    }

    /// Made with `openssl genpkey -algorithm ed25519 -aes-256-cbc -pass pass:x`.
    @Test func `refuses an encrypted key without asking on the terminal`() {
        let pem = """
            -----BEGIN ENCRYPTED PRIVATE KEY-----
            MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjwJ3C09nJZtgICCAAw
            DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEEGvb3piD42TWZDnOx4bjB4EQAN3
            71mgi0TC8LgR+I7TMq8Wj1zOSCuS3Eldu9H/7bQDAyRTCWZPUbEsmXCpdASf1sJM
            fyjaW5MJcNEVOxActn4=
            -----END ENCRYPTED PRIVATE KEY-----
            """
        #expect(throws: CryptoError.self) { try SigningKey(pem: pem) }
    }
}
