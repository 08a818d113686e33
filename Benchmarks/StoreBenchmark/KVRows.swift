internal import Glibc
internal import StoresKV
internal import System

extension StoreBenchmark {
    private static let keyCount = 100_000

    private static func key(_ number: Int) -> [UInt8] {
        var key = Array("session/00000000".utf8)
        write(number, into: &key)
        return key
    }

    /// Makes `key` that of another number, in place: reading keys from memory would cost as much as finding them.
    private static func write(_ number: Int, into key: inout [UInt8]) {
        var rest = number
        for place in stride(from: 15, through: 8, by: -1) {
            key[place] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
    }

    /// 100,000 keys of 16 bytes, values of 100, in an order that caches can't foresee.
    func kvGet() async throws {
        let store = try EmbeddedKVStore(directory: path("kv-get"), clock: clock, logger: logger)
        let namespace = try store.openNamespace("bench")
        let peer = try RawLMDB(path("raw-get"))
        let value = [UInt8](repeating: 0x76, count: 100)
        // The same keys in the same order, 500 at a time, so that both trees look alike.
        let keys = (0..<Self.keyCount).map { Self.key($0 * 48_271 % Self.keyCount) }
        for start in stride(from: 0, to: keys.count, by: 500) {
            try peer.put(keys[start..<(start + 500)].map { ($0, value) })
            try await withThrowingTaskGroup(of: Void.self) { group in
                for key in keys[start..<(start + 500)] {
                    group.addTask { try await namespace.put(KVWrite(key: key, value: value[...])) }
                }
                try await group.waitForAll()
            }
        }
        try peer.beginReading()
        var room = [UInt8](repeating: 0, count: 256)
        var key = keys[0]
        let load = Load(clock: clock, duration: .milliseconds(200))
        guard let inPlace = namespace as? any InPlaceKVNamespace else {
            throw PeerError(description: "waits to read")
        }
        let engine = {
            // As a reactor asks it.
            try load.blocking(stride: 1000) { number in
                Self.write(scattered(number, below: Self.keyCount), into: &key)
                let found = try inPlace.getInPlace(key, cacheTtl: nil, byteCountMax: 256 << 10)
                guard case .found(let record) = found, record.value.count == 100 else {
                    throw PeerError(description: "a value is missing")
                }
            }
        }
        let held = try await Comparison(rounds: 25, ours: engine) {
            try load.blocking(stride: 1000) { number in
                Self.write(scattered(number, below: Self.keyCount), into: &key)
                _ = try peer.get(key, into: &room)
            }
        }
        report("KV engine get", held, aim: ">= 0.8 x raw LMDB", peer: "mdb_get")
        let renewed = try await Comparison(rounds: 25, ours: engine) {
            try load.blocking(stride: 1000) { number in
                Self.write(scattered(number, below: Self.keyCount), into: &key)
                try peer.renewReading()
                _ = try peer.get(key, into: &room)
            }
        }
        report("KV engine get", renewed, aim: "", peer: "mdb_get in a renewed snapshot")
        await store.close()
    }

    func kvPut() async throws {
        let store = try EmbeddedKVStore(directory: path("kv-put"), clock: clock, logger: logger)
        let namespace = try store.openNamespace("bench")
        let peer = try RawLMDB(path("raw-put"))
        let value = [UInt8](repeating: 0x76, count: 100)
        let keys = (0..<10_000).map(Self.key)
        let load = Load(clock: clock)
        let comparison = try await Comparison {
            try await load.concurrently(lanes: 64) { number in
                try await namespace.put(
                    KVWrite(key: keys[scattered(number, below: keys.count)], value: value[...]))
            }
        } theirs: {
            try load.blocking { number in try peer.put([(keys[scattered(number, below: keys.count)], value)])
            }
        }
        report(
            "durable KV puts, 64 at once", comparison, aim: ">= 10 x raw LMDB",
            peer: "LMDB, one per transaction")
        let one = try await Comparison(rounds: 3) {
            try await load.serially { number in
                try await namespace.put(
                    KVWrite(key: keys[scattered(number, below: keys.count)], value: value[...]))
            }
        } theirs: {
            try load.blocking { number in try peer.put([(keys[scattered(number, below: keys.count)], value)])
            }
        }
        report("durable KV puts, 1 at once", one, aim: "", peer: "LMDB, one per transaction")
        await store.close()
    }

    /// For a row whose other side is a node: the same keys and values as it is sent.
    func rawWrites(_ count: Int) throws {
        let peer = try RawLMDB(path("raw-bulk"))
        let value = [UInt8](repeating: 0x76, count: 100)
        let pairs = (0..<count).map { (Self.key($0), value) }
        while readLine() != nil {
            let start = clock.now()
            try peer.put(pairs)
            print(Double((clock.now() - start).wholeNanoseconds) / 1e9)
            fflush(nil)
        }
    }
}
