import Foundation
import Stores
import System
import Testing

@testable import Releases

@Suite struct `Bundle store` {
    private let directory = NSTemporaryDirectory() + "edge-bundles-\(UUID().uuidString)"

    private static let hash = String(repeating: "ab", count: 32)
    private static let files: [(String, String)] = [
        ("environments/staging.toml", "format = 1\n"), ("migrations/0001_a.sql", "CREATE TABLE a (id);\n"),
        ("products", "\(hash)  HelloWorker\n"), ("wrangler-like.toml", "format = 1\n"),
    ]

    private func archive(_ files: [(String, String)], end: Bool = true) -> Bytes {
        var bytes: [UInt8] = []
        for (path, text) in files {
            let count = Int64(text.utf8.count)
            bytes += TarHeader.file(path, byteCount: count) + Array(text.utf8) + TarHeader.padding(after: count)
        }
        return Bytes(bytes + (end ? TarHeader.end : []))
    }

    /// In pieces that end anywhere.
    private final class Bytes: BodySource, @unchecked Sendable {  // One reader.
        private var left: ArraySlice<UInt8>
        init(_ bytes: [UInt8]) { left = bytes[...] }
        func next() async throws -> [UInt8]? {
            guard !left.isEmpty else { return nil }
            let piece = left.prefix(777)
            left = left.dropFirst(piece.count)
            return Array(piece)
        }
        func cancel() {}
    }

    private func names() -> [String] { FileTree.list(directory).sorted() }

    @Test func `has a bundle once, under the hash of its files, in whatever order they come`() async throws {
        let store = try BundleStore(directory: directory)
        let one = try await store.receive(archive(Self.files))
        let again = try await store.receive(archive(Self.files.reversed()))
        #expect(one.bundle == again.bundle)
        #expect(names() == [one.bundle.hash])
        #expect(try one.bundle.artifacts() == ["HelloWorker": Self.hash])
        #expect(try FileTree.readTextIfPresent(one.bundle.directory + "/migrations/0001_a.sql") == "CREATE TABLE a (id);\n")
        var changed = Self.files
        changed[0].1 += "\n"
        #expect(try await store.receive(archive(changed)).bundle.hash != one.bundle.hash)
        #expect(store.find(one.bundle.hash)?.bundle == one.bundle)
        #expect(store.find("../" + one.bundle.hash) == nil)
        #expect(store.find(Self.hash) == nil)
    }

    @Test func `what it gives out it takes in as the same`() async throws {
        let store = try BundleStore(directory: directory)
        let hold = try await store.receive(archive(Self.files))
        let other = try BundleStore(directory: directory + "-other")
        let copy = try await other.receive(store.archive(hold))
        #expect(copy.bundle.hash == hold.bundle.hash)
    }

    static let wrong: [[(String, String)]] = [
        [("wrangler-like.toml", "")], [("products", "")],
        files + [("wrangler-like.toml", "twice")], files + [("../outside", "")], files + [("/absolute", "")],
        files + [("a//b", "")], files + [("products/below", "")],
    ]

    @Test(arguments: wrong)
    func `refuses what is no bundle, and keeps nothing of it`(files: [(String, String)]) async throws {
        let store = try BundleStore(directory: directory)
        await #expect(throws: (any Error).self) { try await store.receive(archive(files)) }
        #expect(names().isEmpty)
    }

    @Test func `refuses an archive that ends too early`() async throws {
        let store = try BundleStore(directory: directory)
        await #expect(throws: (any Error).self) { try await store.receive(archive(Self.files, end: false)) }
        #expect(names().isEmpty)
    }

    @Test func `collects what nobody has, but not what is held`() async throws {
        let store = try BundleStore(directory: directory)
        var hold: BundleStore.Hold? = try await store.receive(archive(Self.files))
        let hash = try #require(hold?.bundle.hash)
        try await store.prune { [] }
        #expect(names() == [hash])
        #expect(hold?.bundle.hash == hash)
        hold = nil
        try await store.prune { [hash] }
        #expect(names() == [hash])
        try await store.prune { [] }
        #expect(names().isEmpty)
    }

    @Test func `a node that was cut short leaves nothing behind`() throws {
        try FileTree.makeDirectory(directory, mode: 0o700)
        try FileTree.makeDirectory(directory + "/.incoming-1", mode: 0o700)
        _ = try BundleStore(directory: directory)
        #expect(names().isEmpty)
    }
}
