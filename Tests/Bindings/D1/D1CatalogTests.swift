import Testing

@testable import Interfaces
@testable import StoresD1

@Suite struct `D1 catalog` {
    private func withCatalog(
        databasesMax: Int = 50_000, _ body: (D1Catalog, Fixture) async throws -> Void
    ) async throws {
        try await withDatabase { (_, fixture) async throws in
            let catalog = D1Catalog(store: fixture.store, clock: fixture.clock, databasesMax: databasesMax)
            try await catalog.open()
            try await body(catalog, fixture)
        }
    }

    private func failure(_ body: () async throws -> Void) async -> D1CatalogError? {
        do { try await body() } catch { return error as? D1CatalogError }
        return nil
    }

    @Test func `probe 23: a name is given once, and a database is found by id and by name`() async throws {
        try await withCatalog { (catalog, fixture) async throws in
            fixture.clock.advance(by: .seconds(5))
            let made = try await catalog.create("app", jurisdiction: "eu")
            #expect(D1Catalog.isID(made.id) && made.resource == made.id && made.createdAt == fixture.clock.wallTime())
            let taken = await failure { _ = try await catalog.create("app") }
            #expect(taken == .nameTaken("app") && taken?.code == 7502)
            for name in ["app", made.id, made.id.uppercased()] { #expect(try await catalog.find(name) == made) }
            let unknown = "00000000-0000-4000-8000-000000000000"
            let missing = await failure { _ = try await catalog.find(unknown) }
            #expect(missing?.code == 7404 && missing?.description == "The database \(unknown) could not be found")
            _ = try await fixture.database(made.resource).exec(
                "CREATE TABLE a(x)\nCREATE TABLE b(x INTEGER PRIMARY KEY AUTOINCREMENT)")
            let facts = try await catalog.facts(of: made)
            #expect(facts.tableCount == 2 && facts.byteCount > 0 && facts.byteCount % 4096 == 0)
            // Another object sees the same.
            let again = D1Catalog(store: fixture.store, clock: fixture.clock)
            try await again.open()
            #expect(try await again.find("app") == made)
        }
    }

    @Test func `names that can't be are refused`() async throws {
        try await withCatalog { (catalog, _) async throws in
            let good = String(repeating: "n", count: 128)
            _ = try await catalog.create(good)
            for name in ["", good + "n", "a b", "a\u{0}b", "a/b", "00000000-0000-4000-8000-00000000000A"] {
                #expect(await failure { _ = try await catalog.create(name) }?.code == 7400, "\(name)")
                #expect(await failure { _ = try await catalog.rename(good, to: name) }?.code == 7400, "\(name)")
            }
        }
    }

    @Test func `lists are filtered, in order and in pages`() async throws {
        try await withCatalog(databasesMax: 7) { (catalog, fixture) async throws in
            for index in 0..<7 {
                _ = try await catalog.create(index % 2 == 0 ? "shop-\(index)" : "blog-\(index)%")
                fixture.clock.advance(by: .seconds(1))
            }
            let refused = await failure { _ = try await catalog.create("one-too-many") }
            #expect(refused?.code == 7406 && refused?.description == "System limit reached: databases per account (7)")
            #expect(try await catalog.list().entries.count == 7)
            let second = try await catalog.list(nameContaining: "shop", page: 2, count: 3)
            #expect(second.entries.map(\.name) == ["shop-6"] && second.totalCount == 4)
            #expect(try await catalog.list(nameContaining: "%").totalCount == 3)
            #expect(try await catalog.list(page: 3, count: 4).entries.isEmpty)
            for (page, count) in [(0, 10), (1, 0), (1, 10_001), (.max, 10)] {
                #expect(await failure { _ = try await catalog.list(page: page, count: count) }?.code == 7400)
            }
            try await catalog.delete("shop-0")
            _ = try await catalog.create("shop-0")
        }
    }

    @Test func `a renamed database keeps its content, its id and its resource`() async throws {
        try await withCatalog { (catalog, fixture) async throws in
            let made = try await catalog.create("old")
            _ = try await catalog.create("other")
            _ = try await fixture.database(made.resource).exec("CREATE TABLE t(a)")
            #expect(await failure { _ = try await catalog.rename("old", to: "other") } == .nameTaken("other"))
            let renamed = try await catalog.rename("old", to: "new")
            #expect(renamed.id == made.id && renamed.resource == made.resource)
            #expect(await failure { _ = try await catalog.find("old") }?.code == 7404)
            #expect(try await catalog.facts(of: try await catalog.find("new")).tableCount == 1)
            #expect(try await catalog.setReadReplication(.auto, of: "new").readReplication == .auto)
            #expect(try await catalog.find(made.id).readReplication == .auto)
        }
    }

    @Test func `a configuration's name means one database, however often and whenever it is asked for`() async throws {
        try await withCatalog { (catalog, _) async throws in
            let adopted = try await catalog.adopt("app")
            #expect(adopted.resource == "app" && adopted.name == "app")
            #expect(try await catalog.adopt("app") == adopted)
            // Its bindings go on to find it when it is called something else.
            let renamed = try await catalog.rename("app", to: "legacy")
            #expect(try await catalog.adopt("app") == renamed)
            let made = try await catalog.create("made-by-rest")
            #expect(try await catalog.adopt("made-by-rest") == made)
            let all = try await withThrowingTaskGroup(of: D1DatabaseEntry.self) { group in
                for _ in 0..<8 { group.addTask { try await catalog.adopt("at-once") } }
                return try await group.reduce(into: Set<String>()) { $0.insert($1.id) }
            }
            #expect(all.count == 1)
        }
    }

    @Test func `a deletion takes everything, also one that was interrupted`() async throws {
        try await withCatalog { (catalog, fixture) async throws in
            let made = try await catalog.create("app")
            _ = try await fixture.database(made.resource).exec("CREATE TABLE t(a)")
            try await catalog.delete(made.id)
            #expect(await failure { try await catalog.delete("app") }?.code == 7404)
            #expect(try await catalog.facts(of: made).tableCount == 0)

            let other = try await catalog.create("app")
            _ = try await fixture.database(other.resource).exec("CREATE TABLE t(a)")
            // As far as a deletion comes whose process ends.
            _ = try await fixture.database("/catalog").exec("UPDATE databases SET is_leaving = 1, name = id")
            #expect(await failure { _ = try await catalog.find("app") }?.code == 7404)
            #expect(try await catalog.list().totalCount == 0)
            let again = D1Catalog(store: fixture.store, clock: fixture.clock)
            try await again.open()
            #expect(try await catalog.facts(of: other).tableCount == 0)
            #expect(try await fixture.database("/catalog").prepare("SELECT count(*) n FROM databases").first("n") == 0)
        }
    }

    @Test func `databases from before the catalog get an id that stays, and no limit holds for them`() async throws {
        try await withCatalog(databasesMax: 1) { (catalog, fixture) async throws in
            for name in ["app", "Blog é%", "shop"] { _ = try await fixture.database(name).exec("CREATE TABLE t(a)") }
            #expect(try fixture.store.databaseNames == ["Blog é%", "app", "shop"])
            try await catalog.enter(fixture.store.databaseNames)
            let entered = try await catalog.list().entries
            #expect(Set(entered.map(\.name)) == ["app", "Blog é%", "shop"] && entered.map(\.name) == entered.map(\.resource))
            try await catalog.enter(fixture.store.databaseNames)
            #expect(try await catalog.list().entries == entered)
            #expect(try await catalog.adopt("app") == entered.first { $0.name == "app" })
        }
    }

    @Test func `a name that another database got meanwhile isn't given twice`() async throws {
        try await withCatalog { (catalog, fixture) async throws in
            let made = try await catalog.create("app")
            _ = try await fixture.database("app").exec("CREATE TABLE t(a)")
            try await catalog.enter(["app"])
            #expect(try await catalog.find("app") == made)
            let other = try #require(try await catalog.list().entries.first { $0.resource == "app" })
            #expect(other.name == other.id && other.id != made.id)
        }
    }

    @Test func `a configuration is told before anything is made that it names too many`() async throws {
        try await withCatalog(databasesMax: 2) { (catalog, _) async throws in
            let made = try await catalog.create("app")
            try await catalog.checkRoom(for: ["app", made.id, made.id.uppercased(), "shop"])
            #expect(await failure { try await catalog.checkRoom(for: ["app", "shop", "blog"]) } == .tooMany(2))
            #expect(try await catalog.list().totalCount == 1)
        }
    }

    @Test func `the catalog is none of the databases that a tenant may have`() async throws {
        var limits = D1Limits()
        limits.databasesMax = 1
        try await withDatabase(limits: limits) { (database, fixture) async throws in
            let catalog = D1Catalog(store: fixture.store, clock: fixture.clock, databasesMax: 1)
            try await catalog.open()
            _ = try await database.exec("CREATE TABLE t(a)")
            #expect(fixture.store.databaseCount == 1)
            #expect(try fixture.store.databaseNames == ["main"])
            let refused = await StoresD1Tests.failure { _ = try await fixture.database("other").exec("CREATE TABLE t(a)") }
            #expect(refused?.contains("System limit reached") == true)
        }
    }

    @Test func `a deleted database isn't made anew by who still has its name`() async throws {
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            fixture.store.retire("main")
            fixture.store.retire("main")
            try await fixture.store.delete("main")
            let refused = await StoresD1Tests.failure { _ = try await database.exec("CREATE TABLE t(a)") }
            #expect(refused?.contains("The database main could not be found") == true)
            #expect(try fixture.store.databaseNames.isEmpty)
            fixture.store.reinstate("main")
            _ = try await database.exec("CREATE TABLE t(a)")
        }
    }
}
