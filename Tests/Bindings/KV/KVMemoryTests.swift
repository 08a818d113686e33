import Interfaces
import Stores
import StoresKV
import Synchronization
import System
import Testing

/// A body that ends when it is told to, and counts how often it was asked.
private final class SlowBody: BodySource {
    private let state = Mutex<(pulls: Int, isOpen: Bool, waiter: CheckedContinuation<Void, Never>?)>((0, false, nil))
    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var pulls: Int { state.withLock { $0.pulls } }

    func next() async throws -> [UInt8]? {
        let isFirst = state.withLock { state in
            state.pulls += 1
            return state.pulls == 1
        }
        if isFirst { return bytes }
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiter = continuation }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
        return nil
    }

    func finish() {
        let waiter = state.withLock { state in
            state.isOpen = true
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    func cancel() { finish() }
}

@Suite struct `KV memory` {
    private func put(_ key: String, _ body: SlowBody) -> StoreCall {
        StoreCall(.kvPut, message: KVPutMessage(key: Array(key.utf8), value: nil).encoded(), body: body)
    }

    private func get(_ key: String) -> StoreCall {
        StoreCall(.kvGet, message: KVGetMessage(key: Array(key.utf8)).encoded())
    }

    @Test func `takes no more values in at once than its memory has room for`() async throws {
        let fixture = try KVFixture(options: { $0.incomingBytesMax = 2 * KVLimits.valueByteCountMax })
        let namespace = try fixture.store.openNamespace("A")
        let service = KVService(namespace)
        let bodies = (0..<3).map { SlowBody([UInt8](repeating: UInt8($0), count: 400_000)) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<2 { group.addTask { _ = try await service.answer(put("\(index)", bodies[index])) } }
            while bodies[0].pulls < 2 || bodies[1].pulls < 2 { await Task.yield() }
            group.addTask { _ = try await service.answer(put("2", bodies[2])) }
            while namespace.memory.incoming.waiterCount == 0 { await Task.yield() }
            #expect(bodies[2].pulls == 0)
            for body in bodies { body.finish() }
            try await group.waitForAll()
        }
        #expect(try await fixture.namespace("A").get("2", .bytes) == [UInt8](repeating: 2, count: 400_000))
        #expect(namespace.memory.incoming.left == 2 * KVLimits.valueByteCountMax)
        await fixture.store.close()
    }

    @Test func `refuses a put whose turn doesn't come in time`() async throws {
        let fixture = try KVFixture(options: { $0.incomingBytesMax = KVLimits.valueByteCountMax })
        let namespace = try fixture.store.openNamespace("A")
        let service = KVService(namespace)
        let (first, second) = (SlowBody([1]), SlowBody([2]))
        async let held = service.answer(put("first", first))
        while first.pulls < 2 { await Task.yield() }
        async let refused = failure { _ = try await service.answer(put("second", second)) }
        while namespace.memory.incoming.waiterCount == 0 { await Task.yield() }
        fixture.clock.advance(by: .seconds(10))
        #expect(await refused?.message == "KV PUT failed: 429 Too Many Requests")
        #expect(second.pulls == 0)
        first.finish()
        _ = try await held
        #expect(try await fixture.namespace("A").get("second") == nil)
        await fixture.store.close()
    }

    @Test func `counts values until they are read or given up`() async throws {
        let fixture = try KVFixture(options: { $0.outgoingBytesMax = 1 << 20 })
        let namespace = try fixture.store.openNamespace("A")
        let service = KVService(namespace)
        let kv = try fixture.namespace("A")
        let value = [UInt8](repeating: 5, count: 600_000)
        try await kv.put("k", value)
        let first = try await service.answer(get("k"))
        let second = Task { try await service.answer(get("k")) }
        while namespace.memory.outgoing.waiterCount == 0 { await Task.yield() }
        // What was answered stays as it was, whatever happens to the key.
        try await kv.put("k", "other")
        guard case .stream(let source)? = first.body else { throw CallFailure("no body") }
        var bytes: [UInt8] = []
        while let piece = try await source.next() { bytes += piece }
        #expect(bytes == value)
        // The second finds what is there when its turn comes.
        #expect(try await second.value.body == nil)
        #expect(namespace.memory.outgoing.left == 1 << 20)

        try await kv.put("k", value)
        let third = try await service.answer(get("k"))
        #expect(namespace.memory.outgoing.left == 1 << 20 - 600_000)
        guard case .stream(let unread)? = third.body else { throw CallFailure("no body") }
        unread.cancel()
        #expect(namespace.memory.outgoing.left == 1 << 20)
        await fixture.store.close()
    }

    @Test func `counts a bulk get until it is read`() async throws {
        let fixture = try KVFixture()
        let namespace = try fixture.store.openNamespace("A")
        let kv = try fixture.namespace("A")
        for key in ["a", "b"] { try await kv.put(key, String(repeating: key, count: 200_000)) }
        #expect(try await kv.get(["a", "b", "c"])["b"] == String(repeating: "b", count: 200_000))
        let total = namespace.memory.outgoing.total
        #expect(namespace.memory.outgoing.left == total)
        let message = KVGetManyMessage(keys: [[0x61], [0x62]], type: "text").encoded()
        let reply = try await KVService(namespace).answer(StoreCall(.kvGetMany, message: message))
        #expect((400_000..<401_000).contains(total - namespace.memory.outgoing.left))
        guard case .stream(let source)? = reply.body else { throw CallFailure("no body") }
        source.cancel()
        #expect(namespace.memory.outgoing.left == total)
        await fixture.store.close()
    }
}
