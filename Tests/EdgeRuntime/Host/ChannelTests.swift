import Glibc
import Interfaces
import Isolates
import Stores
import Synchronization
import System
import Testing
import Wire

@testable import Host

/// A store whose answers the test gives.
private final class GatedStore: StoreService {
    private let reply: @Sendable () async throws(CallFailure) -> StoreReply
    let calls = Atomic<Int>(0)

    init(_ reply: @escaping @Sendable () async throws(CallFailure) -> StoreReply) { self.reply = reply }

    func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply {
        calls.wrappingAdd(1, ordering: .relaxed)
        return try await reply()
    }
}

/// Reads bodies to their end.
private final class CollectingStore: StoreService {
    let byteCount = Atomic<Int>(0)
    func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply {
        do {
            while let piece = try await call.body?.next() { byteCount.wrappingAdd(piece.count, ordering: .relaxed) }
        } catch { throw CallFailure("\(error)") }
        return StoreReply(message: [])
    }
}

/// Takes what goes one way; an empty message is malformed.
private final class OneWayStore: StoreService {
    let calls = Atomic<Int>(0)

    func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply { throw CallFailure("nobody waits for it") }

    func answerInPlace(_ call: StoreCall) throws(CallFailure) -> StoreReply? {
        guard !call.message.isEmpty else { throw .malformedCall(.truncated(offset: 0)) }
        calls.wrappingAdd(1, ordering: .relaxed)
        return StoreReply(message: [1, 2, 3])
    }
}

/// Never ends, and counts what was taken of it.
private final class EndlessSource: BodySource {
    let taken: Atomic<Int>
    private let isCancelled = Atomic<Bool>(false)
    init() { taken = Atomic(0) }
    func next() async throws -> [UInt8]? {
        guard !isCancelled.load(ordering: .relaxed) else { return nil }
        taken.wrappingAdd(128 << 10, ordering: .relaxed)
        return [UInt8](repeating: 7, count: 128 << 10)
    }
    func cancel() { isCancelled.store(true, ordering: .relaxed) }
}

private let get = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
private let post = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

extension FakeNode {
    /// Waits until no event of `isolate`'s pool is open any more.
    fileprivate func waitForEvents(of worker: FakeWorker, count: Int = 0) throws {
        for _ in 0..<5000 {
            onReactor {}
            if openEvents(of: worker) == count { return }
            usleep(1000)
        }
        throw TestFailure("\(openEvents(of: worker)) events are open")
    }

    fileprivate func openEvents(of worker: FakeWorker) -> Int { worker.runtime.pool.openEvents }
}

@Suite(.serialized, .timeLimit(.minutes(5))) struct `Channel to an isolate` {
    @Test func `carries a request to an isolate and its answer back`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker()
            let client = try node.connect()
            client.send("POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open)
            #expect(event.header.flags == [])
            #expect(try isolate.receive(.data).payload == Array("hello".utf8))
            _ = try isolate.receive(.end)
            isolate.send(.open, event.header.stream, FakeIsolate.answer(200, hasBody: true, length: 2))
            isolate.send(.data, event.header.stream, flags: .end, Array("ok".utf8))
            let answer = try client.readToEnd()
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(answer.hasSuffix("\r\n\r\nok"))
            try node.waitForEvents(of: worker)
        }
    }

    @Test func `may be gone when a store answers`() async throws {
        try await onThread {
            let gate = Semaphore()
            let store = GatedStore {
                await withCheckedContinuation { continuation in
                    SystemThread(name: "gate") {
                        gate.wait()
                        continuation.resume()
                    }.start()
                }
                return StoreReply(message: [1])
            }
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker(bindings: [.store(store)])
            let client = try node.connect()
            client.send(post)
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            isolate.send(.open, 2, flags: [.end, .lazyBody], FakeIsolate.call(.kvGet, binding: 0, parent: event))
            while store.calls.load(ordering: .relaxed) == 0 { usleep(1000) }
            worker.spawner.end(isolate.id, .crashed(signal: 11))
            #expect(try client.readToEnd().hasPrefix("HTTP/1.1 500"))
            gate.signal()
            for _ in 0..<50 {
                node.onReactor {}
                usleep(1000)
            }
            #expect(node.openEvents(of: worker) == 0)
        }
    }

    @Test func `keeps the body of a subrequest that waits for an isolate`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let target = try node.addWorker()
            let caller = try node.addWorker(bindings: [.service("worker")], services: [])
            // Both are called "worker": the release of the caller knows the target under that name.
            let release = ReleaseRuntime(name: "r", tenant: "t", workers: [target.runtime])
            node.route(to: caller.runtime, of: release)
            let client = try node.connect()
            client.send(post)
            let isolate = try caller.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            var message = WireEncoder()
            message.put(0 as UInt8)  // follow
            message.put(1 as UInt8)  // a body follows
            message.put(3 as UInt8)  // POST
            message.put(-1 as Int64)
            message.put("http://h/b")
            message.put("")
            message.put(0 as UInt16)
            isolate.send(
                .open, 2, flags: .lazyBody,
                FakeIsolate.call(.subrequest, binding: 0, parent: event, message.bytes))
            isolate.send(.data, 2, flags: .end, Array("body".utf8))
            let started = try target.nextIsolate()
            // The call and its body have certainly been read: they came before this answer.
            isolate.send(.open, event, flags: .end, FakeIsolate.answer(204))
            #expect(try client.readToEnd().hasPrefix("HTTP/1.1 204"))
            try started.becomeReady()
            let call = try started.receive(.open)
            #expect(!call.header.flags.contains(.end))
            #expect(try started.receive(.data).payload == Array("body".utf8))
            _ = try started.receive(.end)
        }
    }

    @Test func `ends an event that was answered before its request had come`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker()
            let client = try node.connect()
            client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\nhello")
            let isolate = try worker.nextReadyIsolate()
            let opened = try isolate.receive(.open).header
            #expect(opened.flags == .heldBody, "it is not sent before somebody wants it")
            let event = opened.stream
            isolate.send(.credit, event, FakeIsolate.credit(1000))
            #expect(try isolate.receive(.data).payload == Array("hello".utf8))
            isolate.send(.open, event, flags: .end, FakeIsolate.answer(401))
            #expect(try isolate.receive(.reset).header.stream == event)
            let answer = try client.readToEnd()
            #expect(answer.hasPrefix("HTTP/1.1 401"))
            #expect(answer.contains("\r\nConnection: close\r\n"))
            try node.waitForEvents(of: worker)
        }
    }

    @Test func `gives a body back that the handler returns unread`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker()
            let client = try node.connect()
            let body = String(repeating: "x", count: 100_000)
            client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + body)
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            isolate.send(.open, event, flags: .end, FakeIsolate.answer(200, hasBody: true, length: 100_000, splice: event))
            let head = try client.read(to: "\r\n\r\n")
            #expect(head.hasPrefix("HTTP/1.1 200") && !head.contains("Connection: close"))
            #expect(try client.read(count: 100_000) == Array(body.utf8))
            // The connection goes on behind it.
            client.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(try isolate.receive(.open).header.stream == event + 2)
        }
    }

    @Test func `gives a request's body to the call that the handler makes with it`() async throws {
        try await onThread {
            let store = CollectingStore()
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker(bindings: [.store(store)])
            let client = try node.connect()
            client.send(
                "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 400000\r\n\r\n" + String(repeating: "x", count: 400_000))
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            let call = FakeIsolate.call(.r2Put, binding: 0, parent: event)
            isolate.send(.open, 2, flags: [.end, .lazyBody, .requestBody], call)
            #expect(try isolate.receive(.open).header.stream == 2)
            #expect(store.byteCount.load(ordering: .relaxed) == 400_000)
            // Only once, and not of an event that is over.
            isolate.send(.open, 4, flags: [.end, .lazyBody, .requestBody], call)
            guard case .malformedFrames = try worker.spawner.waitForKill(isolate) else {
                throw TestFailure("ended for another reason")
            }
        }
    }

    @Test(arguments: [FrameKind.data, .end])
    func `refuses a body before the answer's head`(kind: FrameKind) async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker()
            let client = try node.connect()
            client.send(post)
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            isolate.send(kind, event, kind == .data ? [1, 2, 3] : [])
            guard case .malformedFrames = try worker.spawner.waitForKill(isolate) else {
                throw TestFailure("ended for another reason")
            }
            #expect(try client.readToEnd().hasPrefix("HTTP/1.1 500"))
        }
    }

    @Test func `sends nothing of an answer whose head ends too early`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker()
            let client = try node.connect()
            client.send(post)
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            isolate.send(
                .open, event, flags: .end,
                Array(FakeIsolate.answer(200, headers: [("x-a", "1"), ("x-b", "2")]).dropLast(2)))
            let answer = try client.readToEnd()
            #expect(answer.hasPrefix("HTTP/1.1 500"))
            #expect(!answer.contains("x-a"))
        }
    }

    @Test func `sends a stored body only as far as there is credit`() async throws {
        try await onThread {
            let store = GatedStore { StoreReply(message: [], body: .bytes([UInt8](repeating: 5, count: 100_000))) }
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker(bindings: [.store(store)])
            let client = try node.connect()
            client.send(get)
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            isolate.send(.open, 2, flags: [.end, .lazyBody], FakeIsolate.call(.r2Get, binding: 0, parent: event))
            #expect(try isolate.receive(.open).header.flags == [])
            var total = 0
            for granted in [1000, 1, 60_000, 38_998] {
                isolate.send(.credit, 2, FakeIsolate.credit(UInt32(granted)))
                var received = 0
                while received < granted { received += try isolate.receive(.data).payload.count }
                #expect(received == granted)
                total += received
            }
            #expect(total == 99_999)
            isolate.send(.credit, 2, FakeIsolate.credit(500))
            #expect(try isolate.receive(.data).payload.count == 1)
            #expect(try isolate.receive()?.header.kind == .end)
        }
    }

    @Test func `lets no isolate fill the node's memory with bodies that it does not take`() async throws {
        try await onThread {
            let source = EndlessSource()
            let store = GatedStore { StoreReply(message: [], body: .stream(source)) }
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker(bindings: [.store(store)])
            let client = try node.connect()
            client.send(get)
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            for number in 1...100 {
                let stream = UInt32(2 * number)
                isolate.send(.open, stream, flags: [.end, .lazyBody], FakeIsolate.call(.r2Get, binding: 0, parent: event))
                isolate.send(.credit, stream, FakeIsolate.credit(16 << 20))
            }
            // Not all of them are even looked at while so much waits to be read.
            for _ in 0..<300 {
                node.onReactor {}
                usleep(1000)
            }
            #expect(source.taken.load(ordering: .relaxed) < 80 << 20)
            // And it is ended when it goes on like that.
            node.pass(.seconds(11))
            #expect(try worker.spawner.waitForKill(isolate) == .unresponsive("its channel stays unread"))
            client.close()
        }
    }

    @Test func `forgets background work when it is done`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker()
            let client = try node.connect()
            client.send(get)
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            isolate.send(.open, 2, flags: .lazyBody, FakeIsolate.call(.waitUntil, binding: .max, parent: event))
            isolate.send(.open, event, flags: .end, FakeIsolate.answer(204))
            #expect(try client.readToEnd().hasPrefix("HTTP/1.1 204"))
            #expect(node.onReactor { node.reactor.dispatcher.openStreamCount } == 1)
            isolate.send(.end, 2)
            for _ in 0..<2000 where node.onReactor({ node.reactor.dispatcher.openStreamCount }) > 0 { usleep(1000) }
            #expect(node.onReactor { node.reactor.dispatcher.openStreamCount } == 0)
        }
    }

    @Test func `gives background work thirty seconds from the end of the answer`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker()
            let client = try node.connect()
            client.send(get)
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            isolate.send(.open, 2, flags: .lazyBody, FakeIsolate.call(.waitUntil, binding: .max, parent: event))
            isolate.send(.open, event, FakeIsolate.answer(200, hasBody: true, length: -1))
            isolate.send(.data, event, [65])
            _ = try client.read(to: "A\r\n")
            node.pass(.seconds(40))
            #expect(node.onReactor { node.reactor.dispatcher.openStreamCount } == 2)
            isolate.send(.end, event)
            _ = try client.readToEnd()
            node.pass(.seconds(29))
            #expect(node.onReactor { node.reactor.dispatcher.openStreamCount } == 1)
            node.pass(.seconds(2))
            #expect(try isolate.receive(.reset).header.stream == 2)
        }
    }

    @Test func `ends an isolate whose call a store can't read`() async throws {
        try await onThread {
            let store = GatedStore { () async throws(CallFailure) -> StoreReply in
                throw CallFailure.malformedCall(.truncated(offset: 3))
            }
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker(bindings: [.store(store)])
            let client = try node.connect()
            client.send(post)
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            isolate.send(.open, 2, flags: [.end, .lazyBody], FakeIsolate.call(.kvGet, binding: 0, parent: event))
            guard case .malformedFrames = try worker.spawner.waitForKill(isolate) else {
                throw TestFailure("ended for another reason")
            }
            #expect(try client.readToEnd().hasPrefix("HTTP/1.1 500"))
        }
    }

    @Test func `answers nothing to what goes one way, and takes as much of it as an event may send`() async throws {
        try await onThread {
            let points = OneWayStore()
            let store = GatedStore { StoreReply(message: [7]) }
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker(bindings: [.store(points), .store(store)])
            let client = try node.connect()
            client.send(get)
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            func sendPoint(_ stream: UInt32) {
                isolate.send(
                    .open, stream, flags: [.end, .lazyBody], FakeIsolate.call(.analyticsWrite, binding: 0, parent: event) + [1])
            }
            for number in 1...260 { sendPoint(UInt32(2 * number)) }
            isolate.send(.open, 600, flags: .end, FakeIsolate.call(.kvGet, binding: 1, parent: event))
            let answer = try isolate.receive(.open)
            #expect(answer.header.stream == 600)
            #expect(points.calls.load(ordering: .relaxed) == 250)
            isolate.send(.open, event, flags: .end, FakeIsolate.answer(204))
            #expect(try client.readToEnd().hasPrefix("HTTP/1.1 204"))
            // An event that is over sends in vain, and no harm is done.
            sendPoint(602)
            let other = try node.connect()
            other.send(get)
            let next = try isolate.receive(.open).header.stream
            isolate.send(.open, next, flags: .end, FakeIsolate.answer(204))
            #expect(try other.readToEnd().hasPrefix("HTTP/1.1 204"))
            #expect(points.calls.load(ordering: .relaxed) == 250)
        }
    }

    @Test func `ends an isolate whose one-way call can't be read`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let worker = try node.addWorker(bindings: [.store(OneWayStore())])
            let client = try node.connect()
            client.send(get)
            let isolate = try worker.nextReadyIsolate()
            let event = try isolate.receive(.open).header.stream
            isolate.send(.open, 2, flags: [.end, .lazyBody], FakeIsolate.call(.analyticsWrite, binding: 0, parent: event))
            guard case .malformedFrames = try worker.spawner.waitForKill(isolate) else {
                throw TestFailure("ended for another reason")
            }
            client.close()
        }
    }

    @Test func `tells at once who waits for a pool that has ended`() async throws {
        let node = try FakeNode()
        defer { node.stop() }
        let worker = try node.addWorker()
        worker.runtime.pool.stop()
        #expect(await worker.runtime.pool.firstReady() != nil)
    }

    @Test func `reads a client's request that ended its sending, when the answer is known`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let client = try node.connect()
            client.send("NONSENSE\r\n\r\n")
            client.endSending()
            #expect(try client.readToEnd().hasPrefix("HTTP/1.1 400"))
        }
    }
}

extension FakeNode {
    func route(to worker: WorkerRuntime, of release: ReleaseRuntime) {
        let reactor = reactor
        onReactor { reactor.install(.everything(to: worker, of: release)) }
    }
}
