import OpenSSL
import Testing
import WorkersCrypto

@Suite struct `HMAC tags` {
    struct Vector: Sendable {
        let key: [UInt8]
        let message: String
        let tags: [HashFunction: String]
    }
    /// RFC 4231, test cases 1, 2 and 6.
    static let vectors = [
        Vector(
            key: Array(repeating: 0x0b, count: 20), message: "Hi There",
            tags: [
                .sha256: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
                .sha384: "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
                    + "faea9ea9076ede7f4af152e8b2fa9cb6",
                .sha512: "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
                    + "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            ]),
        Vector(
            key: Array("Jefe".utf8), message: "what do ya want for nothing?",
            tags: [.sha256: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"]),
        Vector(
            key: Array(repeating: 0xaa, count: 131),
            message: "Test Using Larger Than Block-Size Key - Hash Key First",
            tags: [.sha256: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"]),
    ]

    @Test func `matches RFC 4231`() {
        for vector in Self.vectors {
            for (function, tag) in vector.tags {
                let key = SymmetricKey(vector.key)
                let message = Array(vector.message.utf8)
                #expect(hex(HMAC.authenticate(message, key: key, function)) == tag)
                #expect(HMAC.isValid(bytes(tag), for: message, key: key, function))
                #expect(!HMAC.isValid(bytes(tag).dropLast(), for: message, key: key, function))
                #expect(!HMAC.isValid(bytes(tag), for: message + [0], key: key, function))
            }
        }
    }

    @Test func `takes an empty key and an empty message`() {
        #expect(
            hex(HMAC.authenticate([], key: SymmetricKey([])))
                == "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad")
    }
}

@Suite struct `AES-256-GCM` {
    /// The cases 13, 14 and 16 of McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B.
    static let vectors: [(key: String, nonce: String, text: String, data: String, cipher: String, tag: String)] = [
        (
            String(repeating: "00", count: 32), String(repeating: "00", count: 12), "", "", "",
            "530f8afbc74536b9a963b4f1c4cb738b"
        ),
        (
            String(repeating: "00", count: 32), String(repeating: "00", count: 12),
            String(repeating: "00", count: 16), "", "cea7403d4d606b6e074ec5d3baf39d18",
            "d0d1c8a799996bf0265b98b5d48ab919"
        ),
        (
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            "cafebabefacedbaddecaf888",
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                + "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
            "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
                + "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b"
        ),
    ]

    @Test func `matches the published vectors both ways`() throws {
        for vector in Self.vectors {
            let sealed = try AuthenticatedCipher.seal(
                bytes(vector.text), key: bytes(vector.key), nonce: bytes(vector.nonce),
                authenticating: bytes(vector.data))
            #expect(hex(sealed.ciphertext) == vector.cipher)
            #expect(hex(sealed.tag) == vector.tag)
            let box = bytes(vector.nonce) + sealed.ciphertext + sealed.tag
            let opened = try AESGCM.open(
                box, key: SymmetricKey(bytes(vector.key)), context: bytes(vector.data))
            #expect(hex(opened) == vector.text)
        }
    }

    @Test func `refuses every single changed bit`() throws {
        let key = SymmetricKey.random()
        let box = try AESGCM.seal(Array("attack at dawn".utf8), key: key, context: [1])
        for bit in 0..<(box.count * 8) {
            var changed = box
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: CryptoError.authenticationFailed) {
                try AESGCM.open(changed, key: key, context: [1])
            }
        }
    }

    @Test func `refuses another context, another key and a short box`() throws {
        let key = SymmetricKey.random()
        let box = try AESGCM.seal([1, 2, 3], key: key, context: [1])
        #expect(throws: CryptoError.authenticationFailed) { try AESGCM.open(box, key: key, context: [2]) }
        #expect(throws: CryptoError.authenticationFailed) { try AESGCM.open(box, key: key) }
        #expect(throws: CryptoError.authenticationFailed) {
            try AESGCM.open(box, key: .random(), context: [1])
        }
        #expect(throws: CryptoError.authenticationFailed) {
            try AESGCM.open(Array(box.prefix(27)), key: key, context: [1])
        }
    }

    @Test(arguments: [0, 16, 31, 33]) func `refuses a key of another length`(count: Int) {
        #expect(throws: CryptoError.self) { try AESGCM.seal([1], key: .random(byteCount: count)) }
    }

    @Test func `seals the same text differently each time`() throws {
        let key = SymmetricKey.random()
        #expect(try AESGCM.seal([1], key: key) != AESGCM.seal([1], key: key))
    }
}

@Suite struct `base64url` {
    @Test func `goes both ways for every length`() {
        for count in 0..<70 {
            let random = SecureBytes.random(count)
            #expect(Base64URL.decode(Base64URL.encode(random)) == random)
        }
        #expect(Base64URL.encode([0xfb, 0xff, 0xbf]) == "-_-_")
    }

    @Test(arguments: ["A", "AB=", "AB==", "A+", "A/", "AB ", "AAAAA", "AB\n", "Zh", "Zm9", "\u{e9}A"])
    func `refuses what it would not have written`(text: String) {
        #expect(Base64URL.decode(text) == nil)
    }
}

@Suite struct `Secrets` {
    @Test func `print nothing of themselves`() async throws {
        let key = SymmetricKey("correct horse battery staple 0123456789")
        let pair = try await SigningKey.generate(.p256)
        let jwk = try pair.jwk()
        let jwtKey = try JWTKey(key)
        let secret = try #require(jwk.d)
        for text in [
            "\(key)", String(reflecting: key), "\(pair)", String(reflecting: pair), "\(jwk)",
            String(reflecting: jwk), "\(jwtKey)", String(reflecting: jwtKey),
        ] {
            #expect(!text.contains("horse") && !text.contains(secret))
        }
        var dumped = ""
        dump(key, to: &dumped)
        dump(pair, to: &dumped)
        dump(jwk, to: &dumped)
        dump(jwtKey, to: &dumped)
        #expect(!dumped.contains("horse") && !dumped.contains(secret))
    }

    @Test func `compare by content`() {
        #expect(SecureBytes.areEqual([1, 2], [1, 2]))
        #expect(!SecureBytes.areEqual([1, 2], [1, 3]))
        #expect(!SecureBytes.areEqual([1, 2], [1, 2, 3]))
        #expect(SecureBytes.areEqual("", ""))
        #expect(SecureBytes.token().utf8.count == 43)
        #expect(SecureBytes.token() != SecureBytes.token())
    }
}

func hex(_ bytes: [UInt8]) -> String {
    bytes.map { byte in
        let text = String(byte, radix: 16)
        return byte < 16 ? "0" + text : text
    }.joined()
}

func bytes(_ hex: String) -> [UInt8] {
    let digits = Array(hex)
    return stride(from: 0, to: digits.count, by: 2).map {
        UInt8(String(digits[$0...($0 + 1)]), radix: 16) ?? 0
    }
}
