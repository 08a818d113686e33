import HTTP
import Testing

@testable import S3

@Suite struct `S3 payloads` {
    private static let now = HTTPDate(unixSeconds: 1_369_353_600)

    /// The documented upload of 65 KiB in chunks of 64 KiB, with or without its trailer.
    private static func decoder(trailer: Bool) throws -> PayloadDecoder {
        let names =
            "content-encoding;" + (trailer ? "" : "content-length;") + "host;x-amz-content-sha256;x-amz-date;"
            + "x-amz-decoded-content-length;x-amz-storage-class" + (trailer ? ";x-amz-trailer" : "")
        let seed =
            trailer
            ? "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
            : "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
        var headers: [(name: String, value: String)] = [
            ("host", "s3.amazonaws.com"), ("x-amz-date", "20130524T000000Z"), ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
                    + "SignedHeaders=\(names),Signature=\(seed)"
            ),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + (trailer ? "-TRAILER" : "")),
            ("content-encoding", "aws-chunked"), ("x-amz-decoded-content-length", "66560"),
        ]
        headers.append(trailer ? ("x-amz-trailer", "x-amz-checksum-crc32c") : ("content-length", "66824"))
        let request = S3Request(method: "PUT", target: "/examplebucket/chunkObject.txt", headers: headers)
        return try SignedRequest(request, now: now).verify(request, secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    }

    private static func body(trailer: Bool) -> [UInt8] {
        let signatures =
            trailer
            ? [
                "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
                "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
                "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
            ]
            : [
                "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
                "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
                "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
            ]
        var body: [UInt8] = []
        for (size, signature) in zip([65536, 1024, 0], signatures) {
            body += Array("\(String(size, radix: 16));chunk-signature=\(signature)\r\n".utf8)
            if size > 0 { body += [UInt8](repeating: UInt8(ascii: "a"), count: size) + [13, 10] }
        }
        if trailer {
            body += Array(
                ("x-amz-checksum-crc32c:sOO8/Q==\r\n"
                    + "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n").utf8)
        }
        return body + [13, 10]
    }

    private static func decode(_ decoder: consuming PayloadDecoder, _ body: [UInt8], sizes: [Int]) throws -> [UInt8] {
        var decoded: [UInt8] = []
        var offset = 0
        var turn = 0
        while offset < body.count {
            let end = min(body.count, offset + sizes[turn % sizes.count])
            decoded += try decoder.decode(Array(body[offset..<end]))
            offset = end
            turn += 1
        }
        try decoder.finish()
        return decoded
    }

    @Test(arguments: [false, true], [[1 << 20], [1], [7, 1, 4096], [65536, 88]])
    func `in signed chunks are verified, however they arrive`(_ trailer: Bool, _ sizes: [Int]) throws {
        let body = Self.body(trailer: trailer)
        #expect(
            try Self.decode(Self.decoder(trailer: trailer), body, sizes: sizes)
                == [UInt8](repeating: UInt8(ascii: "a"), count: 66560))
    }

    @Test func `give their trailer`() throws {
        var body = Self.body(trailer: true)
        var decoder = try Self.decoder(trailer: true)
        _ = try decoder.decode(body)
        try decoder.finish()
        #expect(decoder.trailers.map { "\($0.name)=\($0.value)" } == ["x-amz-checksum-crc32c=sOO8/Q=="])
        // Without the empty line at the end, and without the signature's line.
        for (count, isWhole) in [(2, true), (92, false)] {
            body.removeLast(count)
            var cut = try Self.decoder(trailer: true)
            _ = try cut.decode(body)
            if isWhole { try cut.finish() } else { #expect(throws: S3Error.incompleteBody) { try cut.finish() } }
        }
    }

    @Test func `may have an empty line before the signature of their trailer`() throws {
        let signature = "x-amz-trailer-signature:"
        let text = String(decoding: Self.body(trailer: true), as: UTF8.self)
        for (line, replacement) in [
            ("\r\n" + signature, "\n\r\n" + signature), ("\r\nx-amz-checksum", "\r\n\r\nx-amz-checksum"),
        ] {
            let parts = text.split(separator: line, maxSplits: 1)
            #expect(parts.count == 2)
            let body = Array((parts[0] + replacement + parts[1]).utf8)
            #expect(try Self.decode(Self.decoder(trailer: true), body, sizes: [11]).count == 66560)
        }
    }

    @Test(arguments: [UInt64](1...6)) func `never pass when a byte is changed, lost or added`(_ seed: UInt64) throws {
        var state = seed &* 0x9E37_79B9_7F4A_7C15
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        for turn in 0..<40 {
            var body = Self.body(trailer: turn % 2 == 0)
            // Half of the changes hit the lines between the chunks.
            let place =
                turn % 4 < 2
                ? random(body.count) : [random(88), 65536 + 86 + random(90), body.count - 1 - random(90)][random(3)]
            switch turn % 3 {
            case 0: body[place] ^= UInt8(1 << random(8))
            case 1: body.remove(at: place)
            default: body.insert(UInt8(random(256)), at: place)
            }
            // The case of hexadecimal digits has no meaning, nor have blanks around a trailer's value.
            func isSame(_ decoded: [UInt8]) -> Bool { decoded == [UInt8](repeating: UInt8(ascii: "a"), count: 66560) }
            if let decoded = try? Self.decode(Self.decoder(trailer: turn % 2 == 0), body, sizes: [1 << 20]) {
                #expect(isSame(decoded), "seed \(seed), turn \(turn), place \(place)")
            }
        }
    }

    private static func request(_ hash: String, decoded: String? = nil) throws -> PayloadDecoder {
        let headers: [(name: String, value: String)] =
            [("x-amz-content-sha256", hash)] + (decoded.map { [("x-amz-decoded-content-length", $0)] } ?? [])
        let seed = S3Request(method: "PUT", target: "/b/k", headers: headers)
        let key = SigningKey(secret: "s", time: "20130524T000000Z", scope: "20130524/auto/s3/aws4_request")
        let all = seed.headers + [(name: "host", value: "h"), (name: "x-amz-date", value: "20130524T000000Z")]
        let unsigned = S3Request(method: "PUT", target: "/b/k", headers: all)
        let signature = key.sign(
            key.stringToSign(CanonicalRequest(unsigned, signedHeaders: ["host"], payloadHash: hash)))
        let request = S3Request(
            method: "PUT", target: "/b/k",
            headers: all + [
                (
                    "authorization",
                    "AWS4-HMAC-SHA256 Credential=k/20130524/auto/s3/aws4_request,SignedHeaders=host,Signature=\(signature)"
                )
            ])
        return try SignedRequest(request, now: now).verify(request, secret: "s")
    }

    @Test func `whose digest was signed must have it`() throws {
        let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        #expect(try Self.decode(Self.request(hash), Array("hello".utf8), sizes: [2]) == Array("hello".utf8))
        #expect(throws: S3Error.payloadMismatch) { try Self.decode(Self.request(hash), Array("hellO".utf8), sizes: [2]) }
    }

    private static let unsignedChunks = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

    @Test func `in chunks without signatures are as long as they say`() throws {
        let body = Array("5\r\nhello\r\n1\r\n!\r\n0\r\nX-Amz-Checksum-CRC32: abc= \r\n\r\n".utf8)
        for sizes in [[100], [1], [3, 2]] {
            #expect(
                try Self.decode(Self.request(Self.unsignedChunks, decoded: "6"), body, sizes: sizes) == Array("hello!".utf8))
        }
        var decoder = try Self.request(Self.unsignedChunks)
        _ = try decoder.decode(body)
        try decoder.finish()
        #expect(decoder.trailers.map { "\($0.name)=\($0.value)" } == ["x-amz-checksum-crc32=abc="])
        for length in ["5", "7"] {
            #expect(throws: S3Error.incompleteBody) {
                try Self.decode(Self.request(Self.unsignedChunks, decoded: length), body, sizes: [100])
            }
        }
    }

    @Test(arguments: [
        "hello", "\r\n", "5\nhello\r\n0\r\n\r\n", "g\r\n", "-1\r\n", "+5\r\nhello\r\n0\r\n\r\n", "12345678901234567\r\n",
        "ffffffffffffffff\r\n", "5\r\nhello!\r\n", "0\r\n\r\nx", "0\r\nno colon\r\n\r\n", "0\r\n:x\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5;chunk-signature", "5\r\nhel", "0\r\n", "",
    ]) func `that are no chunks are refused`(_ text: String) throws {
        let failure = #expect(throws: S3Error.self) {
            try Self.decode(Self.request(Self.unsignedChunks), Array(text.utf8), sizes: [100])
        }
        #expect(failure?.status == 400)
    }

    @Test func `have lines of a bounded length`() throws {
        let long = [UInt8](repeating: UInt8(ascii: "0"), count: 1 << 20)
        #expect(throws: S3Error.self) { try Self.decode(Self.request(Self.unsignedChunks), long, sizes: [100]) }
        let trailers = Array("0\r\n".utf8) + Array(String(repeating: "x-amz-meta: y\r\n", count: 10000).utf8)
        #expect(throws: S3Error.self) { try Self.decode(Self.request(Self.unsignedChunks), trailers, sizes: [100]) }
    }
}
