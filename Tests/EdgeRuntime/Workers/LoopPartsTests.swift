import System
import Testing
import Wire

@testable import Workers

@Suite struct `Stream table` {
    @Test(arguments: [UInt64(1), 2, 3]) func `finds what was put in and not taken out`(seed: UInt64)
        async throws
    {
        var random = SeededGenerator(seed: seed)
        let loop = try EventLoop(channels: [], page: StatusPage(), clock: VirtualClock()) { _ in
            FetchWorker { _, _, _ in .text("") }
        }
        let channel = Channel(loop: loop, index: 0, descriptor: Descriptor(owning: -1))
        var table = StreamTable()
        var model: [UInt32: StreamEndpoint] = [:]
        for step in 0..<20_000 {
            let key = UInt32.random(in: 1...500, using: &random)
            if let known = model[key] {
                #expect(table[key] === known, "seed \(seed), step \(step)")
                if Bool.random(using: &random) {
                    table.remove(key)
                    model[key] = nil
                }
            } else {
                #expect(table[key] == nil, "seed \(seed), step \(step)")
                let endpoint = StreamEndpoint(channel: channel, stream: key)
                table.insert(key, endpoint)
                model[key] = endpoint
            }
            #expect(table.count == model.count)
        }
        #expect(table.endpoints.count == model.count)
    }
}

@Suite struct `Fetch message` {
    @Test func `is refused when it is cut anywhere`() throws {
        let message = FakeHost.fetchMessage(
            "/a?b", method: 3, headers: [("a", "1"), ("bc", "22")], bodyLength: 7)
        let layout = try FetchLayout(message)
        #expect(layout.method == .post && layout.hasBody && layout.bodyLength == 7)
        #expect(try layout.headers(message)["bc"] == "22")
        for count in message.indices {
            let cut = Array(message[..<count])
            #expect(throws: WireError.self) { try FetchLayout(cut).headers(cut) }
        }
        let longer = message + [0]
        #expect(throws: WireError.self) { try FetchLayout(longer).headers(longer) }
    }

    @Test(arguments: [UInt64(11), 12, 13]) func `survives random bytes`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let message = FakeHost.fetchMessage("/path", headers: [("name", "value"), ("other", "thing")])
        for _ in 0..<5000 {
            var bytes = message
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(
                    in: 0...255, using: &random)
            }
            guard let layout = try? FetchLayout(bytes), let headers = try? layout.headers(bytes) else {
                continue
            }
            let request = Request(RequestStorage(layout, block: bytes), headers: headers, body: nil)
            _ = (request.path, request.url, Array(request.headers), request.cf)
        }
    }

    @Test(arguments: [
        ("http://h", ""), ("http://h/", "/"), ("http://h/a/b?c/d", "/a/b"), ("http://h/a#/b", "/a"),
        ("http:", ""),
        ("", ""), ("/", ""), ("http://h?/x", ""),
    ])
    func `lends the path of any text that stands for a URL`(url: String, path: String) throws {
        var message = WireEncoder()
        message.put(0 as UInt8)
        message.put(1 as UInt8)
        message.put(0 as Int64)
        message.put(url)
        message.put("")
        message.put(0 as UInt16)
        let storage = RequestStorage(try FetchLayout(message.bytes), block: message.bytes)
        #expect(storage.path == path)
    }
}

@Suite struct `Request and response` {
    @Test func `refuses a GET or HEAD with a body`() {
        for method in [Workers.Method.get, .head] {
            #expect(
                throws: CallFailure(
                    "Request with a GET or HEAD method cannot have a body.", name: "TypeError")
            ) {
                try Request("http://h/", method: method, body: ByteStream("x"))
            }
        }
    }

    @Test func `refuses a URL that is none`() {
        #expect(throws: CallFailure("Invalid URL: nope", name: "TypeError")) { try Request("nope") }
    }

    @Test func `redirects with redirect statuses only`() throws {
        for status in [301, 302, 303, 307, 308] {
            let response = try Response.redirect("http://h/x", status: status)
            #expect(response.status == status && response.headers["location"] == "http://h/x")
        }
        for status in [200, 300, 304, 305, 309] {
            #expect(throws: CallFailure.self) { try Response.redirect("http://h/", status: status) }
        }
    }

    @Test(arguments: ["a\r\nSet-Cookie: x=1", "a\u{0}b", "a\nb", "a\u{7F}"])
    func `refuses a header value that would start another line`(value: String) throws {
        var response = Response.text("")
        #expect(throws: HeaderError.self) { try response.headers.set("x-a", value) }
        #expect(throws: HeaderError.self) { try Response.redirect(value) }
        #expect(throws: HeaderError.self) { try response.headers.set(value, "x") }
    }

    @Test func `reads text, JSON and forms`() async throws {
        func request(_ text: String) throws -> Request {
            try Request("http://h/", method: .post, body: ByteStream(text))
        }
        #expect(try await request("\u{FEFF}caf\u{E9}").text() == "caf\u{E9}")
        #expect(try await request("{\"a\":[1,2]}").json(as: [String: [Int]].self) == ["a": [1, 2]])
        #expect(try await request("a=1&b=x+y%21").form().get("b") == "x y!")
        #expect(try await Request("http://h/").text() == "")
        await #expect(throws: BodyTooLarge.self) { try await request("12345").bytes(upTo: 4) }
        await #expect(throws: DecodingError.self) { try await request("{").json(as: [String: Int].self) }
    }

    @Test func `reads a body twice through tee`() async throws {
        var pieces: [[UInt8]] = [[1], [2, 3], [4]]
        let (left, right) = ByteStream { pieces.isEmpty ? nil : pieces.removeFirst() }.tee()
        #expect(try await left.next() == [1])
        #expect(try await right.collect() == [1, 2, 3, 4])
        #expect(try await left.collect() == [2, 3, 4])
    }

    @Test func `reads and writes cookies`() throws {
        var headers = Headers()
        try headers.set("cookie", "a=1; session=xyz")
        let request = try Request("http://h/", headers: headers)
        #expect(
            request.cookie("session") == "xyz" && request.cookie("none") == nil && request.cookies.count == 2)
        var response = Response.empty()
        try response.setCookie(Cookie("a", "1"))
        try response.deleteCookie("b")
        #expect(response.headers.getSetCookie().count == 2)
        #expect(throws: CookieError.self) { try response.setCookie(Cookie("a\r\nb", "1")) }
    }

    @Test func `makes JSON and HTML responses`() async throws {
        #expect(try await Response.json(["a": 1]).text() == "{\"a\":1}")
        #expect(Response.html("").headers["content-type"] == "text/html; charset=utf-8")
        #expect(try Response.json([1]).headers["content-type"] == "application/json")
    }
}

@Suite struct `Internet time` {
    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_767_225_599_123, "2025-12-31T23:59:59.123Z"), (1_709_251_200_007, "2024-03-01T00:00:00.007Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ]) func `is RFC 3339 in UTC`(milliseconds: Int64, text: String) {
        #expect(InternetTime.text(milliseconds: milliseconds) == text)
    }
}
