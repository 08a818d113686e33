import HTTP
import Observability
import Synchronization
import System
import Testing

@testable import ControlPlane
@testable import Host

@Suite struct `Tail redaction` {
    @Test(
        arguments: [
            ("https://a.test/x?y=1", "https://a.test/x?y=1"),
            ("https://a.test/0123456789abcdef0123456789ABCDEF/x", "https://a.test/REDACTED/x"),
            ("https://a.test/0123456789abcdef0123456789abcde/x", "https://a.test/0123456789abcdef0123456789abcde/x"),
            ("https://a.test/01234567-89ab-cdef-0123-456789abcdef?a=b", "https://a.test/REDACTED?a=b"),
            ("https://a.test/ABab12cdefghijklmnopq", "https://a.test/REDACTED"),
            ("https://a.test/ABab12cdefghijklmnop", "https://a.test/ABab12cdefghijklmnop"),
            ("https://a.test/abcd12cdefghijklmnopqrs", "https://a.test/abcd12cdefghijklmnopqrs"),
        ])
    func `hides what looks like an id in a URL`(url: String, shown: String) { #expect(Redaction.url(url) == shown) }

    @Test(
        arguments: [
            ("cookie", true), ("set-cookie", true), ("authorization", true), ("x-api-key", true), ("x-csrf-token", true),
            ("cf-access-jwt-assertion", true), ("client-secret", true), ("accept", false), ("user-agent", false),
        ])
    func `hides headers by their names`(name: String, isHidden: Bool) { #expect(Redaction.hides(header: name) == isHidden) }
}

@Suite struct `Tail filter` {
    private static func worker(secrets: [String] = []) -> TraceEvent.Worker {
        TraceEvent.Worker(
            tenant: "t", name: "w", version: "v1", versionTag: "", redactor: SecretRedactor(secrets), colo: "LOC")
    }

    private static let get = TraceEvent.Cause.fetch(
        TraceEvent.Request(
            method: "GET", url: "http://a/", headers: [("x-a", "one two"), ("cf-connecting-ip", "2001:db8::1")]))
    private static let cron = TraceEvent.Cause.scheduled(cron: "* * * * *", time: UnixTime(milliseconds: 0))

    private static func event(
        _ outcome: TraceEvent.Outcome = .ok, logs: [String] = [], secrets: [String] = [], cause: TraceEvent.Cause = get
    ) -> TraceEvent {
        TraceEvent(
            worker: worker(secrets: secrets), cause: cause, started: UnixTime(milliseconds: 5), duration: .milliseconds(7),
            outcome: outcome, status: 200,
            logs: logs.map {
                TraceEvent.Log(time: UnixTime(milliseconds: 6), level: .log, text: $0, fields: [])
            }, exceptions: [], isTruncated: false, byteCount: 1)
    }

    private static func filter(_ text: String) throws -> TailFilter {
        let body = try #require(JSON(Array("{\"filters\":[\(text)]}".utf8)))
        try TailFilter.schema.check(body)
        return try TailFilter(body, client: "2001:db8:0::1")
    }

    @Test(
        arguments: [
            (#"{"method":["post","get"]}"#, true, false), (#"{"method":["POST"]}"#, false, false),
            (#"{"header":{"key":"X-A"}}"#, true, false), (#"{"header":{"key":"x-a","query":"two"}}"#, true, false),
            (#"{"header":{"key":"x-a","query":"three"}}"#, false, false), (#"{"header":{"key":"x-b"}}"#, false, false),
            (#"{"client_ip":["self"]}"#, true, false), (#"{"client_ip":["2001:DB8::1"]}"#, true, false),
            (#"{"client_ip":["10.0.0.1"]}"#, false, false), (#"{"scriptVersion":"v1"}"#, true, true),
            (#"{"scriptVersion":"v2"}"#, false, false), (#"{"method":["GET"]},{"header":{"key":"x-b"}}"#, false, false),
            ("", true, true),
        ])
    func `decides at the start`(text: String, request: Bool, cron: Bool) throws {
        let filter = try Self.filter(text)
        #expect(filter.passes(Self.get, of: Self.worker()) == request)
        #expect(filter.passes(Self.cron, of: Self.worker()) == cron)
    }

    @Test func `decides at the end by outcome and logs`() throws {
        let outcome = try Self.filter(#"{"outcome":["exception","exceededCpu"]}"#)
        #expect(outcome.passes(Self.event(.exceededCpu)) && !outcome.passes(Self.event(.ok)))
        let query = try Self.filter(#"{"query":"apple"}"#)
        #expect(query.passes(Self.event(logs: ["a", "an apple"])) && !query.passes(Self.event(logs: ["a pear"])))
    }

    @Test func `says what an object's event was, and where it stands in its trace`() throws {
        let id = try #require(ObjectID([UInt8](repeating: 0xab, count: 32)))
        var event = Self.event(cause: .alarm(UnixTime(milliseconds: 1_700_000_000_042)))
        #expect(event.json["executionModel"] == "stateless" && event.json["durableObjectId"] == nil)
        event.target = .object(id, class: "Counter")
        let json = event.json
        #expect(json["event"] == .object(["scheduledTime": "2023-11-14T22:13:20.042Z"]))
        #expect(json["entrypoint"] == "Counter" && json["executionModel"] == "durableObject")
        #expect(json["durableObjectId"] == .string(String(repeating: "ab", count: 32)))
        #expect(Self.event(cause: .rpc(method: "add")).json["event"] == .object(["rpcMethod": "add"]))
        let closed = Self.event(cause: .socket(.close(code: 1000, wasClean: true))).json["event"]?["getWebSocketEvent"]
        #expect(closed == .object(["webSocketEventType": "close", "code": 1000, "wasClean": true]))
        // A client's method is no filter for what no client sent.
        #expect(try !Self.filter(#"{"method":["GET"]}"#).passes(.rpc(method: "GET"), of: Self.worker()))
    }

    @Test func `finds no secret that is hidden`() throws {
        let query = try Self.filter(#"{"query":"hunter2hunter2"}"#)
        #expect(query.passes(Self.event(logs: ["hunter2hunter2"])))
        #expect(!query.passes(Self.event(logs: ["hunter2hunter2"], secrets: ["hunter2hunter2"])))
        let json = Self.event(logs: ["it is hunter2hunter2."], secrets: ["hunter2hunter2"]).json
        #expect(json["logs"]?.items?.first?["message"] == .array(["it is <redacted>."]))
    }

    @Test(arguments: [0.0, 0.5, 1.0])
    func `takes the share that is asked for`(rate: Double) throws {
        let filter = try Self.filter(#"{"sampling_rate":\#(rate)}"#)
        let taken = (0..<2000).count { _ in filter.takesSample() }
        // 0.5 misses this by chance once in more than 10¹⁵ runs.
        #expect(rate == 0 ? taken == 0 : rate == 1 ? taken == 2000 : (800...1200).contains(taken))
    }

    @Test(
        arguments: [
            #"{"sampling_rate":1.5}"#, #"{"sampling_rate":-1}"#, #"{"client_ip":["everybody"]}"#, #"{"colour":"red"}"#,
            #"{"outcome":["fine"]}"#, #"{"method":[]}"#, #"{"header":{}}"#, #"{"query":""}"#, "7",
        ])
    func `refuses what it doesn't know`(text: String) { #expect(throws: (any Error).self) { try Self.filter(text) } }
}

@Suite struct `Tails of a node` {
    private let clock = VirtualClock()
    private let traces = WorkerTraces()

    private func make(_ tails: Tails, worker: String = "w") -> Tail? {
        tails.make(worker: worker, tenant: "t", client: "127.0.0.1", filter: .everything, traces: traces)
    }

    @Test func `are ten per worker at most, of which the forgotten make room`() throws {
        let tails = Tails(clock: clock)
        let first = try #require(make(tails))
        clock.advance(by: .seconds(1))
        for _ in 1..<Tails.perWorkerMax { #expect(make(tails) != nil) }
        #expect(make(tails) == nil)
        #expect(make(tails, worker: "other") != nil)
        clock.advance(by: Tails.unfollowedMax)
        #expect(make(tails) != nil)
        #expect(tails.tail(secret: first.secret) == nil)
        #expect(tails.tails(of: "w", tenant: "t").count == Tails.perWorkerMax)
    }

    @Test func `expire`() throws {
        let tails = Tails(clock: clock)
        let tail = try #require(make(tails))
        #expect(tail.expiresAt == clock.wallTime() + .seconds(6 * 3600))
        clock.advance(by: .seconds(6 * 3600 - 1))
        #expect(tails.tail(secret: tail.secret) === tail)
        clock.advance(by: .seconds(1))
        #expect(tails.tail(secret: tail.secret) == nil)
        #expect(tail.follow() == nil)
    }

    @Test func `are followed by one, and end with that one`() throws {
        let tails = Tails(clock: clock)
        let tail = try #require(make(tails))
        #expect(tail.follow() != nil)
        #expect(tail.follow() == nil)
        tail.closed(.normal, reason: "")
        #expect(tails.tails(of: "w", tenant: "t").isEmpty)
        // Its client deletes it then, once.
        #expect(!tails.delete(tail.id, of: "other", tenant: "t"))
        #expect(tails.delete(tail.id, of: "w", tenant: "t"))
        #expect(!tails.delete(tail.id, of: "w", tenant: "t"))
    }

    @Test func `can be deleted by those who name their worker alone`() throws {
        let tails = Tails(clock: clock)
        let tail = try #require(make(tails))
        #expect(!tails.delete(tail.id, of: "w", tenant: "other"))
        #expect(tails.delete(tail.id, of: "w", tenant: "t"))
        #expect(tails.tail(secret: tail.secret) == nil)
    }
}
