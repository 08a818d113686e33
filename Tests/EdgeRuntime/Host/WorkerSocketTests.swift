import HTTP
import Interfaces
import Isolates
import System
import Testing
import Wire

@testable import Host

/// A client's WebSocket between a client and an isolate that both are the test. Time is virtual.
@Suite struct `Worker socket` {
    private static let request =
        "GET /socket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

    private struct Conversation {
        let node: FakeNode
        let worker: FakeWorker
        let isolate: FakeIsolate
        let client: Client
        let stream: UInt32

        /// Short frames with a mask of nothing.
        func say(_ opcode: WebSocketOpcode, _ payload: [UInt8] = []) {
            client.send([0x80 | opcode.rawValue, 0x80 | UInt8(payload.count), 0, 0, 0, 0] + payload)
        }

        func answer(_ write: (inout ByteBuffer) -> Void) {
            var buffer = ByteBuffer()
            write(&buffer)
            isolate.send(.data, stream, unsafe buffer.withReadable { unsafe Array($0) })
        }

        func answer(close code: UInt16?) { answer { $0.appendSocketClose(SocketClose(code: code)) } }

        func answer(text: String) {
            answer { buffer in
                buffer.appendSocketHeader(.text, byteCount: text.utf8.count, isFinal: true)
                buffer.append(text)
            }
        }

        /// The close that the worker hears, behind which its direction ends; other records before it are passed over.
        func heardClose() throws -> SocketClose {
            var reader = SocketRecordReader()
            while true {
                let frame = try isolate.receive(.data)
                var offset = 0
                while let step = try reader.next(unsafe frame.payload.span.bytes, from: &offset) {
                    guard case .close(let close) = step else { continue }
                    let end = try isolate.receive(.end)
                    #expect(end.header.stream == stream)
                    return close
                }
            }
        }

        func expectHeard(_ expected: SocketClose) throws {
            let close = try heardClose()
            #expect(close == expected)
        }

        func expectClose(_ code: UInt16?) throws {
            let heard = try readToClose().code
            #expect(heard == code)
        }

        func expectFrame(_ bytes: [UInt8]) throws {
            let heard = try client.read(count: bytes.count)
            #expect(heard == bytes)
        }

        /// Frames of the server, up to a Close frame.
        func readToClose() throws -> (texts: [String], code: UInt16?) {
            var texts: [String] = []
            while true {
                let head = try client.read(count: 2)
                let payload = try client.read(count: Int(head[1]))
                switch head[0] & 0x0F {
                case 1: texts.append(String(decoding: payload, as: UTF8.self))
                case 8: return (texts, payload.isEmpty ? nil : UInt16(payload[0]) << 8 | UInt16(payload[1]))
                default: break
                }
            }
        }
    }

    private func open(_ node: FakeNode, concurrency: Int = 100) throws -> Conversation {
        var limits = WorkerLimits()
        limits.concurrency = concurrency
        let worker = try node.addWorker(limits: limits)
        let client = try node.connect()
        client.send(Self.request)
        let isolate = try worker.nextReadyIsolate()
        let event = try isolate.receive(.open)
        // The way to the isolate stays open.
        #expect(!event.header.flags.contains(.end))
        isolate.send(.open, event.header.stream, FakeIsolate.answer(101, hasBody: true, headers: [("x-own", "1")]))
        let head = try client.read(to: "\r\n\r\n")
        #expect(head.hasPrefix("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"))
        #expect(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nx-own: 1\r\n"))
        return Conversation(node: node, worker: worker, isolate: isolate, client: client, stream: event.header.stream)
    }

    private func inConversation(
        settings: EdgeSettings = EdgeSettings(), concurrency: Int = 100,
        _ body: @escaping @Sendable (Conversation) throws -> Void
    ) async throws {
        try await onThread {
            let node = try FakeNode(settings: settings)
            defer { node.stop() }
            try body(try open(node, concurrency: concurrency))
        }
    }

    @Test func `lets what the worker says to earlier messages out before it answers a Close frame`() async throws {
        try await inConversation { talk in
            talk.say(.text, [0x61])
            talk.say(.close, [0x0F, 0xA1])
            try talk.expectHeard(SocketClose(code: 4001))
            talk.answer(text: "to a")
            talk.answer(close: 4001)
            let heard = try talk.readToClose()
            #expect(heard.texts == ["to a"] && heard.code == 4001)
            talk.isolate.send(.end, talk.stream)
            let rest = try talk.client.readToEnd()
            #expect(rest == "")
        }
    }

    @Test func `doesn't wait for a worker that doesn't answer a Close frame`() async throws {
        try await inConversation { talk in
            talk.say(.close)
            try talk.expectHeard(SocketClose(code: nil))
            talk.node.pass(.seconds(6))
            try talk.expectClose(nil)
            // Nor for its end.
            talk.node.pass(.seconds(40))
            let reset = try talk.isolate.receive(.reset)
            #expect(reset.header.stream == talk.stream)
        }
    }

    @Test(arguments: [1, 999, 1005, 1006, 1015, 2000, 5000] as [UInt16])
    func `says no code that can't be in a frame`(code: UInt16) async throws {
        try await inConversation { talk in
            talk.answer(close: code)
            try talk.expectClose(1011)
        }
    }

    @Test func `tells the client when the worker ends without a close, is reset, or dies`() async throws {
        try await inConversation { talk in
            talk.isolate.send(.end, talk.stream)
            try talk.expectClose(1011)
        }
        try await inConversation { talk in
            talk.isolate.send(.reset, talk.stream, [1, 0])
            try talk.expectClose(1011)
        }
        try await inConversation { talk in
            talk.isolate.send(.reset, talk.stream, [5, 0])
            try talk.expectClose(1013)
        }
        try await inConversation { talk in
            talk.worker.spawner.end(talk.isolate.id, .exited(code: 1))
            try talk.expectClose(1011)
        }
    }

    @Test func `ends an isolate that writes no records`() async throws {
        try await inConversation { talk in
            talk.isolate.send(.data, talk.stream, [9, 9, 9, 9, 9, 9])
            _ = try talk.worker.spawner.waitForKill(talk.isolate)
            try talk.expectClose(1011)
        }
    }

    @Test func `asks a silent client whether it is there, and leaves one that isn't`() async throws {
        try await inConversation { talk in
            talk.node.pass(.seconds(31))
            try talk.expectFrame([0x89, 0])
            talk.say(.pong)
            talk.say(.text)
            _ = try talk.isolate.receive(.data)
            talk.node.pass(.seconds(31))
            try talk.expectFrame([0x89, 0])
            talk.node.pass(.seconds(61))
            let rest = try talk.client.readToEnd()
            #expect(rest == "")
            #expect(talk.node.onReactor { talk.node.reactor.connectionCount } == 0)
            try talk.expectHeard(.disconnected)
            #expect(talk.worker.runtime.pool.openWebSockets == 1)
            talk.isolate.send(.end, talk.stream)
            for _ in 0..<10_000 where talk.worker.runtime.pool.openWebSockets > 0 { talk.node.onReactor {} }
            #expect(talk.worker.runtime.pool.openWebSockets == 0)
        }
    }

    @Test func `closes one without messages after the time that the settings say`() async throws {
        var settings = EdgeSettings()
        settings.webSocketIdleTimeout = .seconds(10)
        try await inConversation(settings: settings) { talk in
            talk.node.pass(.seconds(8))
            talk.answer(text: "used")
            try talk.expectFrame([0x81, 4] + Array("used".utf8))
            talk.node.pass(.seconds(8))
            // Pings are no messages.
            talk.say(.ping)
            try talk.expectFrame([0x8A, 0])
            talk.node.pass(.seconds(3))
            try talk.expectClose(1001)
        }
    }

    @Test func `takes no place, and tells its clients when its isolate goes`() async throws {
        try await inConversation(concurrency: 1) { talk in
            #expect(talk.worker.runtime.pool.openEvents == 0)
            #expect(talk.worker.runtime.pool.openWebSockets == 1)
            let other = try talk.node.connect()
            other.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            let event = try talk.isolate.receive(.open)
            talk.isolate.send(.open, event.header.stream, flags: .end, FakeIsolate.answer(204))
            let head = try other.read(to: "\r\n\r\n")
            #expect(head.hasPrefix("HTTP/1.1 204"))
        }
    }

    @Test func `stays with a version that is replaced for five minutes, and longer when that serves again`() async throws {
        try await inConversation { talk in
            func pass(_ count: Int) throws {
                for _ in 0..<count {
                    talk.node.pass(.seconds(29))
                    talk.say(.text)
                    _ = try talk.isolate.receive(.data)
                }
            }
            talk.worker.runtime.pool.drainWebSockets()
            try pass(5)
            talk.worker.runtime.pool.keepWebSockets()
            try pass(6)
            talk.worker.runtime.pool.drainWebSockets()
            try pass(10)
            talk.answer(text: "here")
            talk.node.pass(.seconds(12))
            let heard = try talk.readToClose()
            #expect(heard.texts == ["here"] && heard.code == 1012)
        }
    }

    @Test func `says that its version is replaced`() async throws {
        try await inConversation { talk in
            talk.worker.runtime.pool.closeWebSockets()
            try talk.expectClose(1012)
            talk.say(.close, [0x03, 0xF4])
            try talk.expectHeard(SocketClose(code: 1012))
        }
    }

    @Test func `holds a client back whose worker takes nothing`() async throws {
        try await inConversation { talk in
            let message: [UInt8] = [0x82, 0xFE, 0xFF, 0xFF, 0, 0, 0, 0] + [UInt8](repeating: 7, count: 65535)
            SystemThread(name: "sender") { for _ in 0..<400 { talk.client.send(message) } }.start()
            var taken = 0
            while taken < WireLimits.initialCredit { taken += try talk.isolate.receive(.data).payload.count }
            #expect(taken == WireLimits.initialCredit)
            // No more comes before credit does.
            talk.isolate.send(.credit, talk.stream, FakeIsolate.credit(10_000))
            taken = 0
            while taken < 10_000 { taken += try talk.isolate.receive(.data).payload.count }
            #expect(taken == 10_000)
            #expect(talk.node.onReactor { talk.node.reactor.dispatcher.heldByteCount } < 1 << 20)
            talk.client.close()
        }
    }
}
