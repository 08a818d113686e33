internal import Interfaces
internal import Stores
internal import StoresR2
internal import System

extension StoreBenchmark {
    func r2() async throws {
        let store = try EmbeddedR2Store(directory: path("r2"), clock: clock, logger: logger)
        try await store.createBucket("bench")
        try FileTree.makeDirectory(path("raw-files"), mode: 0o700)
        let peer = RawFiles(path("raw-files"))
        for (name, byteCount) in [("64 KiB", 64 << 10), ("1 MiB", 1 << 20)] {
            try await r2(store, peer, name, byteCount)
        }
        await store.close()
    }

    /// Objects that no memory should hold: few of them, one after the other.
    func r2Large() async throws {
        let store = try EmbeddedR2Store(directory: path("r2-large"), clock: clock, logger: logger)
        try await store.createBucket("bench")
        try FileTree.makeDirectory(path("raw-large"), mode: 0o700)
        let peer = RawFiles(path("raw-large"))
        let byteCount = 100 << 20
        let bytes = [UInt8](repeating: 0x6D, count: byteCount)
        let load = Load(clock: clock, duration: .seconds(1))
        let put = try await Comparison(rounds: 3) {
            try await load.serially { number in
                let message = R2PutMessage(key: "object-\(number % 3)", size: Int64(byteCount))
                _ = try await store.put(message, body: Pieces(bytes), in: "bench")
            }
        } theirs: {
            try load.blocking { try peer.put("object-\($0 % 3)", bytes) }
        }
        report("R2 put 100 MiB, 1 at once", put, aim: "", peer: "write, fsync, rename")
        await store.close()
    }

    private func r2(_ store: EmbeddedR2Store, _ peer: RawFiles, _ name: String, _ byteCount: Int) async throws {
        let bytes = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let load = Load(clock: clock)
        let put: @Sendable (Int) async throws -> Void = { number in
            let message = R2PutMessage(key: "object-\(number % 50)", size: Int64(byteCount))
            _ = try await store.put(message, body: Pieces(bytes), in: "bench")
        }
        let rawPut = { try load.blocking { try peer.put("object-\($0 % 50)", bytes) } }
        let one = try await Comparison(rounds: 3) {
            try await load.serially(put)
        } theirs: {
            try rawPut()
        }
        report("R2 put \(name), 1 at once", one, aim: "", peer: "write, fsync, rename")
        let many = try await Comparison(rounds: 3) {
            try await load.concurrently(lanes: 16, put)
        } theirs: {
            try rawPut()
        }
        report("R2 put \(name), 16 at once", many, aim: "", peer: "write, fsync, rename")

        var room = [UInt8](repeating: 0, count: byteCount)
        let get = try await Comparison {
            try await load.serially { number in
                let found = try await store.get(R2GetMessage(key: "object-\(number % 50)"), in: "bench")
                guard case .withBody(_, let body, _) = found else {
                    throw PeerError(description: "no object")
                }
                guard try Self.read(body) == byteCount else {
                    throw PeerError(description: "bytes are missing")
                }
            }
        } theirs: {
            try load.blocking { _ = try peer.get("object-\($0 % 50)", into: &room) }
        }
        report("R2 get \(name), 1 at once", get, aim: "", peer: "open, read, close")
    }

    /// Reads a body as the node does when it goes to an isolate.
    private static func read(_ body: StoreBody) throws -> Int {
        switch body {
        case .bytes(let bytes): return bytes.count
        case .file(let slice):
            var count = 0
            while count < slice.byteCount {
                count += try slice.descriptor.read(
                    at: slice.offset + Int64(count), count: min(128 << 10, slice.byteCount - count)
                ).count
            }
            return count
        case .stream: throw PeerError(description: "an object put at once comes in one piece")
        }
    }
}

/// A body in the pieces in which a channel brings it.
private final class Pieces: BodySource, @unchecked Sendable {  // One reader at a time, by contract.
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func next() async throws -> [UInt8]? {
        guard position < bytes.count else { return nil }
        let piece = Array(bytes[position..<min(bytes.count, position + (64 << 10))])
        position += piece.count
        return piece
    }

    func cancel() {}
}
