import Stores
import StoresD1
import StoresKV
import StoresQueues
import StoresR2
import Synchronization
import Testing
import Wire

@testable import Interfaces

/// What stores say of a worker's limits. Here, because this fixture has all of them.
@Suite struct `Limits that stores note` {
    private final class Listener: LimitListener {
        private let kept = Mutex<[String]>([])

        func near(_ limit: WorkerLimit, used: Int64, allowed: Int64, call: (binding: UInt16, kind: CallKind)?) {
            let call = call.map { " \($0.binding) \($0.kind.operation)" } ?? ""
            kept.withLock { $0.append("\(limit) \(used)/\(allowed)\(call)") }
        }

        func take() -> [String] {
            kept.withLock { lines in
                defer { lines = [] }
                return lines
            }
        }
    }

    @Test func `KV values and metadata, queue messages and batches, SQL and D1 queries`() async throws {
        try await withStores { stores in
            let listener = Listener()
            func ask(_ service: any StoreService, _ kind: CallKind, _ message: [UInt8], _ queries: QueryAllowance? = nil) async
            {
                _ = try? await service.answer(
                    StoreCall(kind, message: message, queries: queries, listener: listener, binding: 7))
            }
            let kv = KVService(try stores.kv.openNamespace("n"))
            func put(metadata count: Int) -> [UInt8] {
                KVPutMessage(
                    key: [1], value: [], metadata: "\"" + String(repeating: "m", count: count - 2) + "\""
                ).encoded()
            }
            await ask(kv, .kvPut, put(metadata: 819))
            #expect(listener.take() == [])
            await ask(kv, .kvPut, put(metadata: 820))
            #expect(listener.take() == ["kvMetadata 820/1024 7 put"])
            await ask(kv, .kvPut, put(metadata: 1025))
            #expect(listener.take() == [])

            try await stores.queues.openQueue("events", settings: nil)
            let queue = QueueService(stores.queues, queue: "events")
            func send(_ counts: [Int]) -> [UInt8] {
                QueueSendMessage(
                    form: counts.count == 1 ? .single : .batch,
                    items: counts.map { .init(contentType: .bytes, body: [UInt8](repeating: 0, count: $0)) }
                ).encoded()
            }
            await ask(queue, .queueSend, send([102_399]))
            #expect(listener.take() == [])
            await ask(queue, .queueSend, send([102_400]))
            #expect(listener.take() == ["queueMessage 102400/128000 7 send"])
            await ask(queue, .queueSend, send([90_000, 90_000, 30_000]))
            #expect(listener.take() == ["queueBatch 210000/256300 7 send"])

            let d1 = D1Service(store: stores.d1, database: "main")
            func query(_ texts: [String]) -> [UInt8] {
                D1Request(.query(texts.map { .init(sql: $0) }, .allRows)).encoded().message
            }
            let queries = QueryAllowance(10)
            await ask(d1, .d1Query, query([String](repeating: "SELECT 1", count: 7)), queries)
            #expect(listener.take() == [])
            await ask(d1, .d1Query, query(["SELECT 1"]), queries)
            #expect(listener.take() == ["queries 8/10 7 query"])
            await ask(d1, .d1Query, query(["SELECT 1 " + String(repeating: "-", count: 79_991)]))
            #expect(listener.take() == ["statement 80000/100000 7 query"])

            try await stores.r2.createBucket("media")
            let size = R2Limits.putBytesMax / 5 * 4 + 10
            await ask(
                R2Service(store: stores.r2, bucket: "media"), .r2Put,
                {
                    var encoder = WireEncoder()
                    R2PutMessage(key: "k", size: size).encode(into: &encoder)
                    return encoder.bytes
                }())
            #expect(listener.take() == ["object \(size)/\(R2Limits.putBytesMax) 7 put"])
        }
    }
}
