import Configuration
import Testing

@testable import Releases

@Suite struct `Catalog of object classes` {
    /// Ids in the order in which they are asked for.
    private final class Numbers {
        private var last = 0
        func next() -> String {
            last += 1
            return "id\(last)"
        }
    }

    private let numbers = Numbers()

    private func name(_ worker: String, _ name: String) -> ObjectCatalog.ClassName { .init(worker: worker, name: name) }

    private func apply(
        _ items: [ClassMigrationBatch.Item], to catalog: inout ObjectCatalog, suspended: [ObjectCatalog.Namespace] = []
    ) -> [ClassMigrationRefusal] {
        var batch = ClassMigrationBatch(catalog, suspended: suspended, makeID: { [numbers] in numbers.next() })
        let refusals = batch.apply(items)
        if refusals.isEmpty { catalog = batch.catalog }
        return refusals
    }

    private func apply(
        _ worker: String = "w", to catalog: inout ObjectCatalog, _ steps: ClassMigration...
    ) -> [ClassMigrationRefusal] {
        apply([.init(worker: worker, steps: steps, tags: steps.map(\.tag))], to: &catalog)
    }

    @Test func `makes classes, and notes their tags`() throws {
        var catalog = ObjectCatalog()
        let first = ClassMigration(tag: "v1", newSQLiteClasses: ["A"], newClasses: ["B"])
        #expect(apply(to: &catalog, first, ClassMigration(tag: "v2", newSQLiteClasses: ["C"])).isEmpty)
        #expect(catalog.namespaces.map(\.class.name) == ["A", "B", "C"])
        #expect(catalog.namespace(of: name("w", "A"))?.storage == .sqlite)
        #expect(catalog.namespace(of: name("w", "B"))?.storage == .keyValue)
        #expect(catalog.tags == ["w": ["v1", "v2"]])
        #expect(catalog.namespace(of: name("other", "A")) == nil)
    }

    @Test(arguments: [
        (ClassMigration(tag: "t", newSQLiteClasses: ["A"]), ClassMigrationRefusal.classExists("A", .newSQLiteClass)),
        // A class with keys and values alone never gets SQLite.
        (ClassMigration(tag: "t", newSQLiteClasses: ["K"]), .classExists("K", .newSQLiteClass)),
        (ClassMigration(tag: "t", newClasses: ["A"]), .classExists("A", .newClass)),
        (ClassMigration(tag: "t", renamedClasses: [.init(from: "A", to: "K")]), .classExists("K", .rename)),
        (ClassMigration(tag: "t", renamedClasses: [.init(from: "X", to: "Y")]), .classMissing("X", .rename, worker: "w")),
        (
            ClassMigration(tag: "t", newSQLiteClasses: ["Y"], renamedClasses: [.init(from: "A", to: "Y")]),
            .targetIsNew("Y", .rename)
        ),
        (ClassMigration(tag: "t", deletedClasses: ["X"]), .classMissing("X", .delete, worker: "w")),
        (
            ClassMigration(tag: "t", transferredClasses: [.init(from: "X", fromWorker: "o", to: "Y")]),
            .classMissing("X", .transfer, worker: "o")
        ),
        (
            ClassMigration(tag: "t", transferredClasses: [.init(from: "O", fromWorker: "o", to: "A")]),
            .classExists("A", .transfer)
        ),
        (
            ClassMigration(tag: "t", newClasses: (0..<500).map { "N\($0)" }), .tooManyClasses(504, limit: 500)
        ),
    ])
    func `refuses what can't be, and changes nothing`(_ step: ClassMigration, _ expected: ClassMigrationRefusal) throws {
        var catalog = ObjectCatalog()
        #expect(apply(to: &catalog, ClassMigration(tag: "v1", newSQLiteClasses: ["A"], newClasses: ["K"])).isEmpty)
        #expect(apply("o", to: &catalog, ClassMigration(tag: "v1", newSQLiteClasses: ["O"])).isEmpty)
        let before = catalog
        #expect(apply(to: &catalog, ClassMigration(tag: "v2", newSQLiteClasses: ["Z"]), step) == [expected])
        #expect(catalog == before)
    }

    @Test func `a renamed class keeps its id, and bindings of its old name lead to it`() throws {
        var catalog = ObjectCatalog()
        #expect(apply(to: &catalog, ClassMigration(tag: "v1", newSQLiteClasses: ["A"])).isEmpty)
        let id = catalog.namespaces[0].id
        #expect(
            apply(
                to: &catalog, ClassMigration(tag: "v2", renamedClasses: [.init(from: "A", to: "B")]),
                ClassMigration(tag: "v3", renamedClasses: [.init(from: "B", to: "C")])
            ).isEmpty)
        for former in ["A", "B", "C"] { #expect(catalog.namespace(of: name("w", former))?.id == id) }
        // A new class of the name is what is meant from now on.
        #expect(apply(to: &catalog, ClassMigration(tag: "v4", newSQLiteClasses: ["A"])).isEmpty)
        #expect(catalog.namespace(of: name("w", "A"))?.id != id)
        #expect(catalog.namespace(of: name("w", "B"))?.id == id)
    }

    @Test func `a class goes to another worker, whichever of the two is looked at first`() throws {
        for order in [["a", "b"], ["b", "a"]] {
            var catalog = ObjectCatalog()
            let steps: [String: [ClassMigration]] = [
                "a": [ClassMigration(tag: "v1", newSQLiteClasses: ["Room"])],
                "b": [
                    ClassMigration(tag: "v1", transferredClasses: [.init(from: "Room", fromWorker: "a", to: "Hall")])
                ],
            ]
            let items = order.map { ClassMigrationBatch.Item(worker: $0, steps: steps[$0] ?? [], tags: ["v1"]) }
            #expect(apply(items, to: &catalog).isEmpty)
            #expect(catalog.namespaces.map(\.class) == [name("b", "Hall")])
            #expect(catalog.namespace(of: name("a", "Room"))?.class == name("b", "Hall"))
        }
    }

    @Test func `a deleted class is gone, and one made later is another`() throws {
        var catalog = ObjectCatalog()
        #expect(apply(to: &catalog, ClassMigration(tag: "v1", newSQLiteClasses: ["A"])).isEmpty)
        let id = catalog.namespaces[0].id
        var batch = ClassMigrationBatch(catalog, suspended: [], makeID: { [numbers] in numbers.next() })
        let step = ClassMigration(tag: "v2", deletedClasses: ["A"])
        #expect(batch.apply([.init(worker: "w", steps: [step], tags: ["v2"])]).isEmpty)
        #expect(batch.deleted == [name("w", "A")])
        #expect(batch.catalog.namespaces.isEmpty)
        catalog = batch.catalog
        #expect(apply(to: &catalog, ClassMigration(tag: "v3", newSQLiteClasses: ["A"])).isEmpty)
        #expect(catalog.namespaces[0].id != id)
    }

    @Test func `what a rollback suspended comes back with the same migration`() throws {
        var catalog = ObjectCatalog()
        let step = ClassMigration(tag: "v1", newSQLiteClasses: ["A"])
        let old = ObjectCatalog.Namespace(id: "old", class: name("w", "A"), storage: .sqlite)
        let other = ObjectCatalog.Namespace(id: "kv", class: name("w", "A"), storage: .keyValue)
        #expect(apply([.init(worker: "w", steps: [step], tags: ["v1"])], to: &catalog, suspended: [other, old]).isEmpty)
        #expect(catalog.namespaces == [old])
    }

    @Test func `only what follows the last applied tag is pending`() throws {
        var catalog = ObjectCatalog()
        let steps = ["v1", "v2", "v3"].map { ClassMigration(tag: $0, newSQLiteClasses: ["C\($0)"]) }
        func pending(_ steps: [ClassMigration], _ force: ClassMigrationBatch.Force = .none) throws -> [String] {
            try ClassMigrationBatch.pending(steps, of: "w", in: catalog, force).tags
        }
        #expect(try pending(steps) == ["v1", "v2", "v3"])
        #expect(apply(to: &catalog, steps[0], steps[1]).isEmpty)
        #expect(try pending(steps) == ["v3"])
        #expect(try pending([steps[1]]) == [])
        #expect(throws: ClassMigrationRefusal.unknownTag(applied: "v2", worker: "w")) { try pending([steps[0], steps[2]]) }
        #expect(try pending([steps[0], steps[2]], .unknownTags) == ["v3"])
        #expect(throws: ClassMigrationRefusal.noMigrations(applied: "v2", worker: "w")) { try pending([]) }
        #expect(try pending([], .unknownTags) == [])
    }

    @Test(arguments: [
        (
            ClassMigrationUpload(oldTag: .some(nil), newTag: "v2", steps: []),
            "Migration tag precondition failed; current tag is 'v1'"
        ),
        (ClassMigrationUpload(oldTag: "v0", newTag: "v2", steps: []), "Migration tag precondition failed; current tag is 'v1'"),
        (ClassMigrationUpload(oldTag: nil, newTag: "v1", steps: []), "Migration tag precondition failed; current tag is 'v1'"),
        (ClassMigrationUpload(oldTag: "v1", newTag: "v2", steps: []), nil),
        (ClassMigrationUpload(oldTag: nil, newTag: "v2", steps: []), nil),
    ])
    func `an upload's tags must be those of the worker`(_ upload: ClassMigrationUpload, _ refusal: String?) throws {
        var catalog = ObjectCatalog()
        #expect(apply(to: &catalog, ClassMigration(tag: "v1", newSQLiteClasses: ["A"])).isEmpty)
        var found: String?
        do throws(ClassMigrationRefusal) { _ = try upload.item(of: "w", in: catalog) } catch { found = "\(error)" }
        #expect(found == refusal)
    }
}

@Suite struct `Shares of objects` {
    private func join(_ old: [(String, Int)], _ new: [(String, Int)], _ percent: Int) -> [String] {
        ShareLine.join(
            old.map { (owner: $0.0, share: $0.1) }, new.map { (owner: $0.0, share: $0.1) }, at: 10_000 - percent * 100,
            isSame: ==
        ).map { "\($0.owner) \($0.share)" }
    }

    @Test func `the new release takes the upper end`() {
        #expect(join([("a", 10_000)], [("b", 10_000)], 0) == ["a 10000"])
        #expect(join([("a", 10_000)], [("b", 10_000)], 20) == ["a 8000", "b 2000"])
        #expect(join([("a", 10_000)], [("b", 10_000)], 100) == ["b 10000"])
        #expect(join([("a", 4000), ("b", 6000)], [("c", 10_000)], 50) == ["a 4000", "b 1000", "c 5000"])
        #expect(join([("a", 10_000)], [("b", 6000), ("c", 4000)], 50) == ["a 5000", "b 1000", "c 4000"])
    }

    @Test func `a version that both have stays whole`() {
        #expect(join([("a", 10_000)], [("a", 10_000)], 30) == ["a 10000"])
        #expect(join([("a", 4000), ("b", 6000)], [("b", 10_000)], 30) == ["a 4000", "b 6000"])
    }

    @Test func `no object moves back while the share grows`() {
        func owner(_ point: Int, _ percent: Int) -> String {
            let parts = ShareLine.join(
                [(owner: "a", share: 3000), ("b", 7000)], [(owner: "c", share: 2000), ("b", 8000)],
                at: 10_000 - percent * 100, isSame: ==)
            #expect(parts.reduce(0) { $0 + $1.share } == 10_000)
            var end = 0
            for part in parts {
                end += part.share
                if point < end { return part.owner }
            }
            return ""
        }
        for point in stride(from: 0, to: 10_000, by: 37) {
            let owners = stride(from: 0, through: 100, by: 5).map { owner(point, $0) }
            let changes = zip(owners, owners.dropFirst()).count { $0 != $1 }
            #expect(changes <= 1, "\(point): \(owners)")
        }
    }
}
