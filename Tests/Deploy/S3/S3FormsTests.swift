import Testing

@testable import S3

@Suite struct `S3 addresses` {
    private static let account = String(repeating: "a1", count: 16)

    @Test(
        arguments: [
            ("127.0.0.1", "/", nil, nil, nil), ("127.0.0.1", "/b", nil, "b", nil), ("127.0.0.1", "/b/", nil, "b", nil),
            ("localhost", "/b/k/l", nil, "b", "k/l"), ("h", "/b//k", nil, "b", "/k"), ("h", "/b/%2F%20+", nil, "b", "/ +"),
            ("b.s3.localhost", "/", nil, "b", nil), ("B.S3.localhost", "/k", nil, "b", "k"),
            ("s3.localhost", "/b/k", nil, "b", "k"), ("x.objects.test", "/b/k", nil, "x", "b/k"),
            ("\(account).objects.test", "/b/k", account, "b", "k"), ("b.\(account).objects.test", "/k", account, "b", "k"),
            ("notobjects.test", "/b", nil, "b", nil),
        ] as [(String, String, String?, String?, String?)])
    func `stand in the path or in the host`(
        _ host: String, _ path: String, _ account: String?, _ bucket: String?, _ key: String?
    ) throws {
        let address = try S3Address(path: path, host: host, domains: ["objects.test", "s3.localhost"])
        #expect((address.account, address.bucket, address.key) == (account, bucket, key))
    }

    @Test(arguments: ["//k", "/b/%FF", "/%C3/k"]) func `that mean nothing are refused`(_ path: String) {
        #expect(throws: S3Error.self) { try S3Address(path: path, host: "h", domains: []) }
    }
}

@Suite struct `S3 forms` {
    @Test(arguments: [[], [0], [0, 255], [1, 2, 3], Array(0...255)] as [[UInt8]])
    func `in base 64 come back`(_ bytes: [UInt8]) {
        #expect(Base64.bytes(Base64.text(bytes)) == bytes)
        #expect(Base64.bytes(url: Base64.url(bytes)) == bytes)
        #expect(!Base64.url(bytes).contains { "+/=".contains($0) })
    }

    @Test func `in base 64 are those of RFC 4648`() {
        let all = ["": "", "f": "Zg==", "fo": "Zm8=", "foo": "Zm9v", "foob": "Zm9vYg==", "fooba": "Zm9vYmE="]
        for (plain, coded) in all { #expect(Base64.text(Array(plain.utf8)) == coded) }
    }

    @Test(arguments: ["Z", "Zg", "Zg=", "Z===", "Zh==", "Zm9=", "Zm 9", "Zm9v====", "=Zm9"])
    func `that are not base 64 are refused`(_ text: String) { #expect(Base64.bytes(text) == nil) }

    @Test(arguments: [
        ("plain", "plain"), ("=?UTF-8?B?Z3LDvG4=?=", "grün"), ("=?utf-8?q?gr=C3=BCn_ist?=", "grün ist"),
        ("=?UTF-8?B?Z3I=?= =?UTF-8?B?w7xu?=", "grün"), ("=?latin1?B?Zg==?=", "=?latin1?B?Zg==?="),
        ("=?UTF-8?B?!?=", "=?UTF-8?B?!?="), ("=?UTF-8?Q?=ZZ?=", "=?UTF-8?Q?=ZZ?="), ("=?UTF-8?B?/w==?=", "=?UTF-8?B?/w==?="),
    ])
    func `of RFC 2047 are decoded`(_ value: String, _ decoded: String) { #expect(EncodedWords.decode(value) == decoded) }

    @Test(arguments: [("gzip, aws-chunked", "gzip"), ("aws-chunked", nil), ("AWS-Chunked,br", "br"), ("gzip", "gzip")])
    func `of the transfer are no part of what is stored`(_ value: String, _ kept: String?) {
        #expect(ObjectHeaders.contentEncoding(value) == kept)
    }
}

@Suite struct `S3 operations` {
    private static func operation(_ method: String, _ target: String, copy: Bool = false) throws -> S3Operation {
        let request = S3Request(method: method, target: target, headers: copy ? [("x-amz-copy-source", "/b/k")] : [])
        return try S3Operation(request, S3Address(path: request.path, host: "h", domains: []))
    }

    @Test(
        arguments: [
            ("GET", "/", .listBuckets), ("PUT", "/b", .createBucket), ("GET", "/b?list-type=2", .listObjectsV2),
            ("GET", "/b?uploads", .listMultipartUploads), ("POST", "/b?delete", .deleteObjects),
            ("PUT", "/b/k?x-id=PutObject", .putObject), ("PUT", "/b/k?partNumber=1&uploadId=u", .uploadPart),
            ("GET", "/b/k?uploadId=u", .listParts), ("POST", "/b/k?uploads=", .createMultipartUpload),
            ("DELETE", "/b/k?uploadId=u", .abortMultipartUpload), ("DELETE", "/b/k", .deleteObject),
            ("PUT", "/b?X-Amz-Signature=x", .createBucket),
        ] as [(String, String, S3Operation)])
    func `follow from method and parameters`(_ method: String, _ target: String, _ operation: S3Operation) throws {
        #expect(try Self.operation(method, target) == operation)
    }

    @Test func `that copy name a source`() throws {
        #expect(try Self.operation("PUT", "/b/k", copy: true) == .copyObject)
        #expect(try Self.operation("PUT", "/b/k?partNumber=1&uploadId=u", copy: true) == .uploadPartCopy)
    }

    @Test(arguments: [
        ("POST", "/", 404), ("POST", "/b", 404), ("PUT", "/b?other", 400), ("GET", "/b/k?tagging", 501),
        ("DELETE", "/b?policy", 501), ("POST", "/b/k?select", 501), ("POST", "/b/k", 404), ("TRACE", "/b/k", 404),
    ])
    func `that are none say so`(_ method: String, _ target: String, _ status: Int) {
        #expect { try Self.operation(method, target) } throws: { ($0 as? S3Error)?.status == status }
    }
}
