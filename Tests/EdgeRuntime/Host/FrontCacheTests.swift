import Caching
import HTTP
import Interfaces
import Stores
import Synchronization
import System
import Testing
import Wire

@testable import Host

/// One response in memory, in the hands of the test.
private final class OneResponse: ResponseCache {
    struct State {
        var hit: CacheHit?
        var isClaimed = false
        var refreshed: [StoredResponse] = []
        var invalidated: [String] = []
        var counted: [CacheStatus] = []
    }
    let state: Mutex<State>

    init(_ response: StoredResponse) { state = Mutex(State(hit: CacheHit(id: 1, response: response))) }

    var isClaimed: Bool { state.withLock { $0.isClaimed } }

    func find(_ key: CacheKey, for request: @autoclosure () -> Headers) -> CacheHit? {
        state.withLock { $0.hit?.response.key.text == key.text ? $0.hit : nil }
    }
    func body(of hit: CacheHit, offset: Int64, byteCount: Int64) async -> StoreBody? { .bytes(Array("stored".utf8)) }
    func bodyInMemory(of hit: CacheHit, offset: Int64, byteCount: Int64) -> StoreBody? { .bytes(Array("stored".utf8)) }
    func beginFill(_ response: StoredResponse, length: Int64?, claim: CacheClaim?) -> (any CacheFilling)? { nil }
    func refresh(_ hit: CacheHit, with response: StoredResponse) async {
        state.withLock {
            $0.refreshed.append(response)
            $0.hit = CacheHit(id: hit.id, response: response)
        }
    }
    func remove(_ key: CacheKey) async -> Bool { false }
    func invalidate(_ keys: [CacheKey]) { state.withLock { $0.invalidated += keys.map(\.text) } }
    func purge(_ purge: CachePurge) async -> Int { 0 }
    func claim(_ key: CacheKey) async -> CacheClaim? { tryClaim(key) }
    func tryClaim(_ key: CacheKey) -> CacheClaim? {
        let isFree = state.withLock { state in
            defer { state.isClaimed = true }
            return !state.isClaimed
        }
        return isFree ? CacheClaim { [weak self] in self?.state.withLock { $0.isClaimed = false } } : nil
    }
    func count(_ status: CacheStatus, zone: String) { state.withLock { $0.counted.append(status) } }
    var statistics: [CacheStatistics] { [] }
}

private struct NoCalls: StoreService {
    func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply { throw CallFailure("nobody asks") }
}

@Suite struct `The cache in front of a worker` {
    /// A node whose cache has a response for `http://h/x` that is stale, with leave to be used while it is asked anew.
    private static func stale(staleWhileRevalidate: Int64 = 600) throws -> (FakeNode, FakeWorker, OneResponse) {
        let node = try FakeNode()
        var headers = Headers()
        try headers.set("etag", "\"v1\"")
        let response = StoredResponse(
            key: CacheKey(.worker("worker", version: "1"), "http://h/x"), url: "http://h/x", status: 200, headers: headers,
            terms: StorageTerms(lifetime: 1, staleWhileRevalidate: staleWhileRevalidate),
            storedAt: node.clock.wallTime().milliseconds - 5000, bodyByteCount: 6)
        let cache = OneResponse(response)
        let worker = try node.addWorker(
            cache: WorkerCache(store: cache, service: NoCalls(), front: FrontCache(timeToLive: 0)))
        return (node, worker, cache)
    }

    private static func text(_ frame: FakeIsolate.Frame) -> String { String(decoding: frame.payload, as: UTF8.self) }

    @Test func `asks behind the client's back, and takes a 304's word`() async throws {
        try await onThread {
            let (node, worker, cache) = try Self.stale()
            defer { node.stop() }
            let client = try node.connect()
            client.send("GET /x HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"other\"\r\n\r\n")
            let isolate = try worker.nextReadyIsolate()
            #expect(try client.read(to: "stored").contains("CF-Cache-Status: UPDATING"))
            let question = try isolate.receive(.open)
            #expect(Self.text(question).contains("if-none-match\"v1\"") && !Self.text(question).contains("other"))
            #expect(cache.isClaimed)
            isolate.send(
                .open, question.header.stream, flags: .end,
                FakeIsolate.answer(304, headers: [("etag", "\"v1\""), ("cache-control", "max-age=60")]))
            while cache.isClaimed { node.onReactor {} }
            #expect(cache.state.withLock { $0.refreshed.map(\.terms.lifetime) } == [60])
            client.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(try client.read(to: "stored").contains("CF-Cache-Status: HIT"))
            #expect(cache.state.withLock { $0.counted } == [.updating, .hit])
        }
    }

    @Test func `a worker that hangs keeps the claim for a minute`() async throws {
        try await onThread {
            let (node, worker, cache) = try Self.stale()
            defer { node.stop() }
            let client = try node.connect()
            client.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
            let isolate = try worker.nextReadyIsolate()
            _ = try client.read(to: "stored")
            let question = try isolate.receive(.open)
            node.pass(.seconds(59))
            #expect(cache.isClaimed)
            node.pass(.seconds(2))
            #expect(try isolate.receive(.reset).header.stream == question.header.stream)
            while cache.isClaimed { node.onReactor {} }
            #expect(cache.state.withLock { $0.refreshed }.isEmpty)
        }
    }

    @Test func `asks first where that is due, and again where the 304 means another response`() async throws {
        try await onThread {
            let (node, worker, cache) = try Self.stale(staleWhileRevalidate: 0)
            defer { node.stop() }
            let client = try node.connect()
            client.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
            let isolate = try worker.nextReadyIsolate()
            let question = try isolate.receive(.open)
            #expect(Self.text(question).contains("if-none-match\"v1\""))
            isolate.send(.open, question.header.stream, flags: .end, FakeIsolate.answer(304, headers: [("etag", "\"v2\"")]))
            let again = try isolate.receive(.open)
            #expect(!Self.text(again).contains("if-none-match"))
            isolate.send(
                .open, again.header.stream, flags: .end, FakeIsolate.answer(200, headers: [("cache-control", "max-age=60")]))
            #expect(try client.read(to: "\r\n\r\n").contains("CF-Cache-Status: EXPIRED"))
            while cache.isClaimed { node.onReactor {} }
            // Still there, so that the next one is asked after, too.
            client.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
            let third = try isolate.receive(.open)
            isolate.send(
                .open, third.header.stream, flags: .end,
                FakeIsolate.answer(304, headers: [("etag", "\"v1\""), ("cache-control", "max-age=60")]))
            let answer = try client.read(to: "stored")
            #expect(answer.contains("CF-Cache-Status: REVALIDATED") && answer.contains("HTTP/1.1 200"))
        }
    }

    @Test(arguments: [(201, ["http://h/x", "http://h/y"]), (404, [])] as [(UInt16, [String])])
    func `forgets what an answer has changed`(_ status: UInt16, _ expected: [String]) async throws {
        try await onThread {
            let (node, worker, cache) = try Self.stale()
            defer { node.stop() }
            let client = try node.connect()
            client.send("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open)
            isolate.send(
                .open, event.header.stream, flags: .end, FakeIsolate.answer(status, headers: [("location", "/y")]))
            _ = try client.read(to: "\r\n\r\n")
            #expect(cache.state.withLock { $0.invalidated } == expected)
        }
    }
}
