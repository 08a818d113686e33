import Interfaces
import System
import Testing
import Wire

@testable import Workers

@Suite(.timeLimit(.minutes(5))) struct `Scheduled and queue events` {
    private struct Oops: Error, CustomStringConvertible { var description: String { "it broke" } }

    private final class Consumer: ScheduledHandler, QueueHandler {
        private let onTick: @Sendable (ScheduledEvent, ExecutionContext) async throws -> Void
        private let onBatch: @Sendable (MessageBatch, Env, ExecutionContext) async throws -> Void

        init(env: Env) throws { throw Oops() }
        init(
            onTick: @escaping @Sendable (ScheduledEvent, ExecutionContext) async throws -> Void = { _, _ in },
            onBatch: @escaping @Sendable (MessageBatch, Env, ExecutionContext) async throws -> Void = {
                _, _, _ in
            }
        ) {
            self.onTick = onTick
            self.onBatch = onBatch
        }
        func scheduled(_ event: ScheduledEvent, env: Env, context: ExecutionContext) async throws {
            try await onTick(event, context)
        }
        func queue(_ batch: MessageBatch, env: Env, context: ExecutionContext) async throws {
            try await onBatch(batch, env, context)
        }
    }

    private func tick(_ host: FakeHost, _ stream: UInt32) {
        var encoder = WireEncoder()
        ScheduledMessage(cron: "0 0 L * *", scheduledTime: 120_000).encode(into: &encoder)
        host.event(.scheduled, stream, encoder.bytes)
    }

    private func batch(_ host: FakeHost, _ stream: UInt32, _ bodies: [String]) {
        var encoder = WireEncoder()
        QueueBatchMessage(queue: "jobs", items: bodies.map(MessageBatch.item), metrics: .empty).encode(
            into: &encoder)
        host.event(.queue, stream, encoder.bytes)
    }

    private func reply(_ host: FakeHost, _ stream: UInt32) async throws -> QueueBatchReply {
        let frame = try await host.next { $0.stream == stream }
        var decoder = WireDecoder(Array(frame.payload[1...]))
        #expect(frame.payload[0] == 0 && frame.isEnd)
        return try QueueBatchReply(decoding: &decoder)
    }

    @Test func `probe 16: hands on the expression as configured`() async throws {
        let host = try FakeHost { _ in
            Consumer(onTick: { event, context in
                context.log.info("\(event.cron) \(event.scheduledTime)")
                event.noRetry()
            })
        }
        let description = try await host.configure(.test())
        var decoder = WireDecoder(Array(description.payload[1...]))
        #expect(try IsolateDescription(decoding: &decoder).handlers == ["scheduled", "queue"])
        tick(host, 3)
        #expect(try Call(try await host.next()).log?.text == "0 0 L * * 120000")
        #expect(try await host.next().payload == [0, 1])
        host.fetch(5)
        #expect(try await host.answer(5).failure?.message == "Handler does not export a fetch() function.")
    }

    @Test func `fails a tick whose waitUntil work fails`() async throws {
        let host = try FakeHost { _ in
            Consumer(onTick: { _, context in context.waitUntil { throw Oops() } })
        }
        _ = try await host.configure(.test())
        tick(host, 3)
        let frame = try await host.next()
        #expect(try Answer(frame.payload).failure == CallFailure("it broke", name: "Oops"))
    }

    @Test func `probe 8: acknowledges all when the handler returns, none when it throws`() async throws {
        let host = try FakeHost { _ in
            Consumer(onBatch: { batch, _, _ in if batch.messages[0].text == "bad" { throw Oops() } })
        }
        _ = try await host.configure(.test())
        batch(host, 3, ["good", "good"])
        #expect(try await reply(host, 3) == .init(succeeded: true, decisions: [.acknowledge, .acknowledge]))
        batch(host, 5, ["bad", "good"])
        #expect(
            try await reply(host, 5)
                == .init(succeeded: false, decisions: [.retry(delaySeconds: nil), .retry(delaySeconds: nil)]))
    }

    @Test func `probe 19: answers a batch only when its waitUntil work has ended, and fails with it`()
        async throws
    {
        let host = try FakeHost { _ in
            Consumer(onBatch: { _, env, context in
                context.waitUntil {
                    _ = try await env.call(.kvPut)
                    throw Oops()
                }
            })
        }
        _ = try await host.configure(.test())
        batch(host, 3, ["a"])
        let call = try await host.next()
        #expect(try Call(call).kind == .kvPut)
        host.send(.open, call.stream, [0], flags: .end)
        #expect(try Call(try await host.next()).log?.text == "uncaught error: Oops: it broke")
        #expect(try await reply(host, 3).succeeded == false)
    }

    @Test func `logs a warning for a call that has no effect`() async throws {
        let host = try FakeHost { _ in
            Consumer(onBatch: { batch, _, _ in
                batch.messages[0].ack()
                batch.messages[0].retry()
            })
        }
        _ = try await host.configure(.test())
        batch(host, 3, ["a"])
        let log = try #require(try Call(try await host.next()).log)
        #expect(
            log.level == Log.Level.warn.rawValue
                && log.text.hasPrefix("Received a call to retry() on message"))
        #expect(try await reply(host, 3).decisions == [.acknowledge])
    }
}

extension QueueMetrics {
    static let empty = QueueMetrics(backlogCount: 0, backlogBytes: 0, oldestMessageTimestamp: nil)
}

extension MessageBatch {
    static func item(_ body: String) -> QueueBatchMessage.Item {
        QueueBatchMessage.Item(
            id: String(repeating: "a", count: 32), timestamp: 1, contentType: .text, body: Array(body.utf8),
            attempts: 1)
    }
}

@Suite struct `Message batch` {
    private enum Step {
        case ack(Int)
        case retry(Int, Int?)
        case ackAll
        case retryAll(Int?)
    }

    private static let done = QueueBatchReply.Decision.acknowledge
    private static func again(_ delay: Int64? = nil) -> QueueBatchReply.Decision {
        .retry(delaySeconds: delay)
    }

    /// Steps on a batch of two; what becomes of both when the handler returns and when it throws; warnings.
    private static let table: [([Step], ok: [QueueBatchReply.Decision], failed: [QueueBatchReply.Decision], Int)] = [
        ([], [done, done], [again(), again()], 0),
        ([.ack(0)], [done, done], [done, again()], 0),  // probe 9
        ([.ackAll], [done, done], [done, done], 0),  // probe 10
        ([.retry(0, nil), .ackAll], [again(), done], [again(), done], 0),  // probe 11
        ([.ackAll, .retry(0, nil)], [done, done], [done, done], 1),  // probe 11
        ([.ack(0), .retryAll(nil)], [done, again()], [done, again()], 0),  // probe 12
        ([.retryAll(nil), .ack(0)], [again(), again()], [again(), again()], 1),  // probe 12
        ([.ack(0), .retry(0, 5)], [done, done], [done, again()], 1),  // probe 13
        ([.retry(0, 2), .retryAll(10)], [again(2), again(10)], [again(2), again(10)], 0),  // probe 17
        ([.retry(0, 0), .retryAll(10)], [again(0), again(10)], [again(0), again(10)], 0),  // probe 17
        ([.retry(0, nil), .retryAll(10)], [again(10), again(10)], [again(10), again(10)], 0),
        ([.retry(0, 2), .retry(0, 3)], [again(3), done], [again(3), again()], 0),
        ([.retry(0, 2), .ack(0)], [again(2), done], [again(2), again()], 1),
        ([.ackAll, .ack(0)], [done, done], [done, done], 0),
        ([.ackAll, .retryAll(1)], [done, done], [done, done], 1),
        ([.retryAll(1), .ackAll], [again(1), again(1)], [again(1), again(1)], 1),
        ([.retryAll(1), .retry(1, 7)], [again(1), again(7)], [again(1), again(7)], 0),
        ([.ack(0), .ack(0)], [done, done], [done, again()], 0),
    ]

    @Test(arguments: table.indices) func `probes 9 to 13 and 17: follows the decision table`(_ row: Int) {
        let (steps, ok, failed, warningCount) = Self.table[row]
        var warnings: [String] = []
        let batch = MessageBatch(
            QueueBatchMessage(
                queue: "q", items: [MessageBatch.item("a"), MessageBatch.item("b")], metrics: .empty)
        ) { warnings.append($0) }
        for step in steps {
            switch step {
            case .ack(let index): batch.messages[index].ack()
            case .retry(let index, let delay): batch.messages[index].retry(delaySeconds: delay)
            case .ackAll: batch.ackAll()
            case .retryAll(let delay): batch.retryAll(delaySeconds: delay)
            }
        }
        #expect(batch.reply(succeeded: true).decisions == ok)
        #expect(batch.reply(succeeded: false).decisions == failed)
        #expect(warnings.count == warningCount)
    }

    @Test func `words its warnings as documented`() {
        var warnings: [String] = []
        let batch = MessageBatch(
            QueueBatchMessage(queue: "q", items: [MessageBatch.item("a")], metrics: .empty)
        ) { warnings.append($0) }
        let id = batch.messages[0].id
        batch.messages[0].retry()
        batch.messages[0].ack()
        batch.retryAll()
        batch.ackAll()
        #expect(
            warnings == [
                "Received a call to ack() on message \(id) after retry() was already called. Calling ack() on a "
                    + "message after calling retry() has no effect.",
                "Received a call to ackAll() after retryAll() was already called. Calling ackAll() after calling "
                    + "retryAll() has no effect.",
            ])
    }
}
