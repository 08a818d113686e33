import HTTP
import Testing
import Wire

@Suite struct `HTTP date` {
    @Test(
        arguments: [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_102_444_800, "Fri, 01 Jan 2100 00:00:00 GMT"), (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (-62_135_596_800, "Mon, 01 Jan 0001 00:00:00 GMT"),
        ] as [(Int64, String)])
    func `is written and read`(seconds: Int64, text: String) {
        #expect(HTTPDate(unixSeconds: seconds).text == text)
        #expect(HTTPDate(text)?.unixSeconds == seconds)
    }

    @Test func `goes through each day of four centuries`() {
        var date = HTTPDate(unixSeconds: -11_676_096_000)
        #expect(date.text == "Sat, 01 Jan 1600 00:00:00 GMT")
        for _ in 0..<146_097 {
            guard HTTPDate(date.text) == date else {
                Issue.record("\(date.text) is not read back")
                return
            }
            date = HTTPDate(unixSeconds: date.unixSeconds + 86400)
        }
        #expect(date.text.hasSuffix("01 Jan 2000 00:00:00 GMT"))
    }

    @Test(
        arguments: [
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777), ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Sun Nov 16 08:49:37 1994", 784_975_777), ("Saturday, 01-Jan-50 00:00:00 GMT", 2_524_608_000),
            ("Monday, 01-Jan-80 00:00:00 GMT", 315_532_800), ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
        ] as [(String, Int64)])
    func `is read in the obsolete forms`(text: String, seconds: Int64) {
        // 2026-01-01.
        #expect(HTTPDate(text, now: HTTPDate(unixSeconds: 1_767_225_600))?.unixSeconds == seconds)
    }

    @Test(arguments: [
        "", "now", "0", "784111777", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT", "sun, 06 nov 1994 08:49:37 gmt", "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT", "Wed, 29 Feb 2023 00:00:00 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:00 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ", " Sun, 06 Nov 1994 08:49:37 GMT", "Sun 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT", "Sun Nov 06 08:49:37 1994 GMT", "Sun, 06-Nov-94 08:49:37 GMT",
        "Xxx, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Xxx 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:3\u{FF17} GMT",
    ])
    func `is refused in any other form`(text: String) {
        #expect(HTTPDate(text) == nil)
    }
}

@Suite struct `Headers value` {
    @Test func `compares names in any case and joins values`() throws {
        var headers = try Headers([("X-A", "1"), ("Accept", "text/html"), ("x-a", "2")])
        #expect(headers.get("X-a") == "1, 2")
        #expect(headers["accept"] == "text/html")
        #expect(headers.getAll("x-A") == ["1", "2"])
        #expect(headers.has("ACCEPT"))
        #expect(headers.get("none") == nil)
        #expect(headers.getAll("none") == [])
        try headers.set("X-A", "3")
        #expect(headers.get("x-a") == "3")
        try headers.append("X-B", "")
        #expect(headers.get("x-b") == "")
        headers.delete("x-A")
        headers.delete("never-there")
        #expect(!headers.has("x-a"))
        #expect(headers.map(\.name) == ["accept", "x-b"])
    }

    @Test func `iterates sorted, with set-cookie kept apart`() throws {
        let headers = try Headers([
            ("Set-Cookie", "b=1, 2"), ("X", "1"), ("Set-Cookie", "a=1"), ("A", "1"), ("x", "2"), ("a-b", "3"),
        ])
        #expect(
            headers.map { "\($0.name): \($0.value)" } == [
                "a: 1", "a-b: 3", "set-cookie: b=1, 2", "set-cookie: a=1", "x: 1, 2",
            ])
        #expect(headers.getSetCookie() == ["b=1, 2", "a=1"])
        #expect(
            headers
                == (try Headers([
                    ("a", "1"), ("X", "1, 2"), ("a-b", "3"), ("set-cookie", "b=1, 2"), ("set-cookie", "a=1"),
                ])))
    }

    @Test func `drops whitespace around values and keeps it inside`() throws {
        let headers = try Headers([("a", " \t one two\t \r\n"), ("b", "   ")])
        #expect(headers.get("a") == "one two")
        #expect(headers.get("b") == "")
    }

    @Test(arguments: ["", " ", "a b", "a:", "a\r\n", "é", "a\0", "(a)", "a,b", "\"a\"", "a\u{7F}"])
    func `refuses names that are no tokens`(name: String) {
        var headers = Headers()
        #expect(throws: HeaderError.invalidName(name)) { try headers.set(name, "1") }
        #expect(throws: HeaderError.invalidName(name)) { try headers.append(name, "1") }
        #expect(headers.get(name) == nil)
        #expect(headers.isEmpty)
    }

    @Test(arguments: ["a\r\nb", "a\nb", "a\rb", "a\0b", "\u{1}", "a\u{7F}"])
    func `refuses values with control characters`(value: String) {
        #expect(throws: HeaderError.invalidValue(name: "x")) { try Headers([("x", value)]) }
    }

    @Test func `takes over and gives back the block of a message`() throws {
        var buffer = ByteBuffer()
        buffer.append("prefix")
        let first = try Headers([("B", "2"), ("a", "1"), ("b", "3"), ("set-cookie", "é")])
        first.encode(into: &buffer)
        buffer.append("suffix")
        let message = unsafe buffer.withReadable { unsafe Array($0) }
        var offset = 6
        var headers = try Headers(message: message, count: first.wireCount, from: &offset)
        #expect(String(decoding: message[offset...], as: UTF8.self) == "suffix")
        #expect(headers == first)
        #expect(headers.get("b") == "2, 3")
        #expect(headers.get("set-cookie") == "é")

        var again = ByteBuffer()
        headers.encode(into: &again)
        #expect(unsafe again.withReadable { unsafe Array($0) } == message[6..<offset].map(\.self))

        try headers.set("b", "4")
        try headers.append("c", "5")
        #expect(headers.map { "\($0.name)=\($0.value)" } == ["a=1", "b=4", "c=5", "set-cookie=é"])
        #expect(headers.wireCount == 4)

        var wrong = 6
        #expect(throws: WireError.self) { try Headers(message: message, count: 5, from: &wrong) }
        #expect(wrong == 6)
    }

    @Test func `reads bytes that are no text one by one`() throws {
        let message: [UInt8] = [1, 0, 2, 0, 0, 0, 0x61, 0xE9, 0xFF]
        var offset = 0
        #expect(try Headers(message: message, count: 1, from: &offset).get("a") == "\u{E9}\u{FF}")
    }

    @Test func `never tells values when it is printed for debugging`() throws {
        let headers = try Headers([("Authorization", "secret")])
        #expect(String(reflecting: headers) == "Headers(authorization)")
        #expect(!HeaderError.invalidValue(name: "x\u{1}").description.contains("\u{1}"))
    }
}

@Suite struct `Method value` {
    @Test func `writes the well-known names in capitals and no others`() {
        #expect(Method(validating: "post") == .post)
        #expect(Method(validating: "patch")?.rawValue == "patch")
        #expect(Method(validating: "Brew")?.rawValue == "Brew")
        for text in ["", "GE T", "GET\r\n", "GÉT", "(GET)"] { #expect(Method(validating: text) == nil) }
    }

    @Test func `keeps its number on the wire`() {
        for method in [Method.get, .head, .post, .put, .delete, .options, .patch] {
            #expect(Method(method.known) == method)
        }
        #expect(Method.trace.known == .other)
        #expect(Method(RequestHead.KnownMethod.other) == nil)
        #expect(RequestHead.KnownMethod.patch.rawValue == 7)
    }
}

@Suite struct `Media type` {
    @Test(arguments: [
        ("text/html", "text/html"), (" Text/HTML ; Charset=UTF-8 ", "text/html;charset=UTF-8"),
        ("application/json;charset=\"utf-8\"", "application/json;charset=utf-8"),
        ("multipart/form-data; boundary=\"a b\\\"c\"; x=1", "multipart/form-data;boundary=\"a b\\\"c\";x=1"),
        ("text/plain;a=1;a=2", "text/plain;a=1"), ("text/plain;;=x;b;c=", "text/plain"),
        ("text/plain;a=\"\"", "text/plain;a=\"\""), ("text/plain;a=\"open", "text/plain;a=open"),
        ("text/plain;a=\"x\"rest;b=2", "text/plain;a=x;b=2"), ("text/plain;a b=1;c=3", "text/plain;c=3"),
    ])
    func `is read and written`(text: String, expected: String) {
        #expect(MediaType(text)?.description == expected)
    }

    @Test(arguments: [
        "", "text", "text/", "/html", "te xt/html", "text/ht ml", "text/html/x", "text;/html", "é/a",
    ])
    func `is refused without two tokens`(text: String) {
        #expect(MediaType(text) == nil)
    }

    @Test func `knows JSON`() {
        #expect(MediaType("application/problem+json")?.isJSON == true)
        #expect(MediaType("application/json; charset=utf-8")?.isJSON == true)
        #expect(MediaType("text/html")?.isJSON == false)
        #expect(MediaType("multipart/form-data; Boundary=Xy")?.boundary == "Xy")
    }
}

@Suite struct `Cookie value` {
    @Test func `reads the cookies of a request`() {
        let cookies = Cookie.parse("a=1; b = two words ;c=;=d; e; f=x=y; a=2;\"q\"=\"r\"")
        #expect(
            cookies.map { "\($0.name)|\($0.value)" } == [
                "a|1", "b|two words", "c|", "f|x=y", "a|2", "\"q\"|\"r\"",
            ])
        #expect(Cookie.value(of: "a", in: "b=1; a=2; a=3") == "2")
        #expect(Cookie.value(of: "A", in: "a=2") == nil)
        #expect(Cookie.parse("").isEmpty)
    }

    @Test func `writes attributes`() throws {
        #expect(try Cookie("a", "").setCookieValue() == "a=")
        let cookie = Cookie(
            "__Host-s", "v1", expires: HTTPDate(unixSeconds: 0), maxAge: -1, path: "/", isSecure: true,
            isHTTPOnly: true, sameSite: Cookie.SameSite.none, isPartitioned: true)
        #expect(
            try cookie.setCookieValue()
                == "__Host-s=v1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=-1; Path=/; Secure; HttpOnly; "
                + "SameSite=None; Partitioned")
        #expect(try Cookie("a", "\"b\"", domain: "x.test").setCookieValue() == "a=\"b\"; Domain=x.test")
    }

    @Test func `refuses what a browser would not keep`() {
        func error(_ cookie: Cookie) -> CookieError? {
            do {
                _ = try cookie.setCookieValue()
                return nil
            } catch { return error }
        }
        for name in ["", "a b", "a=b", "a;b", "a\r\n"] {
            #expect(error(Cookie(name, "")) == .invalidName(name))
        }
        for value in ["a b", "a;b", "a,b", "a\"b", "a\\b", "a\r\nSet-Cookie: x=y", "é", "\""] {
            #expect(error(Cookie("n", value)) == .invalidValue(name: "n"))
        }
        #expect(error(Cookie("n", "", path: "/;a")) == .invalidAttribute("Path", name: "n"))
        #expect(error(Cookie("n", "", domain: "a\n")) == .invalidAttribute("Domain", name: "n"))
        #expect(error(Cookie("n", String(repeating: "x", count: 4096))) == .tooLong(name: "n"))
        #expect(error(Cookie("n", String(repeating: "x", count: 4095))) == nil)
        #expect(
            error(Cookie("n", "", sameSite: Cookie.SameSite.none)) == .needsSecure("SameSite=None", name: "n")
        )
        #expect(error(Cookie("n", "", isPartitioned: true)) == .needsSecure("Partitioned", name: "n"))
        #expect(error(Cookie("__Secure-n", "")) == .needsSecure("the prefix __Secure-", name: "__Secure-n"))
        #expect(error(Cookie("__Host-n", "", path: "/a", isSecure: true)) == .hostPrefix(name: "__Host-n"))
    }
}
