import Glibc
import HTTP
import Interfaces
import Isolates
import Stores
import Synchronization
import System
import Testing
import Wire

@testable import Host

/// Alarms in memory, in the place of the files.
final class MemoryAlarmIndex: ObjectAlarmIndex {
    private let alarms = Mutex<[[UInt8]: ObjectAlarm]>([:])
    private let hasAll: Mutex<Bool>
    init(isComplete: Bool = true) { hasAll = Mutex(isComplete) }
    var isComplete: Bool { hasAll.withLock { $0 } }
    func due(at time: UnixTime, max: Int) throws -> [ObjectAlarm] {
        alarms.withLock { alarms in
            Array(alarms.values.filter { $0.time <= time }.sorted { $0.time < $1.time }.prefix(max))
        }
    }
    func firstTime() throws -> UnixTime? { try due(at: UnixTime(milliseconds: .max), max: 1).first?.time }
    func alarm(of object: [UInt8]) throws -> ObjectAlarm? { alarms.withLock { $0[object] } }
    func set(_ alarm: ObjectAlarm) async throws { alarms.withLock { $0[alarm.object] = alarm } }
    func remove(_ object: [UInt8]) async throws { alarms.withLock { $0[object] = nil } }
    func replace(_ old: ObjectAlarm, by new: ObjectAlarm?) async throws {
        alarms.withLock { if $0[old.object] == old { $0[old.object] = new } }
    }
    func removeAll(of namespace: String) async throws {}
    func noteComplete() async throws { hasAll.withLock { $0 = true } }
    func close() async {}
}

/// A worker whose events call objects of another, and all isolates in the hands of the test.
private final class ObjectStage: Sendable {
    let node: FakeNode
    let index: MemoryAlarmIndex
    let space: ObjectSpace
    let namespace: ObjectNamespace
    let objects: FakeWorker
    let caller: FakeWorker
    let server: ObjectServer
    let id: [UInt8]

    init(
        _ settings: ObjectSettings = ObjectSettings(), index: MemoryAlarmIndex = MemoryAlarmIndex(),
        directory: String = "/nonexistent"
    ) throws {
        node = try FakeNode()
        self.index = index
        space = try node.makeObjectSpace(settings, directory: directory) { index }
        namespace = ObjectNamespace(
            id: String(repeating: "ab", count: 16), key: [UInt8](repeating: 7, count: 32), worker: "objects",
            className: "Counter",
            hasSQL: true, space: space)
        objects = try node.addWorker(size: PoolSize(min: 0, max: 4, idleTimeout: .seconds(60)), objects: space)
        server = ObjectServer(
            worker: objects.runtime, release: ReleaseRuntime(name: "r", tenant: "t", workers: [objects.runtime]),
            className: "Counter")
        space.serve(namespace, by: [server])
        caller = try node.addWorker(bindings: [.object(namespace)])
        id = ObjectID.make(body: [UInt8](repeating: 1, count: 16), key: namespace.key)
    }

    func invoke(_ method: String, _ id: [UInt8]? = nil) -> [UInt8] {
        var encoder = WireEncoder()
        ObjectCallHead(object: ObjectReference(id: id ?? self.id, name: "n")).encode(into: &encoder)
        RPCMessage(method: method, arguments: Array(method.utf8)).encode(into: &encoder)
        return encoder.bytes
    }

    func fetch(upgrade: Bool) -> [UInt8] {
        var encoder = WireEncoder()
        ObjectCallHead(object: ObjectReference(id: id)).encode(into: &encoder)
        encoder.put(0 as UInt8)  // follow
        encoder.put(0 as UInt8)  // no body
        encoder.put(1 as UInt8)  // GET
        encoder.put(-1 as Int64)
        encoder.put("http://h/b")
        encoder.put("")
        encoder.put(UInt16(upgrade ? 1 : 0))
        if upgrade {
            encoder.put(7 as UInt16)
            encoder.put(9 as UInt32)
            encoder.putRest(Array("upgradewebsocket".utf8))
        }
        return encoder.bytes
    }
}

extension ObjectID {
    static func make(body: [UInt8], key: [UInt8]) -> [UInt8] {
        // What an isolate does with a namespace's key.
        body + ObjectID.proof(of: body, key: key)
    }
}

extension FakeIsolate {
    fileprivate func nextEvent() throws -> (kind: CallKind?, stream: UInt32, message: [UInt8]) {
        let frame = try receive(.open)
        let number = UInt16(frame.payload[0]) | UInt16(frame.payload[1]) << 8
        return (CallKind(rawValue: number), frame.header.stream, Array(frame.payload.dropFirst(2)))
    }

    fileprivate func expectEvent(_ kind: CallKind) throws -> (stream: UInt32, message: [UInt8]) {
        let event = try nextEvent()
        guard event.kind == kind else { throw TestFailure("\(event.kind.map { "\($0)" } ?? "?") came, not \(kind)") }
        return (event.stream, event.message)
    }

    fileprivate func reply(_ stream: UInt32, _ message: [UInt8] = []) { send(.open, stream, flags: .end, [0] + message) }

    fileprivate func replyFailure(_ stream: UInt32, _ failure: CallFailure) {
        var encoder = WireEncoder()
        encoder.put(1 as UInt8)
        failure.encode(into: &encoder)
        send(.open, stream, flags: .end, encoder.bytes)
    }

    fileprivate func replyOpen(_ stream: UInt32, alarm: Int64? = nil) {
        var encoder = WireEncoder()
        ObjectOpenReply(alarmTime: alarm, name: "n").encode(into: &encoder)
        reply(stream, encoder.bytes)
    }

    fileprivate func replyClose(_ stream: UInt32, isBusy: Bool = false) { reply(stream, [isBusy ? 1 : 0]) }

    /// What a call of this isolate was answered.
    fileprivate func answer(to call: UInt32) throws -> Result<[UInt8], CallFailure> {
        while true {
            let frame = try receive(.open)
            guard frame.header.stream == call else { continue }
            var decoder = WireDecoder(Array(frame.payload.dropFirst()))
            return frame.payload[0] == 0 ? .success(decoder.takeRest()) : .failure(try CallFailure(decoding: &decoder))
        }
    }

    fileprivate func oneWay(_ kind: CallKind, number: UInt32, _ write: (inout WireEncoder) -> Void) {
        var encoder = WireEncoder()
        write(&encoder)
        send(.open, number, flags: .end, Self.call(kind, binding: .max, parent: 0, encoder.bytes))
    }
}

@Suite(.serialized, .timeLimit(.minutes(5))) struct `Space of objects` {
    @Test func `test_probe_4 opens an object before its first call, and keeps the order of calls`() async throws {
        try await onThread {
            let stage = try ObjectStage()
            defer { stage.node.stop() }
            let client = try stage.node.connect()
            let (isolate, event) = try stage.caller.start(client, stage)
            for number in 0..<100 {
                isolate.send(
                    .open, UInt32(2 + 2 * number), flags: [.end, .lazyBody],
                    FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("\(number)")))
            }
            let owner = try stage.objects.nextReadyIsolate()
            let opening = try owner.expectEvent(.objectOpen)
            var decoder = WireDecoder(opening.message)
            let open = try ObjectOpenMessage(decoding: &decoder)
            #expect(open.className == "Counter" && open.object.id == stage.id && open.object.name == "n")
            owner.replyOpen(opening.stream)
            for number in 0..<100 {
                let call = try owner.expectEvent(.objectCall)
                var decoder = WireDecoder(call.message)
                _ = try ObjectEventHead(decoding: &decoder)
                #expect(try RPCMessage(decoding: &decoder).method == "\(number)")
                owner.reply(call.stream, Array("\(number)!".utf8))
            }
            for number in 0..<100 {
                #expect(try isolate.answer(to: UInt32(2 + 2 * number)) == .success(Array("\(number)!".utf8)))
            }
        }
    }

    /// Keeps what it is told.
    private final class Watcher: TraceSink {
        let events = Mutex<[TraceEvent]>([])
        func takesSample() -> Bool { true }
        func wants(_ cause: TraceEvent.Cause, of worker: TraceEvent.Worker) -> Bool { true }
        func receive(_ event: TraceEvent) { events.withLock { $0.append(event) } }
    }

    @Test func `counts and traces what objects get`() async throws {
        try await onThread {
            let stage = try ObjectStage()
            defer { stage.node.stop() }
            let (objects, callers) = (Watcher(), Watcher())
            stage.objects.runtime.pool.traces.add(objects)
            stage.caller.runtime.pool.traces.add(callers)
            let (isolate, event) = try stage.caller.start(try stage.node.connect(), stage)
            func call(_ number: UInt32, _ method: String) {
                isolate.send(
                    .open, number, flags: [.end, .lazyBody],
                    FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke(method)))
            }
            for (number, method) in [(UInt32(2), "first"), (4, "second"), (6, "third"), (8, "fourth")] { call(number, method) }
            let owner = try stage.objects.nextReadyIsolate()
            owner.replyOpen(try owner.expectEvent(.objectOpen).stream)
            owner.reply(try owner.expectEvent(.objectCall).stream)
            owner.reply(try owner.expectEvent(.objectCall).stream)
            owner.replyFailure(try owner.expectEvent(.objectCall).stream, CallFailure("no", name: "Oops", marks: .remote))
            // The code is not to blame for this one.
            owner.replyFailure(
                try owner.expectEvent(.objectCall).stream, CallFailure("moved", marks: [.retryable, .objectReset]))
            for number in [UInt32(2), 4, 6, 8] { _ = try isolate.answer(to: number) }
            isolate.send(.open, event, flags: .end, FakeIsolate.answer(200))
            stage.node.onReactor {}
            let reading = try #require(stage.server.release.meter.read()["worker (objects)"])
            #expect(reading[.calls] == 4 && reading[.callErrors] == 1 && reading.requestCount == 0)
            // Not of the one that the object was opened for, nor of those that failed.
            #expect(reading.callLatencies.count == 1 && reading.version == "1")
            let seen = objects.events.withLock { $0 }
            #expect(seen.map(\.outcome) == [.ok, .ok, .exception, .exception])
            #expect(seen.map(\.cause.text) == ["first()", "second()", "third()", "fourth()"])
            let id = try #require(ObjectID(stage.id))
            #expect(seen.allSatisfy { $0.target == .object(id, class: "Counter") })
            let caller = try #require(callers.events.withLock { $0.first })
            #expect(Set(seen.compactMap { $0.span?.traceID }) == [try #require(caller.span?.traceID)])
            #expect(seen.allSatisfy { $0.span?.parentSpanID == caller.span?.spanID })
            #expect(Set(seen.compactMap { $0.span?.spanID }).count == 4)
        }
    }

    @Test func `has objects of a version that a later release has, too, count and call there`() async throws {
        try await onThread {
            let stage = try ObjectStage()
            defer { stage.node.stop() }
            let later = ReleaseRuntime(name: "s", tenant: "t", workers: [stage.objects.runtime])
            stage.space.serve(
                stage.namespace, by: [ObjectServer(worker: stage.objects.runtime, release: later, className: "Counter")])
            let (isolate, event) = try stage.caller.start(try stage.node.connect(), stage)
            isolate.send(
                .open, 2, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("a")))
            let owner = try stage.objects.nextReadyIsolate()
            owner.replyOpen(try owner.expectEvent(.objectOpen).stream)
            owner.reply(try owner.expectEvent(.objectCall).stream)
            _ = try isolate.answer(to: 2)
            #expect(later.meter.read()["worker (objects)"]?[.calls] == 1)
            #expect(stage.server.release.meter.read()["worker (objects)"]?[.calls] == 0)
        }
    }

    @Test func `refuses ids that the namespace hasn't made`() async throws {
        try await onThread {
            let stage = try ObjectStage()
            defer { stage.node.stop() }
            let (isolate, event) = try stage.caller.start(try stage.node.connect(), stage)
            isolate.send(
                .open, 2, flags: [.end, .lazyBody],
                FakeIsolate.call(
                    .objectInvoke, binding: 0, parent: event, stage.invoke("a", [UInt8](repeating: 3, count: 32))))
            let failure = try isolate.answer(to: 2).failure
            #expect(failure?.message == "Durable Object ID is not valid for this namespace.")
        }
    }

    @Test func `tells all who wait what a constructor threw, and makes the object anew for the next call`() async throws {
        try await onThread {
            let stage = try ObjectStage()
            defer { stage.node.stop() }
            let (isolate, event) = try stage.caller.start(try stage.node.connect(), stage)
            for number in [UInt32(2), 4] {
                isolate.send(
                    .open, number, flags: [.end, .lazyBody],
                    FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("a")))
            }
            let owner = try stage.objects.nextReadyIsolate()
            owner.replyFailure(try owner.expectEvent(.objectOpen).stream, CallFailure("no", name: "MyError", marks: .remote))
            for number in [UInt32(2), 4] {
                let failure = try isolate.answer(to: number).failure
                #expect(failure?.name == "MyError")
                #expect(failure?.marks == [.remote, .stubBroken])
            }
            isolate.send(
                .open, 6, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("b")))
            while true {
                let next = try owner.nextEvent()
                guard next.kind == .objectOpen else { continue }  // The two that failed.
                owner.replyOpen(next.stream)
                break
            }
            owner.reply(try owner.expectEvent(.objectCall).stream, [9])
            #expect(try isolate.answer(to: 6) == .success([9]))
        }
    }

    @Test func `test_probe_25 fails what an object had when it says that it is over`() async throws {
        try await onThread {
            let stage = try ObjectStage()
            defer { stage.node.stop() }
            let (isolate, event) = try stage.caller.start(try stage.node.connect(), stage)
            for number in [UInt32(2), 4, 6] {
                isolate.send(
                    .open, number, flags: [.end, .lazyBody],
                    FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("a")))
            }
            let owner = try stage.objects.nextReadyIsolate()
            owner.replyOpen(try owner.expectEvent(.objectOpen).stream)
            for _ in 0..<3 { _ = try owner.expectEvent(.objectCall) }
            owner.oneWay(.objectAbort, number: 2) { encoder in
                ObjectAbortMessage(object: ObjectReference(id: stage.id), failure: CallFailure("enough", marks: .remote))
                    .encode(into: &encoder)
            }
            for number in [UInt32(2), 4, 6] {
                let failure = try isolate.answer(to: number).failure
                #expect(failure?.message == "enough")
                #expect(failure?.marks == [.remote, .objectReset, .stubBroken])
            }
            isolate.send(
                .open, 8, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("b")))
            owner.replyOpen(try owner.expectEvent(.objectOpen).stream)
            owner.reply(try owner.expectEvent(.objectCall).stream, [1])
            #expect(try isolate.answer(to: 8) == .success([1]))
        }
    }

    @Test func `gives an object to another isolate only when the process of the first is gone`() async throws {
        try await onThread {
            let stage = try ObjectStage()
            defer { stage.node.stop() }
            let (isolate, event) = try stage.caller.start(try stage.node.connect(), stage)
            isolate.send(
                .open, 2, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("a")))
            let owner = try stage.objects.nextReadyIsolate()
            owner.replyOpen(try owner.expectEvent(.objectOpen).stream)
            _ = try owner.expectEvent(.objectCall)
            stage.objects.spawner.end(owner.id, .crashed(signal: 11))
            let failure = try isolate.answer(to: 2).failure
            #expect(failure?.message == "Network connection lost.")
            #expect(failure?.marks == [.retryable, .stubBroken])
            isolate.send(
                .open, 4, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("b")))
            let second = try stage.objects.nextReadyIsolate()
            second.replyOpen(try second.expectEvent(.objectOpen).stream)
            second.reply(try second.expectEvent(.objectCall).stream, [2])
            #expect(try isolate.answer(to: 4) == .success([2]))
        }
    }

    @Test func `lets an idle object leave memory, and has events wait for that`() async throws {
        try await onThread {
            let stage = try ObjectStage()
            defer { stage.node.stop() }
            let (isolate, event) = try stage.caller.start(try stage.node.connect(), stage)
            isolate.send(
                .open, 2, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("a")))
            let owner = try stage.objects.nextReadyIsolate()
            owner.replyOpen(try owner.expectEvent(.objectOpen).stream)
            owner.reply(try owner.expectEvent(.objectCall).stream)
            _ = try isolate.answer(to: 2)
            stage.node.pass(.seconds(10))
            let closing = try owner.expectEvent(.objectClose)
            var decoder = WireDecoder(closing.message)
            #expect(try ObjectCloseMessage(decoding: &decoder).reason == .hibernation)
            isolate.send(
                .open, 4, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("b")))
            stage.node.onReactor {}
            owner.replyClose(closing.stream)
            owner.replyOpen(try owner.expectEvent(.objectOpen).stream)
            owner.reply(try owner.expectEvent(.objectCall).stream, [4])
            #expect(try isolate.answer(to: 4) == .success([4]))
        }
    }

    @Test func `test_probe_14 fires an alarm when it is due, and not before`() async throws {
        try await onThread {
            let stage = try ObjectStage()
            defer { stage.node.stop() }
            let (isolate, event) = try stage.caller.start(try stage.node.connect(), stage)
            isolate.send(
                .open, 2, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("a")))
            let owner = try stage.objects.nextReadyIsolate()
            owner.replyOpen(try owner.expectEvent(.objectOpen).stream)
            let call = try owner.expectEvent(.objectCall)
            let time = stage.node.clock.wallTime().milliseconds + 5000
            var encoder = WireEncoder()
            ObjectAlarmTimeMessage(object: ObjectReference(id: stage.id), time: time).encode(into: &encoder)
            owner.send(
                .open, 2, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectAlarmTime, binding: .max, parent: call.stream, encoder.bytes))
            #expect(try owner.answer(to: 2) == .success([]))
            #expect(try stage.index.alarm(of: stage.id)?.time.milliseconds == time)
            owner.reply(call.stream)
            _ = try isolate.answer(to: 2)
            stage.node.pass(.seconds(4))
            #expect(stage.space.counts().events == 0)
            stage.node.pass(.seconds(1))
            let alarm = try owner.expectEvent(.objectAlarm)
            var decoder = WireDecoder(alarm.message)
            _ = try ObjectEventHead(decoding: &decoder)
            #expect(
                try ObjectAlarmMessage(decoding: &decoder)
                    == ObjectAlarmMessage(retryCount: 0, isRetry: false, scheduledTime: time))
            var reply = WireEncoder()
            ObjectAlarmReply(.done).encode(into: &reply)
            owner.reply(alarm.stream, reply.bytes)
            for _ in 0..<2000 where try stage.index.firstTime() != nil { stage.node.onReactor {} }
            #expect(try stage.index.firstTime() == nil)
        }
    }

    @Test func `test_probe_15 runs an alarm that always throws seven times, ever later, and then no more`() async throws {
        try await onThread {
            var settings = ObjectSettings()
            settings.hibernateAfter = .seconds(3600)
            settings.evictAfter = .seconds(3600)
            let stage = try ObjectStage(settings)
            defer { stage.node.stop() }
            let clock = stage.node.clock
            let time = clock.wallTime()
            let done = Semaphore()
            Task {
                try await stage.index.set(
                    ObjectAlarm(
                        object: stage.id, name: nil, namespace: stage.namespace.id, time: time, scheduledTime: time))
                done.signal()
            }
            done.wait()
            stage.space.serve(stage.namespace, by: [stage.server])
            let owner = try stage.objects.nextReadyIsolate()
            owner.replyOpen(try owner.expectEvent(.objectOpen).stream, alarm: time.milliseconds)
            var last = time.milliseconds
            for retry in 0...6 {
                let alarm = try owner.expectEvent(.objectAlarm)
                var decoder = WireDecoder(alarm.message)
                _ = try ObjectEventHead(decoding: &decoder)
                #expect(
                    try ObjectAlarmMessage(decoding: &decoder)
                        == ObjectAlarmMessage(
                            retryCount: UInt32(retry), isRetry: retry > 0, scheduledTime: time.milliseconds))
                let now = clock.wallTime().milliseconds
                if retry > 0 {
                    // Time goes by in quarters of a second.
                    let delay = Int64(1000) << Int64(retry)
                    #expect((delay...delay * 5 / 4 + 251).contains(now - last), "try \(retry): \(now - last) ms")
                }
                last = now
                var reply = WireEncoder()
                // What the isolate says: `probe 15` of the objects in the loop.
                ObjectAlarmReply(retry < 6 ? .failed : .abandoned, nextTime: retry < 6 ? time.milliseconds : nil, failure: "no")
                    .encode(into: &reply)
                owner.reply(alarm.stream, reply.bytes)
                for _ in 0..<10_000 where try (stage.index.alarm(of: stage.id)?.retryCount ?? 7) <= retry {
                    stage.node.onReactor {}
                    usleep(1000)
                }
                // The event has ended on the reactor, too.
                stage.node.onReactor {}
                for _ in 0..<2000 where retry < 6 && stage.space.counts().events == 0 { stage.node.pass(.milliseconds(250)) }
            }
            #expect(try stage.index.firstTime() == nil)
            stage.node.pass(.seconds(300))
            #expect(stage.space.counts().events == 0)
        }
    }

    @Test func `test_probe_16 runs an alarm again, uncounted, that its isolate's end cut off`() async throws {
        try await onThread {
            let stage = try ObjectStage()
            defer { stage.node.stop() }
            let time = stage.node.clock.wallTime()
            let done = Semaphore()
            Task {
                try await stage.index.set(
                    ObjectAlarm(
                        object: stage.id, name: nil, namespace: stage.namespace.id, time: time, scheduledTime: time))
                done.signal()
            }
            done.wait()
            stage.space.serve(stage.namespace, by: [stage.server])
            for retry in [false, true] {
                let owner = try stage.objects.nextReadyIsolate()
                owner.replyOpen(try owner.expectEvent(.objectOpen).stream, alarm: time.milliseconds)
                let alarm = try owner.expectEvent(.objectAlarm)
                var decoder = WireDecoder(alarm.message)
                _ = try ObjectEventHead(decoding: &decoder)
                let message = try ObjectAlarmMessage(decoding: &decoder)
                #expect(message.retryCount == 0 && message.isRetry == retry)
                guard !retry else { break }
                stage.objects.spawner.end(owner.id, .crashed(signal: 11))
                for _ in 0..<2000 where try stage.index.alarm(of: stage.id)?.isRetry != true { stage.node.onReactor {} }
                stage.node.pass(.seconds(2))
            }
        }
    }

    @Test func `asks objects for their alarms when the index was lost`() async throws {
        var template = Array("/tmp/edge-objects-XXXXXX".utf8CString)
        guard let made = unsafe mkdtemp(&template) else { throw SystemError("mkdtemp", errno: errno) }
        let path = unsafe String(cString: made)
        defer { try? FileTree.removeTree(path) }
        try await onThread {
            let index = MemoryAlarmIndex(isComplete: false)
            let namespace = String(repeating: "ab", count: 16)
            let key = [UInt8](repeating: 7, count: 32)
            let ids = (1...3).compactMap { ObjectID(ObjectID.make(body: [UInt8](repeating: UInt8($0), count: 16), key: key)) }
            for id in ids {
                let folder = "\(path)/\(namespace)/\(id.description.prefix(2))"
                try FileTree.makeDirectory(folder, mode: 0o700)
                try FileTree.replaceFile("\(folder)/\(id).sqlite", with: [1], mode: 0o600)
            }
            let stage = try ObjectStage(index: index, directory: path)
            defer { stage.node.stop() }
            let owner = try stage.objects.nextReadyIsolate()
            for number in 0..<3 {
                owner.replyOpen(try owner.expectEvent(.objectOpen).stream, alarm: number == 1 ? nil : 4_000_000_000_000)
            }
            for _ in 0..<5000 where try index.due(at: UnixTime(milliseconds: .max), max: 9).count < 2 || !index.isComplete {
                stage.node.onReactor {}
                usleep(1000)
            }
            #expect(try index.due(at: UnixTime(milliseconds: .max), max: 9).count == 2)
            #expect(index.isComplete)
        }
    }

    @Test func `has events wait while files are replaced`() async throws {
        try await onThread {
            let stage = try ObjectStage()
            defer { stage.node.stop() }
            let (isolate, event) = try stage.caller.start(try stage.node.connect(), stage)
            isolate.send(
                .open, 2, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("a")))
            let owner = try stage.objects.nextReadyIsolate()
            owner.replyOpen(try owner.expectEvent(.objectOpen).stream)
            owner.reply(try owner.expectEvent(.objectCall).stream)
            _ = try isolate.answer(to: 2)
            let isSuspended = Atomic(false)
            let space = stage.space
            Task {
                do { try await space.suspend() } catch { Issue.record(error) }
                isSuspended.store(true, ordering: .releasing)
            }
            owner.replyClose(try owner.expectEvent(.objectClose).stream)
            // Little by little: an isolate that has been idle for a minute of the node's time would end.
            while !isSuspended.load(ordering: .acquiring) {
                stage.node.pass(.milliseconds(10))
                usleep(2000)
            }
            isolate.send(
                .open, 4, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("b")))
            while stage.space.counts().waiting == 0 { stage.node.onReactor {} }
            try stage.space.resume()
            owner.replyOpen(try owner.expectEvent(.objectOpen).stream)
            owner.reply(try owner.expectEvent(.objectCall).stream, [5])
            #expect(try isolate.answer(to: 4) == .success([5]))
        }
    }

    @Test func `test_probe_19_20_21 keeps a WebSocket while its object comes and goes`() async throws {
        try await onThread {
            let stage = try ObjectStage()
            defer { stage.node.stop() }
            let client = try stage.node.connect()
            let (isolate, event) = try stage.caller.start(client, stage, upgrade: true)
            isolate.send(
                .open, 2, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectRequest, binding: 0, parent: event, stage.fetch(upgrade: true)))
            let owner = try stage.objects.nextReadyIsolate()
            owner.replyOpen(try owner.expectEvent(.objectOpen).stream)
            let fetch = try owner.expectEvent(.objectFetch)
            var decoder = WireDecoder(fetch.message)
            let socket = try ObjectEventHead(decoding: &decoder).socket
            #expect(socket.rawValue != 0)
            var reply = WireEncoder()
            reply.put(101 as UInt16)
            reply.put(4 as UInt8)
            reply.put(-1 as Int64)
            reply.put(0 as UInt32)
            reply.put(0 as UInt16)
            HibernationMessage(tags: ["a", "b"], attachment: [1, 2]).encode(into: &reply)
            owner.reply(fetch.stream, reply.bytes)
            // The worker between passes it on unread.
            #expect(try isolate.answer(to: 2).get().prefix(2) == [101, 0])
            isolate.send(.open, event, flags: .end, FakeIsolate.answer(101, hasBody: true, length: -1, splice: 2))
            #expect(try client.read(to: "\r\n\r\n").hasPrefix("HTTP/1.1 101 "))
            owner.oneWay(.socketSend, number: 2) { encoder in
                SocketSendMessage(sockets: [socket], isText: true, payload: Array("hi".utf8)).encode(into: &encoder)
            }
            #expect(try client.read(count: 4) == [0x81, 2] + Array("hi".utf8))
            owner.oneWay(.socketAutoResponse, number: 4) { encoder in
                SocketAutoResponseMessage(
                    object: ObjectReference(id: stage.id), autoResponse: SocketAutoResponse(request: "ping", response: "pong"),
                    eventTimeout: nil
                ).encode(into: &encoder)
            }
            owner.oneWay(.socketAttachment, number: 6) { encoder in
                SocketAttachmentMessage(socket: socket, attachment: [7]).encode(into: &encoder)
            }
            stage.node.onReactor {}
            for _ in 0..<2000 where stage.space.socketStates(of: stage.objectID).sockets.first?.attachment != [7] {
                stage.node.onReactor {}
            }
            stage.node.pass(.seconds(10))
            owner.replyClose(try owner.expectEvent(.objectClose).stream)
            func say(_ opcode: UInt8, _ payload: [UInt8]) {
                client.send([0x80 | opcode, 0x80 | UInt8(payload.count), 0, 0, 0, 0] + payload)
            }
            say(1, Array("ping".utf8))
            #expect(try client.read(count: 6) == [0x81, 4] + Array("pong".utf8))
            #expect(stage.space.counts().live == 0)
            say(2, Array("ping".utf8))
            let opening = try owner.expectEvent(.objectOpen)
            decoder = WireDecoder(opening.message)
            let open = try ObjectOpenMessage(decoding: &decoder)
            #expect(open.sockets.map(\.id) == [socket])
            #expect(open.sockets.first?.tags == ["a", "b"] && open.sockets.first?.attachment == [7])
            #expect(open.sockets.first?.autoResponseTime != nil)
            owner.replyOpen(opening.stream)
            let message = try owner.expectEvent(.objectSocket)
            decoder = WireDecoder(message.message)
            _ = try ObjectEventHead(decoding: &decoder)
            #expect(
                try ObjectSocketMessage(decoding: &decoder)
                    == ObjectSocketMessage(socket: socket, content: .binary(Array("ping".utf8))))
            // One at a time: the close waits for the message's end, its answer doesn't.
            say(8, [0x0F, 0xA1] + Array("x".utf8))
            owner.reply(message.stream)
            let close = try owner.expectEvent(.objectSocket)
            decoder = WireDecoder(close.message)
            _ = try ObjectEventHead(decoding: &decoder)
            #expect(
                try ObjectSocketMessage(decoding: &decoder).content
                    == .close(SocketClose(code: 4001, reason: "x", wasClean: true)))
            #expect(try client.read(count: 4) == [0x88, 2, 0x0F, 0xA1])
            owner.reply(close.stream)
            for _ in 0..<2000 where stage.space.counts().sockets > 0 { stage.node.onReactor {} }
            #expect(stage.space.counts().sockets == 0)
        }
    }

    @Test func `test_probe_23 moves an object with its WebSockets to another version`() async throws {
        try await onThread {
            let stage = try ObjectStage()
            defer { stage.node.stop() }
            let (isolate, event) = try stage.caller.start(try stage.node.connect(), stage)
            isolate.send(
                .open, 2, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("slow")))
            let owner = try stage.objects.nextReadyIsolate()
            owner.replyOpen(try owner.expectEvent(.objectOpen).stream)
            let slow = try owner.expectEvent(.objectCall)
            let next = try stage.node.addWorker(
                size: PoolSize(min: 0, max: 4, idleTimeout: .seconds(60)), version: "2", objects: stage.space)
            stage.space.serve(
                stage.namespace,
                by: [
                    ObjectServer(
                        worker: next.runtime, release: ReleaseRuntime(name: "s", tenant: "t", workers: [next.runtime]),
                        className: "Counter")
                ])
            isolate.send(
                .open, 4, flags: [.end, .lazyBody],
                FakeIsolate.call(.objectInvoke, binding: 0, parent: event, stage.invoke("late")))
            stage.node.onReactor {}
            owner.reply(slow.stream, [1])
            #expect(try isolate.answer(to: 2) == .success([1]))
            let closing = try owner.expectEvent(.objectClose)
            var decoder = WireDecoder(closing.message)
            #expect(try ObjectCloseMessage(decoding: &decoder).reason == .codeUpdated)
            owner.replyClose(closing.stream)
            let second = try next.nextReadyIsolate()
            second.replyOpen(try second.expectEvent(.objectOpen).stream)
            second.reply(try second.expectEvent(.objectCall).stream, [2])
            #expect(try isolate.answer(to: 4) == .success([2]))
        }
    }
}

extension ObjectStage {
    fileprivate var objectID: ObjectID {
        guard let id = ObjectID(id) else { preconditionFailure("it has 32 bytes") }
        return id
    }
}

extension Result {
    fileprivate var failure: Failure? {
        if case .failure(let failure) = self { return failure }
        return nil
    }
}

extension FakeWorker {
    /// The isolate of this worker, and the number of the client's request in it.
    fileprivate func start(
        _ client: Client, _ stage: ObjectStage, upgrade: Bool = false
    ) throws -> (isolate: FakeIsolate, event: UInt32) {
        let lines =
            upgrade
            ? "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" : ""
        client.send("GET /a HTTP/1.1\r\nHost: h\r\n\(lines)\r\n")
        let isolate = try nextReadyIsolate()
        return (isolate, try isolate.receive(.open).header.stream)
    }
}
