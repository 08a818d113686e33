import Glibc
import Interfaces
import System
import Testing
import Wire

@testable import Host

@Suite struct `Meter of a release` {
    /// A node whose requests all go to one worker of a release, which is returned.
    private static func make(_ node: FakeNode) throws -> (FakeWorker, ReleaseRuntime) {
        let worker = try node.addWorker()
        let release = ReleaseRuntime(name: "r", number: 1, tenant: "t", workers: [worker.runtime])
        let (runtime, reactor) = (worker.runtime, node.reactor)
        node.onReactor { reactor.install(.everything(to: runtime, of: release)) }
        return (worker, release)
    }

    /// Once the reactor has done what it is at.
    private static func read(_ node: FakeNode, _ release: ReleaseRuntime) throws -> MeterReading {
        node.onReactor {}
        return try #require(release.meter.read()["worker"])
    }

    @Test func `counts requests by what became of them`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let (worker, release) = try Self.make(node)
            let client = try node.connect()
            client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            let isolate = try worker.nextReadyIsolate()
            let first = try isolate.receive(.open)
            #expect(try Self.read(node, release).openCount == 1)
            isolate.send(.open, first.header.stream, flags: .end, FakeIsolate.answer(200))
            _ = try client.read(to: "\r\n\r\n")
            client.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n")
            let second = try isolate.receive(.open)
            isolate.send(.open, second.header.stream, flags: .end, FakeIsolate.answer(503))
            _ = try client.read(to: "\r\n\r\n")
            let reading = try Self.read(node, release)
            #expect(reading[.started] == 2 && reading[.finished] == 2 && reading.openCount == 0)
            #expect(reading[.status2xx] == 1 && reading[.status5xx] == 1)
            #expect(reading.requestCount == 2 && reading.errorCount == 1 && reading[.handlerErrors] == 1)
            #expect(reading.latencies.count == 2 && reading[.events] == 2 && reading.isolateCount == 1)
            #expect(reading.version == "1")
        }
    }

    @Test func `counts a handler that throws, and an answer that breaks off`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let (worker, release) = try Self.make(node)
            let client = try node.connect()
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            let isolate = try worker.nextReadyIsolate()
            let first = try isolate.receive(.open)
            isolate.send(.open, first.header.stream, flags: .end, FakeIsolate.failure("no"))
            _ = try client.read(to: "error code: 1101\n")
            var reading = try Self.read(node, release)
            #expect(reading[.exceptions] == 1 && reading.errorCount == 1 && reading.requestCount == 1)
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            let second = try isolate.receive(.open)
            isolate.send(.open, second.header.stream, FakeIsolate.answer(200, hasBody: true, length: 10))
            isolate.send(.data, second.header.stream, Array("half".utf8))
            _ = try client.read(to: "half")
            worker.spawner.end(isolate.id, .crashed(signal: 11))
            _ = try client.readToEnd()
            reading = try Self.read(node, release)
            #expect(reading[.cutShort] == 1 && reading.errorCount == 2 && reading.requestCount == 2)
            #expect(reading[.crashes] == 1 && reading[.failedStarts] == 0 && reading.recentExitCount == 1)
            // One that stays takes its place: others that end would be counted as well.
            _ = try worker.nextReadyIsolate()
            for _ in 0..<5000 where worker.runtime.pool.readyCount == 0 { usleep(1000) }
            node.clock.advance(by: .seconds(61))
            #expect(try Self.read(node, release).recentExitCount == 0)
        }
    }

    @Test func `counts what a second isolate had to try, and a start that failed`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let (worker, release) = try Self.make(node)
            let client = try node.connect()
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            let first = try worker.nextReadyIsolate()
            _ = try first.receive(.open)
            worker.spawner.end(first.id, .crashed(signal: 11))
            let second = try worker.nextIsolate()
            worker.spawner.end(second.id, .exited(code: 1))
            let third = try worker.nextReadyIsolate()
            let again = try third.receive(.open)
            third.send(.open, again.header.stream, flags: .end, FakeIsolate.answer(200))
            _ = try client.read(to: "\r\n\r\n")
            let reading = try Self.read(node, release)
            #expect(reading[.started] == 1 && reading[.retried] == 1 && reading[.finished] == 1)
            #expect(reading.errorCount == 0 && reading[.crashes] == 1 && reading[.failedStarts] == 1)
        }
    }

    @Test func `tells a client that leaves from an answer that fails`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let (worker, release) = try Self.make(node)
            let client = try node.connect()
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            let isolate = try worker.nextReadyIsolate()
            _ = try isolate.receive(.open)
            client.close()
            // It may only have ended its sending: see `Connection`.
            node.pass(.seconds(2))
            _ = try isolate.receive(.reset)
            let reading = try Self.read(node, release)
            #expect(reading[.abandoned] == 1 && reading.errorCount == 0 && reading.requestCount == 0 && reading.openCount == 0)
        }
    }
}

extension FakeIsolate {
    /// The answer of a handler that threw.
    fileprivate static func failure(_ message: String) -> [UInt8] {
        var encoder = WireEncoder()
        encoder.put(UInt8(1))
        CallFailure(message).encode(into: &encoder)
        return encoder.bytes
    }
}
