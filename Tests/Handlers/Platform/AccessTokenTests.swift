import Platform
import Testing
import Workers
import WorkersCrypto

@Suite struct `Access tokens` {
    private let secret = "a secret of at least thirty-two bytes"
    private let now: Int64 = 1_800_000_000_000
    private let identity = Identity(
        userID: Identifier(now: 1).text, role: .user, sessionID: Identifier(now: 2).text)

    private func token(_ tokens: AccessTokens, _ change: (inout AccessClaims) -> Void = { _ in }) throws
        -> String
    {
        var claims = AccessClaims(identity, issuedAt: now, lifetimeSeconds: 86_400, tokenID: "t")
        change(&claims)
        return try tokens.make(claims)
    }

    @Test func `carry the identity for 24 hours`() throws {
        let tokens = try AccessTokens(secret: secret)
        let token = try token(tokens)
        for scheme in ["Bearer", "bearer", "BEARER"] {
            #expect(try tokens.identity(authorization: "\(scheme) \(token)", now: now) == identity)
        }
        #expect(try tokens.identity(authorization: "Bearer \(token)", now: now + 86_399_000) == identity)
        let error = #expect(throws: APIError.self) {
            try tokens.identity(authorization: "Bearer \(token)", now: now + 86_406_000)
        }
        #expect(error?.status == 401 && error?.code == "token_expired")
    }

    @Test(arguments: [nil, "", "Bearer", "Bearer ", "Basic dTpw", "Bearer a b", "token"])
    func `are asked for when there is none`(header: String?) throws {
        let tokens = try AccessTokens(secret: secret)
        let error = #expect(throws: APIError.self) { try tokens.identity(authorization: header, now: now) }
        #expect(error?.status == 401 && error?.code == "unauthorized")
    }

    @Test func `are refused when they are forged`() throws {
        let tokens = try AccessTokens(secret: secret)
        let good = try token(tokens)
        let parts = good.split(separator: ".").map(String.init)
        let none = Base64URL.encode(Array(#"{"alg":"none"}"#.utf8))
        for forged in [
            try token(AccessTokens(secret: "another secret of at least 32 bytes!")), "\(none).\(parts[1]).",
            "\(parts[0]).\(parts[1]).\(parts[1])", "\(parts[0]).\(parts[1])", "x.y.z",
            try token(tokens) { $0.iss = "somebody" }, try token(tokens) { $0.aud = "elsewhere" },
            try token(tokens) { $0.sub = "not a UUID" }, try token(tokens) { $0.sid = "" },
            try token(tokens) { $0.iat = now / 1000 + 60 },
        ] {
            let error = #expect(throws: APIError.self) {
                try tokens.identity(authorization: "Bearer \(forged)", now: now)
            }
            #expect(error?.status == 401 && error?.code == "invalid_token", "\(forged)")
        }
    }

    @Test func `need a secret of 32 bytes`() {
        #expect(throws: CryptoError.self) { try AccessTokens(secret: "too short") }
    }
}

@Suite struct `An identity` {
    private func request(_ headers: [(String, String)]) throws -> Request {
        var list = Headers()
        for (name, value) in headers { try list.append(name, value) }
        return try Request("http://service/x", headers: list)
    }

    @Test func `travels in headers that clients can't set`() throws {
        let identity = Identity(
            userID: Identifier(now: 1).text, role: .admin, sessionID: Identifier(now: 2).text)
        var request = try request([
            ("x-edge-user-id", Identifier(now: 9).text), ("X-Edge-User-Role", "admin"),
            ("x-edge-anything", "1"), ("accept", "*/*"),
        ])
        request.headers = request.headers.changing { $0.removeAll(withPrefix: Identity.reservedPrefix) }
        #expect(request.headers.map(\.name) == ["accept"])
        #expect(throws: APIError.unauthorized()) { try Identity(of: request) }
        request.headers = request.headers.changing { identity.write(to: &$0) }
        #expect(try Identity(of: request) == identity)
    }

    @Test func `is refused when it is malformed`() throws {
        let id = Identifier(now: 1).text
        for headers in [
            [("x-edge-user-id", id), ("x-edge-user-role", "user")],
            [("x-edge-user-id", id), ("x-edge-user-role", "root"), ("x-edge-session-id", id)],
            [("x-edge-user-id", "1"), ("x-edge-user-role", "user"), ("x-edge-session-id", id)],
            [
                ("x-edge-user-id", id), ("x-edge-user-id", id), ("x-edge-user-role", "user"),
                ("x-edge-session-id", id),
            ],
        ] {
            let request = try request(headers)
            #expect(throws: APIError.self) { try Identity(of: request) }
        }
    }
}

@Suite struct `Error answers` {
    @Test func `have code, message, request id and fields`() async throws {
        struct Envelope: Decodable {
            struct Content: Decodable {
                var code: String
                var message: String
                var requestId: String
                var fields: [String: String]?
            }
            var error: Content
        }
        let response = APIError.validation(["email": "is required"]).response(requestID: "r-1")
        #expect(response.status == 422)
        #expect(response.headers["content-type"] == "application/json")
        let envelope: Envelope = try await response.json()
        #expect(envelope.error.code == "validation_failed")
        #expect(envelope.error.requestId == "r-1")
        #expect(envelope.error.fields == ["email": "is required"])
        #expect(
            APIError.rateLimited(retryAfterSeconds: 7).response(requestID: "r").headers["retry-after"] == "7")
        #expect(APIError.unauthorized().response(requestID: "r").headers["www-authenticate"] == "Bearer")
    }

    @Test(arguments: [("abc-1.2_x", true), ("", false), ("a b", false), ("a\"b", false), ("ü", false)])
    func `name requests by ids that are safe in a log`(id: String, isSafe: Bool) {
        #expect(RequestID.isWellFormed(id) == isSafe)
        #expect(!RequestID.isWellFormed(String(repeating: "a", count: 129)))
    }
}

@Suite struct `A CORS policy` {
    private func preflight(_ origin: String, method: String? = "PUT") throws -> Request {
        var headers = Headers()
        try headers.set("origin", origin)
        if let method { try headers.set("access-control-request-method", method) }
        return try Request("http://edge/api", method: .options, headers: headers)
    }

    @Test func `answers preflights of its origins alone`() throws {
        let policy = CORSPolicy("https://app.example, http://localhost:3000")
        let good = policy.preflightResponse(origin: "http://localhost:3000")
        #expect(good.status == 204)
        #expect(good.headers["access-control-allow-origin"] == "http://localhost:3000")
        #expect(good.headers["access-control-allow-methods"]?.contains("PATCH") == true)
        #expect(good.headers["vary"] == "Origin")
        for origin in [
            "https://evil.example", "null", "https://app.example.evil.example", "http://app.example",
        ] {
            let bad = policy.preflightResponse(origin: origin)
            #expect(bad.headers["access-control-allow-origin"] == nil)
            #expect(bad.headers["access-control-allow-methods"] == nil)
        }
        #expect(
            CORSPolicy("*").preflightResponse(origin: "https://x.example").headers[
                "access-control-allow-origin"] == "*")
    }

    @Test func `knows a preflight`() throws {
        #expect(CORSPolicy.isPreflight(try preflight("https://app.example")))
        #expect(!CORSPolicy.isPreflight(try preflight("https://app.example", method: nil)))
    }

    @Test(arguments: [
        (nil, "Origin"), ("Accept-Encoding", "Accept-Encoding, Origin"), ("Origin", "Origin"),
        ("Accept, origin", "Accept, origin"), ("*", "*"), ("X-Origin", "X-Origin, Origin"),
    ])
    func `adds the origin to a response's own Vary, once`(before: String?, after: String) {
        let headers = Headers().changing { headers in
            headers["vary"] = before
            CORSPolicy("https://app.example").write(to: &headers, origin: "https://app.example")
        }
        #expect(headers["vary"] == after)
        #expect(headers["access-control-allow-credentials"] == nil)
    }
}
