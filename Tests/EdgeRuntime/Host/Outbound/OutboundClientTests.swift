import Curl
import HTTP
import Host
import Stores
import Synchronization
import System
import Testing

extension OutboundPolicy {
    static let everything = OutboundPolicy(privateAddresses: .allowed) { _, _ in true }
    static let publicOnly = OutboundPolicy(privateAddresses: .refused) { _, _ in true }
}

/// A body made of given pieces.
final class Pieces: BodySource {
    private let pieces: Mutex<[[UInt8]]>
    private let failsAtEnd: Bool
    let cancelled = Signal<Void>()

    init(_ pieces: [[UInt8]], failsAtEnd: Bool = false) {
        self.pieces = Mutex(pieces)
        self.failsAtEnd = failsAtEnd
    }

    convenience init(_ text: String) { self.init([Array(text.utf8)]) }

    struct Failed: Error {}

    func next() async throws -> [UInt8]? {
        let piece = pieces.withLock { $0.isEmpty ? nil : $0.removeFirst() }
        if piece == nil, failsAtEnd { throw Failed() }
        return piece
    }

    func cancel() { cancelled.send() }
}

/// Equal pieces, counted as they are taken.
final class CountedPieces: BodySource {
    private let size: Int
    private let count: Int
    private let taken = Atomic<Int>(0)

    init(size: Int, count: Int) {
        self.size = size
        self.count = count
    }

    var produced: Int { taken.load(ordering: .relaxed) }

    func next() async throws -> [UInt8]? {
        guard produced < count else { return nil }
        taken.add(1, ordering: .relaxed)
        return [UInt8](repeating: 1, count: size)
    }

    func cancel() {}
}

func collect(_ body: (any BodySource)?) async throws -> [UInt8] {
    var bytes: [UInt8] = []
    while let piece = try await body?.next() { bytes += piece }
    return bytes
}

func text(_ response: OutboundResponse) async throws -> String {
    String(decoding: try await collect(response.body), as: UTF8.self)
}

/// Answers `METHOD target|name: value|…|body`, so that a test sees what came over the wire.
func echo(_ connection: borrowing ServerConnection) {
    while let head = connection.readHead(), let body = connection.readBody(of: head) {
        let fields = head.fields.filter { $0.name != "host" }.map { "\($0.name): \($0.value)" }
        let parts = ["\(head.method) \(head.target)"] + fields + [String(decoding: body, as: UTF8.self)]
        connection.answer(parts.joined(separator: "|"))
    }
}

@Suite(.timeLimit(.minutes(5))) struct `Outbound fetch` {
    let clock = VirtualClock()

    func makeClient() -> OutboundClient { OutboundClient(clock: clock) }

    func error(_ body: () async throws(OutboundError) -> Void) async -> OutboundError? {
        do throws(OutboundError) {
            try await body()
            return nil
        } catch { return error }
    }

    // MARK: Messages

    @Test func `sends what the handler gave and nothing else`() async throws {
        let server = try TestServer(echo)
        let client = makeClient()
        let headers = try Headers([
            ("x-a", "1"), ("x-a", "2"), ("x-empty", ""), ("connection", "x-hop, close"), ("x-hop", "gone"),
            ("te", "gone"), ("transfer-encoding", "gone"), ("content-length", "77"), ("host", "elsewhere"),
            ("expect", "100-continue"), ("accept-encoding", "gzip"),
        ])
        let request = OutboundRequest(
            method: "GET", url: "http://user:secret@127.0.0.1:\(server.port)/a%20b?c=d#e", headers: headers)
        let response = try await client.fetch(request, policy: .everything)
        #expect(response.status == 200)
        #expect(try await text(response) == "GET /a%20b?c=d|x-a: 1|x-a: 2|x-empty: |accept-encoding: gzip|")
    }

    @Test(arguments: [
        ("POST", "POST /|content-length: 2|hi"), ("PUT", "PUT /|content-length: 2|hi"),
        ("DELETE", "DELETE /|content-length: 2|hi"), ("REPORT", "REPORT /|content-length: 2|hi"),
    ])
    func `sends bodies with any method`(_ method: String, _ expected: String) async throws {
        let server = try TestServer(echo)
        let client = makeClient()
        let request = OutboundRequest(method: method, url: server.url("/"), body: .bytes(Array("hi".utf8)))
        #expect(try await text(client.fetch(request, policy: .everything)) == expected)
    }

    @Test(arguments: [
        ("GET", "GET /|"), ("DELETE", "DELETE /|"), ("PURGE", "PURGE /|"), ("OPTIONS", "OPTIONS /|"),
        ("POST", "POST /|content-length: 0|"), ("PUT", "PUT /|content-length: 0|"),
        ("PATCH", "PATCH /|content-length: 0|"),
    ])
    func `sends any method without a body`(_ method: String, _ expected: String) async throws {
        let server = try TestServer(echo)
        let client = makeClient()
        let request = OutboundRequest(method: method, url: server.url("/"))
        #expect(try await text(client.fetch(request, policy: .everything)) == expected)
    }

    @Test(arguments: ["CONNECT", "TRACE", "G T", ""])
    func `refuses methods that would change the connection`(_ method: String) async throws {
        let client = makeClient()
        let request = OutboundRequest(method: method, url: "http://example.com/")
        let error = await error { () throws(OutboundError) in
            _ = try await client.fetch(request, policy: .everything)
        }
        #expect(error?.name == "TypeError")
    }

    @Test(arguments: [
        "ftp://example.com/", "file:///etc/passwd", "gopher://x/", "no url", "http://", "data:,x",
    ])
    func `refuses URLs that aren't http`(_ url: String) async throws {
        let client = makeClient()
        let body = Pieces("x")
        let request = OutboundRequest(method: "POST", url: url, body: .stream(body, length: nil))
        let error = await error { () throws(OutboundError) in
            _ = try await client.fetch(request, policy: .everything)
        }
        #expect(error == .invalidURL(url))
        await body.cancelled.wait()
    }

    @Test func `streams a body of unknown length in chunks, and one of known length with it`() async throws {
        let server = try TestServer(echo)
        let client = makeClient()
        let unknown = OutboundRequest(
            method: "POST", url: server.url("/"), body: .stream(Pieces([[65, 66], [67]]), length: nil))
        #expect(
            try await text(client.fetch(unknown, policy: .everything))
                == "POST /|transfer-encoding: chunked|ABC")
        let size = 2 << 20
        let pieces = Pieces((0..<32).map { [UInt8](repeating: UInt8(65 + $0 % 26), count: size / 32) })
        let known = OutboundRequest(
            method: "PUT", url: server.url("/"), body: .stream(pieces, length: Int64(size)))
        let answer = try await text(client.fetch(known, policy: .everything))
        #expect(answer.hasPrefix("PUT /|content-length: \(size)|AAAA") && answer.utf8.count > size)
    }

    @Test func `ends when the body's sender gives up or gives too little`() async throws {
        let server = try TestServer(echo)
        let client = makeClient()
        for (length, fails) in [(nil, true), (1 << 20, false), (1 << 20, true), (100, false)]
            as [(Int64?, Bool)]
        {
            let body = Pieces([[1, 2, 3]], failsAtEnd: fails)
            let request = OutboundRequest(
                method: "POST", url: server.url("/"), body: .stream(body, length: length))
            let error = await error { () throws(OutboundError) in
                _ = try await client.fetch(request, policy: .everything)
            }
            #expect(error?.message == "Network connection lost.")
            await body.cancelled.wait()
        }
    }

    @Test func `passes the response on without what belongs to its connection`() async throws {
        let server = try TestServer { connection in
            _ = connection.readHead()
            connection.write("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
            connection.write(
                "HTTP/1.1 404 Nothing Here\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nConnection: X-Own\r\nX-Own: 1\r\n"
                    + "Keep-Alive: 5\r\nContent-Encoding: gzip\r\nX-Latin: caf\u{e9}\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            connection.write("3\r\nabc\r\n2\r\nde\r\n0\r\nx-trailer: 1\r\n\r\n")
        }
        let client = makeClient()
        let response = try await client.fetch(
            OutboundRequest(method: "GET", url: server.url("/")), policy: .everything)
        #expect(response.status == 404 && response.bodyLength == nil)
        #expect(response.headers.getSetCookie() == ["a=1", "b=2"])
        #expect(response.headers.map(\.name) == ["content-encoding", "set-cookie", "set-cookie", "x-latin"])
        #expect(try await text(response) == "abcde")
    }

    @Test(arguments: [("HEAD", "200"), ("GET", "204"), ("GET", "304")])
    func `gives no body where there can be none`(_ method: String, _ status: String) async throws {
        let server = try TestServer { connection in
            while connection.readHead() != nil {
                let length = status == "204" ? "" : "content-length: 5\r\n"
                connection.write("HTTP/1.1 \(status) X\r\n\(length)\r\n")
            }
        }
        let client = makeClient()
        let response = try await client.fetch(
            OutboundRequest(method: method, url: server.url("/")), policy: .everything)
        #expect(response.body == nil && response.bodyLength == nil)
        #expect(response.headers.get("content-length") == (status == "204" ? nil : "5"))
    }

    @Test func `reads a body that ends with its connection, and notices one that is cut short`() async throws {
        let server = try TestServer { connection in
            guard let head = connection.readHead() else { return }
            connection.write(
                head.target == "/whole"
                    ? "HTTP/1.0 200 OK\r\n\r\nto the end" : "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut")
        }
        let client = makeClient()
        let whole = try await client.fetch(
            OutboundRequest(method: "GET", url: server.url("/whole")), policy: .everything)
        #expect(try await text(whole) == "to the end")
        let cut = try await client.fetch(
            OutboundRequest(method: "GET", url: server.url("/cut")), policy: .everything)
        #expect(cut.bodyLength == 9)
        await #expect(throws: OutboundError.self) { try await collect(cut.body) }
    }

    @Test func `refuses a head beyond 128 KiB`() async throws {
        let server = try TestServer { connection in
            _ = connection.readHead()
            connection.write("HTTP/1.1 200 OK\r\n")
            for number in 0..<40 {
                connection.write("x-\(number): \(String(repeating: "y", count: 4000))\r\n")
            }
            connection.write("\r\n")
        }
        let client = makeClient()
        let request = OutboundRequest(method: "GET", url: server.url("/"))
        let error = await error { () throws(OutboundError) in
            _ = try await client.fetch(request, policy: .everything)
        }
        #expect(error == .connectionLost(reason: CurlError.headTooLarge(limit: 128 << 10).description))
    }

    @Test func `says that the connection is lost when there is none`() async throws {
        let port = try TestServer { _ in }.port  // Gone at once: nobody listens there.
        let client = makeClient()
        for url in ["http://127.0.0.1:\(port)/", "http://name.invalid/"] {
            let request = OutboundRequest(method: "GET", url: url)
            let error = await error { () throws(OutboundError) in
                _ = try await client.fetch(request, policy: .everything)
            }
            #expect(error?.message == "Network connection lost." && error?.name == "Error")
        }
    }

    @Test func `carries many requests at once over few connections`() async throws {
        let server = try TestServer(echo)
        let client = makeClient()
        for _ in 0..<3 {
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<64 {
                    group.addTask {
                        let request = OutboundRequest(method: "GET", url: server.url("/\(number)"))
                        return try await text(client.fetch(request, policy: .everything)) == "GET /\(number)|"
                    }
                }
                for try await isRight in group { #expect(isRight) }
            }
        }
        #expect(server.connectionCount <= 128)
    }

    // MARK: Redirects

    /// `/status/n` redirects with that status to `/end`; `/hops/n` to `/hops/n-1`; `/end` and `/hops/0`
    /// echo.
    static func redirecting(_ connection: borrowing ServerConnection) {
        while let head = connection.readHead(), let body = connection.readBody(of: head) {
            let parts = head.target.split(separator: "/").map(String.init)
            func redirect(_ status: String, _ location: String) {
                connection.write("HTTP/1.1 \(status) X\r\n\(location)content-length: 2\r\n\r\nno")
            }
            switch parts.first {
            case "status": redirect(parts[1], "Location: ../end\r\n")
            case "nowhere": redirect("302", "")
            case "bad": redirect("302", "Location: http://[/\r\n")
            case "file": redirect("302", "Location: file:///etc/passwd\r\n")
            case "to": redirect("302", "Location: http://\(parts[1...].joined(separator: "/"))\r\n")
            case "hops" where parts[1] != "0":
                redirect("301", "Location: /hops/\((Int(parts[1]) ?? 1) - 1)\r\n")
            default:
                let names = ["content-type", "content-length", "authorization", "cookie", "x-kept"]
                let kept = names.compactMap { name in head[name].map { "\(name): \($0)" } }
                connection.answer(
                    (["\(head.method) \(head.target)"] + kept + [String(decoding: body, as: UTF8.self)])
                        .joined(separator: "|"))
            }
        }
    }

    struct Rewriting: Sendable, CustomTestStringConvertible {
        var status: Int
        var method: String
        var result: String
        var testDescription: String { "\(status) \(method)" }
    }

    @Test(arguments: [
        Rewriting(status: 301, method: "POST", result: "GET"),
        Rewriting(status: 302, method: "POST", result: "GET"),
        Rewriting(status: 303, method: "POST", result: "GET"),
        Rewriting(status: 307, method: "POST", result: "POST"),
        Rewriting(status: 308, method: "POST", result: "POST"),
        Rewriting(status: 301, method: "PUT", result: "PUT"),
        Rewriting(status: 302, method: "PUT", result: "PUT"),
        Rewriting(status: 303, method: "PUT", result: "GET"),
        Rewriting(status: 307, method: "PATCH", result: "PATCH"),
        Rewriting(status: 303, method: "DELETE", result: "GET"),
    ])
    func `rewrite the method as the table says`(_ given: Rewriting) async throws {
        let server = try TestServer(Self.redirecting)
        let client = makeClient()
        let headers = try Headers([("content-type", "text/x"), ("x-kept", "1")])
        let bodies: [OutboundRequest.Body] = [
            .bytes(Array("body".utf8)), .stream(Pieces("body"), length: 4),
        ]
        for body in bodies {
            let request = OutboundRequest(
                method: given.method, url: server.url("/status/\(given.status)"), headers: headers, body: body
            )
            let response = try await client.fetch(request, policy: .everything)
            let expected =
                given.result == "GET"
                ? "GET /end|x-kept: 1|"
                : "\(given.result) /end|content-type: text/x|content-length: 4|x-kept: 1|body"
            #expect(try await text(response) == expected)
            #expect(response.redirectCount == 1 && response.url == server.url("/end"))
        }
    }

    @Test func `keep HEAD a HEAD, and GET a GET`() async throws {
        let server = try TestServer { connection in
            while let head = connection.readHead() {
                let isEnd = head.target == "/end"
                connection.write(
                    "HTTP/1.1 \(isEnd ? "200" : "303") X\r\nlocation: /end\r\nx-method: \(head.method)\r\n")
                connection.write(head.method == "HEAD" ? "\r\n" : "content-length: 0\r\n\r\n")
            }
        }
        let client = makeClient()
        for method in ["HEAD", "GET"] {
            let response = try await client.fetch(
                OutboundRequest(method: method, url: server.url("/")), policy: .everything)
            #expect(response.status == 200 && response.headers.get("x-method") == method)
        }
    }

    @Test(arguments: [307, 308, 301])
    func `can't repeat a stream`(_ status: Int) async throws {
        let server = try TestServer(Self.redirecting)
        let client = makeClient()
        let body = Pieces("body")
        let request = OutboundRequest(
            method: status == 301 ? "PUT" : "POST", url: server.url("/status/\(status)"),
            body: .stream(body, length: nil))
        let error = await error { () throws(OutboundError) in
            _ = try await client.fetch(request, policy: .everything)
        }
        #expect(error == .oneTimeBody && error?.name == "TypeError")
        #expect(error?.message.hasPrefix("A request with a one-time-use body") == true)
        await body.cancelled.wait()
    }

    @Test func `stop after twenty`() async throws {
        let server = try TestServer(Self.redirecting)
        let client = makeClient()
        let twenty = OutboundRequest(method: "GET", url: server.url("/hops/20"))
        let response = try await client.fetch(twenty, policy: .everything)
        #expect(response.status == 200 && response.redirectCount == 20)
        let more = OutboundRequest(method: "GET", url: server.url("/hops/21"))
        let error = await error { () throws(OutboundError) in
            _ = try await client.fetch(more, policy: .everything)
        }
        #expect(error == .tooManyRedirects && error?.message == "Too many redirects.")
    }

    @Test func `are returned as they are when they lead nowhere or the handler wants them`() async throws {
        let server = try TestServer(Self.redirecting)
        let client = makeClient()
        let nowhere = try await client.fetch(
            OutboundRequest(method: "GET", url: server.url("/nowhere")), policy: .everything)
        #expect(nowhere.status == 302)
        #expect(try await text(nowhere) == "no")
        let manual = OutboundRequest(method: "GET", url: server.url("/status/302"), redirect: .manual)
        let response = try await client.fetch(manual, policy: .everything)
        #expect(response.status == 302 && response.headers.get("location") == "../end")
    }

    @Test(arguments: ["/bad", "/file"])
    func `to no place that can be fetched are errors`(_ path: String) async throws {
        let server = try TestServer(Self.redirecting)
        let client = makeClient()
        let request = OutboundRequest(method: "GET", url: server.url(path))
        let error = await error { () throws(OutboundError) in
            _ = try await client.fetch(request, policy: .everything)
        }
        #expect(error == .invalidLocation && error?.name == "TypeError")
        #expect(error?.message == "Invalid Location header; unable to follow redirect.")
    }

    @Test func `to another origin lose credentials, to the same one keep them`() async throws {
        let server = try TestServer(Self.redirecting)
        let other = try TestServer(Self.redirecting)
        let client = makeClient()
        let headers = try Headers([("authorization", "Bearer x"), ("cookie", "a=b"), ("x-kept", "1")])
        let away = OutboundRequest(
            method: "GET", url: server.url("/to/127.0.0.1:\(other.port)/end"), headers: headers)
        #expect(try await text(client.fetch(away, policy: .everything)) == "GET /end|x-kept: 1|")
        let same = OutboundRequest(method: "GET", url: server.url("/status/302"), headers: headers)
        #expect(
            try await text(client.fetch(same, policy: .everything))
                == "GET /end|authorization: Bearer x|cookie: a=b|x-kept: 1|")
    }

    // MARK: Where a worker may go

    @Test(arguments: [
        "127.0.0.1", "127.1", "0x7f.1", "2130706433", "0.0.0.0", "localhost", "[::1]", "[::]",
        "[::ffff:127.0.0.1]",
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "[fe80::1]", "[fd00::1]", "100.64.0.1",
        "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1", "255.255.255.255", "[ff02::1]",
    ])
    func `refuses addresses that aren't public, whatever names them`(_ host: String) async throws {
        let server = try TestServer(echo)
        let client = makeClient()
        let request = OutboundRequest(method: "GET", url: "http://\(host):\(server.port)/")
        let error = await error { () throws(OutboundError) in
            _ = try await client.fetch(request, policy: .publicOnly)
        }
        guard case .addressNotAllowed = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(server.connectionCount == 0)
    }

    @Test(arguments: ["224.0.0.1", "255.255.255.255", "240.0.0.1", "[ff02::1]"])
    func `refuses addresses that are no host's, even when private ones are granted`(_ host: String)
        async throws
    {
        let client = makeClient()
        let request = OutboundRequest(method: "GET", url: "http://\(host)/")
        let error = await error { () throws(OutboundError) in
            _ = try await client.fetch(request, policy: .everything)
        }
        guard case .addressNotAllowed = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func `refuses a connection that another worker opened and left`() async throws {
        let server = try TestServer(echo)
        let client = makeClient()
        let request = OutboundRequest(method: "GET", url: server.url("/"))
        _ = try await text(client.fetch(request, policy: .everything))  // Kept alive from now on.
        let error = await error { () throws(OutboundError) in
            _ = try await client.fetch(request, policy: .publicOnly)
        }
        #expect(error == .addressNotAllowed(host: "127.0.0.1", address: "127.0.0.1"))
        _ = try await text(client.fetch(request, policy: .everything))
    }

    @Test func `asks the policy for the host and port of every hop`() async throws {
        let server = try TestServer(Self.redirecting)
        let other = try TestServer(Self.redirecting)
        let client = makeClient()
        let port = server.port
        let policy = OutboundPolicy(privateAddresses: .allowed) { $0 == "127.0.0.1" && $1 == port }
        let allowed = OutboundRequest(method: "GET", url: server.url("/end"))
        #expect(try await client.fetch(allowed, policy: policy).status == 200)
        let escaping = OutboundRequest(method: "GET", url: server.url("/to/127.0.0.1:\(other.port)/end"))
        let error = await error { () throws(OutboundError) in
            _ = try await client.fetch(escaping, policy: policy)
        }
        #expect(error == .hostNotAllowed(host: "127.0.0.1", port: other.port))
        #expect(other.connectionCount == 0)
        let nothing = await self.error { () throws(OutboundError) in
            _ = try await client.fetch(allowed, policy: .nothing)
        }
        #expect(nothing == .hostNotAllowed(host: "127.0.0.1", port: port))
    }

    // MARK: Back-pressure, time and cancellation

    @Test func `makes the server wait while nobody reads`() async throws {
        let total = 64 << 20
        let stalled = Signal<Int>()
        let server = try TestServer { connection in
            _ = connection.readHead()
            connection.write("HTTP/1.1 200 OK\r\ncontent-length: \(total)\r\n\r\n")
            let body = [UInt8](repeating: 7, count: total)
            let written = connection.writeUntilStalled(body)
            stalled.send(written)
            connection.write(Array(body[written...]))
        }
        let client = makeClient()
        let response = try await client.fetch(
            OutboundRequest(method: "GET", url: server.url("/")), policy: .everything)
        // Our quarter of a megabyte, and what the kernel's buffers on both sides take.
        #expect(await stalled.wait() < 24 << 20)
        // The wait was ours: no time-out counts it.
        clock.advance(by: .seconds(1000))
        var count = 0
        while let piece = try await response.body?.next() { count += piece.count }
        #expect(count == total)
    }

    @Test func `reads a body no faster than the server takes it`() async throws {
        let (size, pieceCount) = (64 << 10, 800)
        let began = Signal<Void>()
        let goOn = EventCounter()
        let server = try TestServer { connection in
            guard let head = connection.readHead() else { return }
            began.send()
            goOn.wait(upTo: .seconds(20))
            connection.answer("\(connection.readBody(of: head)?.count ?? -1)")
        }
        let body = CountedPieces(size: size, count: pieceCount)
        let client = makeClient()
        let url = server.url("/")
        async let response = client.fetch(
            OutboundRequest(method: "POST", url: url, body: .stream(body, length: nil)), policy: .everything)
        await began.wait()
        // Nothing tells when the kernel takes no more; it is enough that it does: 50 MB fit in no socket's
        // buffers.
        var before = -1
        while body.produced != before {
            before = body.produced
            for _ in 0..<2000 { await Task.yield() }
        }
        #expect(body.produced < pieceCount)
        goOn.signal()
        #expect(try await text(await response) == "\(size * pieceCount)")
    }

    @Test func `gives up a server that never answers, by the node's clock`() async throws {
        let received = Signal<Void>()
        let closed = Signal<Bool>()
        let server = try TestServer { connection in
            _ = connection.readHead()
            received.send()
            closed.send(connection.waitForClose())
        }
        let client = makeClient()
        let url = server.url("/")
        async let outcome = error { () throws(OutboundError) in
            _ = try await client.fetch(OutboundRequest(method: "GET", url: url), policy: .everything)
        }
        await received.wait()
        clock.advance(by: .seconds(99))
        clock.advance(by: .seconds(1))
        #expect(await outcome == .connectionLost(reason: "timed out (head)", status: 524))
        #expect(await closed.wait())
    }

    @Test func `gives up a body that stands still`() async throws {
        let server = try TestServer { connection in
            _ = connection.readHead()
            connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
            _ = connection.waitForClose()
        }
        let client = makeClient()
        let response = try await client.fetch(
            OutboundRequest(method: "GET", url: server.url("/")), policy: .everything)
        #expect(try await response.body?.next() == Array("abc".utf8))
        clock.advance(by: .seconds(101))
        await #expect(throws: OutboundError.connectionLost(reason: "timed out (idle)")) {
            try await response.body?.next()
        }
    }

    @Test func `closes the connection when the task or the body is cancelled`() async throws {
        let received = Signal<Void>()
        let closed = Signal<Bool>()
        let server = try TestServer { connection in
            guard let head = connection.readHead() else { return }
            if head.target == "/body" { connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc") }
            received.send()
            closed.send(connection.waitForClose())
        }
        let client = makeClient()
        let url = server.url("/head")
        let task = Task { [client] in
            do throws(OutboundError) {
                _ = try await client.fetch(OutboundRequest(method: "GET", url: url), policy: .everything)
                return OutboundError?.none
            } catch { return error }
        }
        await received.wait()
        task.cancel()
        #expect(await task.value == .cancelled)
        #expect(await closed.wait())
        let bodyClosed = Signal<Bool>()
        let second = try TestServer { connection in
            _ = connection.readHead()
            connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
            bodyClosed.send(connection.waitForClose())
        }
        let response = try await client.fetch(
            OutboundRequest(method: "GET", url: second.url("/")), policy: .everything)
        response.body?.cancel()
        #expect(await bodyClosed.wait())
        await #expect(throws: OutboundError.self) { while try await response.body?.next() != nil {} }
    }

    @Test func `closes the connection of a response that nobody holds any more`() async throws {
        let closed = Signal<Bool>()
        let server = try TestServer { connection in
            _ = connection.readHead()
            connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
            closed.send(connection.waitForClose())
        }
        let client = makeClient()
        let status = try await client.fetch(
            OutboundRequest(method: "GET", url: server.url("/")), policy: .everything
        ).status
        #expect(status == 200)
        #expect(await closed.wait())
    }

    @Test func `ends what is under way when the node stops`() async throws {
        let received = Signal<Void>()
        let server = try TestServer { connection in
            _ = connection.readHead()
            received.send()
            _ = connection.waitForClose()
        }
        let client = makeClient()
        let url = server.url("/")
        async let outcome = error { () throws(OutboundError) in
            _ = try await client.fetch(OutboundRequest(method: "GET", url: url), policy: .everything)
        }
        await received.wait()
        client.close()
        #expect(await outcome == .connectionLost(reason: CurlError.closed.description))
        let later = await error { () throws(OutboundError) in
            _ = try await client.fetch(OutboundRequest(method: "GET", url: url), policy: .everything)
        }
        #expect(later?.message == "Network connection lost.")
    }
}

@Suite struct `Address reach` {
    @Test(arguments: [
        ("8.8.8.8", AddressReach.global), ("1.1.1.1", .global), ("172.15.255.255", .global),
        ("172.32.0.0", .global),
        ("100.63.255.255", .global), ("100.128.0.0", .global), ("169.253.255.255", .global),
        ("192.0.1.0", .global),
        ("198.17.255.255", .global), ("198.20.0.0", .global), ("223.255.255.255", .global),
        ("11.0.0.0", .global),
        ("0.0.0.0", .special), ("10.255.255.255", .special), ("100.64.0.0", .special),
        ("127.255.0.1", .special),
        ("169.254.169.254", .special), ("172.31.255.255", .special), ("192.0.0.8", .special),
        ("192.0.2.1", .special),
        ("192.168.0.0", .special), ("198.19.0.1", .special), ("203.0.113.9", .special),
        ("192.88.99.1", .special),
        ("224.0.0.0", .unusable), ("239.1.1.1", .unusable), ("240.0.0.0", .unusable),
        ("255.255.255.255", .unusable),
        ("2606:4700::1111", .global), ("2a00::1", .global), ("2001:4860:4860::8888", .global),
        ("2001:200::", .global),
        ("::", .special), ("::1", .special), ("fe80::1", .special), ("fc00::", .special),
        ("fdff::1", .special),
        ("2001::1", .special), ("2001:db8::1", .special), ("3fff::1", .special), ("64:ff9b:1::1", .special),
        ("100::1", .special), ("fec0::1", .special), ("5f00::1", .special), ("4000::1", .special),
        ("ff02::1", .unusable), ("::ffff:8.8.8.8", .global), ("::ffff:10.0.0.1", .special),
        ("::ffff:224.0.0.1", .unusable), ("64:ff9b::808:808", .global), ("64:ff9b::a00:1", .special),
        ("2002:808:808::1", .global), ("2002:a00:1::1", .special), ("::8.8.8.8", .special),
    ])
    func `follows the registries`(_ text: String, _ reach: AddressReach) throws {
        #expect(AddressReach(try #require(PeerAddress(text))) == reach)
    }

    @Test func `addresses are written as they are read`() {
        for text in ["8.8.8.8", "255.0.1.2", "::1", "2001:db8::ff", "fe80::1:2:3:4"] {
            #expect(PeerAddress(text)?.description == text)
        }
        for text in ["", "1.2.3", "1.2.3.4.5", "[::1]", "::1%eth0", "example.com", "1.2.3.256"] {
            #expect(PeerAddress(text) == nil)
        }
    }
}
