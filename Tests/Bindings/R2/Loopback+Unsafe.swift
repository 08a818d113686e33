import Foundation
import Glibc
import Observability
import Stores
import StoresR2
import Synchronization
import System

@testable import Interfaces

/// A fresh directory, gone with the last one who holds it.
final class FreshDirectory: Sendable {
    let path = NSTemporaryDirectory() + "edge-r2-" + UUID().uuidString

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// A store in a fresh directory, and a bucket on it as a handler would have it.
final class Fixture {
    private let fresh: FreshDirectory
    let clock = VirtualClock()
    private(set) var store: EmbeddedR2Store
    private(set) var bucket: R2Bucket
    var options: EmbeddedR2Store.Options

    init(_ options: EmbeddedR2Store.Options = EmbeddedR2Store.Options()) async throws {
        self.options = options
        self.options.sweepInterval = nil
        self.options.lifecycleInterval = nil
        fresh = try FreshDirectory()
        store = try Self.open(fresh.path, clock, self.options)
        try await store.createBucket("photos")
        bucket = Self.bind(store, "photos", fresh)
    }

    var directory: String { fresh.path }

    /// Another bucket of the same store.
    func bind(_ name: String) -> R2Bucket { Self.bind(store, name, fresh) }

    /// Closes the store and opens it again, as a new process would find it.
    func reopen(hook: DiskHook? = nil) async throws {
        await store.close()
        options.diskHook = hook
        store = try Self.open(directory, clock, options)
        bucket = Self.bind(store, "photos", fresh)
    }

    /// The blobs' files, without the temporary ones.
    var blobs: [String] { files(below: directory + "/r2/blobs") }
    var temporaries: [String] { files(below: directory + "/r2/tmp") }

    private func files(below path: String) -> [String] {
        (FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? [])
            .filter { $0.utf8.count >= 32 }.sorted()
    }

    private static func open(
        _ directory: String, _ clock: VirtualClock, _ options: EmbeddedR2Store.Options
    ) throws -> EmbeddedR2Store {
        try EmbeddedR2Store(
            directory: directory + "/r2", clock: clock,
            logger: Logger(sink: DiscardingSink(), clock: clock, level: .error), options: options)
    }

    private static func bind(_ store: EmbeddedR2Store, _ name: String, _ fresh: FreshDirectory) -> R2Bucket {
        R2Bucket(transport: Loopback(R2Service(store: store, bucket: name), fresh), binding: 0)
    }
}

/// Carries a binding's calls straight to a service.
final class Loopback: BindingTransport {
    private let service: R2Service
    private let fresh: FreshDirectory

    init(_ service: R2Service, _ fresh: FreshDirectory) {
        self.service = service
        self.fresh = fresh
    }

    func perform(_ call: BindingCall) async throws -> BindingReply {
        let body = call.body.map { StreamBody($0) }
        let reply = try await service.answer(StoreCall(call.kind, message: call.message, body: body))
        return BindingReply(message: reply.message, body: reply.body.map { stream($0) })
    }

    private func stream(_ body: StoreBody) -> ByteStream {
        switch body {
        case .bytes(let bytes): return ByteStream(bytes)
        case .stream(let source): return ByteStream { try await source.next() }
        case .file(let slice):
            let position = Atomic<Int>(0)
            return ByteStream {
                let start = position.load(ordering: .relaxed)
                let count = min(64 << 10, slice.byteCount - start)
                guard count > 0 else { return nil }
                position.store(start + count, ordering: .relaxed)
                return try read(slice, at: start, count: count)
            }
        }
    }
}

struct ShortFile: Error {}

private func read(_ slice: FileSlice, at start: Int, count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let got = unsafe bytes.withUnsafeMutableBytes { buffer in
        // SAFETY: the kernel writes at most `count` bytes into the array.
        unsafe pread(slice.descriptor.rawValue, buffer.baseAddress, count, Int(slice.offset) + start)
    }
    guard got == count else { throw ShortFile() }
    return bytes
}

final class StreamBody: BodySource {
    private let stream: ByteStream
    private let cancelled = Atomic<Bool>(false)

    init(_ stream: ByteStream) { self.stream = stream }

    var wasCancelled: Bool { cancelled.load(ordering: .relaxed) }
    func next() async throws -> [UInt8]? { try await stream.next() }
    func cancel() { cancelled.store(true, ordering: .relaxed) }
}

/// A generator that gives the same numbers for the same seed (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Bytes that differ at every place, so that a wrong offset shows.
func pattern(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 8)
    while bytes.count < count {
        var word = generator.next()
        for _ in 0..<8 {
            bytes.append(UInt8(truncatingIfNeeded: word))
            word >>= 8
        }
    }
    return Array(bytes.prefix(count))
}

/// A body of `bytes` in pieces of `pieceByteCount`.
func stream(_ bytes: [UInt8], piece pieceByteCount: Int = 64 << 10, length: Int? = nil) -> ByteStream {
    let position = Atomic<Int>(0)
    return ByteStream(length: length ?? bytes.count) {
        let start = position.load(ordering: .relaxed)
        guard start < bytes.count else { return nil }
        let end = min(bytes.count, start + pieceByteCount)
        position.store(end, ordering: .relaxed)
        return Array(bytes[start..<end])
    }
}

/// What `body` fails with, as a handler would print it.
func failure(_ body: () async throws -> Void) async -> String {
    do {
        try await body()
        return "no failure"
    } catch {
        return "\(error)"
    }
}
