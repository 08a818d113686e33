import Foundation
import Host
import Observability
import OpenSSL
import Releases
import SQLite
import Stores
import Synchronization
import System
import Testing

@testable import ControlPlane

/// An API over a table of a test's own, and the tokens to use it.
private final class Fixture: Sendable {
    let directory: String
    let tokens: TokenStore
    let audit: AuditLog
    let accounts = Accounts(["acme", "other"])
    let clock = VirtualClock()
    let api: API
    let operatorToken: String

    init(_ operations: [APIOperation] = []) throws {
        directory = NSTemporaryDirectory() + "edge-api-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        tokens = try TokenStore(database: directory + "/control.sqlite")
        audit = try AuditLog(database: directory + "/control.sqlite")
        operatorToken = try tokens.create(
            name: "operator", grants: [.init(tenant: nil, product: nil, level: .edit)], email: "ops@example.com",
            at: clock.wallTime()
        ).text
        let services = APIServices(
            accounts: accounts, tokens: tokens, audit: audit, version: "1", clock: clock,
            logger: Logger(sink: Sink(), clock: clock, level: .error))
        var all = operations + UserOperations.all(services) + TokenOperations.all(services) + AuditOperations.all(services)
        all.append(OpenAPI.operation(for: all, version: "1"))
        api = API(all, services, hosts: ["edge.internal"])
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    private final class Sink: LogSink {
        func write(_ record: LogRecord) {}
    }

    struct Answer {
        let status: Int
        let headers: [String: String]
        let json: JSON
        var code: Int64? { json["errors"]?.items?.first?["code"]?.integer }
    }

    func ask(
        _ method: String, _ target: String, token: String? = "operator", host: String = "127.0.0.1:1",
        headers: [(name: String, value: String)] = [], body: String? = nil
    ) async throws -> Answer {
        var all = [(name: "host", value: host)] + headers
        if let token { all.append(("authorization", "Bearer \(token == "operator" ? operatorToken : token)")) }
        let response = await api.answer(
            LocalRequest(
                listener: .control, method: method, target: "/client/v4" + target, host: host, headers: all,
                body: body.map { TextBody($0) }, client: "127.0.0.9"))
        guard case .bytes(let bytes) = response.body else { throw NoBytes() }
        return Answer(
            status: response.status, headers: Dictionary(response.headers.map { ($0.name, $0.value) }) { first, _ in first },
            json: try #require(JSON(bytes)))
    }

    private struct NoBytes: Error {}

    private final class TextBody: BodySource {
        private let pieces: Mutex<[[UInt8]]>
        init(_ text: String) {
            // In two pieces: nobody may count on one.
            let bytes = Array(text.utf8)
            pieces = Mutex(
                [Array(bytes.prefix(bytes.count / 2)), Array(bytes.dropFirst(bytes.count / 2))].filter { !$0.isEmpty })
        }
        func next() async throws -> [UInt8]? { pieces.withLock { $0.isEmpty ? nil : $0.removeFirst() } }
        func cancel() {}
    }
}

@Suite struct `REST API` {
    private static func things(_ body: @escaping @Sendable (APICall) async throws -> APIReply) -> [APIOperation] {
        [
            APIOperation(
                "GET", "/accounts/{account_id}/things/{key}", id: "things.get", "A thing", .account(.kv, .read),
                query: [.init("limit", .integer(1...10), "How many.")], result: .json(.any), answer: body),
            APIOperation(
                "PUT", "/accounts/{account_id}/things/{key}", id: "things.put", "A thing", .account(.kv, .edit),
                body: .json(.object([.required("n", .integer(0...9)), .optional("tags", .array(.string(1...3)))])),
                result: .json(.any), answer: body),
            APIOperation(
                "POST", "/accounts/{account_id}/things", id: "things.create", "A thing", .account(.kv, .edit),
                result: .json(.any), answer: body),
            APIOperation(
                "GET", "/accounts/{account_id}/things/known", id: "things.known", "A word", .account(.kv, .read),
                result: .json(.any)
            ) { _ in .result("known") },
            APIOperation(
                "GET", "/accounts/{account_id}/files/{path+}", id: "files.get", "The rest", .account(.r2, .read),
                result: .json(.any), answer: body),
        ]
    }

    private static let echo = things { call in
        .result(
            .object([
                "tenant": call.tenant.map { .string($0) },
                "value": .string(call.parameters["key"] ?? call.parameters["path"] ?? ""),
            ]))
    }

    @Test func `probe 3: all four keys, and codes for no credentials, no route and no method`() async throws {
        let fixture = try Fixture(Self.echo)
        let none = try await fixture.ask("GET", "/user", token: nil)
        #expect(none.status == 400 && none.code == 9106)
        #expect(none.json.members?.map(\.name) == ["errors", "messages", "result", "success"])
        #expect(none.json["success"] == false && none.json["result"] == .null)
        let nowhere = try await fixture.ask("GET", "/nope")
        #expect(nowhere.status == 404 && nowhere.code == 7000)
        let method = try await fixture.ask("DELETE", "/accounts/acme/things")
        #expect(method.status == 405 && method.code == 7001)
        #expect(method.json["errors"]?.items?.first?["message"]?.text == "Method DELETE not available for that URI")
    }

    @Test func `probes 1 and 2: tokens and keys`() async throws {
        let fixture = try Fixture()
        let good = try await fixture.ask("GET", "/user/tokens/verify")
        #expect(good.status == 200 && good.json["result"]?["status"] == "active")
        #expect(good.json["messages"]?.items?.first?["code"] == 10000)
        let wrong = try await fixture.ask("GET", "/user/tokens/verify", token: "wrong")
        #expect(wrong.status == 401 && wrong.code == 10000)
        func key(_ key: String, _ email: String) async throws -> Fixture.Answer {
            try await fixture.ask("GET", "/user", token: nil, headers: [("x-auth-key", key), ("x-auth-email", email)])
        }
        #expect(try await key(fixture.operatorToken, "OPS@example.com").status == 200)
        let unknown = try await key(fixture.operatorToken, "other@example.com")
        #expect(unknown.status == 403 && unknown.code == 9103)
        for (header, code) in [
            (("authorization", "Basic abc"), 6111), (("authorization", "Bearer a b"), 6111), (("x-auth-key", "a b"), 6103),
        ] {
            let answer = try await fixture.ask(
                "GET", "/user", token: nil,
                headers: [(header.0, header.1), ("x-auth-email", "a@b")].filter {
                    header.0 != "authorization" || $0.0 == "authorization"
                })
            #expect(answer.status == 400 && answer.code == 6003)
            #expect(answer.json["errors"]?.items?.first?["error_chain"]?.items?.first?["code"]?.integer == Int64(code))
        }
    }

    @Test func `probe 4: another account and one that isn't there look the same`() async throws {
        let fixture = try Fixture(Self.echo)
        let mine = try fixture.tokens.create(
            name: "mine", grants: [.init(tenant: "acme", product: .kv, level: .read)], at: fixture.clock.wallTime()
        ).text
        #expect(try await fixture.ask("GET", "/accounts/acme/things/k", token: mine).status == 200)
        #expect(try await fixture.ask("GET", "/accounts/\(Accounts.id(of: "acme"))/things/k", token: mine).status == 200)
        var texts: Set<[UInt8]> = []
        for target in ["/accounts/other/things/k", "/accounts/nobody/things/k", "/accounts/acme/files/k"] {
            let answer = try await fixture.ask("GET", target, token: mine)
            #expect(answer.status == 403 && answer.code == 10000)
            texts.insert(answer.json.bytes)
        }
        #expect(texts.count == 1)
        #expect(try await fixture.ask("PUT", "/accounts/acme/things/k", token: mine, body: #"{"n":1}"#).status == 403)
        let accounts = try await fixture.ask("GET", "/accounts", token: mine)
        #expect(accounts.json["result"]?.items?.compactMap { $0["name"]?.text } == ["acme"])
    }

    @Test func `paths are compared as they were sent, and decoded once`() async throws {
        let fixture = try Fixture(Self.echo)
        for (target, value) in [
            ("things/a%2Fb", "a/b"), ("things/a%252Fb", "a%2Fb"), ("files/a/b%2Fc/", "a/b/c/"), ("things/%C3%A9", "é"),
        ] {
            #expect(try await fixture.ask("GET", "/accounts/acme/\(target)").json["result"]?["value"]?.text == value)
        }
        #expect(try await fixture.ask("GET", "/accounts/acme/things/known").json["result"] == "known")
        #expect(try await fixture.ask("POST", "/accounts/acme/things/").status == 200)
        #expect(try await fixture.ask("GET", "/accounts/acme/things/a/b").code == 7000)
    }

    @Test func `bodies and parameters are checked before the operation sees them`() async throws {
        let fixture = try Fixture(Self.echo)
        for (body, pointer) in [
            (#"{"n":10}"#, "/n"), (#"{}"#, "/n"), (#"[]"#, ""), (#"{"n":1,"tags":["a","long"]}"#, "/tags/1"),
            (#"{"n":1.5}"#, "/n"),
        ] {
            let answer = try await fixture.ask("PUT", "/accounts/acme/things/k", body: body)
            #expect(answer.status == 400 && answer.code == 10026)
            #expect(answer.json["errors"]?.items?.first?["source"]?["pointer"]?.text == pointer)
        }
        for body in ["", "{", "nonsense", #"{"n":1}x"#, String(repeating: "[", count: 100_000)] {
            #expect(try await fixture.ask("PUT", "/accounts/acme/things/k", body: body).code == 6007)
        }
        #expect(try await fixture.ask("PUT", "/accounts/acme/things/k", body: #"{"n":1,"unknown":{}}"#).status == 200)
        let large = #"{"n":1,"x":""# + String(repeating: "x", count: 1 << 20) + #""}"#
        #expect(try await fixture.ask("PUT", "/accounts/acme/things/k", body: large).status == 413)
        for limit in ["0", "11", "x", ""] {
            #expect(try await fixture.ask("GET", "/accounts/acme/things/k?limit=\(limit)").code == 10026)
        }
        #expect(try await fixture.ask("GET", "/accounts/acme/things/k?limit=10&more=1").status == 200)
    }

    @Test func `pages of other sites can't use it`() async throws {
        let fixture = try Fixture()
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""] {
            #expect(try await fixture.ask("GET", "/user", host: host).status == 403)
        }
        for host in ["localhost:8787", "127.0.0.1", "[::1]:80", "10.1.2.3", "edge.internal:80", "EDGE.internal"] {
            #expect(try await fixture.ask("GET", "/user", host: host).status == 200)
        }
        for (name, value) in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
            #expect(try await fixture.ask("GET", "/user", headers: [(name, value)]).status == 403)
        }
        #expect(try await fixture.ask("GET", "/user", headers: [("origin", "http://127.0.0.1:1")]).status == 200)
    }

    @Test func `probe 25: conflicts and failures of calls that can't be repeated say so`() async throws {
        struct Oops: Error {}
        let fixture = try Fixture(
            Self.things { call in
                if call.parameters["key"] == "conflict" { throw APIError(409, 10014, "taken") }
                throw Oops()
            })
        let conflict = try await fixture.ask("GET", "/accounts/acme/things/conflict")
        #expect(conflict.status == 409 && conflict.headers["x-should-retry"] == "false")
        let get = try await fixture.ask("GET", "/accounts/acme/things/k")
        #expect(get.status == 500 && get.headers["x-should-retry"] == nil)
        let post = try await fixture.ask("POST", "/accounts/acme/things")
        #expect(post.status == 500 && post.headers["x-should-retry"] == "false")
    }

    @Test func `too many requests of one token wait`() async throws {
        let fixture = try Fixture()
        for _ in 0..<1200 { #expect(try await fixture.ask("GET", "/user").status == 200) }
        let late = try await fixture.ask("GET", "/user")
        #expect(
            late.status == 429 && late.code == 971
                && Int(late.headers["retry-after"] ?? "").map { (1...301).contains($0) } == true)
        fixture.clock.advance(by: .seconds(300))
        #expect(try await fixture.ask("GET", "/user").status == 200)
    }

    @Test func `what consumers poll isn't counted, and leaves no trace in the audit log`() async throws {
        let polled = APIOperation(
            "POST", "/accounts/{account_id}/polled", id: "polled", "Polled", .account(.queues, .edit),
            body: .json(.object([.optional("n", .integer())])), result: .json(.any), isPolled: true
        ) { call in .result(call.json) }
        let fixture = try Fixture([polled])
        for _ in 0..<1200 { _ = try await fixture.ask("GET", "/user") }
        #expect(try await fixture.ask("GET", "/user").status == 429)
        // Where nothing must be said, an empty body will do.
        let answer = try await fixture.ask("POST", "/accounts/acme/polled")
        #expect(answer.status == 200 && answer.json["result"] == .object([JSON.Member]()))
        #expect(try await fixture.ask("POST", "/accounts/acme/polled", body: #"{"n":"x"}"#).code == 10026)
        #expect(try await fixture.ask("POST", "/accounts/acme/polled", body: " ").code == 6007)
        #expect(try fixture.audit.list(tenant: "acme", before: nil, countMax: 10).isEmpty)
    }

    @Test func `tokens are made, used, listed, expire and are revoked`() async throws {
        let fixture = try Fixture(Self.echo)
        let body =
            #"{"name":"ci","expires_on":"\#("2100-01-01T00:00:00Z")","policies":[{"effect":"allow","resources":"#
            + #"{"com.cloudflare.api.account.\#(Accounts.id(of: "acme"))":"*"},"permission_groups":[{"name":"Workers KV Storage Write"}]}]}"#
        let made = try await fixture.ask("POST", "/user/tokens", body: body)
        let text = try #require(made.json["result"]?["value"]?.text)
        let id = try #require(made.json["result"]?["id"]?.text)
        #expect(text.utf8.count == 40 && id.utf8.count == 32)
        #expect(try await fixture.ask("PUT", "/accounts/acme/things/k", token: text, body: #"{"n":1}"#).status == 200)
        #expect(try await fixture.ask("GET", "/user/tokens", token: text).status == 403)
        #expect(try await fixture.ask("POST", "/user/tokens", token: text, body: body).status == 403)
        let list = try await fixture.ask("GET", "/user/tokens")
        #expect(list.json["result"]?.items?.count == 2 && !String(decoding: list.json.bytes, as: UTF8.self).contains(text))
        // After a restart, too.
        let again = try TokenStore(database: fixture.directory + "/control.sqlite")
        #expect(again.find(.token(text), at: fixture.clock.wallTime())?.id == id)
        #expect(again.find(.token(text), at: UnixTime(milliseconds: 4_102_444_800_000)) == nil)
        #expect(try await fixture.ask("DELETE", "/user/tokens/\(id)").json["result"]?["id"]?.text == id)
        #expect(try await fixture.ask("GET", "/user", token: text).status == 401)
        #expect(
            try TokenStore(database: fixture.directory + "/control.sqlite").find(.token(text), at: fixture.clock.wallTime())
                == nil)
        for wrong in [
            body.replacing("2100", with: "1999"), body.replacing("Storage Write", with: "Storage Own"),
            body.replacing("api.account", with: "api.zone"),
        ] {
            #expect(try await fixture.ask("POST", "/user/tokens", body: wrong).status == 400)
        }
    }

    @Test func `a token is an access key of the S3 API, and nobody reads that in the file`() throws {
        let directory = NSTemporaryDirectory() + "edge-api-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let (database, clock) = (directory + "/control.sqlite", VirtualClock())
        func open() throws -> TokenStore {
            try TokenStore(
                database: database, vault: SecretStore(database: database, keyFile: directory + "/key", tenant: ""))
        }
        let tokens = try open()
        let grant = Principal.Grant(tenant: "acme", product: .r2, level: .edit, bucket: "photos")
        let (token, text) = try tokens.create(name: "ci", grants: [grant], at: clock.wallTime())
        let secret = TokenStore.hex(Digest.hash(text, with: .sha256))
        for store in [tokens, try open()] {
            let found = try #require(store.accessKey(token.id, at: clock.wallTime()))
            #expect(found.secret == secret && found.token.grants == [grant])
        }
        let bytes = try Data(contentsOf: URL(fileURLWithPath: database))
        #expect(bytes.range(of: Data(secret.utf8)) == nil)
        #expect(try tokens.revoke(token.id, at: clock.wallTime()))
        #expect(tokens.accessKey(token.id, at: clock.wallTime()) == nil)
        #expect(try open().accessKey(token.id, at: clock.wallTime()) == nil)
        #expect(tokens.accessKey("none", at: clock.wallTime()) == nil)
    }

    @Test func `tokens of one bucket are made and shown as the product does`() async throws {
        let fixture = try Fixture(Self.echo)
        let resource = "com.cloudflare.edge.r2.bucket.\(Accounts.id(of: "acme"))_default_photos"
        func policy(_ resource: String, _ group: String) -> String {
            #"{"name":"r2","policies":[{"effect":"allow","resources":{"\#(resource)":"*"},"#
                + #""permission_groups":[{"name":"\#(group)"}]}]}"#
        }
        let made = try await fixture.ask(
            "POST", "/user/tokens", body: policy(resource, "Workers R2 Storage Bucket Item Write"))
        let id = try #require(made.json["result"]?["id"]?.text)
        #expect(made.json["result"]?["policies"]?.items?.first?["resources"]?.members?.first?.name == resource)
        let token = try #require(fixture.tokens.list().first { $0.id == id })
        #expect(token.grants == [.init(tenant: "acme", product: .r2, level: .edit, bucket: "photos")])
        #expect(!token.principal.may(.r2, .read, on: "acme"))
        #expect(token.principal.may(.r2, .edit, on: "acme", bucket: "photos"))
        #expect(!token.principal.may(.r2, .edit, on: "acme", bucket: "other"))
        for wrong in [
            policy(resource, "Workers KV Storage Write"), policy(resource.replacing("_default", with: "_moon"), "D1 Read"),
            policy("com.cloudflare.edge.r2.bucket.photos", "Workers R2 Storage Bucket Item Read"),
        ] {
            #expect(try await fixture.ask("POST", "/user/tokens", body: wrong).status == 400)
        }
    }

    @Test func `what changes something is written down, whatever came of it`() async throws {
        let fixture = try Fixture(
            Self.things { call in
                if call.parameters["key"] == "bad" { throw APIError(400, 10021, "no") }
                return .result(.null)
            })
        _ = try await fixture.ask("PUT", "/accounts/acme/things/good", body: #"{"n":1}"#)
        _ = try await fixture.ask("GET", "/accounts/acme/things/good")
        _ = try await fixture.ask("PUT", "/accounts/acme/things/bad", body: #"{"n":1}"#)
        _ = try await fixture.ask("POST", "/accounts/other/things")
        let answer = try await fixture.ask("GET", "/accounts/acme/audit_logs")
        let entries = try #require(answer.json["result"]?.items)
        #expect(
            entries.map { $0["resource"]?["id"]?.text } == [
                "/client/v4/accounts/acme/things/bad", "/client/v4/accounts/acme/things/good",
            ])
        #expect(entries[0]["action"]?["result"] == false && entries[0]["metadata"]?["code"] == 10021)
        #expect(entries[1]["action"]?["type"] == "things.put" && entries[1]["actor"]?["name"] == "operator")
        #expect(entries[1]["actor"]?["ip"] == "127.0.0.9")
        let page = try await fixture.ask("GET", "/accounts/acme/audit_logs?per_page=1&before=\(entries[0]["id"]?.text ?? "")")
        #expect(page.json["result"]?.items?.map { $0["id"] } == [entries[1]["id"]])
        let file = try SQLiteConnection(path: fixture.directory + "/control.sqlite", .create)
        for change in ["DELETE FROM audit_log", "UPDATE audit_log SET status = 200"] {
            #expect(throws: SQLiteError.self) { try file.execute(change) }
        }
        #expect(try fixture.audit.list(tenant: nil, before: nil, countMax: 10).count == 3)
    }

    @Test func `the document describes every operation, and nothing else`() async throws {
        let fixture = try Fixture(Self.echo)
        let answer = try await fixture.ask("GET", "/openapi.json", token: nil)
        #expect(answer.status == 200 && answer.json["openapi"] == "3.1.0")
        let paths = try #require(answer.json["paths"]?.members)
        #expect(Set(paths.map(\.name)).count == paths.count)
        let ids = paths.flatMap { $0.value.members ?? [] }.compactMap { $0.value["operationId"]?.text }
        #expect(Set(ids).count == ids.count && ids.contains("things.put") && ids.contains("user.tokens.create"))
        let put = answer.json["paths"]?["/accounts/{account_id}/things/{key}"]?["put"]
        #expect(put?["requestBody"]?["content"]?["application/json"]?["schema"]?["required"] == .strings(["n"]))
        #expect(answer.json["paths"]?["/accounts/{account_id}/files/{path}"]?["get"] != nil)
    }
}

@Suite struct `JSON values` {
    @Test(arguments: [
        "null", "true", "[]", "{}", #"[1,-2,9223372036854775807,0.5,"a\"\\\n\u0001é"]"#, #"{"a":{"b":[{"c":null}]}}"#,
    ]) func `come back as they were written`(_ text: String) throws {
        let value = try #require(JSON(Array(text.utf8)))
        #expect(JSON(value.bytes) == value)
        #expect(String(decoding: value.bytes, as: UTF8.self) == text)
    }

    @Test(arguments: ["", "{", "[1,]", "nul", "1 2", "'a'", "{\"a\":}", "\u{FEFF}"]) func `are nothing else`(_ text: String) {
        #expect(JSON(Array(text.utf8)) == nil)
    }
}
