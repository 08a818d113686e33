import Foundation
import System
import Testing

@testable import Releases

@Suite struct `Release store` {
    private final class Place {
        let directory = NSTemporaryDirectory() + "edge-releases-\(UUID().uuidString)"
        var database: String { directory + "/control.sqlite" }

        init() throws { try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true) }
        deinit { try? FileManager.default.removeItem(atPath: directory) }

        func store(_ tenant: String = "one") throws -> ReleaseStore {
            try ReleaseStore(database: database, tenant: tenant, environment: "dev")
        }
    }

    private let time = UnixTime(milliseconds: 1_800_000_000_000)

    private func version(_ number: Int64, of worker: String = "w", artifact: String? = nil) -> ScriptVersion {
        var snapshot = VersionSnapshot()
        snapshot.bindings = [
            .init("KV", .kvNamespace(id: "1")), .init("LIMIT", .rateLimit(.init(namespace: "=1", limit: 2, periodSeconds: 10))),
        ]
        snapshot.variables = [.init("A", "text \"with\" signs", isJSON: false), .init("B", "[1]", isJSON: true)]
        snapshot.secrets = [.init(name: "S", reference: "r\(number)")]
        return ScriptVersion(
            id: "\(worker)-\(number)", worker: worker, number: number, artifact: artifact ?? "hash \(number)",
            snapshot: snapshot, fingerprint: "", annotations: ["workers/message": "m"],
            author: ScriptAuthor(id: "i", email: "e", source: "api"), createdAt: time, handlers: ["fetch"],
            startupMilliseconds: 3)
    }

    private func plan() -> ReleasePlan {
        ReleasePlan(.init(), ReleaseDescription(name: "r", tenant: "one", environment: "dev", workers: []), name: "r")
    }

    @Test func `gives back what was committed, for each tenant its own`() throws {
        let place = try Place()
        let store = try place.store()
        var plan = plan()
        var script = ScriptRecord(worker: "w", at: time)
        script.configuredVersion = "f"
        script.settings = #"{"tags":["a"]}"#
        script.nextNumber = 3
        plan.put(script)
        plan.change.versions = [version(1), version(2)]
        _ = plan.deploy("w", [(version(2), 2_500), (version(1), 7_500)], ["a": "b"], by: .configuration, at: time)
        plan.setTriggers([ScriptTrigger(id: "1", kind: .route, worker: nil, value: "a.test/*", at: time)])
        plan.change.account = ["subdomain": "s"]
        try store.commit(plan.change, at: time)

        let stored = try place.store().load()
        #expect(stored.scripts == ["w": script])
        #expect(stored.live["w"] == plan.stored.live["w"])
        #expect(stored.live["w"]?.versions == [version(1), version(2)])
        #expect(stored.live["w"]?.primary == version(1))
        #expect(stored.triggers == plan.stored.triggers)
        #expect(stored.account == ["subdomain": "s"])
        #expect(stored.generation == 1)
        #expect(try place.store("two").load().scripts.isEmpty)
        #expect(try place.store("two").version("w-1", of: "w") == nil)
    }

    @Test func `makes all of a change or nothing`() throws {
        let store = try Place().store()
        var plan = plan()
        plan.put(ScriptRecord(worker: "w", at: time))
        plan.change.versions = [version(1), version(1)]
        #expect(throws: (any Error).self) { try store.commit(plan.change, at: time) }
        #expect(try store.load().scripts.isEmpty)
        #expect(try store.versions(of: "w").isEmpty)
    }

    @Test func `keeps the newest hundred versions and those that serve`() throws {
        let store = try Place().store()
        var change = ReleaseStore.Change()
        change.versions = (1...103).map { version($0) }
        try store.commit(change, at: time)
        let gone = try store.prune("w", keeping: ["w-2"])
        #expect(gone.map(\.number).sorted() == [1, 3])
        #expect(try store.versions(of: "w").count == 101)
        #expect(try store.recordedArtifacts().contains("hash 2"))
        #expect(try !store.recordedArtifacts().contains("hash 1"))
    }

    @Test func `keeps a few versions of the configuration in dev`() throws {
        let place = try Place()
        let dev = try place.store()
        let staging = try ReleaseStore(database: place.database, tenant: "other", environment: "staging")
        for store in [dev, staging] {
            var change = ReleaseStore.Change()
            change.versions = (1...8).map { number in
                ScriptVersion(
                    id: "\(store.tenant) \(number)", worker: "w", number: number, artifact: "a", snapshot: VersionSnapshot(),
                    fingerprint: "f", annotations: [:],
                    author: number == 2 ? .init(id: "", email: "", source: "api") : .configuration,
                    createdAt: time)
            }
            try store.commit(change, at: time)
        }
        #expect(try dev.prune("w", keeping: ["one 1"]).map(\.number) == [3])
        #expect(try staging.prune("w", keeping: []).isEmpty)
    }

    @Test func `says so when a row that serves is gone`() throws {
        let place = try Place()
        let store = try place.store()
        var plan = plan()
        _ = plan.deploy("w", [(version(1), 10_000)], [:], by: .configuration, at: time)
        try store.commit(plan.change, at: time)
        #expect(throws: ReleaseStoreError.self) { try store.load() }
    }

    @Test func `a namespace keeps its key through all that becomes of it`() throws {
        let place = try Place()
        let store = try place.store()
        func commit(_ change: ReleaseStore.Change) throws { try store.commit(change, at: time) }
        let (key, id) = ([UInt8](0..<32), "00ff")
        var namespace = ObjectCatalog.Namespace(id: id, class: .init(worker: "w", name: "A"), storage: .sqlite)
        var catalog = ObjectCatalog()
        catalog.namespaces = [namespace]
        catalog.tags = ["w": ["v1"]]

        // With the deployment that brings it, and not before it is active.
        var planned = ReleaseStore.Change()
        planned.namespaces = [.init(namespace: namespace, key: key)]
        try commit(planned)
        #expect(try store.load().objects == ObjectCatalog())
        #expect(try store.namespaceRows().map(\.state) == [.planned])
        var change = ReleaseStore.Change()
        change.objects = catalog
        try commit(change)
        #expect(try place.store().load().objects == catalog)
        #expect(try place.store().load().objectKeys == [id: key])
        #expect(try place.store("two").load().objects == ObjectCatalog())

        namespace.class.name = "B"
        namespace.formerNames = [.init(worker: "w", name: "A")]
        catalog.namespaces = [namespace]
        catalog.tags = ["w": ["v1", "v2"], "x": ["a"]]
        change.objects = catalog
        try commit(change)
        #expect(try store.load().objects == catalog)

        // A rollback takes it out of service, and a deployment back in.
        change.objects = ObjectCatalog()
        change.objectRemoval = .suspend
        try commit(change)
        #expect(try store.load().objects == ObjectCatalog())
        #expect(try store.load().suspendedNamespaces == [namespace])
        try store.forget(namespaces: [id])
        #expect(try store.load().objectKeys == [id: key])
        change.objects = catalog
        try commit(change)
        #expect(try store.load().objects == catalog)

        change.objects = ObjectCatalog()
        change.objectRemoval = .delete
        try commit(change)
        #expect(try store.namespaceRows().map(\.state) == [.deleted])
        change.objects = catalog
        try commit(change)
        #expect(try store.load().objects == catalog)
        change.objects = ObjectCatalog()
        try commit(change)
        try store.forget(namespaces: [id])
        #expect(try store.namespaceRows().isEmpty)
        #expect(try store.load().objectKeys.isEmpty)
    }

    @Test func `keeps the last thousand aliases of a worker`() throws {
        let place = try Place()
        let store = try place.store()
        var change = ReleaseStore.Change()
        change.versions = [version(1), version(2)]
        change.aliases = (0..<1001).map { VersionAlias(worker: "w", name: "a\($0)", version: "w-1") }
        try store.commit(change, at: time)
        #expect(try store.version(named: "a0", of: "w") == nil)
        #expect(try store.version(named: "a1", of: "w")?.id == "w-1")
        #expect(try store.version(named: "a1", of: "other") == nil)
        // One that moves is a new one: the next to go is another.
        change = ReleaseStore.Change()
        change.aliases = [
            VersionAlias(worker: "w", name: "a1", version: "w-2"), VersionAlias(worker: "w", name: "new", version: "w-2"),
        ]
        try store.commit(change, at: time)
        #expect(try store.version(named: "a1", of: "w")?.id == "w-2")
        #expect(try store.version(named: "a2", of: "w") == nil)
        #expect(try store.version(named: "a3", of: "w")?.id == "w-1")
    }
}

@Suite struct `Artifact store` {
    private final class Place {
        let directory = NSTemporaryDirectory() + "edge-artifacts-\(UUID().uuidString)"
        deinit { try? FileManager.default.removeItem(atPath: directory) }

        func write(_ text: String) throws -> String {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try Data(text.utf8).write(to: URL(fileURLWithPath: directory + "/source"))
            return directory + "/source"
        }
    }

    @Test func `collects nothing that is used, recorded or held`() throws {
        let place = Place()
        let store = try ArtifactStore(directory: place.directory + "/store")
        func add(_ text: String) throws -> String { try store.add(place.write(text)).hash }
        let (used, recorded, nobodys) = (try add("used"), try add("recorded"), try add("nobody's"))
        let held = try store.add(place.write("held"))
        try store.prune(keeping: [used], of: "one") { [recorded] }
        #expect(try [used, recorded, held.hash].allSatisfy { try store.verify($0) })
        #expect(try !store.verify(nobodys))
        // Another tenant's look doesn't take what the first one uses.
        try store.prune(keeping: [], of: "two") { [] }
        #expect(try store.verify(used) && store.verify(held.hash))
        #expect(FileTree.list(place.directory + "/store").count == 2)
    }

    @Test func `finds damage and repairs it with the same content`() throws {
        let place = Place()
        let hash = try ArtifactStore(directory: place.directory + "/store").add(place.write("content")).hash
        try Data("c0ntent".utf8).write(to: URL(fileURLWithPath: "\(place.directory)/store/\(hash)"))
        let store = try ArtifactStore(directory: place.directory + "/store")
        #expect(try !store.verify(hash))
        let again = try store.add(place.write("content"))
        #expect(try again.hash == hash && store.verify(hash))
    }

    @Test func `takes an upload in pieces, and forgets one that isn't finished`() async throws {
        let place = Place()
        let store = try ArtifactStore(directory: place.directory + "/store")
        let whole = try store.add(place.write("\u{7F}ELF and more")).hash
        let upload = try await ArtifactUpload(to: store)
        for piece in ["\u{7F}E", "LF", " and", " more"] { try await upload.write(Array(piece.utf8)) }
        #expect(upload.isELF)
        #expect(try await upload.finish().hash == whole)
        do {
            let left = try await ArtifactUpload(to: store)
            try await left.write([1])
        }
        func hasLeftovers() -> Bool { FileTree.list(place.directory + "/store").contains { $0.hasPrefix("incoming") } }
        // The thread that wrote last may be the last to let it go.
        for _ in 0..<2000 where hasLeftovers() { try await Task.sleep(for: .milliseconds(1)) }
        #expect(!hasLeftovers())
    }
}
