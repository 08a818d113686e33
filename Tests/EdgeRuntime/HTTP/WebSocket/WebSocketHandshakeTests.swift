import HTTP
import Testing

@Suite struct `WebSocket handshake` {
    private static let good = [
        (name: "upgrade", value: "websocket"), (name: "connection", value: "keep-alive, Upgrade"),
        (name: "sec-websocket-version", value: "13"), (name: "sec-websocket-key", value: "dGhlIHNhbXBsZSBub25jZQ=="),
    ]

    private static func status(_ headers: [(name: String, value: String)], method: String = "GET") -> Int? {
        do throws(WebSocketHandshake.Refusal) {
            _ = try WebSocketHandshake(method: method, headers: headers)
            return nil
        } catch { return error.status }
    }

    private static func changed(_ name: String, _ values: String...) -> [(name: String, value: String)] {
        good.filter { $0.name != name } + values.map { (name, $0) }
    }

    @Test func `reads what a client offers`() throws {
        let headers =
            Self.good + [
                (name: "sec-websocket-protocol", value: "trace-v1, other"), (name: "sec-websocket-protocol", value: "third"),
                (name: "sec-websocket-extensions", value: "permessage-deflate; client_max_window_bits, x; a=\"b,c\""),
            ]
        let handshake = try WebSocketHandshake(method: "GET", headers: headers)
        #expect(handshake.key == "dGhlIHNhbXBsZSBub25jZQ==")
        #expect(handshake.subprotocols == ["trace-v1", "other", "third"])
        #expect(handshake.extensions == ["permessage-deflate; client_max_window_bits", "x; a=\"b,c\""])
    }

    @Test func `refuses what is none`() {
        #expect(Self.status(Self.good) == nil)
        #expect(Self.status(Self.good, method: "POST") == 405)
        #expect(Self.status(Self.changed("upgrade")) == 426)
        #expect(Self.status(Self.changed("upgrade", "h2c")) == 426)
        #expect(Self.status(Self.changed("upgrade", "h2c, WebSocket")) == nil)
        #expect(Self.status(Self.changed("connection", "close")) == 426)
        #expect(Self.status(Self.changed("sec-websocket-version")) == 426)
        #expect(Self.status(Self.changed("sec-websocket-version", "8")) == 426)
        #expect(Self.status(Self.changed("sec-websocket-key")) == 400)
        #expect(Self.status(Self.changed("sec-websocket-key", "short")) == 400)
        #expect(Self.status(Self.changed("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ==")) == 400)
        #expect(Self.status(Self.good + [(name: "sec-websocket-protocol", value: "a b")]) == 400)
    }

    @Test func `tells a client of another version which one is spoken`() {
        #expect(throws: WebSocketHandshake.Refusal.self) { _ = try WebSocketHandshake(method: "GET", headers: []) }
        do throws(WebSocketHandshake.Refusal) {
            _ = try WebSocketHandshake(method: "GET", headers: Self.changed("sec-websocket-version", "12"))
        } catch {
            #expect(error.headers.contains { $0.name == "sec-websocket-version" && $0.value == "13" })
        }
    }

    // The digest of the example in RFC 6455 §1.3.
    @Test func `answers the key of the RFC`() {
        let digest: [UInt8] = [
            0xB3, 0x7A, 0x4F, 0x2C, 0xC0, 0x62, 0x4F, 0x16, 0x90, 0xF6, 0x46, 0x06, 0xCF, 0x38, 0x59, 0x45, 0xB2, 0xBE, 0xC4,
            0xEA,
        ]
        var hashed: [UInt8] = []
        let accept = WebSocketHandshake.accept("dGhlIHNhbXBsZSBub25jZQ==") {
            hashed = $0
            return digest
        }
        #expect(hashed == Array("dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8))
        #expect(accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(WebSocketHandshake.makeKey(Array("the sample nonce".utf8)) == "dGhlIHNhbXBsZSBub25jZQ==")
    }
}

@Suite struct `WebSocket offer` {
    /// The key of RFC 6455 §1.3, whose digest is written there.
    private static let digest: [UInt8] = [
        0xB3, 0x7A, 0x4F, 0x2C, 0xC0, 0x62, 0x4F, 0x16, 0x90, 0xF6, 0x46, 0x06, 0xCF, 0x38, 0x59, 0x45, 0xB2, 0xBE, 0xC4, 0xEA,
    ]

    private func offer(_ subprotocols: String...) -> WebSocketOffer {
        WebSocketOffer(random: Array("the sample nonce".utf8), subprotocols: subprotocols) { text in
            text.starts(with: Array("dGhlIHNhbXBsZSBub25jZQ==".utf8)) ? Self.digest : []
        }
    }

    private func answer(_ changed: (name: String, value: String)..., without: String = "") -> [(name: String, value: String)] {
        let usual: [(name: String, value: String)] = [
            ("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ]
        return usual.filter { line in line.name != without && !changed.contains { $0.name == line.name } } + changed
    }

    @Test func `says what a client has to say`() {
        let fields = Dictionary(uniqueKeysWithValues: offer("a, b", "c").fields.map { ($0.name, $0.value) })
        #expect(fields["sec-websocket-key"] == "dGhlIHNhbXBsZSBub25jZQ==")
        #expect(fields["sec-websocket-version"] == "13")
        #expect(fields["sec-websocket-protocol"] == "a, b, c")
        #expect(offer().fields.contains { $0.name == "sec-websocket-protocol" } == false)
    }

    @Test func `takes what grants it`() throws {
        let plain = try offer().agreement(answer())
        #expect(plain.subprotocol == nil && plain.compression == nil)
        let chosen = try offer("a, b").agreement(answer(("sec-websocket-protocol", "b")))
        #expect(chosen.subprotocol == "b")
        for text in ["", "; client_no_context_takeover", "; server_max_window_bits=8", "; server_max_window_bits=\"15\""] {
            let agreed = try offer().agreement(
                answer(("sec-websocket-extensions", "permessage-deflate; server_no_context_takeover" + text)))
            #expect(agreed.compression?.windowBits == 15)
        }
    }

    @Test func `refuses what doesn't`() {
        let wrong = [
            answer(("upgrade", "h2c")), answer(without: "upgrade"), answer(("upgrade", "websocket, h2c")),
            answer(("connection", "close")), answer(without: "connection"),
            answer(("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOO=")), answer(without: "sec-websocket-accept"),
            answer(("sec-websocket-protocol", "c")), answer(("sec-websocket-protocol", "a, b")),
            answer(("sec-websocket-protocol", "A")), answer(("sec-websocket-extensions", "x-webkit-deflate-frame")),
            answer(("sec-websocket-extensions", "permessage-deflate")),
            answer(("sec-websocket-extensions", "permessage-deflate; server_no_context_takeover; client_max_window_bits=10")),
            answer(("sec-websocket-extensions", "permessage-deflate; server_no_context_takeover=1")),
            answer(("sec-websocket-extensions", "permessage-deflate; server_no_context_takeover; server_max_window_bits")),
            answer(("sec-websocket-extensions", "permessage-deflate; server_no_context_takeover; server_no_context_takeover")),
            answer(
                ("sec-websocket-extensions", "permessage-deflate; server_no_context_takeover"),
                ("sec-websocket-extensions", "permessage-deflate; server_no_context_takeover")),
        ]
        for headers in wrong {
            #expect(throws: WebSocketOffer.Mismatch.self, "\(headers)") { _ = try offer("a, b").agreement(headers) }
        }
    }
}
