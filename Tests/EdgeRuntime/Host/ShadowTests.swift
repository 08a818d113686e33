import Glibc
import HTTP
import System
import Testing
import Wire

@testable import Host

@Suite(.serialized, .timeLimit(.minutes(5))) struct `Shadow traffic` {
    /// Two releases, of which the new one gets a copy of each safe request.
    private struct Fixture {
        let node: FakeNode
        let old: FakeWorker
        let new: FakeWorker
        let report: ShadowReport
        let client: Client

        init() throws {
            node = try FakeNode()
            (old, new) = (try node.addWorker(version: "v1"), try node.addWorker(version: "v2"))
            let serving = ReleaseRuntime(name: "old", number: 1, tenant: "t", workers: [old.runtime])
            let candidate = ReleaseRuntime(name: "new", number: 2, tenant: "t", workers: [new.runtime])
            report = candidate.meter.shadow
            let split = TrafficSplit(serving).adding(
                candidate: TrafficSplit(candidate), percent: 0, affinity: .none, shadowPercent: 100)
            let target = RouteTarget(release: serving, worker: old.runtime, split: split)
            let routes = RoutingTable(RouteTable(routes: [(try RoutePattern("h/*", for: "worker"), .worker(target))]))
            let reactor = node.reactor
            node.onReactor { reactor.install(routes) }
            client = try node.connect()
        }

        /// What was counted, once anything was.
        func reading() throws -> ShadowReport.Reading {
            for _ in 0..<5000 {
                node.onReactor {}
                if report.read() != ShadowReport.Reading() { return report.read() }
                usleep(1000)
            }
            throw TestFailure("nothing was compared")
        }

        func answer(_ isolate: FakeIsolate, _ event: UInt32, _ status: UInt16, _ body: String, type: String = "text/plain") {
            isolate.send(.open, event, FakeIsolate.answer(status, hasBody: true, length: -1, headers: [("content-type", type)]))
            isolate.send(.data, event, flags: .end, Array(body.utf8))
        }
    }

    @Test func `compares what both releases answer, and the client has the old one's`() async throws {
        try await onThread {
            let fixture = try Fixture()
            defer { fixture.node.stop() }
            fixture.client.send("GET /a?secret=1 HTTP/1.1\r\nHost: h\r\n\r\n")
            let first = try fixture.old.nextReadyIsolate()
            let original = try first.receive(.open)
            let second = try fixture.new.nextReadyIsolate()
            let copy = try second.receive(.open)
            #expect(original.payload == copy.payload)
            // The client doesn't wait for the candidate.
            fixture.answer(first, original.header.stream, 200, "ok")
            #expect(try fixture.client.read(to: "\r\n0\r\n\r\n").hasPrefix("HTTP/1.1 200"))
            #expect(fixture.report.read() == ShadowReport.Reading())
            fixture.answer(second, copy.header.stream, 200, "ok")
            #expect(try fixture.reading().equal == 1)

            fixture.client.send("GET /b?secret=1 HTTP/1.1\r\nHost: h\r\n\r\n")
            fixture.answer(second, try second.receive(.open).header.stream, 404, "none", type: "text/html")
            fixture.answer(first, try first.receive(.open).header.stream, 200, "ok")
            _ = try fixture.client.read(to: "\r\n0\r\n\r\n")
            for _ in 0..<5000 where fixture.report.read().different == 0 {
                fixture.node.onReactor {}
                usleep(1000)
            }
            let reading = fixture.report.read()
            #expect(reading.equal == 1 && reading.different == 1)
            #expect(reading.differences.first?.request == "GET /b")
            #expect(
                reading.differences.first?.text
                    == "status 200, candidate 404; content-type text/plain, candidate text/html; body of 2 bytes, candidate 4")
        }
    }

    @Test func `counts a candidate that doesn't answer`() async throws {
        try await onThread {
            let fixture = try Fixture()
            defer { fixture.node.stop() }
            fixture.client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            let first = try fixture.old.nextReadyIsolate()
            fixture.answer(first, try first.receive(.open).header.stream, 200, "ok")
            _ = try fixture.client.read(to: "\r\n0\r\n\r\n")
            let second = try fixture.new.nextReadyIsolate()
            let copy = try second.receive(.open).header.stream
            fixture.node.pass(.seconds(31))
            #expect(try fixture.reading().failed == 1)
            #expect(try second.receive(.reset).header.stream == copy)
            // And serves on.
            fixture.client.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n")
            fixture.answer(first, try first.receive(.open).header.stream, 200, "ok")
            _ = try fixture.client.read(to: "\r\n0\r\n\r\n")
        }
    }

    @Test func `leaves requests alone that may change something`() async throws {
        try await onThread {
            let fixture = try Fixture()
            defer { fixture.node.stop() }
            let first: FakeIsolate
            fixture.client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            first = try fixture.old.nextReadyIsolate()
            fixture.answer(first, try first.receive(.open).header.stream, 200, "ok")
            _ = try fixture.client.read(to: "\r\n0\r\n\r\n")
            fixture.node.onReactor {}
            #expect(fixture.report.read() == ShadowReport.Reading())
            #expect(fixture.new.runtime.pool.openEvents == 0)
            let reactor = fixture.node.reactor
            #expect(fixture.node.onReactor { reactor.shadowCount } == 0)
        }
    }
}
