import HTTP
import System
import Testing
import Wire

@testable import Host

@Suite(.serialized, .timeLimit(.minutes(5))) struct `Drain of a release` {
    fileprivate static let request = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

    /// A node with a worker whose release is `release`, and what looks at it as if it had been replaced now.
    private struct Fixture {
        let node: FakeNode
        let worker: FakeWorker
        let release: ReleaseRuntime
        let started: Instant

        init() throws {
            node = try FakeNode()
            worker = try node.addWorker()
            let release = ReleaseRuntime(name: "old", number: 7, tenant: "t", workers: [worker.runtime])
            self.release = release
            let (reactor, runtime) = (node.reactor, worker.runtime)
            node.onReactor { reactor.install(.everything(to: runtime, of: release)) }
            started = node.clock.now()
        }

        /// Open and cut.
        func look(_ limits: DrainLimits = DrainLimits(), since: Instant? = nil, of other: ReleaseRuntime? = nil) -> [Int] {
            let (reactor, release, since) = (node.reactor, other ?? release, since ?? started)
            return node.onReactor {
                let seen = reactor.drain(release, since: since, limits)
                return [seen.openCount, seen.cutCount]
            }
        }

        /// A request that an isolate has.
        func begin(_ client: Client) throws -> (isolate: FakeIsolate, event: UInt32) {
            client.send(`Drain of a release`.request)
            let isolate = try worker.nextReadyIsolate()
            return (isolate, try isolate.receive(.open).header.stream)
        }
    }

    @Test func `ends a request without an answer at its limit, with 503`() async throws {
        try await onThread {
            let fixture = try Fixture()
            defer { fixture.node.stop() }
            let client = try fixture.node.connect()
            let (isolate, event) = try fixture.begin(client)
            #expect(fixture.look() == [1, 0])
            // The handler may be long: only the drain ends it.
            fixture.node.clock.advance(by: .seconds(29))
            #expect(fixture.look() == [1, 0])
            fixture.node.clock.advance(by: .seconds(1))
            #expect(fixture.look() == [0, 1])
            let answer = try client.read(to: "\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 503"))
            #expect(answer.contains("Retry-After: 1"))
            #expect(try isolate.receive(.reset).header.stream == event)
            #expect(fixture.look() == [0, 0])
        }
    }

    @Test func `closes an answer without a length between two pieces`() async throws {
        try await onThread {
            let fixture = try Fixture()
            defer { fixture.node.stop() }
            let client = try fixture.node.connect()
            let (isolate, event) = try fixture.begin(client)
            isolate.send(.open, event, FakeIsolate.answer(200, hasBody: true, length: -1))
            isolate.send(.data, event, Array("data: 1\n\n".utf8))
            let begun = try client.read(to: "data: 1\n\n\r\n")
            #expect(begun.contains("Transfer-Encoding: chunked"))
            fixture.node.clock.advance(by: .seconds(299))
            #expect(fixture.look() == [1, 0])
            fixture.node.clock.advance(by: .seconds(1))
            #expect(fixture.look() == [0, 1])
            #expect(try client.read(to: "0\r\n\r\n") == "0\r\n\r\n")
            #expect(try isolate.receive(.reset).header.stream == event)
            // The connection is the node's, and goes on.
            client.send(Self.request)
            #expect(try isolate.receive(.open).header.stream == event + 2)
        }
    }

    @Test func `breaks off an answer that announced more`() async throws {
        try await onThread {
            let fixture = try Fixture()
            defer { fixture.node.stop() }
            let client = try fixture.node.connect()
            let (isolate, event) = try fixture.begin(client)
            isolate.send(.open, event, FakeIsolate.answer(200, hasBody: true, length: 100))
            isolate.send(.data, event, Array("begun".utf8))
            _ = try client.read(to: "begun")
            fixture.node.clock.advance(by: .seconds(300))
            #expect(fixture.look() == [0, 1])
            #expect(try client.readToEnd() == "")
        }
    }

    @Test func `leaves other releases and later requests alone`() async throws {
        try await onThread {
            let fixture = try Fixture()
            defer { fixture.node.stop() }
            let client = try fixture.node.connect()
            let before = fixture.started
            fixture.node.pass(.seconds(1))
            let (isolate, event) = try fixture.begin(client)
            var limits = DrainLimits()
            limits.requests = .zero
            // It began after the replacement: the release serves again.
            #expect(fixture.look(limits, since: before) == [1, 0])
            let other = ReleaseRuntime(name: "other", tenant: "t", workers: [fixture.worker.runtime])
            #expect(fixture.look(limits, since: fixture.node.clock.now(), of: other) == [0, 0])
            isolate.send(.open, event, flags: .end, FakeIsolate.answer(204))
            #expect(try client.read(to: "\r\n\r\n").hasPrefix("HTTP/1.1 204"))
            // A connection that waits for its next request has nothing of the release.
            #expect(fixture.look() == [0, 0])
        }
    }
}
