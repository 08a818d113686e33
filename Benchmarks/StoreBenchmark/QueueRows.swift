internal import Interfaces
internal import StoresQueues
internal import System

extension StoreBenchmark {
    func queueSend() async throws {
        let store = try EmbeddedQueueStore(directory: path("queues"), clock: clock, logger: logger)
        try await store.openQueue("bench", settings: nil)
        let peer = try RawLMDB(path("raw-queue"))
        let body = [UInt8](repeating: 0x6D, count: 100)
        let load = Load(clock: clock)
        var sent = 0
        let comparison = try await Comparison {
            try await load.concurrently(lanes: 64) { _ in
                _ = try await store.send(
                    [.init(contentType: .bytes, body: body)], form: .single, to: "bench")
            }
        } theirs: {
            try load.blocking { _ in
                // As a queue made by hand would have it: numbers in order.
                sent += 1
                let key = (0..<8).map { UInt8(truncatingIfNeeded: sent >> (56 - 8 * $0)) }
                try peer.put([(key, body)])
            }
        }
        report("durable queue sends, 64 at once", comparison, aim: "", peer: "LMDB, one per transaction")
        await store.close()
    }
}
