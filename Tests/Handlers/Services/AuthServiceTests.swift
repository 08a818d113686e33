import Platform
import Testing
import Workers
import WorkersCrypto

@testable import AuthService

@Suite struct `Accounts` {
    private static let hash = String(repeating: "x", count: 60)

    private static func id() -> String { Identifier(now: 1_800_000_000_000).text }

    @Test func `are found by e-mail and id`() async throws {
        let platform = try await PlatformDatabase()
        let users = UserRepository(platform.database)
        let made = try await users.insert(
            id: Self.id(), email: "a@b.co", username: "Alice", passwordHash: Self.hash, now: 5)
        let user = try #require(made)
        #expect(user.role == .user && user.status == .active && user.createdAt == 5 && user.bio == nil)
        let found = try #require(try await users.find(email: "a@b.co"))
        #expect(found.user.id == user.id && found.passwordHash == Self.hash)
        #expect(try await users.find(id: user.id)?.username == "Alice")
        #expect(try await users.find(email: "x@b.co") == nil)
    }

    @Test func `share neither e-mail nor username, in any case of letters`() async throws {
        let platform = try await PlatformDatabase()
        let users = UserRepository(platform.database)
        _ = try await users.insert(
            id: Self.id(), email: "a@b.co", username: "Alice", passwordHash: Self.hash, now: 5)
        for (email, username, fields) in [
            ("a@b.co", "other", ["email"]), ("x@b.co", "ALICE", ["username"]),
            ("a@b.co", "alice", ["email", "username"]),
        ] {
            let made = try await users.insert(
                id: Self.id(), email: email, username: username, passwordHash: Self.hash, now: 6)
            #expect(made == nil)
            do {
                try await users.refuseTaken(email: email, username: username)
                Issue.record("\(email) \(username) is taken")
            } catch let error as APIError {
                #expect(error.status == 409)
                #expect(error.fields?.keys.sorted() == fields)
            }
        }
        try await users.refuseTaken(email: "x@b.co", username: "other")
    }
}

@Suite struct `Refresh tokens` {
    private static let now: Int64 = 1_800_000_000_000

    private func begin(
        _ platform: PlatformDatabase
    ) async throws -> (families: RefreshFamilies, user: String, family: String, token: RefreshToken) {
        let user = Identifier(now: Self.now).text
        _ = try await UserRepository(platform.database).insert(
            id: user, email: "a@b.co", username: "alice", passwordHash: String(repeating: "x", count: 60),
            now: Self.now)
        let families = RefreshFamilies(platform.database)
        let token = RefreshToken()
        let family = Identifier(now: Self.now)
        #expect(try await families.begin(family, user: user, token: token, now: Self.now) == [])
        return (families, user, family.text, token)
    }

    private func count(_ platform: PlatformDatabase, _ table: String) async throws -> Int64? {
        try await platform.database.prepare("SELECT count(*) AS n FROM \(table)").first("n")?.integer
    }

    /// The sessions that `closeEnded` ends.
    private func closed(_ families: RefreshFamilies) async throws -> [String] {
        var closed: [String] = []
        try await families.closeEnded { closed.append($0) }
        return closed.sorted()
    }

    @Test func `are replaced by each use`() async throws {
        let platform = try await PlatformDatabase()
        let (families, user, family, first) = try await begin(platform)
        var token = first
        for step in 1...3 {
            let next = RefreshToken()
            let rotation = try await families.rotate(token, to: next, now: Self.now + Int64(step))
            guard case .rotated(family, let record) = rotation else {
                Issue.record("step \(step): \(rotation)")
                return
            }
            #expect(record.id == user)
            token = next
        }
    }

    @Test func `revoke their whole family when one is used twice`() async throws {
        let platform = try await PlatformDatabase()
        let (families, _, family, first) = try await begin(platform)
        let second = RefreshToken()
        _ = try await families.rotate(first, to: second, now: Self.now + 1)
        guard case .reused(family) = try await families.rotate(first, to: RefreshToken(), now: Self.now + 2)
        else {
            Issue.record("the second use is noticed")
            return
        }
        // The thief and the owner both hold nothing now.
        for token in [first, second] {
            guard case .expired = try await families.rotate(token, to: RefreshToken(), now: Self.now + 3)
            else {
                Issue.record("the family is revoked")
                return
            }
        }
    }

    @Test func `let exactly one of many uses at once succeed`() async throws {
        let platform = try await PlatformDatabase()
        let (families, _, _, token) = try await begin(platform)
        let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    if case .rotated = try await families.rotate(token, to: RefreshToken(), now: Self.now + 1) {
                        true
                    } else {
                        false
                    }
                }
            }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(wins == 1)
    }

    @Test func `end after 30 days, at logout and with the account`() async throws {
        let day: Int64 = 86_400_000
        let platform = try await PlatformDatabase()
        let (families, user, family, token) = try await begin(platform)
        guard case .expired = try await families.rotate(token, to: RefreshToken(), now: Self.now + 30 * day)
        else {
            Issue.record("30 days are the end")
            return
        }
        #expect(try await families.details(family, user: user, now: Self.now) != nil)
        try await families.revoke(family, reason: .logout, now: Self.now)
        #expect(try await families.details(family, user: user, now: Self.now) == nil)
        guard case .expired = try await families.rotate(token, to: RefreshToken(), now: Self.now + 1) else {
            Issue.record("logout is the end")
            return
        }
        let fresh = RefreshToken()
        _ = try await families.begin(Identifier(now: Self.now), user: user, token: fresh, now: Self.now)
        _ = try await platform.database.prepare("UPDATE users SET status = 'disabled'").run()
        #expect(
            try await families.begin(
                Identifier(now: Self.now), user: user, token: RefreshToken(), now: Self.now) == nil)
        guard case .expired = try await families.rotate(fresh, to: RefreshToken(), now: Self.now + 1) else {
            Issue.record("a disabled account has no sessions")
            return
        }
        guard case .unknown = try await families.rotate(RefreshToken(), to: RefreshToken(), now: Self.now)
        else {
            Issue.record("a made-up token is unknown")
            return
        }
    }

    @Test func `belong to at most 20 sessions of a user`() async throws {
        let platform = try await PlatformDatabase()
        let (families, user, first, _) = try await begin(platform)
        var ended: [String] = []
        for index in 1...22 {
            let now = Self.now + Int64(index)
            ended += try #require(
                try await families.begin(Identifier(now: now), user: user, token: RefreshToken(), now: now))
        }
        #expect(ended.count == 3 && ended.first == first)
        #expect(try await closed(families) == ended.sorted())
    }

    @Test func `show when their session began, was refreshed and will end`() async throws {
        let platform = try await PlatformDatabase()
        let (families, user, family, token) = try await begin(platform)
        _ = try await families.rotate(token, to: RefreshToken(), now: Self.now + 10)
        let details = try #require(try await families.details(family, user: user, now: Self.now + 20))
        #expect(details.user.id == user)
        #expect(details.createdAt == Self.now && details.refreshedAt == Self.now + 10)
        #expect(details.expiresAt == Self.now + 10 + 30 * Timestamp.dayMilliseconds)
        let stranger = Identifier(now: Self.now).text
        #expect(try await families.details(family, user: stranger, now: Self.now + 20) == nil)
        #expect(try await families.details(family, user: user, now: details.expiresAt) == nil)
    }

    @Test func `are forgotten a week after their use, and not before`() async throws {
        let day = Timestamp.dayMilliseconds
        let platform = try await PlatformDatabase()
        let (families, _, family, first) = try await begin(platform)
        var token = first
        for step in 1...40 {
            let next = RefreshToken()
            guard case .rotated = try await families.rotate(token, to: next, now: Self.now + Int64(step) * day)
            else {
                Issue.record("day \(step)")
                return
            }
            token = next
        }
        // The unused one and those of the last seven days.
        #expect(try await count(platform, "refresh_tokens") == 8)
        guard case .unknown = try await families.rotate(first, to: RefreshToken(), now: Self.now + 40 * day)
        else {
            Issue.record("the first token is forgotten")
            return
        }
        let second = RefreshToken()
        _ = try await families.rotate(token, to: second, now: Self.now + 41 * day)
        guard
            case .reused(family) = try await families.rotate(
                token, to: RefreshToken(), now: Self.now + 48 * day - 1)
        else {
            Issue.record("a token of less than a week ago is known")
            return
        }
        #expect(try await closed(families) == [family])
        #expect(try await closed(families) == [])
    }

    @Test func `leave nothing behind when their family is over`() async throws {
        let day = Timestamp.dayMilliseconds
        let platform = try await PlatformDatabase()
        let (families, user, idle, _) = try await begin(platform)
        let (revoked, live) = (Identifier(now: Self.now), Identifier(now: Self.now))
        _ = try await families.begin(revoked, user: user, token: RefreshToken(), now: Self.now + 20 * day)
        _ = try await families.begin(live, user: user, token: RefreshToken(), now: Self.now + 20 * day)
        try await families.revoke(revoked.text, reason: .logout, now: Self.now + 23 * day)
        #expect(try await closed(families) == [revoked.text])
        #expect(try await families.removeOver(now: Self.now + 30 * day - 1) == 0)
        #expect(try await families.removeOver(now: Self.now + 30 * day) == 2)
        #expect(try await closed(families) == [idle], "a revoked session was closed when it was revoked")
        #expect(try await count(platform, "refresh_families") == 1)
        #expect(try await count(platform, "refresh_tokens") == 1)
        #expect(try await families.details(live.text, user: user, now: Self.now + 30 * day) != nil)
    }

    @Test func `end with the account, whoever disables or deletes it`() async throws {
        for statement in ["UPDATE users SET status = 'disabled'", "DELETE FROM users"] {
            let platform = try await PlatformDatabase()
            let (families, user, family, _) = try await begin(platform)
            #expect(try await closed(families) == [])
            _ = try await platform.database.prepare(statement).run()
            #expect(try await families.details(family, user: user, now: Self.now) == nil)
            #expect(try await closed(families) == [family], "\(statement)")
        }
    }

    @Test func `stay to be closed when closing fails`() async throws {
        let platform = try await PlatformDatabase()
        let (families, user, first, _) = try await begin(platform)
        for _ in 0..<3 {
            _ = try await families.begin(
                Identifier(now: Self.now), user: user, token: RefreshToken(), now: Self.now)
        }
        _ = try await platform.database.prepare("DELETE FROM refresh_families").run()
        await #expect(throws: APIError.self) {
            try await families.closeEnded { if $0 != first { throw APIError.internalError } }
        }
        #expect(try await closed(families).count == 4)
    }

    @Test(arguments: ["", "x", String(repeating: "=", count: 43), String(repeating: "A", count: 44)])
    func `have one form`(text: String) {
        #expect(RefreshToken(text) == nil)
    }
}

@Suite struct `The hash for unknown users` {
    @Test(arguments: [4, 5, 10, 12]) func `costs what a real one costs`(cost: Int) async throws {
        let hash = "$2b$" + (cost < 10 ? "0" : "") + "\(cost)$" + String(repeating: ".", count: 53)
        #expect(Bcrypt.cost(of: hash) == cost)
        if cost == 4 { #expect(try await !Bcrypt.verify("any password", hash)) }
    }
}
