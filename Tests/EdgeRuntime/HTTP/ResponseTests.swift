import HTTP
import Testing
import Wire

@Suite struct `Response head` {
    private struct Parsed: Equatable {
        var status = 0
        var reason = ""
        var framing = ResponseHead.BodyFraming.none
        var keepAlive = true
    }

    private func parse(_ pieces: [[UInt8]], isAnswerToHead: Bool = false) -> Result<Parsed, HTTPParseError>? {
        var parser = ResponseHeadParser()
        var bytes: [UInt8] = []
        for piece in pieces {
            bytes += piece
            switch unsafe parser.parse(bytes.span.bytes) {
            case .needMore: continue
            case .failed(let error): return .failure(error)
            case .complete(let count):
                #expect(count == bytes.count)
                return .success(
                    Parsed(
                        status: parser.head.status, reason: unsafe bytes.span.bytes.text(parser.head.reason),
                        framing: parser.head.bodyFraming(isAnswerToHead: isAnswerToHead),
                        keepAlive: parser.head.keepAlive))
            }
        }
        return nil
    }

    @Test(
        arguments: [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, "OK", .length(5), true),
            ("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", .chunked, true),
            (
                "HTTP/1.1 404 Not\tFound h\u{E9}\r\nConnection: close\r\n\r\n", 404, "Not\tFound h\u{E9}",
                .untilClose, false
            ),
            ("HTTP/1.0 200 OK\r\n\r\n", 200, "OK", .untilClose, false),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, "No Content", .none, true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, "Not Modified", .none, true),
            ("HTTP/1.1 100 Continue\r\n\r\n", 100, "Continue", .none, true),
        ] as [(String, Int, String, ResponseHead.BodyFraming, Bool)])
    func `tells status and framing`(
        text: String, status: Int, reason: String, framing: ResponseHead.BodyFraming, keepAlive: Bool
    ) {
        let expected = Parsed(status: status, reason: reason, framing: framing, keepAlive: keepAlive)
        let bytes = Array(text.utf8)
        #expect(parse([bytes]) == .success(expected))
        #expect(parse(bytes.map { [$0] }) == .success(expected))
    }

    @Test func `has no body when it answers HEAD`() {
        let bytes = Array("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".utf8)
        #expect(
            parse([bytes], isAnswerToHead: true)
                == .success(Parsed(status: 200, reason: "OK", framing: .none)))
    }

    @Test(
        arguments: [
            ("HTTP/2.0 200 OK\r\n\r\n", HTTPParseError.unsupportedVersion),
            ("http/1.1 200 OK\r\n\r\n", .malformedStatusLine),
            ("HTTP/1.1 20 OK\r\n\r\n", .malformedStatusLine),
            ("HTTP/1.1 2000 OK\r\n\r\n", .malformedStatusLine),
            ("HTTP/1.1 600 OK\r\n\r\n", .malformedStatusLine),
            ("HTTP/1.1 099 OK\r\n\r\n", .malformedStatusLine),
            ("HTTP/1.1 200\r\n\r\n", .malformedStatusLine),
            ("HTTP/1.1  200 OK\r\n\r\n", .malformedStatusLine),
            ("HTTP/1.1 200 OK\n\r\n", .bareLineFeed), ("HTTP/1.1 200 O\0K\r\n\r\n", .malformedStatusLine),
            ("HTTP/1.1 200 OK\rX", .bareCarriageReturn), (" HTTP/1.1 200 OK\r\n\r\n", .malformedStatusLine),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", .whitespaceBeforeColon),
            ("HTTP/1.1 200 OK\r\nA: b\n\r\n", .bareLineFeed),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", .repeatedContentLength),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                .contentLengthWithTransferEncoding
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", .chunkedNotLast),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingInHTTP10),
        ] as [(String, HTTPParseError)])
    func `is refused when malformed`(text: String, error: HTTPParseError) {
        let bytes = Array(text.utf8)
        #expect(parse([bytes]) == .failure(error))
        #expect(parse(bytes.map { [$0] }) == .failure(error))
    }
}

@Suite struct `Writing a response` {
    private func written(_ body: (inout ByteBuffer) -> Void) -> String {
        var buffer = ByteBuffer()
        body(&buffer)
        return unsafe buffer.withReadable { unsafe String(decoding: $0, as: UTF8.self) }
    }

    @Test func `has a line for each status`() {
        for status in 100...599 {
            let line = written { $0.appendStatusLine(status) }
            #expect(line == "HTTP/1.1 \(status) \(StatusLine.reason(status))\r\n")
        }
        #expect(StatusLine.reason(404) == "Not Found")
        #expect(StatusLine.reason(599) == "")
    }

    @Test func `writes headers`() {
        #expect(written { $0.appendHeader("Server", "edge" as StaticString) } == "Server: edge\r\n")
        #expect(written { $0.appendHeader("Server", "e" + "dge") } == "Server: edge\r\n")
        #expect(written { $0.appendContentLength(0) } == "Content-Length: 0\r\n")
        #expect(written { $0.appendContentLength(.max) } == "Content-Length: 9223372036854775807\r\n")
        let (name, value) = (Array("x-name".utf8), Array("some value".utf8))
        for value in [value, []] {
            let line = written { unsafe $0.appendHeader(name: name.span.bytes, value: value.span.bytes) }
            #expect(line == "x-name: \(String(decoding: value, as: UTF8.self))\r\n")
        }
    }

    @Test(arguments: [1, 9, 10, 15, 16, 255, 256, 65536, 0x7FFF_FFFF_FFFF_FFFF])
    func `writes chunk sizes in hexadecimal`(count: Int) {
        #expect(written { $0.appendChunkHeader(byteCount: count) } == String(count, radix: 16) + "\r\n")
    }

    @Test func `writes what the chunked decoder reads`() {
        let text = written { buffer in
            for piece in ["hello", " world"] {
                buffer.appendChunkHeader(byteCount: piece.utf8.count)
                buffer.append(piece)
                buffer.appendChunkEnd()
            }
            buffer.appendLastChunk()
        }
        #expect(
            `Chunked decoder`.decode([Array(text.utf8)]) == .body("hello world", rest: "", trailers: []))
    }

    @Test func `writes lower-case names into the block of a fetch message`() throws {
        var buffer = ByteBuffer()
        let names = ["X", "Accept-Encoding", "Sec-WebSocket-Extensions-AND-Some-[@`Z{More"]
        for name in names {
            let (name, value) = (Array(name.utf8), Array("V-\(name)".utf8))
            unsafe buffer.appendBlockHeader(name: name.span.bytes, value: value.span.bytes)
        }
        buffer.appendBlockHeader("cf-ray", "1")
        let block = unsafe buffer.withReadable { unsafe Array($0) }
        var cursor = HeaderBlockCursor(count: 4)
        for name in names {
            let entry = try #require(try cursor.next(block))
            #expect(String(decoding: block[entry.name.range], as: UTF8.self) == name.lowercased())
            #expect(String(decoding: block[entry.value.range], as: UTF8.self) == "V-\(name)")
        }
        #expect(try cursor.next(block)?.value.count == 1)
        #expect(try cursor.next(block) == nil)
        #expect(cursor.offset == block.count)
        for count in 0..<block.count {
            var cursor = HeaderBlockCursor(count: 4)
            #expect(throws: WireError.self) { while try cursor.next(Array(block[..<count])) != nil {} }
        }
    }
}
