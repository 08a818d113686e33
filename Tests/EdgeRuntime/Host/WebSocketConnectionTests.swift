import HTTP
import Synchronization
import System
import Testing

@testable import Host

/// Makes a WebSocket of each request that asks for one, and keeps what comes of it.
private final class Sockets: LocalHandler, WebSocketReceiver {
    private struct State {
        var session: WebSocketSession?
        var texts: [String] = []
        var ends: [String] = []
    }
    private let state = Mutex(State())
    /// Signalled at each call but `opened`.
    let heard = Semaphore()

    var session: WebSocketSession? { state.withLock { $0.session } }
    var texts: [String] { state.withLock { $0.texts } }
    var ends: [String] { state.withLock { $0.ends } }

    func answer(_ request: LocalRequest) async -> LocalResponse {
        guard let handshake = try? WebSocketHandshake(method: request.method, headers: request.headers) else {
            return .text("no WebSocket", status: 400)
        }
        let session = WebSocketSession(receiver: self)
        state.withLock { $0.session = session }
        var response = LocalResponse(status: 101)
        response.webSocket = WebSocketUpgrade(accept: "accepted", subprotocol: handshake.subprotocols.first, session: session)
        return response
    }

    func opened() {}
    func received(text: [UInt8]) {
        state.withLock { $0.texts.append(String(decoding: text, as: UTF8.self)) }
        heard.signal()
    }
    func received(binary: [UInt8]) {}
    func closed(_ code: WebSocketCloseCode, reason: String) {
        state.withLock { $0.ends.append("\(code.rawValue) \(reason)") }
        heard.signal()
    }
    func notice(ofDropped count: Int) -> [UInt8]? { Array("dropped \(count)".utf8) }
}

@Suite struct `WebSocket connection` {
    private static let request =
        "GET /__edge/socket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: p, q\r\n\r\n"

    private func open(_ node: FakeNode, behind: [UInt8] = []) throws -> Client {
        let client = try node.connect()
        client.send(Array(Self.request.utf8) + behind)
        let head = try client.read(to: "\r\n\r\n")
        #expect(head.hasPrefix("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"))
        #expect(head.contains("\r\nSec-WebSocket-Accept: accepted\r\nSec-WebSocket-Protocol: p\r\n"))
        return client
    }

    /// A short frame with a mask of nothing.
    private func frame(_ opcode: WebSocketOpcode, _ payload: [UInt8] = []) -> [UInt8] {
        [0x80 | opcode.rawValue, 0x80 | UInt8(payload.count), 0, 0, 0, 0] + payload
    }

    @Test func `gives a handler what comes, and the client what it sends`() async throws {
        try await onThread {
            let sockets = Sockets()
            let node = try FakeNode(local: sockets)
            defer { node.stop() }
            // The first frame comes with the request.
            let client = try open(node, behind: frame(.text, [0x61]))
            sockets.heard.wait()
            client.send(frame(.text, [0x62]))
            sockets.heard.wait()
            #expect(sockets.texts == ["a", "b"])
            sockets.session?.send(WebSocketSession.Message(byteCount: 2) { Array("ok".utf8) })
            #expect(try client.read(count: 4) == [0x81, 2] + Array("ok".utf8))
            sockets.session?.close(.goingAway, reason: "bye")
            #expect(try client.read(count: 7) == [0x88, 5, 0x03, 0xE9] + Array("bye".utf8))
            client.send(frame(.close, [0x03, 0xE9]))
            #expect(try client.readToEnd() == "")
            sockets.heard.wait()
            #expect(sockets.ends == ["1001 "])
            client.close()
        }
    }

    @Test func `asks a silent client whether it is there, and leaves one that isn't`() async throws {
        try await onThread {
            let sockets = Sockets()
            let node = try FakeNode(local: sockets)
            defer { node.stop() }
            let client = try open(node)
            node.pass(.seconds(31))
            #expect(try client.read(count: 2) == [0x89, 0])
            // An answer begins the silence anew.
            client.send(frame(.pong) + frame(.text, [0x61]))
            sockets.heard.wait()
            node.pass(.seconds(31))
            #expect(try client.read(count: 2) == [0x89, 0])
            #expect(node.onReactor { node.reactor.connectionCount } == 1)
            node.pass(.seconds(61))
            sockets.heard.wait()
            #expect(sockets.ends == ["1006 the client is silent"])
            #expect(try client.readToEnd() == "")
            #expect(node.onReactor { node.reactor.connectionCount } == 0)
            #expect(node.context.admission.count == 0)
        }
    }

    @Test func `waits for the client's last word for a moment only`() async throws {
        try await onThread {
            let sockets = Sockets()
            let node = try FakeNode(local: sockets)
            defer { node.stop() }
            let client = try open(node)
            sockets.session?.close(.normal)
            #expect(try client.read(count: 4) == [0x88, 2, 0x03, 0xE8])
            node.pass(.seconds(6))
            sockets.heard.wait()
            #expect(sockets.ends == ["1000 "])
            #expect(try client.readToEnd() == "")
            #expect(node.onReactor { node.reactor.connectionCount } == 0)
        }
    }

    @Test func `says that the node is being stopped`() async throws {
        try await onThread {
            let sockets = Sockets()
            let node = try FakeNode(local: sockets)
            defer { node.stop() }
            let client = try open(node)
            node.onReactor { node.reactor.startDraining() }
            node.pass(.milliseconds(500))
            #expect(try client.read(count: 4) == [0x88, 27, 0x03, 0xE9])
            client.close()
            sockets.heard.wait()
            #expect(sockets.ends == ["1001 the node is being stopped"])
        }
    }

    @Test func `tells the receiver when the client was gone before`() async throws {
        try await onThread {
            let sockets = Sockets()
            WebSocketSession(receiver: sockets).ended(.abnormal, reason: "")
            sockets.heard.wait()
            let session = WebSocketSession(receiver: sockets)
            Connection.upgrade(
                nil, to: WebSocketUpgrade(accept: "", subprotocol: nil, session: session), ray: 1)
            #expect(sockets.ends == ["1006 ", "1006 the client was gone"])
        }
    }

    @Test(
        arguments: [
            ("GET / HTTP/1.0", "", "400"), ("POST / HTTP/1.1", "", "400"),
            ("GET / HTTP/1.1", "Content-Length: 3\r\n", "400"),
        ])
    func `is made of nothing but a GET of HTTP 1.1 without a body`(line: String, header: String, status: String) async throws {
        try await onThread {
            let sockets = Sockets()
            let node = try FakeNode(local: sockets)
            defer { node.stop() }
            let client = try node.connect()
            let request = Self.request.split(separator: "\r\n", maxSplits: 1)[1]
            let start = line.split(separator: " ")
            client.send("\(start[0]) /__edge/socket \(start[2])\r\n\(header)\(request)")
            #expect(try client.read(to: "\r\n").hasPrefix("HTTP/1.1 \(status) "))
        }
    }
}
