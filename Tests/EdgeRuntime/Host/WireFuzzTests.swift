import Glibc
import Interfaces
import Isolates
import Stores
import System
import Testing
import Wire

@testable import Host

/// Answers every call: some with a body, some with nothing.
private struct AnyStore: StoreService {
    func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply {
        switch call.kind {
        case .r2Get: return StoreReply(message: [1], body: .bytes([UInt8](repeating: 1, count: 300_000)))
        case .kvPut:
            do {
                while (try await call.body?.next()) != nil {}
            } catch { throw CallFailure("the body was cut short") }
            return StoreReply(message: [])
        case .kvDelete: throw CallFailure("refused")
        default: return StoreReply(message: [1, 2, 3])
        }
    }
}

/// Makes frames that are right, nearly right, and wrong.
private struct FrameMaker {
    var random: SplitMix64
    private var nextCall: UInt32 = 2

    init(seed: UInt64) { random = SplitMix64(seed: seed) }

    private mutating func bytes(upTo count: Int) -> [UInt8] {
        (0..<Int.random(in: 0...count, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    /// Streams that exist, that existed, and that do not.
    private mutating func stream() -> UInt32 {
        switch Int.random(in: 0..<12, using: &random) {
        case 0..<6: 2 * UInt32.random(in: 1...4, using: &random) + 1  // Events: 1 is `configure`.
        case 6..<10: 2 * UInt32.random(in: 1...max(1, nextCall / 2), using: &random)
        case 10: UInt32.random(in: 1...(1 << 20), using: &random)
        default: 1
        }
    }

    private mutating func call() -> [UInt8] {
        let kinds: [CallKind] = [.log, .subrequest, .waitUntil, .kvGet, .kvPut, .kvDelete, .r2Get, .d1Query]
        let kind = kinds.randomElement(using: &random) ?? .log
        let stream = nextCall
        nextCall += 2
        var flags: FrameFlags = []
        if Bool.random(using: &random) { flags.insert(.end) }
        if Int.random(in: 0..<4, using: &random) > 0 { flags.insert(.lazyBody) }
        let binding: UInt16 = Int.random(in: 0..<8, using: &random) == 0 ? .random(in: 0...3, using: &random) : 0
        return FakeIsolate.frame(
            .open, stream, flags: flags,
            FakeIsolate.call(
                kind, binding: kind == .waitUntil ? .max : binding,
                parent: 2 * UInt32.random(in: 1...4, using: &random) + 1, bytes(upTo: 40)))
    }

    private mutating func answer() -> [UInt8] {
        let hasBody = Bool.random(using: &random)
        let splice: UInt32 = Int.random(in: 0..<6, using: &random) == 0 ? stream() : 0
        return FakeIsolate.frame(
            .open, 2 * UInt32.random(in: 1...4, using: &random) + 1, flags: Bool.random(using: &random) ? .end : [],
            FakeIsolate.answer(
                [200, 204, 304, 500, 101, 99, 777].randomElement(using: &random) ?? 200, hasBody: hasBody,
                length: [-1, 0, 5, 100_000, .max].randomElement(using: &random) ?? 0, splice: splice,
                headers: [("content-type", "text/plain"), ("bad name", "x"), ("x", "a\r\nb")]))
    }

    mutating func next() -> [UInt8] {
        var frame: [UInt8]
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<5: frame = call()
        case 5..<9: frame = answer()
        case 9..<12:
            let kind: FrameFlags = Int.random(in: 0..<4, using: &random) == 0 ? .end : []
            frame = FakeIsolate.frame(.data, stream(), flags: kind, bytes(upTo: 2000))
        case 12..<15: frame = FakeIsolate.frame(.credit, stream(), FakeIsolate.credit(.random(in: 0...400_000, using: &random)))
        case 15: frame = FakeIsolate.frame(.end, stream())
        case 16: frame = FakeIsolate.frame(.reset, stream(), [UInt8.random(in: 0...7, using: &random), 0] + bytes(upTo: 20))
        case 17: frame = FakeIsolate.frame(.data, stream(), [UInt8](repeating: 1, count: 64 << 10))
        case 18: frame = FakeIsolate.frame(.credit, stream(), FakeIsolate.credit(.max))
        default: frame = bytes(upTo: 30)
        }
        if Int.random(in: 0..<25, using: &random) == 0, !frame.isEmpty {
            frame[Int.random(in: 0..<frame.count, using: &random)] = .random(in: 0...255, using: &random)
        }
        return frame
    }
}

@Suite(.serialized, .timeLimit(.minutes(5))) struct `Wire, fuzzed` {
    @Test func `whatever an isolate sends, the node lives, clients are served and streams end`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            var kills = 0
            for round in 0..<60 {
                let seed = 0xF00D_0000 + UInt64(round)
                do { kills += try play(seed, on: node) } catch {
                    Issue.record("seed \(seed): \(error)")
                    return
                }
            }
            // Most frames at random are wrong, and wrong ones end an isolate.
            #expect(kills > 10)
        }
    }

    /// One isolate's life: four clients, then frames until it is ended or has sent enough.
    ///
    /// - Returns: 1 when the node ended it.
    private func play(_ seed: UInt64, on node: FakeNode) throws -> Int {
        var maker = FrameMaker(seed: seed)
        let worker = try node.addWorker(bindings: [.store(AnyStore()), .service("worker")])
        let clients = try (0..<4).map { _ in try node.connect() }
        for (index, client) in clients.enumerated() {
            client.send(
                index == 0
                    ? "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 400000\r\nConnection: close\r\n\r\n"
                        + String(repeating: "x", count: 1000)
                    : "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        }
        let isolate = try worker.nextReadyIsolate()
        // Reads what the node sends, so that it is never the socket that stops it.
        SystemThread(name: "drain") { while let frame = try? isolate.receive(), frame.header.stream > 0 {} }.start()
        var sent = 0
        while sent < 400, worker.spawner.isRunning(isolate) {
            isolate.send(maker.next())
            sent += 1
            if sent % 50 == 0 {
                let held = node.onReactor { node.reactor.dispatcher.heldByteCount }
                guard held <= 2 * Channel.heldBytesMax else { throw TestFailure("the node holds \(held) bytes") }
            }
        }
        for _ in 0..<20 where worker.spawner.isRunning(isolate) { node.onReactor {} }
        let wasEnded = worker.spawner.reasonOfKill(isolate) != nil
        worker.spawner.end(isolate.id, .crashed(signal: 9))
        // Each client gets an answer or the end of its connection. No other isolate becomes ready: what has to wait for one is
        // refused when its time is over.
        node.pass(.milliseconds(500))
        worker.runtime.pool.stop()
        for client in clients { _ = try client.readToEnd() }
        for client in clients { client.close() }
        for attempt in 0... {
            let (streams, connections) = node.onReactor {
                (node.reactor.dispatcher.openStreamCount, node.reactor.connectionCount)
            }
            if streams == 0, connections == 0, worker.runtime.pool.openEvents == 0 { break }
            guard attempt < 400 else {
                throw TestFailure(
                    "\(streams) streams, \(connections) connections and \(worker.runtime.pool.openEvents) events stay")
            }
            usleep(1000)
            // What lingers, or waits for an isolate, does so for at most thirty seconds.
            if attempt % 5 == 4 { node.pass(.seconds(1)) }
        }
        return wasEnded ? 1 : 0
    }
}
