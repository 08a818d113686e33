import HTTP2
import Testing
import Wire

@testable import Host

@Suite struct `HTTP/2 head` {
    private func head(_ fields: [(String, String)], bytesMax: Int = 4096) -> (text: String?, isTooLarge: Bool) {
        var draft = HTTP2HeadDraft(bytesMax: bytesMax)
        for round in 0..<2 {
            // The second one must know nothing of the first.
            draft.begin()
            if round == 0 {
                add([(":path", "/before"), ("x-before", "1"), ("cookie", "before=1"), ("host", "before")], to: &draft)
            }
        }
        add(fields, to: &draft)
        if draft.isTooLarge { return (nil, true) }
        var target = ByteBuffer()
        guard draft.finish(into: &target) else { return (nil, false) }
        return (unsafe target.withReadable { unsafe String(decoding: $0, as: UTF8.self) }, false)
    }

    private func add(_ fields: [(String, String)], to draft: inout HTTP2HeadDraft) {
        for (name, value) in fields {
            unsafe Array(name.utf8).withUnsafeBytes { name in
                unsafe Array(value.utf8).withUnsafeBytes { value in unsafe draft.add(name, value) }
            }
        }
    }

    private static let usual = [(":method", "GET"), (":scheme", "https"), (":path", "/a?b"), (":authority", "a.test")]

    @Test func `is written as HTTP/1.1 has it`() {
        #expect(head(Self.usual + [("accept", "*/*")]).text == "GET /a?b HTTP/1.1\r\nhost: a.test\r\naccept: */*\r\n\r\n")
    }

    @Test func `joins cookies that come in pieces`() {
        let text = head(Self.usual + [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]).text
        #expect(text == "GET /a?b HTTP/1.1\r\nhost: a.test\r\nx: y\r\ncookie: a=1; b=2\r\n\r\n")
    }

    @Test func `takes the host where there is no authority, and no other beside it`() {
        #expect(head(Array(Self.usual.dropLast()) + [("host", "b.test")]).text == "GET /a?b HTTP/1.1\r\nhost: b.test\r\n\r\n")
        #expect(head(Self.usual + [("host", "a.test")]).text == "GET /a?b HTTP/1.1\r\nhost: a.test\r\n\r\n")
        #expect(head(Self.usual + [("host", "b.test")]).text == nil)
    }

    @Test func `keeps no more than may be`() {
        let byteCount = Self.usual.reduce(0) { $0 + $1.0.utf8.count + $1.1.utf8.count + 4 }
        #expect(head(Self.usual, bytesMax: byteCount).isTooLarge == false)
        #expect(head(Self.usual, bytesMax: byteCount - 1).isTooLarge)
    }
}

@Suite struct `HTTP/2 patience` {
    private func frame(_ kind: HTTP2FrameHead.Kind, _ byteCount: Int = 8, first: Bool = false) -> HTTP2FrameHead {
        HTTP2FrameHead(kind: kind, stream: 1, payloadByteCount: byteCount, hasFirstFlag: first)
    }

    @Test func `ends with what leads nowhere, and with nothing else`() {
        for (head, isFree) in [
            (frame(.ping), false), (frame(.ping, first: true), true), (frame(.settings), false),
            (frame(.settings, 0, first: true), true), (frame(.priority), false), (frame(.reset), false),
            (frame(.windowUpdate), false), (frame(.other), false), (frame(.data), true), (frame(.data, 0), false),
            (frame(.data, 0, first: true), true), (frame(.headers), true), (frame(.continuation, 0), false),
        ] {
            var patience = HTTP2Patience()
            for _ in 0..<HTTP2Patience.most {
                #expect(!patience.isExhausted)
                patience.charge(head)
            }
            #expect(patience.isExhausted != isFree, "\(head)")
        }
    }

    @Test func `comes back with time and with what is taken of answers, up to its measure`() {
        var patience = HTTP2Patience()
        for _ in 0..<HTTP2Patience.most { patience.charge() }
        patience.tick()
        #expect(!patience.isExhausted)
        for _ in 0..<10_000 {
            patience.frameSent()
            patience.charge(frame(.windowUpdate))
            patience.charge(frame(.windowUpdate))
        }
        for _ in 0..<1000 { patience.tick() }
        #expect(patience.left == HTTP2Patience.most)
    }
}
