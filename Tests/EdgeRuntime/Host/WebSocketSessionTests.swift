import HTTP
import Synchronization
import Testing

@testable import Host

private final class Receiver: WebSocketReceiver {
    let ends = Mutex<[UInt16]>([])
    func opened() {}
    func received(text: [UInt8]) {}
    func received(binary: [UInt8]) {}
    func closed(_ code: WebSocketCloseCode, reason: String) { ends.withLock { $0.append(code.rawValue) } }
    func notice(ofDropped count: Int) -> [UInt8]? { nil }
}

@Suite struct `WebSocket session` {
    private let receiver = Receiver()

    private func make(bytes: Int = 100, messages: Int = 10) -> WebSocketSession {
        var limits = WebSocketSession.Limits()
        limits.queuedBytesMax = bytes
        limits.queuedMessagesMax = messages
        return WebSocketSession(limits: limits, receiver: receiver)
    }

    private func send(_ number: Int, bytes: Int = 1, to session: WebSocketSession) {
        session.send(WebSocketSession.Message(byteCount: bytes) { Array("\(number)".utf8) })
    }

    /// All steps, as texts.
    private func steps(_ session: WebSocketSession) -> [String] {
        var steps: [String] = []
        while let step = session.nextStep() {
            switch step {
            case .send(let message): steps.append(String(decoding: message.text(), as: UTF8.self))
            case .tellOfDropped(let count): steps.append("dropped \(count)")
            case .close(let code, let reason):
                steps.append("close \(code.rawValue) \(reason)")
                return steps
            }
        }
        return steps
    }

    @Test func `gives messages in order, then the end`() {
        let session = make()
        for number in 1...3 { send(number, to: session) }
        session.close(.goingAway, reason: "bye")
        send(4, to: session)
        #expect(steps(session) == ["1", "2", "3", "close 1001 bye"])
    }

    @Test func `drops the oldest beyond its limits, and says how many`() {
        let byCount = make(messages: 3)
        for number in 1...10 { send(number, to: byCount) }
        #expect(steps(byCount) == ["dropped 7", "8", "9", "10"])
        send(11, to: byCount)
        #expect(steps(byCount) == ["11"])
        let byBytes = make(bytes: 100)
        for number in 1...5 { send(number, bytes: 40, to: byBytes) }
        #expect(steps(byBytes) == ["dropped 3", "4", "5"])
        // One that is larger than all may be together still goes.
        send(6, bytes: 1000, to: byBytes)
        #expect(steps(byBytes) == ["6"])
    }

    @Test func `keeps nothing of what it has dropped`() {
        final class Held: Sendable {}
        let session = make(messages: 2)
        weak var first: Held?
        do {
            let held = Held()
            first = held
            session.send(WebSocketSession.Message(byteCount: 1) { "\(held)".utf8.map { $0 } })
        }
        #expect(first != nil)
        for number in 1...2 { send(number, to: session) }
        #expect(first == nil)
    }

    @Test func `writes no message that it drops`() {
        let session = make(messages: 1)
        session.send(
            WebSocketSession.Message(byteCount: 1) {
                Issue.record("a dropped message was written")
                return []
            })
        send(1, to: session)
        #expect(steps(session) == ["dropped 1", "1"])
    }

    @Test func `wakes the connection when there is something to do again`() {
        let session = make()
        let wakes = Atomic<Int>(0)
        send(1, to: session)
        session.attach { wakes.wrappingAdd(1, ordering: .relaxed) }
        #expect(wakes.load(ordering: .relaxed) == 1)
        send(2, to: session)
        #expect(wakes.load(ordering: .relaxed) == 1)
        _ = steps(session)
        send(3, to: session)
        session.close(.normal)
        #expect(wakes.load(ordering: .relaxed) == 3)
    }

    @Test func `tells its receiver of the end once`() {
        let session = make()
        session.ended(.abnormal, reason: "")
        session.ended(.normal, reason: "")
        send(1, to: session)
        #expect(session.nextStep() == nil)
        #expect(receiver.ends.withLock { $0 } == [1006])
    }
}

@Suite struct `Worker traces` {
    private final class Sink: TraceSink {
        let samples: Bool
        init(samples: Bool) { self.samples = samples }
        func takesSample() -> Bool { samples }
        func wants(_ cause: TraceEvent.Cause, of worker: TraceEvent.Worker) -> Bool { true }
        func receive(_ event: TraceEvent) {}
    }

    @Test func `are watched as long as somebody watches`() {
        let traces = TraceDirectory().traces(of: "w", tenant: "t")
        let (one, other) = (Sink(samples: true), Sink(samples: false))
        #expect(!traces.isWatched)
        traces.add(one)
        traces.add(other)
        #expect(traces.sample().count == 1)
        traces.remove(one)
        #expect(traces.isWatched)
        traces.remove(other)
        #expect(!traces.isWatched)
    }

    @Test func `hold no more than they may`() {
        let traces = WorkerTraces()
        #expect(traces.take(WorkerTraces.gatheredBytesMax))
        #expect(!traces.take(1))
        traces.give(10)
        #expect(traces.take(10))
        #expect(!traces.take(1))
    }
}
