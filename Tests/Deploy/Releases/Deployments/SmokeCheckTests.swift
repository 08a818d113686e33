import Configuration
import Testing

@testable import Releases

@Suite struct `Smoke check` {
    private func test(
        status: Int = 200, contains: String? = nil, headers: [String: String] = [:], json: [String: String] = [:]
    ) -> SmokeTest {
        var test = SmokeTest(
            method: "GET", path: "/", headers: [:], body: nil, status: status, deadline: .seconds(1), contains: contains)
        test.responseHeaders = headers
        test.json = json
        return test
    }

    private func failure(_ body: String, status: Int = 200, _ test: SmokeTest) -> String? {
        SmokeCheck.failure(
            of: .init(
                status: status, headers: [("content-type", "text/plain"), ("x-two", "a"), ("x-two", "b")],
                body: Array(body.utf8)),
            test)
    }

    @Test func `passes what is as it should be`() {
        #expect(failure("hello", test()) == nil)
        #expect(failure("hello", test(contains: "ell", headers: ["Content-Type": "text/plain", "X-Two": "b"])) == nil)
        #expect(failure("", test(contains: "")) == nil)
    }

    @Test func `says what isn't`() {
        #expect(failure("no\nway", status: 500, test()) == "expected status 200, got 500: no way")
        #expect(failure("", status: 404, test()) == "expected status 200, got 404")
        #expect(failure("hello", test(contains: "moon")) == #"expected a body with "moon", got "hello""#)
        #expect(
            failure("", test(headers: ["x-two": "c"])) == "expected the header x-two: c, got a, b")
        #expect(failure("[", test(json: ["": "1"])) == #"expected JSON, got "[""#)
    }

    /// RFC 6901 §5, and beyond it.
    @Test(arguments: [
        ("", #"{"foo":["bar","baz"],"":0,"a/b":1,"m~n":8,"n":null,"t":true,"f":1.5}"#, true), ("/foo", #"["bar","baz"]"#, true),
        ("/foo/0", #""bar""#, true), ("/", "0", true), ("/a~1b", "1", true), ("/m~0n", "8", true), ("/n", "null", true),
        ("/t", "true", true), ("/t", "1", false), ("/f", "1.5", true), ("/foo/2", "1", false), ("/foo/00", #""bar""#, false),
        ("/foo/-", #""bar""#, false), ("/foo/-1", #""bar""#, false), ("/none", "1", false), ("/foo/0/0", "1", false),
        ("/a~1b", "1.0", true), ("/a~1b", #""1""#, false),
    ])
    func `finds values by pointer`(pointer: String, value: String, isRight: Bool) {
        let body = #"{"foo":["bar","baz"],"":0,"a/b":1,"m~n":8,"n":null,"t":true,"f":1.5}"#
        #expect((failure(body, test(json: [pointer: value])) == nil) == isRight)
    }

    @Test func `asks as a client does, and says whom it is for`() {
        var test = SmokeTest(
            method: "POST", path: "/a?b", headers: ["X-A": "1", "Connection": "keep-alive", "user-agent": "me"], body: "four",
            status: 200, deadline: .seconds(1), contains: nil)
        let text = String(decoding: SmokeRunner.request(test, host: "h", release: 7), as: UTF8.self)
        #expect(
            text == "POST /a?b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nX-A: 1\r\nuser-agent: me\r\nEdge-Release-Override: 7\r\n"
                + "Connection: close\r\nContent-Length: 4\r\n\r\nfour")
        test.method = "GET"
        test.body = nil
        #expect(!String(decoding: SmokeRunner.request(test, host: "h", release: 7), as: UTF8.self).contains("Content-Length"))
    }
}
