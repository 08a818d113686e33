import HTTP
import Testing
import Wire

@Suite struct `Chunked decoder` {
    enum Outcome: Equatable {
        case body(String, rest: String, trailers: [String])
        case needsMore
        case failed(HTTPParseError)
    }

    static func decode(_ pieces: [[UInt8]], limits: HTTPLimits = HTTPLimits()) -> Outcome {
        var decoder = ChunkedDecoder(limits: limits)
        var buffer = ByteBuffer()
        var body: [UInt8] = []
        var trailers: [String] = []
        var isFinished = false
        for piece in pieces {
            buffer.append(piece)
            while !isFinished {
                let step = unsafe buffer.withReadable { bytes in unsafe decoder.next(bytes) }
                switch step {
                case .needMore(let consumed):
                    buffer.consume(consumed)
                case .data(let skipped, let count):
                    unsafe buffer.withReadable { unsafe body += $0[skipped..<(skipped + count)] }
                    buffer.consume(skipped + count)
                    continue
                case .finished(let consumed):
                    isFinished = true
                    for index in 0..<decoder.trailers.count {
                        let field = decoder.trailers[index]
                        unsafe buffer.withReadable { bytes in
                            unsafe trailers.append(
                                String(decoding: field.name.of(bytes), as: UTF8.self) + "="
                                    + String(decoding: field.value.of(bytes), as: UTF8.self))
                        }
                    }
                    buffer.consume(consumed)
                case .failed(let error): return .failed(error)
                }
                break
            }
        }
        guard isFinished else { return .needsMore }
        let rest = unsafe buffer.withReadable { unsafe String(decoding: $0, as: UTF8.self) }
        return .body(String(decoding: body, as: UTF8.self), rest: rest, trailers: trailers)
    }

    @Test(
        arguments: [
            ("0\r\n\r\n", "", "", []),
            ("5\r\nhello\r\n0\r\n\r\nGET", "hello", "GET", []),
            ("1;a=\"\\\"\r;\"\r\n", "", "", []),
            ("2;x\r\nhi\r\n00;y=\"z\"\r\n\r\n", "hi", "", []),
            (
                "A\r\n0123456789\r\n0\r\nX-A: 1\r\nx-b:2 \r\n\r\nrest", "0123456789", "rest",
                ["X-A=1", "x-b=2"]
            ),
            (
                "0\r\nContent-Length: 3\r\nX: y\r\nHOST: h\r\nCookie: c\r\nTransfer-Encoding: chunked\r\n\r\n",
                "", "", ["X=y"]
            ),
        ] as [(String, String, String, [String])])
    func `finds body, trailers and the exact end`(
        text: String, body: String, rest: String, trailers: [String]
    ) {
        let bytes = Array(text.utf8)
        let expected: Outcome =
            text.hasPrefix("1;")
            ? .failed(.malformedChunkExtension) : .body(body, rest: rest, trailers: trailers)
        #expect(Self.decode([bytes]) == expected)
        #expect(Self.decode(bytes.map { [$0] }) == expected)
    }

    @Test(
        arguments: [
            ("\r", HTTPParseError.malformedChunkSize), (";", .malformedChunkSize), ("x", .malformedChunkSize),
            ("5 ", .malformedChunkSize), (" ", .malformedChunkSize), ("0x", .malformedChunkSize),
            ("5\n", .bareLineFeed), ("5\rx", .bareCarriageReturn), ("5;a\rx", .bareCarriageReturn),
            ("5;\r", .malformedChunkExtension), ("5;=", .malformedChunkExtension),
            ("5;a=\r", .malformedChunkExtension),
            ("5;a=\"b\"c", .malformedChunkExtension), ("5;a=\"\u{1}", .malformedChunkExtension),
            ("5;a=\"\\\u{1}", .malformedChunkExtension), ("5;a\n", .malformedChunkExtension),
            ("8000000000000000", .chunkTooLarge), ("00000000000000001", .chunkTooLarge),
            ("1\r\nab", .chunkOverrun), ("1\r\na\n", .bareLineFeed), ("1\r\na\rb", .bareCarriageReturn),
            ("1\r\na\r\n7fffffffffffffff\r", .chunkTooLarge),
            ("0\r\n ", .leadingWhitespace), ("0\r\nX ", .whitespaceBeforeColon),
            ("0\r\nX: \0", .controlCharacter), ("0\r\n\n", .bareLineFeed), ("0\r\n\rx", .bareCarriageReturn),
            ("0\r\nX: y\n", .bareLineFeed), ("0\r\nX\r", .malformedFieldName),
        ] as [(String, HTTPParseError)])
    func `refuses what is malformed`(text: String, error: HTTPParseError) {
        let bytes = Array(text.utf8)
        #expect(Self.decode([bytes]) == .failed(error))
        #expect(Self.decode(bytes.map { [$0] }) == .failed(error))
        for count in 0..<bytes.count {
            // It is refused at its last byte, and not before.
            #expect(Self.decode([Array(bytes[..<count])]) == .needsMore)
        }
    }

    @Test func `bounds extensions by what they carry`() {
        var limits = HTTPLimits()
        limits.chunkExtensionBytesMax = 10
        let within = Array("4;aaaaaaaa\r\nbody\r\n4;aaa\r\nbody\r\n0\r\n\r\n".utf8)
        #expect(Self.decode([within], limits: limits) == .body("bodybody", rest: "", trailers: []))
        #expect(
            Self.decode([Array("4;aaaaaaaaaaa\r\n".utf8)], limits: limits) == .failed(.chunkExtensionsTooLong)
        )
        let thin = Array("1;aaaaaaaa\r\nb\r\n1;aaaaaaaa\r\n".utf8)
        #expect(Self.decode([thin], limits: limits) == .failed(.chunkExtensionsTooLong))
    }

    @Test func `can be used again`() {
        var decoder = ChunkedDecoder()
        let bytes = Array("1\r\na\r\n0\r\nX: y\r\n\r\n".utf8)
        for _ in 0..<3 {
            decoder.reset()
            #expect(unsafe decoder.next(bytes.span.bytes) == .data(skipped: 3, count: 1))
            #expect(unsafe decoder.next(Array(bytes[4...]).span.bytes) == .finished(consumed: 13))
            let (isFinished, trailers, count) = (
                decoder.isFinished, decoder.trailers.count, decoder.bodyByteCount
            )
            #expect(isFinished)
            #expect(trailers == 1)
            #expect(count == 1)
        }
    }

    @Test(arguments: UInt64(1)...6)
    func `agrees with a simple decoder on random bodies and their mutations`(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        for round in 0..<1500 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 0...5, using: &random) {
                let count = Int.random(in: 1...40, using: &random)
                bytes += String(count, radix: 16, uppercase: Bool.random(using: &random)).utf8
                if Bool.random(using: &random) { bytes += ";a=\"b\"".utf8 }
                bytes += "\r\n".utf8
                for _ in 0..<count { bytes.append(UInt8.random(in: 0x20...0x7E, using: &random)) }
                bytes += "\r\n".utf8
            }
            bytes += "0\r\nX-A: b\r\n\r\n".utf8
            if round % 3 > 0 {
                for _ in 0...1 {
                    let place = Int.random(in: 0..<bytes.count, using: &random)
                    let noise = Array("\r\n;0f \"\u{0}".utf8).randomElement(using: &random) ?? 0
                    if Bool.random(using: &random) {
                        bytes[place] = noise
                    } else {
                        bytes.insert(noise, at: place)
                    }
                }
            }
            let label = Comment("seed \(seed), round \(round)")
            let whole = Self.decode([bytes])
            try #require(Self.decode(bytes.pieces(using: &random)) == whole, label)
            switch whole {
            case .body(let body, let rest, _):
                let simple = try #require(simpleDecode(bytes), label)
                try #require(simple.body == body, label)
                try #require(simple.rest == rest, label)
            case .needsMore: break
            case .failed: try #require(simpleDecode(bytes) == nil, label)
            }
        }
    }

    /// RFC 9112 §7.1 with whole lines; extensions without CR or LF, but for what quotes may hold. Trailers
    /// are checked for a colon behind a name and for control characters.
    private func simpleDecode(_ bytes: [UInt8]) -> (body: String, rest: String)? {
        var rest = bytes[...]
        var body: [UInt8] = []
        func line() -> ArraySlice<UInt8>? {
            guard let end = rest.firstIndex(of: 0x0A), end > rest.startIndex, rest[end - 1] == 0x0D else {
                return nil
            }
            let line = rest[..<(end - 1)]
            guard !line.contains(0x0D) else { return nil }
            rest = rest[(end + 1)...]
            return line
        }
        while true {
            guard let sizeLine = line() else { return nil }
            let text = String(decoding: sizeLine, as: UTF8.self)
            let digits = text.prefix { $0 != ";" }
            guard !digits.isEmpty, digits.count <= 16, digits.allSatisfy(\.isHexDigit),
                digits.allSatisfy(\.isASCII),
                let size = Int(digits, radix: 16)
            else { return nil }
            let suffix = text.dropFirst(digits.count)
            guard
                suffix.wholeMatch(
                    of:
                        /(;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(=([!#$%&'*+\-.^_`|~0-9A-Za-z]+|"([^"\\\u{0}]|\\[^\u{0}])*"))?)*/
                ) != nil
            else { return nil }
            guard size > 0 else { break }
            guard rest.count >= size + 2, rest[rest.startIndex + size] == 0x0D,
                rest[rest.startIndex + size + 1] == 0x0A
            else { return nil }
            body += rest.prefix(size)
            rest = rest.dropFirst(size + 2)
        }
        while true {
            guard let trailer = line() else { return nil }
            if trailer.isEmpty { break }
            let text = String(decoding: trailer, as: UTF8.self)
            guard text.wholeMatch(of: /[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\u{0}]*/) != nil else { return nil }
        }
        return (String(decoding: body, as: UTF8.self), String(decoding: rest, as: UTF8.self))
    }
}
