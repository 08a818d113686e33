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
