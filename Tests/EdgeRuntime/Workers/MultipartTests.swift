import Interfaces
import Testing

@testable import Workers

@Suite struct `Multipart form` {
    private static func form(
        _ text: String, piece: Int = 1 << 20, limits: MultipartLimits = MultipartLimits()
    )
        async throws -> MultipartForm
    {
        try await form(Array(text.utf8), piece: piece, limits: limits)
    }

    private static func form(_ bytes: [UInt8], piece: Int, limits: MultipartLimits = MultipartLimits())
        async throws -> MultipartForm
    {
        var offset = 0
        let body = ByteStream {
            guard offset < bytes.count else { return nil }
            defer { offset += piece }
            return Array(bytes[offset..<min(bytes.count, offset + piece)])
        }
        var headers = Headers()
        try headers.set("content-type", "multipart/form-data; boundary=\"b--x\"")
        return try await Request("http://h/", method: .post, headers: headers, body: body)
            .multipartForm(limits: limits)
    }

    private static let sample =
        "preamble\r\n--b--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n"
        + "--b--x  \r\ncontent-disposition: form-data; name=\"f\"; filename=\"C:\\\\dir\\\\x \\\"y\\\".txt\"\r\n"
        + "Content-Type: text/csv\r\nX-Other: 1\r\n\r\n1,2\r\n--b--\r\n\r\n-\r\n"
        + "--b--x\r\nContent-Disposition: form-data; name=empty\r\n\r\n\r\n"
        + "--b--x\r\nContent-Disposition: form-data; name=\"bare\"\r\n\r\n--b--x--\r\nepilogue"

    @Test(arguments: [1, 2, 3, 5, 7, 16, 64, 1 << 20])
    func `reads the same parts however the bytes arrive`(piece: Int) async throws {
        let form = try await Self.form(Self.sample, piece: piece)
        #expect(form.fields.map(\.name) == ["a", "f", "empty", "bare"])
        #expect(form["a"]?.text == "one")
        #expect(form["a"]?.contentType == "text/plain" && form["a"]?.filename == nil)
        #expect(form["f"]?.text == "1,2\r\n--b--\r\n\r\n-")
        #expect(form["f"]?.contentType == "text/csv")
        #expect(form["f"]?.filename == "x \"y\".txt")
        #expect(form["empty"]?.bytes == [])
        #expect(form["bare"]?.bytes == [])
    }

    @Test func `reads a form without parts`() async throws {
        #expect(try await Self.form("--b--x--").fields.isEmpty)
    }

    @Test(arguments: [
        ("", MultipartError.truncated),
        ("no boundary at all", .truncated),
        ("--b--x\r\n", .truncated),
        ("--b--x\r\nContent-Disposition: form-data; name=a\r\n\r\nno end", .truncated),
        ("--b--x\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--x", .truncated),
        ("--b--xy\r\n\r\n", .malformed("boundary line")),
        ("--b--x\r\nno colon\r\n\r\nx\r\n--b--x--", .malformed("part header")),
        ("--b--x\r\n: x\r\n\r\nx\r\n--b--x--", .malformed("part header")),
        ("--b--x\r\na b: x\r\n\r\nx\r\n--b--x--", .malformed("part header")),
        ("--b--x\r\na: x\u{0}\r\n\r\nx\r\n--b--x--", .malformed("part header")),
    ])
    func `refuses what is no form`(text: String, error: MultipartError) async {
        await #expect(throws: error) { try await Self.form(text) }
        await #expect(throws: error) { try await Self.form(text, piece: 1) }
    }

    @Test func `keeps its limits`() async {
        let part = "--b--x\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n12345\r\n"
        let two = part + part + "--b--x--"
        await #expect(throws: MultipartError.tooManyParts(limit: 1)) {
            try await Self.form(two, limits: MultipartLimits(partsMax: 1))
        }
        await #expect(throws: MultipartError.partTooLarge(name: "n", limit: 4)) {
            try await Self.form(two, limits: MultipartLimits(partBytesMax: 4))
        }
        await #expect(throws: MultipartError.headersTooLarge(limit: 20)) {
            try await Self.form(two, piece: 1, limits: MultipartLimits(headerBytesMax: 20))
        }
        await #expect(throws: MultipartError.headersTooLarge(limit: 20)) {
            try await Self.form(two, limits: MultipartLimits(headerBytesMax: 20))
        }
        await #expect(throws: MultipartError.tooLarge(limit: 50)) {
            try await Self.form(two, limits: MultipartLimits(totalBytesMax: 50))
        }
    }

    @Test(arguments: [
        ("application/json", MultipartError.notMultipart(contentType: "application/json")),
        ("multipart/form-data", .badBoundary),
        ("multipart/form-data; boundary=", .badBoundary),
        ("multipart/form-data; boundary=" + String(repeating: "x", count: 71), .badBoundary),
    ])
    func `refuses other content types`(type: String, error: MultipartError) {
        #expect(throws: error) { try MultipartBoundary.find(in: type) }
    }

    @Test func `skips what was left unread of a part`() async throws {
        var headers = Headers()
        try headers.set("content-type", "multipart/form-data; boundary=b--x")
        let request = try Request("http://h/", method: .post, headers: headers, body: ByteStream(Self.sample))
        let reader = try request.multipart()
        var names: [String] = []
        while let part = try await reader.nextPart() { names.append(part.name) }
        #expect(names == ["a", "f", "empty", "bare"])
    }

    /// Random bytes rich in what the grammar is made of: never a crash, never more content than bytes, and the
    /// same outcome whatever the pieces.
    @Test(arguments: [UInt64(1), 2, 3, 4]) func `survives random bodies`(seed: UInt64) async {
        var random = SeededGenerator(seed: seed)
        let words = [
            "--b--x", "\r\n", "--", "a: b", "\r", "\n", "x", "--b--x--",
            "Content-Disposition: form-data; name=q",
        ]
        for round in 0..<400 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 0..<30, using: &random) {
                bytes += Array((words.randomElement(using: &random) ?? "").utf8)
            }
            let whole = await Self.outcome(bytes, piece: 1 << 20)
            let cut = await Self.outcome(bytes, piece: Int.random(in: 1...9, using: &random))
            #expect(whole == cut, "seed \(seed), round \(round): \(String(decoding: bytes, as: UTF8.self))")
        }
    }

    private static func outcome(_ bytes: [UInt8], piece: Int) async -> String {
        do {
            return try await form(bytes, piece: piece).fields.map { "\($0.name)=\($0.text)" }.joined(
                separator: "&")
        } catch { return "\(error)" }
    }
}

/// splitmix64 (https://prng.di.unimi.it/splitmix64.c).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
