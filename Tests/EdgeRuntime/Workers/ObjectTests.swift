import DurableObjects
import Glibc
import Interfaces
import Synchronization
import System
import Testing
import Wire

@testable import Workers

/// Kept for ever: what nobody resumes.
private let stuck = Mutex<[CheckedContinuation<Void, Never>]>([])

/// Objects in an isolate's loop, with the test in the place of the node.
@Suite(.serialized, .timeLimit(.minutes(5))) struct `Durable objects in the loop` {
    /// What all instances of a test's process have seen. Touched by the loop's thread, and by the test after an answer.
    final class Notes: @unchecked Sendable {
        var constructed = 0
        var order: [String] = []
        var failsInInit = false
    }

    final class Probe: DurableObject, DurableObjectFetchHandler, DurableObjectAlarmHandler, DurableObjectWebSocketHandler,
        RPCTarget
    {
        nonisolated(unsafe) static var notes = Notes()
        static let add = RPCMethod<Int, Int>("add")
        static let fail = RPCMethod<RPCNothing, Int>("fail")
        static let note = RPCMethod<Int, Int>("note")
        struct Oops: Error, CustomStringConvertible { var description: String { "it broke" } }

        let state: DurableObjectState
        let env: Env
        init(state: DurableObjectState, env: Env) throws {
            self.state = state
            self.env = env
            unsafe Self.notes.constructed += 1
            if unsafe Self.notes.failsInInit { throw Oops() }
        }

        static var methods: [RPCHandler<Probe>] {
            [
                RPCHandler(add) { object, amount in
                    let sum = (try object.state.storage.kv.get("sum", as: Int.self) ?? 0) + amount
                    try object.state.storage.kv.put("sum", sum)
                    return sum
                },
                RPCHandler(fail) { _, _ in throw Oops() },
                RPCHandler(note) { _, number in
                    unsafe notes.order.append("\(number)")
                    return number
                },
            ]
        }

        func fetch(_ request: Request) async throws -> Response {
            switch request.path {
            case "/increment":
                let value = try await state.storage.get("n", as: Int.self) ?? 0
                try await state.storage.sync()
                try await state.storage.put("n", value + 1)
                try await state.storage.sync()
                return .text("\(value + 1)")
            case "/sleepy-increment":
                let value = try await state.storage.get("n", as: Int.self) ?? 0
                try await state.context.sleep(for: .milliseconds(1))
                try await state.storage.put("n", value + 1)
                return .text("\(value + 1)")
            case "/put":
                try await state.storage.put("a", 1)
                return .text("put")
            case "/unconfirmed":
                try await state.storage.put("a", 1, allowUnconfirmed: true)
                return .text("put")
            case "/section":
                let text = try await state.blockConcurrencyWhile { [state] in
                    unsafe Self.notes.order.append("begin")
                    try await state.context.sleep(for: .milliseconds(50))
                    unsafe Self.notes.order.append("end")
                    return "section"
                }
                return .text(text)
            case "/note":
                unsafe Self.notes.order.append("note")
                return .text("noted")
            case "/stuck-section":
                // Whoever would resume it is kept out by the section.
                try await state.blockConcurrencyWhile {
                    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                        stuck.withLock { $0.append(continuation) }
                    }
                }
            case "/timer-section":
                try await state.blockConcurrencyWhile { [state] in try await state.context.sleep(for: .seconds(20)) }
            case "/call-section":
                try await state.blockConcurrencyWhile { [env] in _ = try await env.call(.kvGet) }
            case "/disk-section":
                try await state.blockConcurrencyWhile { [state] in
                    try await state.storage.put("a", 1)
                    try await state.storage.sync()
                }
            case "/failing-section":
                try await state.blockConcurrencyWhile { throw Oops() }
            case "/abort": try state.abort("enough")
            case "/alarm": try await state.storage.setAlarm(state.now - 1)
            case "/get-alarm": return .text("\(try await state.storage.getAlarm().map { "\($0)" } ?? "none")")
            case "/slow":
                try await state.context.sleep(for: .seconds(60))
                try state.storage.kv.put("slow", 1)
            case "/socket":
                let pair = WebSocketPair()
                try state.acceptWebSocket(pair.server, tags: ["a", "b"])
                try pair.server.serializeAttachment("kept")
                try pair.server.send("hello")
                return .webSocket(pair.client)
            case "/sockets":
                let sockets = state.getWebSockets("a")
                state.broadcast(.text("all"))
                return .text(
                    try sockets.map { "\(try state.getTags($0)) \(try $0.deserializeAttachment(as: String.self) ?? "-")" }
                        .joined())
            default: break
            }
            return .text("ok")
        }

        func alarm(_ info: AlarmInfo) async throws {
            unsafe Self.notes.order.append(
                "alarm \(info.retryCount) \(try await state.storage.getAlarm().map { "\($0)" } ?? "none")")
            if unsafe Self.notes.failsInInit { throw Oops() }
        }

        func webSocketMessage(_ socket: WebSocket, _ message: WebSocketMessage) async throws {
            try socket.send(message)
            if message == .text("close") { try socket.close(3001, "bye") }
        }
    }

    /// The node's part: opens objects, sends events, reads answers.
    final class Node: Sendable {
        let host: FakeHost
        /// Answers that came before they were asked for.
        private let early = Mutex<[FakeHost.Frame]>([])
        let directory = "/tmp/edge-objects-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        static let id = [UInt8](repeating: 7, count: 32)

        init(clock: any NodeClock = IsolateClock()) async throws {
            unsafe Probe.notes = Notes()
            DurabilityFaults.shared.hold(false)
            try FileTree.makeDirectory(directory, mode: 0o700)
            host = try FakeHost(clock: clock, objects: { ObjectIsolate([Probe.self]) }) { _ in
                FetchWorker { _, _, _ in .text("") }
            }
            _ = try await host.configure(
                .test(objectClasses: [
                    .init(name: "Probe", key: [UInt8](repeating: 1, count: 32), directory: directory, hasSQL: true)
                ]))
        }

        deinit { try? FileTree.removeTree(directory) }

        func open(_ stream: UInt32, sockets: [ObjectSocketState] = []) {
            host.event(
                .objectOpen, stream,
                encoded {
                    ObjectOpenMessage(className: "Probe", object: ObjectReference(id: Self.id, name: "n"), sockets: sockets)
                        .encode(into: &$0)
                })
        }

        func fetch(_ stream: UInt32, _ path: String, socket: UInt64 = 0) {
            host.event(
                .objectFetch, stream,
                encoded {
                    ObjectEventHead(object: ObjectReference(id: Self.id), socket: SocketID(socket)).encode(into: &$0)
                    $0.putRest(FakeHost.fetchMessage(path, headers: socket == 0 ? [] : [("upgrade", "websocket")]))
                })
        }

        func call<A, R>(_ stream: UInt32, _ method: RPCMethod<A, R>, _ arguments: A) throws {
            let bytes = try BinaryValueEncoder.encode(arguments)
            host.event(
                .objectCall, stream,
                encoded {
                    ObjectEventHead(object: ObjectReference(id: Self.id)).encode(into: &$0)
                    RPCMessage(method: method.name, arguments: bytes).encode(into: &$0)
                })
        }

        func close(_ stream: UInt32, _ reason: ObjectCloseReason, patience: Int64 = 0) {
            host.event(
                .objectClose, stream,
                encoded {
                    ObjectCloseMessage(object: ObjectReference(id: Self.id), reason: reason, patience: patience).encode(
                        into: &$0)
                })
        }

        /// Has the object hibernate, which it may refuse until its last write is on the disk.
        func hibernate(from stream: UInt32) async throws {
            for attempt in 0..<500 as Range<UInt32> {
                close(stream + 2 * attempt, .hibernation)
                if try await reply(stream + 2 * attempt).payload == [0, 0] { return }
                try await Task.sleep(for: .milliseconds(5))
            }
            throw StillBusy()
        }
        struct StillBusy: Error {}

        func encoded(_ write: (inout WireEncoder) -> Void) -> [UInt8] {
            var encoder = WireEncoder()
            write(&encoder)
            return encoder.bytes
        }

        /// Answers what the isolate asks of the node, until the answer on `stream` comes.
        func reply(_ stream: UInt32) async throws -> FakeHost.Frame {
            let known = early.withLock { early -> FakeHost.Frame? in
                early.firstIndex { $0.stream == stream }.map { early.remove(at: $0) }
            }
            if let known { return known }
            while true {
                let frame = try await host.next()
                if frame.stream == stream { return frame }
                guard frame.stream & 1 == 0 else {
                    early.withLock { $0.append(frame) }
                    continue
                }
                guard frame.kind == .open else { continue }
                if try Call(frame).kind == .objectAlarmTime { host.send(.open, frame.stream, [0], flags: .end) }
            }
        }

        func text(_ stream: UInt32) async throws -> String {
            var frame = try await reply(stream)
            guard frame.payload.first == 0 else { return try failure(frame).message }
            guard !frame.isEnd else { return "" }
            frame = try await reply(stream)
            return String(decoding: frame.payload, as: UTF8.self)
        }

        func failure(_ frame: FakeHost.Frame) throws -> CallFailure {
            var decoder = WireDecoder(Array(frame.payload.dropFirst()))
            return try CallFailure(decoding: &decoder)
        }
    }

    /// Lets virtual time pass, a second in each of the loop's turns, and gives back what the isolate said meanwhile.
    private func pass(
        _ seconds: UInt32, on clock: VirtualClock, _ node: Node, from stream: UInt32
    ) async throws -> [FakeHost.Frame] {
        var seen: [FakeHost.Frame] = []
        for second in 0..<seconds {
            clock.advance(by: .seconds(1))
            node.host.event(.health, stream + 2 * second)
            while true {
                let frame = try await node.host.next()
                if frame.stream == stream + 2 * second { break }
                seen.append(frame)
            }
        }
        return seen
    }

    @Test func `resets an object whose critical section waits for what it keeps out`() async throws {
        let clock = VirtualClock()
        let node = try await Node(clock: clock)
        node.open(1)
        node.fetch(3, "/stuck-section")
        node.fetch(5, "/note")
        #expect(isPlain(try await node.reply(1)))
        let seen = try await pass(5, on: clock, node, from: 101)
        for stream in [UInt32(3), 5] {
            let answer = try #require(seen.first { $0.stream == stream && $0.kind == .open })
            let failure = try node.failure(answer)
            #expect(failure.message.hasPrefix("A critical section within this Durable Object awaited a Promise"))
            #expect(failure.marks.contains([.objectReset, .stubBroken]))
        }
        #expect(unsafe Probe.notes.order == [])
        node.open(7)
        node.fetch(9, "/note")
        #expect(isPlain(try await node.reply(7)))
        #expect(try await node.text(9) == "noted")
    }

    @Test func `takes no critical section for stuck that waits for a timer, a call or the disk`() async throws {
        let clock = VirtualClock()
        let node = try await Node(clock: clock)
        node.open(1)
        #expect(isPlain(try await node.reply(1)))
        node.fetch(3, "/timer-section")
        // The section's own deadline is at 30 seconds; the timer may have begun with the first of these.
        #expect(try await pass(15, on: clock, node, from: 101).isEmpty)
        clock.advance(by: .seconds(8))
        #expect(try await node.text(3) == "ok")
        node.fetch(5, "/call-section")
        let call = try await node.host.next { $0.kind == .open && $0.stream & 1 == 0 }
        #expect(try await pass(15, on: clock, node, from: 201).isEmpty)
        node.host.send(.open, call.stream, [0], flags: .end)
        #expect(try await node.text(5) == "ok")
        DurabilityFaults.shared.hold(true)
        node.fetch(7, "/disk-section")
        #expect(try await pass(15, on: clock, node, from: 301).isEmpty)
        DurabilityFaults.shared.hold(false)
        #expect(try await node.text(7) == "ok")
    }

    private func isPlain(_ frame: FakeHost.Frame) -> Bool { frame.payload.first == 0 }

    @Test func `probe 5: a read and a write with the disk between them are not interrupted`() async throws {
        let node = try await Node()
        node.open(1)
        for number in 0..<50 { node.fetch(UInt32(3 + 2 * number), "/increment") }
        #expect(isPlain(try await node.reply(1)))
        for number in 0..<50 { #expect(try await node.text(UInt32(3 + 2 * number)) == "\(number + 1)") }
        // Where it awaits something else, others come between.
        for number in 0..<20 { node.fetch(UInt32(201 + 2 * number), "/sleepy-increment") }
        var last = ""
        for number in 0..<20 { last = try await node.text(UInt32(201 + 2 * number)) }
        #expect(last == "51")
    }

    @Test func `probe 6: nothing leaves before it is on the disk`() async throws {
        let node = try await Node()
        node.open(1)
        _ = try await node.reply(1)
        DurabilityFaults.shared.hold(true)
        node.fetch(3, "/put")
        node.fetch(5, "/note")
        node.host.event(.health, 7)
        // The second request has run, and its answer waits for what the first one wrote.
        #expect(try await node.host.next().stream == 7)
        #expect(unsafe Probe.notes.order == ["note"])
        DurabilityFaults.shared.hold(false)
        #expect(try await node.text(3) == "put")
        #expect(try await node.text(5) == "noted")
        DurabilityFaults.shared.hold(true)
        node.fetch(9, "/unconfirmed")
        #expect(try await node.text(9) == "put")
        DurabilityFaults.shared.hold(false)
    }

    @Test func `probe 8: a disk that fails resets the object and takes the answer back`() async throws {
        let node = try await Node()
        node.open(1)
        node.fetch(3, "/note")
        #expect(try await node.text(3) == "noted")
        DurabilityFaults.shared.fail(1)
        node.fetch(5, "/put")
        let abort = try await node.host.next { $0.kind == .open && $0.stream & 1 == 0 }
        #expect(try Call(abort).kind == .objectAbort)
        let failure = try node.failure(try await node.reply(5))
        #expect(failure.message.contains("could not be written") && failure.marks.contains([.objectReset, .stubBroken]))
        node.open(7)
        #expect(isPlain(try await node.reply(7)))
        #expect(unsafe Probe.notes.constructed == 2)
    }

    @Test func `probe 9: a critical section keeps others out, and one that throws resets`() async throws {
        let node = try await Node()
        node.open(1)
        node.fetch(3, "/section")
        node.fetch(5, "/note")
        #expect(try await node.text(3) == "section")
        #expect(try await node.text(5) == "noted")
        #expect(unsafe Probe.notes.order == ["begin", "end", "note"])
        node.fetch(7, "/failing-section")
        let failure = try node.failure(try await node.reply(7))
        #expect(failure.message == "it broke" && failure.name == "Oops" && failure.isObjectReset)
        node.fetch(9, "/note")
        #expect(try node.failure(try await node.reply(9)).message == "Network connection lost.")
        node.open(11)
        #expect(isPlain(try await node.reply(11)))
        #expect(unsafe Probe.notes.constructed == 2)
    }

    @Test func `probe 25: abort reaches all that wait`() async throws {
        let node = try await Node()
        node.open(1)
        node.fetch(3, "/slow")
        node.fetch(5, "/abort")
        for stream in [3, 5] as [UInt32] {
            let failure = try node.failure(try await node.reply(stream))
            #expect(failure.message == "enough" && failure.marks == [.remote, .objectReset, .stubBroken])
        }
    }

    @Test func `probe 4: calls come in order, with their errors`() async throws {
        let node = try await Node()
        node.open(1)
        for number in 0..<100 { try node.call(UInt32(3 + 2 * number), Probe.note, number) }
        for number in 0..<100 { #expect(isPlain(try await node.reply(UInt32(3 + 2 * number)))) }
        #expect(unsafe Probe.notes.order == (0..<100).map { "\($0)" })
        try node.call(301, Probe.fail, RPCNothing())
        let failure = try node.failure(try await node.reply(301))
        #expect(failure == CallFailure("it broke", name: "Oops", marks: .remote))
        try node.call(303, RPCMethod<Int, Int>("none"), 1)
        #expect(
            try node.failure(try await node.reply(303)).message
                == "The RPC receiver does not implement the method \"none\".")
    }

    @Test func `probe 14: an alarm is away while it runs, and when it has run`() async throws {
        let node = try await Node()
        node.open(1)
        node.fetch(3, "/alarm")
        // The index knows it before the commit: the answer comes only after that was answered.
        let move = try await node.host.next { $0.kind == .open && $0.stream & 1 == 0 }
        #expect(try Call(move).kind == .objectAlarmTime)
        node.host.event(.health, 5)
        #expect(try await node.host.next().stream == 5)
        node.host.send(.open, move.stream, [0], flags: .end)
        #expect(try await node.text(3) == "ok")
        func alarm(_ stream: UInt32) async throws -> ObjectAlarmReply {
            node.host.event(
                .objectAlarm, stream,
                node.encoded {
                    ObjectEventHead(object: ObjectReference(id: Node.id)).encode(into: &$0)
                    ObjectAlarmMessage(retryCount: 0, isRetry: false, scheduledTime: 1).encode(into: &$0)
                })
            var decoder = WireDecoder(Array(try await node.reply(stream).payload.dropFirst()))
            return try ObjectAlarmReply(decoding: &decoder)
        }
        unsafe Probe.notes.failsInInit = true
        #expect(try await alarm(7).outcome == .failed)
        unsafe Probe.notes.failsInInit = false
        #expect(try await alarm(9) == ObjectAlarmReply(.done))
        #expect(unsafe Probe.notes.order == ["alarm 0 none", "alarm 0 none"])
        #expect(try await alarm(11) == ObjectAlarmReply(.notDue))
        node.fetch(13, "/get-alarm")
        #expect(try await node.text(13) == "none")
    }

    @Test func `probes 19 and 20: a socket stays with the node, and its object may sleep`() async throws {
        let node = try await Node()
        node.open(1)
        node.fetch(3, "/socket", socket: 77)
        _ = try await node.reply(1)
        let frame = try await node.reply(3)
        #expect(frame.isEnd && frame.payload[1...2] == [101, 0] && frame.payload[3] & 4 == 4)
        let sent = try await node.host.next()
        let call = try Call(sent)
        #expect(call.kind == .socketSend)
        var decoder = WireDecoder(call.message)
        #expect(
            try SocketSendMessage(decoding: &decoder)
                == SocketSendMessage(sockets: [SocketID(77)], isText: true, payload: Array("hello".utf8)))
        try await node.hibernate(from: 501)
        node.open(
            7, sockets: [ObjectSocketState(id: SocketID(77), tags: ["a"], attachment: try BinaryValueEncoder.encode("kept"))])
        node.fetch(9, "/sockets")
        #expect(try await node.text(9) == "[\"a\"] kept")
        node.host.event(
            .objectSocket, 11,
            node.encoded {
                ObjectEventHead(object: ObjectReference(id: Node.id)).encode(into: &$0)
                ObjectSocketMessage(socket: SocketID(77), content: .text("close")).encode(into: &$0)
            })
        #expect(isPlain(try await node.reply(11)))
        #expect(unsafe Probe.notes.constructed == 2)
    }

    @Test func `a busy object stays, and one whose code is updated is cut off in the end`() async throws {
        let node = try await Node()
        node.open(1)
        node.fetch(3, "/slow")
        _ = try await node.reply(1)
        node.close(5, .hibernation)
        #expect(try await node.reply(5).payload == [0, 1])
        node.close(7, .codeUpdated, patience: 50)
        let failure = try node.failure(try await node.reply(3))
        #expect(failure.message == "Durable Object reset because its code was updated." && failure.isRetryable)
        #expect(try await node.reply(7).payload == [0, 0])
    }

    @Test func `a constructor that throws is tried again`() async throws {
        let node = try await Node()
        unsafe Probe.notes.failsInInit = true
        node.open(1)
        #expect(try node.failure(try await node.reply(1)).message == "it broke")
        unsafe Probe.notes.failsInInit = false
        node.open(3)
        try node.call(5, Probe.add, 2)
        #expect(isPlain(try await node.reply(3)))
        let reply = try await node.reply(5)
        #expect(try BinaryValueDecoder.decode(Int.self, from: Array(reply.payload.dropFirst(2))) == 2)
    }
}
