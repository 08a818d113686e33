import Interfaces
import Isolates
import Observability
import Stores
import Synchronization
import System
import Testing
import Wire

@testable import Host

/// Keeps warnings as one line each.
private final class Warnings: LogSink {
    private let kept = Mutex<[String]>([])

    func write(_ record: LogRecord) {
        guard record.message.contains("of a limit") else { return }
        let fields = record.fields.filter { !["version", "isolate", "pid"].contains($0.name) }
        kept.withLock { $0.append(([record.message] + fields.map { "\($0.name)=\($0.value)" }).joined(separator: " ")) }
    }

    /// What came since the last call.
    func take() -> [String] {
        kept.withLock { lines in
            defer { lines = [] }
            return lines
        }
    }
}

/// Answers everything at once.
private struct Answering: StoreService {
    func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply { StoreReply(message: []) }
    func answerInPlace(_ call: StoreCall) throws(CallFailure) -> StoreReply? { StoreReply(message: []) }
}

private let get = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

@Suite(.serialized, .timeLimit(.minutes(5))) struct `Limits with headroom` {
    /// One request whose handler makes `count` calls, which are answered.
    private func run(
        _ node: FakeNode, _ isolate: FakeIsolate, calls count: Int, _ kind: CallKind, binding: UInt16, from first: UInt32
    ) throws {
        let client = try node.connect()
        client.send(get)
        let event = try isolate.receive(.open).header.stream
        for number in 0..<UInt32(count) {
            isolate.send(
                .open, first + 2 * number, flags: .end, FakeIsolate.call(kind, binding: binding, parent: event))
        }
        for _ in 0..<count { _ = try isolate.receive(.open) }
        isolate.send(.open, event, flags: .end, FakeIsolate.answer(200))
        _ = try client.readToEnd()
    }

    @Test func `80 % of a limit is told once an hour, with worker, binding and operation`() async throws {
        try await onThread {
            let warnings = Warnings()
            let node = try FakeNode(log: warnings)
            defer { node.stop() }
            let worker = try node.addWorker(
                bindings: [.store(Answering()), .store(Answering())], bindingNames: ["OTHER", "SESSIONS"])
            let client = try node.connect()
            client.send(get)
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            isolate.send(.open, event, flags: .end, FakeIsolate.answer(200))
            _ = try client.readToEnd()

            try run(node, isolate, calls: 799, .kvGet, binding: 1, from: 2)
            #expect(warnings.take() == [])
            try run(node, isolate, calls: 801, .kvGet, binding: 1, from: 10_000)
            let warning =
                "worker has used 80 % of a limit: 800 of 1000 calls of stores worker=worker tenant=t limit=storeCalls "
                + "binding=SESSIONS operation=get"
            #expect(warnings.take() == [warning])
            try run(node, isolate, calls: 900, .kvGet, binding: 1, from: 20_000)
            #expect(warnings.take() == [])
            node.clock.advance(by: .seconds(3600))
            try run(node, isolate, calls: 800, .kvGet, binding: 1, from: 30_000)
            #expect(warnings.take() == [warning])
        }
    }

    @Test func `a handler that is nearly out of time is told of, and the limit still holds`() async throws {
        try await onThread {
            let warnings = Warnings()
            let node = try FakeNode(log: warnings)
            defer { node.stop() }
            let worker = try node.addWorker(limits: WorkerLimits(wall: .seconds(10)))
            let client = try node.connect()
            client.send(get)
            let isolate = try worker.nextReadyIsolate()
            _ = try isolate.receive(.open)
            node.pass(.seconds(7))
            #expect(warnings.take() == [])
            node.pass(.seconds(2))
            let told = warnings.take()
            #expect(told.count == 1)
            #expect(told.first?.contains("of 10000 ms of wall time worker=worker tenant=t limit=wall") == true, "\(told)")
            node.pass(.seconds(2))
            #expect(try client.readToEnd().hasPrefix("HTTP/1.1 524 "))
            #expect(warnings.take() == [])
        }
    }

    @Test func `a body that is nearly too large is told of before a larger one is refused`() async throws {
        try await onThread {
            let warnings = Warnings()
            let node = try FakeNode(log: warnings)
            defer { node.stop() }
            let worker = try node.addWorker(limits: WorkerLimits(bodyBytesMax: 1000))
            func post(_ count: Int) -> String {
                "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: \(count)\r\nConnection: close\r\n\r\n"
                    + String(repeating: "x", count: count)
            }
            var isolate: FakeIsolate?
            for (count, expected) in [(799, 0), (800, 1), (1000, 0)] {
                let client = try node.connect()
                client.send(post(count))
                let present = try isolate ?? worker.nextReadyIsolate()
                isolate = present
                let event = try present.receive(.open).header.stream
                present.send(.open, event, flags: .end, FakeIsolate.answer(200))
                #expect(try client.readToEnd().hasPrefix("HTTP/1.1 200 "))
                #expect(warnings.take().count == expected, "\(count) bytes")
            }
            let client = try node.connect()
            client.send(post(1001))
            #expect(try client.readToEnd().hasPrefix("HTTP/1.1 413 "))
            #expect(warnings.take() == [])
        }
    }

    @Test func `each limit has its own hour`() {
        let clock = VirtualClock()
        let headroom = LimitHeadroom(clock: clock)
        for limit in WorkerLimit.allCases { #expect(headroom.takeWarning(of: limit)) }
        clock.advance(by: .seconds(1800))
        for limit in WorkerLimit.allCases { #expect(!headroom.takeWarning(of: limit)) }
        clock.advance(by: .milliseconds(1_799_999))
        #expect(!headroom.takeWarning(of: .cpu))
        clock.advance(by: .milliseconds(1))
        #expect(headroom.takeWarning(of: .cpu))
        clock.advance(by: .seconds(3599))
        #expect(!headroom.takeWarning(of: .cpu) && headroom.takeWarning(of: .memory))
    }

    @Test(arguments: [
        (799, 1000, false), (800, 1000, true), (1000, 1000, true), (1001, 1000, false), (1, 1, true), (0, 0, false),
    ])
    func `near is from 80 % to all of it`(_ used: Int64, _ allowed: Int64, _ isNear: Bool) {
        #expect(WorkerLimit.isNear(used, of: allowed) == isNear)
    }
}
