import Testing

@testable import S3

@Suite struct `Temporary credentials` {
    private static let parent = S3AccessKey(
        id: "parent", secret: "secret", scopes: [S3Scope(tenant: "acme", bucket: nil, level: .write)])

    private static func claims(
        _ scope: TemporaryCredentials.Permission = .write, objects: [String]? = nil, prefixes: [String]? = nil
    ) -> TemporaryCredentials.Claims {
        .init(sub: "parent", bucket: "photos", scope: scope, account: "acme", objects: objects, prefixes: prefixes, exp: 1000)
    }

    @Test func `say what they may do until they end`() throws {
        let made = try TemporaryCredentials(Self.claims(), secret: Self.parent.secret)
        #expect(TemporaryCredentials.claims(of: made.sessionToken, parent: Self.parent, now: 999) == Self.claims())
        #expect(TemporaryCredentials.claims(of: made.sessionToken, parent: Self.parent, now: 1000) == nil)
        #expect(TemporaryCredentials.secret(of: made.sessionToken) == made.secretAccessKey)
    }

    @Test func `are worth nothing when anything was changed`() throws {
        let token = try TemporaryCredentials(Self.claims(), secret: Self.parent.secret).sessionToken
        for index in token.indices {
            var changed = token
            changed.replaceSubrange(index...index, with: token[index] == "A" ? "B" : "A")
            // The last digit of a signature has bits that mean nothing, but a form in which they are zero.
            #expect(TemporaryCredentials.claims(of: changed, parent: Self.parent, now: 0) == nil)
        }
        let other = S3AccessKey(id: "parent", secret: "other", scopes: [])
        #expect(TemporaryCredentials.claims(of: token, parent: other, now: 0) == nil)
        let stranger = S3AccessKey(id: "stranger", secret: "secret", scopes: [])
        #expect(TemporaryCredentials.claims(of: token, parent: stranger, now: 0) == nil)
    }

    @Test func `may do less than their parent`() {
        func caller(_ claims: TemporaryCredentials.Claims?) -> S3Caller { S3Caller(key: Self.parent, temporary: claims) }
        #expect(caller(nil).may(.write, object: "k", in: "any", of: "acme"))
        #expect(!caller(nil).may(.read, object: "k", in: "any", of: "other"))
        #expect(caller(nil).mayManage(.write, of: "acme"))
        let reader = caller(Self.claims(.read))
        #expect(
            reader.may(.read, object: "k", in: "photos", of: "acme")
                && !reader.may(.write, object: "k", in: "photos", of: "acme"))
        #expect(!reader.may(.read, object: "k", in: "other", of: "acme") && !reader.mayManage(.read, of: "acme"))
        let some = caller(Self.claims(objects: ["one"], prefixes: ["a/"]))
        for (object, isAllowed) in [("one", true), ("one/", false), ("a/b", true), ("a", false), ("b/a/", false)] {
            #expect(some.may(.write, object: object, in: "photos", of: "acme") == isAllowed)
        }
        #expect(some.may(.read, object: nil, in: "photos", of: "acme"))
    }

    @Test func `of one bucket manage none`() {
        let key = S3AccessKey(id: "k", secret: "s", scopes: [S3Scope(tenant: "acme", bucket: "photos", level: .write)])
        let caller = S3Caller(key: key, temporary: nil)
        #expect(caller.may(.write, object: "k", in: "photos", of: "acme"))
        #expect(!caller.may(.read, object: "k", in: "other", of: "acme"))
        #expect(!caller.mayManage(.read, of: "acme"))
    }
}

@Suite struct `POST policies` {
    private static func policy(_ conditions: String) throws(S3Error) -> PostPolicy {
        let text = #"{"expiration":"2030-01-01T00:00:00.000Z","conditions":["# + conditions + "]}"
        return try PostPolicy(base64: Base64.text(Array(text.utf8)))
    }

    private static let time: Int64 = 1_800_000_000_000

    @Test(arguments: [
        (#"{"key":"k"}"#, ["key": "k"], true), (#"{"key":"k"}"#, ["key": "l"], false), (#"{"key":"k"}"#, [:], false),
        (#"["eq","$Key","k"]"#, ["key": "k"], true), (#"["starts-with","$key","a/"]"#, ["key": "a/b"], true),
        (#"["starts-with","$key","a/"]"#, ["key": "b"], false), (#"["starts-with","$key",""]"#, ["key": "b"], true),
        (#"{"key":"k"}"#, ["key": "k", "acl": "public-read"], false),
        (#"{"key":"k"}"#, ["key": "k", "x-ignore-me": "1", "policy": "p", "x-amz-signature": "s"], true),
        (#"["starts-with","$Content-Type","image/"]"#, ["content-type": "image/png,image/gif"], true),
        (#"["starts-with","$Content-Type","image/"]"#, ["content-type": "image/png,text/html"], false),
    ])
    func `bind the fields`(_ condition: String, _ fields: [String: String], _ holds: Bool) throws {
        let policy = try Self.policy(condition)
        if holds {
            try policy.check(fields, now: Self.time)
        } else {
            #expect { try policy.check(fields, now: Self.time) } throws: { ($0 as? S3Error)?.status == 403 }
        }
    }

    @Test func `bound the file's length`() throws {
        #expect(try Self.policy(#"["content-length-range", 1, "10"]"#).byteCounts == 1...10)
        #expect(try Self.policy("").byteCounts == nil)
    }

    @Test func `end`() throws {
        let policy = try Self.policy("")
        try policy.check([:], now: 1_893_455_999_999)
        #expect(throws: S3Error.self) { try policy.check([:], now: 1_893_456_000_000) }
    }

    @Test(arguments: [
        "[]", "{}", #"{"expiration":"2030-01-01T00:00:00Z"}"#, #"{"expiration":"soon","conditions":[]}"#,
        #"{"expiration":"2030-01-01T00:00:00Z","conditions":[["like","$key","x"]]}"#,
        #"{"expiration":"2030-01-01T00:00:00Z","conditions":[["eq","key","x"]]}"#,
        #"{"expiration":"2030-01-01T00:00:00Z","conditions":[["content-length-range",10,1]]}"#,
        #"{"expiration":"2030-01-01T00:00:00Z","conditions":[1]}"#, "no json",
    ])
    func `that can't be read are refused`(_ text: String) {
        #expect { try PostPolicy(base64: Base64.text(Array(text.utf8))) } throws: { ($0 as? S3Error)?.status == 400 }
    }
}
