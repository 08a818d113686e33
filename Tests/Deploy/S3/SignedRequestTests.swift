import HTTP
import Testing

@testable import S3

/// The examples of Amazon's documentation ("Signature Calculations for the Authorization Header" and its neighbours), which
/// all use these credentials and this moment.
private let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
private let accessKey = "AKIAIOSFODNN7EXAMPLE"
private let now = HTTPDate(unixSeconds: 1_369_353_600)
private let scope = "20130524/us-east-1/s3/aws4_request"
private let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

private func authorization(_ names: String, _ signature: String) -> (name: String, value: String) {
    (
        "authorization",
        "AWS4-HMAC-SHA256 Credential=\(accessKey)/\(scope),SignedHeaders=\(names),Signature=\(signature)"
    )
}

private func error(_ body: () throws -> Void) -> S3Error? {
    do {
        try body()
        return nil
    } catch { return error as? S3Error }
}

@Suite struct `S3 signatures` {
    private struct Example: Sendable {
        var method = "GET"
        var target: String
        var headers: [(name: String, value: String)] = []
        var names: String
        var hash = empty
        var signature: String

        var request: S3Request {
            S3Request(
                method: method, target: target,
                headers: [("host", "examplebucket.s3.amazonaws.com"), ("x-amz-date", "20130524T000000Z")] + headers
                    + [("x-amz-content-sha256", hash), authorization(names, signature)])
        }
    }

    private static let examples = [
        Example(
            target: "/test.txt", headers: [("range", "bytes=0-9")], names: "host;range;x-amz-content-sha256;x-amz-date",
            signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        Example(
            method: "PUT", target: "/test%24file.text",
            headers: [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            names: "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            hash: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        Example(
            target: "/?lifecycle", names: "host;x-amz-content-sha256;x-amz-date",
            signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        Example(
            target: "/?max-keys=2&prefix=J", names: "host;x-amz-content-sha256;x-amz-date",
            signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ]

    @Test(arguments: 0..<4) func `of the documentation are valid`(_ index: Int) throws {
        let example = Self.examples[index]
        let signed = try SignedRequest(example.request, now: now)
        #expect(signed.accessKey == accessKey && signed.place == .header)
        _ = try signed.verify(example.request, secret: secret)
        #expect(error { _ = try signed.verify(example.request, secret: secret + "x") }?.code == "SignatureDoesNotMatch")
        #expect(error { _ = try signed.verify(example.request, secret: nil) } == .unauthorized)
    }

    @Test func `hold for the order and the escapes that a client chose`() throws {
        var example = Self.examples[3]
        example.target = "/?prefix=%4A&max-keys=%32"
        _ = try SignedRequest(example.request, now: now).verify(example.request, secret: secret)
        example = Self.examples[1]
        example.target = "/test$file.text"
        _ = try SignedRequest(example.request, now: now).verify(example.request, secret: secret)
    }

    @Test(arguments: ["/test.txt?a", "/test.tx", "//test.txt", "/./test.txt", "/test.txt/", "/TEST.txt"])
    func `fail for another target`(_ target: String) throws {
        var example = Self.examples[0]
        example.target = target
        let failure = error { _ = try SignedRequest(example.request, now: now).verify(example.request, secret: secret) }
        #expect(failure?.code == "SignatureDoesNotMatch" && failure?.status == 403)
        #expect(
            failure?.details.map(\.name) == [
                "StringToSign", "StringToSignBytes", "CanonicalRequest", "CanonicalRequestBytes", "SignatureProvided",
            ])
        #expect(failure?.details[1].text.hasPrefix("41 57 53 34 2d") == true)
    }

    @Test func `fail for another header, a missing one and a second one`() throws {
        for headers in [[("range", "bytes=0-8")], [], [("range", "bytes=0-9"), ("range", "bytes=0-9")]] {
            var example = Self.examples[0]
            example.headers = headers.map { (name: $0.0, value: $0.1) }
            #expect(
                error { _ = try SignedRequest(example.request, now: now).verify(example.request, secret: secret) }?.code
                    == "SignatureDoesNotMatch")
        }
        // Blanks around and inside are not part of what is signed.
        var example = Self.examples[0]
        example.headers = [("range", "  bytes=0-9 ")]
        _ = try SignedRequest(example.request, now: now).verify(example.request, secret: secret)
    }

    @Test(arguments: [
        ("/", "/"), ("", "/"), ("/a/b.c~_-", "/a/b.c~_-"), ("/a%2Fb//./..", "/a%2Fb//./.."),
        ("/a%2fb", "/a%2Fb"), ("/%41%7E+c", "/A~%2Bc"), ("/%/%4/%zz", "/%25/%254/%25zz"), ("/ä %C3%A4", "/%C3%A4%20%C3%A4"),
    ])
    func `are of paths that are decoded once and encoded again`(_ raw: String, _ canonical: String) {
        #expect(CanonicalRequest.path(raw) == canonical)
        #expect(CanonicalRequest.path(canonical) == canonical)
    }

    @Test func `are of queries in one order and one form`() {
        let raw = "b=2&a=%2f&a=%2F&c=%41&d=a+b&e=%&f=%zz&g&=h&&X-Amz-Signature=1&i=j=k&%58-Amz-Signature=2"
        let canonical = "=h&a=%2F&a=%2F&b=2&c=A&d=a%20b&e=%25&f=%25zz&g=&i=j%3Dk"
        #expect(CanonicalRequest.query(raw) == canonical)
        #expect(CanonicalRequest.query(canonical) == canonical)
        #expect(CanonicalRequest.query("") == "")
        let parameters = S3Request(method: "GET", target: "/k?" + raw + "?x", headers: []).parameters
        let names = ["b", "a", "a", "c", "d", "e", "f", "g", "", "X-Amz-Signature", "i", "X-Amz-Signature"]
        #expect(parameters.map(\.name) == names)
        #expect(parameters.map(\.value) == ["2", "/", "/", "A", "a b", "%", "%zz", "", "h", "1", "j=k", "2?x"])
    }

    @Test func `that leave the host out are nobody's`() throws {
        var example = Self.examples[2]
        example.names = "x-amz-content-sha256;x-amz-date"
        #expect(
            error { _ = try SignedRequest(example.request, now: now).verify(example.request, secret: secret) } == .unauthorized)
    }

    private static let presigned =
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=\(accessKey)%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        + "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        + "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"

    private func presign(_ replaced: String = "", _ replacement: String = "") -> S3Request {
        let parts = Self.presigned.split(separator: replaced, maxSplits: 1, omittingEmptySubsequences: false)
        let target = replaced.isEmpty || parts.count < 2 ? Self.presigned : parts[0] + replacement + parts[1]
        return S3Request(method: "GET", target: String(target), headers: [("host", "examplebucket.s3.amazonaws.com")])
    }

    @Test func `in the query are valid as long as they say`() throws {
        let signed = try SignedRequest(presign(), now: now)
        #expect(signed.place == .query && signed.payload == .unsigned && signed.accessKey == accessKey)
        _ = try signed.verify(presign(), secret: secret)
        _ = try SignedRequest(presign(), now: HTTPDate(unixSeconds: now.unixSeconds + 86400))
        #expect(
            error { _ = try SignedRequest(presign(), now: HTTPDate(unixSeconds: now.unixSeconds + 86401)) } == .expiredRequest)
        _ = try SignedRequest(presign(), now: HTTPDate(unixSeconds: now.unixSeconds - 900))
        #expect(
            error { _ = try SignedRequest(presign(), now: HTTPDate(unixSeconds: now.unixSeconds - 901)) }
                == .requestTimeTooSkewed)
        let longer = presign("Expires=86400", "Expires=86401")
        #expect(
            error { _ = try SignedRequest(longer, now: now).verify(longer, secret: secret) }?.code == "SignatureDoesNotMatch")
    }

    @Test(arguments: [
        ("&X-Amz-Date=20130524T000000Z", "", "Required search parameter X-Amz-Date missing"),
        ("&X-Amz-Expires=86400", "", "Required search parameter X-Amz-Expires missing"),
        ("&X-Amz-SignedHeaders=host", "", "Required search parameter X-Amz-SignedHeaders missing"),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256&", "", "Required search parameter X-Amz-Algorithm missing"),
        ("Expires=86400", "Expires=soon", "X-Amz-Expires should be a number"),
        ("Expires=86400", "Expires=0", "X-Amz-Expires must be at least one second"),
        (
            "Expires=86400", "Expires=604801",
            "X-Amz-Expires must be less than a week in seconds; that is, it must be at most 604800"
        ),
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA", "Please use AWS4-HMAC-SHA256"),
        (
            "20130524T000000Z", "20130532T000000Z",
            "Date provided in 'X-Amz-Date' search parameter (20130532T000000Z) didn't parse successfully"
        ),
    ]) func `in the query need all their parts`(_ replaced: String, _ replacement: String, _ message: String) {
        let failure = error { _ = try SignedRequest(presign(replaced, replacement), now: now) }
        #expect(failure?.message == message && failure?.status == 400)
    }

    @Test func `are refused in the order of the product`() {
        var headers: [(name: String, value: String)] = [("host", "h")]
        func failure() -> S3Error? {
            error { _ = try SignedRequest(S3Request(method: "GET", target: "/", headers: headers), now: now) }
        }
        #expect(failure() == S3Error("InvalidArgument", 400, "Authorization"))
        headers.append(("authorization", "AWS4-HMAC-SHA512 nonsense"))
        #expect(failure() == S3Error("InvalidRequest", 400, "Missing x-amz-content-sha256"))
        headers.append(("x-amz-content-sha256", "UNSIGNED-PAYLOAD"))
        #expect(failure() == S3Error("InvalidArgument", 400, "No date provided in x-amz-date nor date header"))
        headers.append(("x-amz-date", "yesterday"))
        #expect(
            failure()
                == S3Error("InvalidArgument", 400, "Date provided in 'x-amz-date' header (yesterday) didn't parse successfully")
        )
        headers[3].value = "20130524T000000Z"
        #expect(failure() == S3Error("InvalidRequest", 400, "Please use AWS4-HMAC-SHA256"))
        func credential(_ text: String) {
            headers[1].value = "AWS4-HMAC-SHA256 Credential=\(text), SignedHeaders=host, Signature=00"
        }
        credential("a/b/s3/c")
        #expect(failure()?.message == "Credential sigv4 header should have at least 5 slash-separated parts, not 4")
        credential("a/20130524/auto/ec2/aws4_request")
        #expect(failure()?.message == "Credential service should be s3, not ec2")
        credential("a/20130523/auto/s3/aws4_request")
        #expect(failure()?.message == "Credential signed date 20130523 does not match 20130524 from 'x-amz-date' header")
        credential("a/with/slashes/20130524/auto/s3/aws4_request")
        #expect(failure() == nil)
        for (seconds, expected) in [
            (900, nil), (901, S3Error.requestTimeTooSkewed), (-900, nil), (-901, .requestTimeTooSkewed),
        ] {
            let request = S3Request(method: "GET", target: "/", headers: headers)
            let other = HTTPDate(unixSeconds: now.unixSeconds + Int64(seconds))
            #expect(error { _ = try SignedRequest(request, now: other) } == expected)
        }
        headers[2].value = "sha256"
        #expect(failure()?.message.hasPrefix("x-amz-content-sha256 must be") == true)
    }

    @Test func `escape what stands in their errors`() {
        let failure = S3Error("A", 400, "<&>\"'\u{0}\r\n\u{FFFF}é")
        #expect(
            failure.document == "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>A</Code>"
                + "<Message>&lt;&amp;&gt;&quot;&apos;\u{FFFD}&#13;\n\u{FFFD}é</Message></Error>")
    }
}
