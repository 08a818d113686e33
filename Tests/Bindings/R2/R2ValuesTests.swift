import HTTP
import Testing

@testable import Interfaces
@testable import Wire

@Suite struct `R2 ranges` {
    struct Case: Sendable, CustomTestStringConvertible {
        var range: R2Range
        var size: Int64 = 10
        /// `nil`: the whole object.
        var result: ClosedRange<Int64>?
        var testDescription: String { "\(range) of \(size)" }
    }

    @Test(arguments: [
        Case(range: .offset(3), result: 3...9),
        Case(range: .offset(0), result: 0...9),
        Case(range: .offset(9), result: 9...9),
        Case(range: .length(4), result: 0...3),
        Case(range: .suffix(3), result: 7...9),
        Case(range: .offset(8, length: 100), result: 8...9),
        Case(range: .offset(2, length: 3), result: 2...4),
        Case(range: .offset(0, length: .max), result: 0...9),
        Case(range: .length(11), result: 0...9),
        Case(range: .suffix(.max), result: 0...9),
        Case(range: .header("bytes=2-4"), result: 2...4),
        Case(range: .header("bytes=2-"), result: 2...9),
        Case(range: .header("bytes=-4"), result: 6...9),
        Case(range: .header("bytes=-40"), result: 0...9),
        Case(range: .header("Bytes = 2 - 99"), result: 2...9),
        Case(range: .header("bytes=0-1,3-4"), result: nil),
        Case(range: .header("bytes=5-4"), result: nil),
        Case(range: .header("bytes=10-"), result: nil),
        Case(range: .header("bytes=-0"), result: nil),
        Case(range: .header("bytes=-"), result: nil),
        Case(range: .header("bytes="), result: nil),
        Case(range: .header("bytes"), result: nil),
        Case(range: .header("items=0-1"), result: nil),
        Case(range: .header("bytes=a-b"), result: nil),
        Case(range: .header("bytes=+1-2"), result: nil),
        Case(range: .header("bytes=1-2-3"), result: nil),
        Case(range: .header("bytes=99999999999999999999-"), result: nil),
        Case(range: .header("bytes=0-99999999999999999999"), result: nil),
        Case(range: .header("bytes=0-0"), size: 0, result: nil),
    ])
    func `resolve inside the object`(_ given: Case) throws {
        let resolved = try given.range.resolve(size: given.size)
        #expect(resolved.map { $0.offset...($0.offset + $0.length - 1) } == given.result)
    }

    @Test(arguments: [
        R2Range.length(0), .suffix(0), .offset(10), .offset(11), .offset(3, length: 0),
        .offset(10, length: 1),
    ])
    func `that leave no byte are not satisfiable`(_ range: R2Range) {
        #expect(throws: R2Failure.invalidRange) { try range.resolve(size: 10) }
    }

    @Test func `of an empty object are never satisfiable`() {
        for range in [R2Range.offset(0), .length(1), .suffix(1)] {
            #expect(throws: R2Failure.invalidRange) { try range.resolve(size: 0) }
        }
    }

    @Test func `with a negative number are RangeErrors that name it`() {
        func message(_ range: R2Range) -> String {
            do throws(CallFailure) { try range.validate() } catch { return "\(error)" }
            return "no failure"
        }
        let tail = "must be greater than or equal to 0."
        #expect(message(.offset(-1)) == "RangeError: Invalid range. Starting offset (-1) \(tail)")
        #expect(message(.length(-2)) == "RangeError: Invalid range. Length (-2) \(tail)")
        #expect(message(.offset(1, length: -3)) == "RangeError: Invalid range. Length (-3) \(tail)")
        #expect(message(.suffix(-4)) == "RangeError: Invalid range. Suffix (-4) \(tail)")
        #expect(message(.suffix(0)) == "no failure")
    }
}

@Suite struct `R2 conditionals` {
    static let uploaded: Int64 = 1_700_000_000_500

    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var matches: String?
        var differs: String?
        var before: Int64?
        var after: Int64?
        var seconds = false
        var passes: Bool
        var passesMissing: Bool
        var testDescription: String { name }
    }

    @Test(arguments: [
        Case(name: "nothing", passes: true, passesMissing: true),
        Case(name: "etag matches", matches: "e", passes: true, passesMissing: false),
        Case(name: "etag doesn't match", matches: "x", passes: false, passesMissing: false),
        Case(name: "any matches", matches: "*", passes: true, passesMissing: false),
        Case(name: "differs", differs: "x", passes: true, passesMissing: true),
        Case(name: "doesn't differ", differs: "e", passes: false, passesMissing: true),
        Case(name: "create only", differs: "*", passes: false, passesMissing: true),
        Case(name: "after", after: uploaded - 1, passes: true, passesMissing: false),
        Case(name: "not after", after: uploaded, passes: false, passesMissing: false),
        Case(name: "before", before: uploaded + 1, passes: true, passesMissing: true),
        Case(name: "not before", before: uploaded, passes: false, passesMissing: true),
        Case(
            name: "not after, but differs", differs: "x", after: uploaded + 9, passes: true,
            passesMissing: false),
        Case(
            name: "after, but doesn't differ", differs: "e", after: uploaded - 9, passes: false,
            passesMissing: false),
        Case(name: "not before, but matches", matches: "e", before: 0, passes: true, passesMissing: false),
        Case(
            name: "before, but doesn't match", matches: "x", before: .max, passes: false, passesMissing: false
        ),
        Case(
            name: "same second", after: uploaded - 400, seconds: true, passes: false, passesMissing: false),
        Case(
            name: "earlier second", after: uploaded - 600, seconds: true, passes: true, passesMissing: false),
        Case(
            name: "before in the same second", before: uploaded + 400, seconds: true, passes: false,
            passesMissing: true),
    ])
    func `follow the four rules`(_ given: Case) throws {
        let condition = try R2Conditional(
            etagMatches: given.matches, etagDoesNotMatch: given.differs, uploadedBefore: given.before,
            uploadedAfter: given.after, secondsGranularity: given.seconds)
        #expect(condition.passes(etag: "e", uploaded: Self.uploaded) == given.passes)
        #expect(condition.passesMissing == given.passesMissing)
    }

    @Test func `refuse an ETag in quotes`() {
        #expect(
            throws: CallFailure(
                #"Conditional ETag should not be wrapped in quotes ("x")."#, name: "TypeError")
        ) {
            try R2Conditional(etagMatches: #""x""#)
        }
        #expect(
            throws: CallFailure(
                #"Conditional ETag should not be wrapped in quotes ("x")."#, name: "TypeError")
        ) {
            try R2Conditional(etagDoesNotMatch: #""x""#)
        }
    }

    @Test func `in headers are lists of quoted, possibly weak tags`() throws {
        let list = try R2Conditional(Headers([("if-match", #""a", W/"e" ,"b""#)]))
        #expect(!list.passes(etag: "e", uploaded: 0))  // A weak tag never matches strongly.
        #expect(list.passes(etag: "b", uploaded: 0))
        let none = try R2Conditional(Headers([("if-none-match", #"W/"e""#)]))
        #expect(!none.passes(etag: "e", uploaded: 0))
        #expect(none.passes(etag: "f", uploaded: 0))
        #expect(try !R2Conditional(Headers([("if-none-match", "*")])).passes(etag: "e", uploaded: 0))
        #expect(
            try R2Conditional(Headers([("if-match", #""with, comma""#)])).passes(
                etag: "with, comma", uploaded: 0))
        #expect(try R2Conditional(Headers()).passesMissing)
    }

    @Test(arguments: ["a", #""a"#, #""a" "b""#, #""a","#, "", #"w/"a""#, "**"])
    func `in headers refuse what is no list of tags`(_ value: String) {
        #expect(throws: CallFailure("Invalid ETag in if-match header")) {
            try R2Conditional(Headers([("if-match", value)]))
        }
        #expect(throws: CallFailure("Invalid ETag in if-none-match header")) {
            try R2Conditional(Headers([("if-none-match", value)]))
        }
    }

    @Test func `in headers compare whole seconds and ignore what is no date`() throws {
        let date = HTTPDate(unixSeconds: Self.uploaded / 1000).text
        #expect(
            try !R2Conditional(Headers([("if-modified-since", date)])).passes(
                etag: "e", uploaded: Self.uploaded)
        )
        let later = Self.uploaded + 1000
        #expect(try R2Conditional(Headers([("if-modified-since", date)])).passes(etag: "e", uploaded: later))
        #expect(
            try !R2Conditional(Headers([("if-unmodified-since", date)])).passes(etag: "e", uploaded: later))
        #expect(try R2Conditional(Headers([("if-modified-since", "tomorrow")])).passesMissing)
    }
}

@Suite struct `R2 values` {
    @Test func `count metadata as the product does`() {
        #expect(R2Object.countedMetadataBytes(["k": "value"]) == 6)
        #expect(R2Object.countedMetadataBytes(["k": "€€€€€"]) == 11)  // Probe 8: a 5-char € value counts 10.
        #expect(R2Object.countedMetadataBytes(["k": "ÿÿ"]) == 3)
        #expect(R2Object.countedMetadataBytes(["k": "😀a"]) == 7)
        #expect(R2Object.countedMetadataBytes([:]) == 0)
    }

    @Test func `refuse checksums of the wrong size, naming it`() {
        func message(_ checksum: R2Checksum) -> String {
            do throws(CallFailure) { _ = try checksum.validatedBytes() } catch { return "\(error)" }
            return "no failure"
        }
        #expect(message(R2Checksum(.md5, [1, 2])) == "TypeError: MD5 is 16 bytes, not 2")
        #expect(message(.md5("ab")) == "TypeError: MD5 is 32 hex characters, not 2")
        #expect(
            message(.md5(String(repeating: "g", count: 32)))
                == "TypeError: Provided MD5 wasn't a valid hex string")
        #expect(message(R2Checksum(.sha1, [])) == "TypeError: SHA-1 is 20 bytes, not 0")
        #expect(message(.sha256("")) == "TypeError: SHA-256 is 64 hex characters, not 0")
        #expect(message(R2Checksum(.sha384, [])) == "TypeError: SHA-384 is 48 bytes, not 0")
        #expect(message(.sha512("0")) == "TypeError: SHA-512 is 128 hex characters, not 1")
        #expect(message(.md5("2063C1608D6E0BAF80249C42E2BE5804")) == "no failure")
    }

    @Test func `carry HTTP metadata from and to headers`() throws {
        let fields = try Headers([
            ("content-type", "image/png"), ("content-language", "de"), ("content-disposition", "inline"),
            ("content-encoding", "gzip"), ("cache-control", "no-store"),
            ("expires", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ])
        let metadata = R2HTTPMetadata(fields)
        #expect(metadata.cacheExpiry == 784_111_777_000)
        var written = try Headers([("content-type", "text/plain"), ("x", "y")])
        try metadata.write(to: &written)
        var expected = fields
        try expected.set("x", "y")
        #expect(written == expected)
        try R2HTTPMetadata().write(to: &written)
        #expect(written == expected)
        #expect(throws: HeaderError.invalidValue(name: "content-type")) {
            try R2HTTPMetadata(contentType: "a\nb").write(to: &written)
        }
        #expect(R2HTTPMetadata(try Headers([("expires", "0")])).cacheExpiry == nil)
    }

    @Test func `survive their messages, and nothing that is cut short does`() throws {
        let put = R2PutMessage(
            key: "ключ", size: 12, onlyIf: try R2Conditional(etagMatches: "a", uploadedBefore: 5),
            checksum: (.sha1, [UInt8](repeating: 7, count: 20)),
            attributes: R2Attributes(
                httpMetadata: R2HTTPMetadata(contentType: "a/b", cacheExpiry: 9),
                customMetadata: ["a": "b", "c": ""],
                storageClass: .infrequentAccess))
        var encoder = WireEncoder()
        put.encode(into: &encoder)
        var decoder = WireDecoder(encoder.bytes)
        #expect(try R2PutMessage(decoding: &decoder) == put)
        for count in 0..<encoder.bytes.count {
            var cut = WireDecoder(Array(encoder.bytes.prefix(count)))
            #expect(throws: WireError.self) { try R2PutMessage(decoding: &cut) }
        }
        let get = R2GetMessage(
            key: "k", onlyIf: try R2Conditional(Headers([("if-match", "*")])), range: .offset(1, length: 2))
        var getEncoder = WireEncoder()
        get.encode(into: &getEncoder)
        var getDecoder = WireDecoder(getEncoder.bytes)
        #expect(try R2GetMessage(decoding: &getDecoder) == get)
    }

    @Test func `of copies and uploads in parts survive their messages as well`() throws {
        func check<Message: Equatable>(
            _ message: Message, _ encode: (Message, inout WireEncoder) -> Void,
            _ decode: (inout WireDecoder) throws(WireError) -> Message
        ) throws {
            var encoder = WireEncoder()
            encode(message, &encoder)
            var decoder = WireDecoder(encoder.bytes)
            #expect(try decode(&decoder) == message)
            for count in 0..<encoder.bytes.count {
                var cut = WireDecoder(Array(encoder.bytes.prefix(count)))
                #expect(throws: WireError.self) { try decode(&cut) }
            }
        }
        let key = try R2CustomerKey([UInt8](repeating: 9, count: 32))
        let condition = try R2Conditional(etagMatches: "e")
        let metadata = R2CopyMetadata.merge(httpMetadata: R2HTTPMetadata(contentType: "a/b"), customMetadata: ["a": "b"])
        try check(
            R2CopyMessage(
                sourceKey: "s", key: "k", sourceOnlyIf: condition, onlyIf: condition, metadata: metadata,
                storageClass: .infrequentAccess, sourceSsecKey: key, ssecKey: key),
            { $0.encode(into: &$1) }, { decoder throws(WireError) in try R2CopyMessage(decoding: &decoder) })
        try check(
            R2CreateMultipartMessage(key: "k", ssecKey: key, checksumAlgorithm: .crc64nvme), { $0.encode(into: &$1) },
            { decoder throws(WireError) in try R2CreateMultipartMessage(decoding: &decoder) })
        try check(
            R2CompleteMultipartMessage(
                key: "k", uploadId: "u", parts: [R2UploadedPart(partNumber: 3, etag: "e")], onlyIf: condition),
            { $0.encode(into: &$1) }, { decoder throws(WireError) in try R2CompleteMultipartMessage(decoding: &decoder) })
        try check(
            R2ListUploadsMessage(limit: 3, prefix: "p", delimiter: "/", after: R2Uploads.Marker(key: "k", uploadId: "u")),
            { $0.encode(into: &$1) }, { decoder throws(WireError) in try R2ListUploadsMessage(decoding: &decoder) })
        try check(
            R2GetMessage(key: "k", ssecKey: key), { $0.encode(into: &$1) },
            { decoder throws(WireError) in try R2GetMessage(decoding: &decoder) })
        // A key of any other length is none.
        var encoder = WireEncoder()
        encoder.put("k")
        for _ in 0..<2 { encoder.put(false) }
        encoder.put(true)
        encoder.put([UInt8](repeating: 9, count: 31))
        var decoder = WireDecoder(encoder.bytes)
        #expect(throws: WireError.self) { try R2GetMessage(decoding: &decoder) }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `read random messages without a trap`(_ seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<3000 {
            let bytes = (0..<Int.random(in: 0..<64, using: &generator)).map { _ in
                UInt8.random(in: 0...3, using: &generator)
            }
            func attempt(_ decode: (inout WireDecoder) throws -> Void) {
                var decoder = WireDecoder(bytes)
                _ = try? decode(&decoder)
            }
            attempt { _ = try R2GetMessage(decoding: &$0) }
            attempt { _ = try R2PutMessage(decoding: &$0) }
            attempt { _ = try R2ListMessage(decoding: &$0) }
            attempt { _ = try R2Objects(decoding: &$0) }
            attempt { _ = try R2GetReply(decoding: &$0) }
            attempt { _ = try R2CompleteMultipartMessage(decoding: &$0) }
            attempt { _ = try R2CreateMultipartMessage(decoding: &$0) }
            attempt { _ = try R2UploadPartMessage(decoding: &$0) }
            attempt { _ = try R2CopyMessage(decoding: &$0) }
            attempt { _ = try R2ListUploadsMessage(decoding: &$0) }
            attempt { _ = try R2ListPartsMessage(decoding: &$0) }
            attempt { _ = try R2Uploads(decoding: &$0) }
            attempt { _ = try R2Parts(decoding: &$0) }
        }
    }
}
