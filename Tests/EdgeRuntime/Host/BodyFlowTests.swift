import Stores
import Synchronization
import System
import Testing

@testable import Host

/// Counts what it gets and holds the producer to what it granted. One thread.
private final class Collector: BodyConsumer {
    var bytes: [UInt8] = []
    var granted = 0
    var finishCount = 0
    var failure: StreamReset?
    func receive(_ bytes: UnsafeRawBufferPointer) {
        unsafe self.bytes += Array(bytes)
        #expect(self.bytes.count <= granted, "more than was granted")
        #expect(finishCount == 0)
    }
    func finish() { finishCount += 1 }
    func fail(_ reason: StreamReset) { failure = reason }
}

private final class GrantCounter: BodyProducer {
    var granted = 0
    var isCancelled = false
    func grant(_ byteCount: Int) { granted += byteCount }
    func cancel(_ reason: StreamReset) { isCancelled = true }
}

@Suite struct `Bytes producer` {
    @Test func `pushes no more than it may, then the end, once`() {
        let seed: UInt64 = 0x5EED_0020
        var random = SplitMix64(seed: seed)
        for _ in 0..<200 {
            let body = (0..<Int.random(in: 0...500, using: &random)).map { UInt8(truncatingIfNeeded: $0) }
            let collector = Collector()
            let producer = BytesProducer(body, to: collector)
            for _ in 0..<100 {
                let count = Int.random(in: 0...30, using: &random)
                collector.granted += count
                producer.grant(count)
            }
            collector.granted += 500
            producer.grant(500)
            #expect(collector.bytes == body, "seed \(seed)")
            #expect(collector.finishCount == 1, "seed \(seed)")
        }
    }

    @Test func `stops when it is cancelled`() {
        let collector = Collector()
        let producer = BytesProducer([1, 2, 3], to: collector)
        collector.granted = 3
        producer.grant(1)
        producer.cancel(.cancelled)
        producer.grant(2)
        #expect(collector.bytes == [1])
        #expect(collector.finishCount == 0)
    }
}

@Suite(.timeLimit(.minutes(5))) struct `Buffered source` {
    @Test func `grants each byte once, whether its reader waited or not`() async throws {
        let node = try FakeNode()
        defer { node.stop() }
        let source = BufferedSource(reactor: node.reactor)
        let counter = UncheckedBox(GrantCounter())
        let box = UncheckedBox(source)
        await node.reactor.call { box.value.start(from: counter.value) }
        for round in 0..<200 {
            let isWaiting = round % 2 == 0
            async let piece = isWaiting ? source.next() : nil
            if isWaiting { for _ in 0..<3 { await Task.yield() } }
            await node.reactor.call {
                unsafe [UInt8](repeating: 1, count: 100).withUnsafeBytes { unsafe box.value.receive($0) }
            }
            _ = try await piece
            if !isWaiting { _ = try await source.next() }
        }
        await node.reactor.call {}
        #expect(await node.reactor.call { counter.value.granted } == 20_000)
        await node.reactor.call { box.value.finish() }
        #expect(try await source.next() == nil)
        #expect(try await source.next() == nil)
    }

    @Test func `has nothing more to give once it was cancelled`() async throws {
        let node = try FakeNode()
        defer { node.stop() }
        let source = BufferedSource(reactor: node.reactor)
        let counter = UncheckedBox(GrantCounter())
        let box = UncheckedBox(source)
        await node.reactor.call { box.value.start(from: counter.value) }
        source.cancel()
        await #expect(throws: StreamReset.cancelled) { try await source.next() }
        await node.reactor.call {}
        #expect(await node.reactor.call { counter.value.isCancelled })
    }

    @Test func `passes the failure of its sender on`() async throws {
        let node = try FakeNode()
        defer { node.stop() }
        let source = BufferedSource(reactor: node.reactor)
        let box = UncheckedBox(source)
        await node.reactor.call {
            unsafe [UInt8](repeating: 1, count: 3).withUnsafeBytes { unsafe box.value.receive($0) }
            box.value.fail(StreamReset(.internal, "gone"))
        }
        #expect(try await source.next() == [1, 1, 1])
        await #expect(throws: StreamReset(.internal, "gone")) { try await source.next() }
    }
}

/// Carries something to the thread that owns it.
private struct UncheckedBox<Value>: @unchecked Sendable {  // Used on the reactor's thread alone, but for its making.
    let value: Value
    init(_ value: Value) { self.value = value }
}
