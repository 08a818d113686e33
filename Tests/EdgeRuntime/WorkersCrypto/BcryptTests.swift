import Crypt
import Testing
import WorkersCrypto

@Suite struct `bcrypt` {
    /// From the test suites of crypt_blowfish and jBCrypt.
    static let vectors: [(password: String, hash: String)] = [
        ("", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
        ("a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
        ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
        ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
        ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
        (
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
            "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"
        ),
    ]

    @Test(arguments: vectors) func `matches the published hashes`(password: String, hash: String) async throws {
        #expect(try await Bcrypt.verify(password, hash))
        #expect(try await !Bcrypt.verify("x" + password.dropFirst(1), hash))
        #expect(try await Bcrypt.verify(password, hash.replacing("$2a$", with: "$2b$")))
    }

    @Test func `verifies its own hashes and shows their cost`() async throws {
        let first = try await Bcrypt.hash("pässword 密码", cost: 4)
        let second = try await Bcrypt.hash("pässword 密码", cost: 4)
        #expect(first != second)
        #expect(first.hasPrefix("$2b$04$") && first.utf8.count == 60)
        #expect(Bcrypt.cost(of: first) == 4)
        #expect(try await Bcrypt.verify("pässword 密码", first))
        #expect(try await !Bcrypt.verify("password 密码", first))
    }

    @Test func `is determined by password, cost and salt`() throws {
        let salt = (0..<16).map(UInt8.init)
        let one = try BlowfishCrypt.hash([65], cost: 4, salt: salt)
        #expect(try one == BlowfishCrypt.hash([65], cost: 4, salt: salt))
        #expect(try one != BlowfishCrypt.hash([65], cost: 5, salt: salt))
    }

    @Test(arguments: [-1, 0, 3, 32, 1000]) func `refuses a cost outside 4 to 31`(cost: Int) async {
        await #expect(throws: BcryptError.costOutOfRange(cost)) { try await Bcrypt.hash("x", cost: cost) }
    }

    @Test func `refuses what it would cut off`() async throws {
        let longest = String(repeating: "é", count: 36)
        let hash = try await Bcrypt.hash(longest, cost: 4)
        #expect(try await Bcrypt.verify(longest, hash))
        await #expect(throws: BcryptError.passwordTooLong(byteCount: 73)) {
            try await Bcrypt.hash(longest + "x", cost: 4)
        }
        await #expect(throws: BcryptError.passwordTooLong(byteCount: 73)) {
            try await Bcrypt.verify(longest + "x", hash)
        }
        await #expect(throws: BcryptError.passwordContainsNUL) { try await Bcrypt.hash("a\0b", cost: 4) }
        await #expect(throws: BcryptError.passwordContainsNUL) { try await Bcrypt.verify("a\0b", hash) }
    }

    @Test(arguments: [
        "", "*0", "x", "$2b$04$", "$1$abc$def",
        "$2x$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe",
        "$2b$03$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe",
        "$2b$32$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe",
        "$2b$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfx",
        "$2b$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe.",
        "$2b$06$m0CrhHm10qJ3lXRY:5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe",
    ]) func `refuses a malformed hash`(hash: String) async {
        await #expect(throws: BcryptError.malformedHash) { try await Bcrypt.verify("x", hash) }
        #expect(Bcrypt.cost(of: hash) == nil)
    }
}
