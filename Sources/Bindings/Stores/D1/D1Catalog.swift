internal import Interfaces
internal import Stores
package import System

/// The databases of a tenant as an account knows them: by id and by name (spec: d1, section 11).
///
/// It is kept in a database of the same store, under a name that no binding has, and is as durable. What a worker's binding
/// names is a *resource*: the name under which the store has the files, which never changes. Databases that the configuration
/// names have their resource as their first name; those made here have their id as their resource.
package struct D1Catalog: Sendable {
    private let store: any D1Store
    private let clock: any NodeClock
    private let databasesMax: Int

    private static let resource = "/catalog"
    package static let nameBytesMax = 128
    package static let pageCountMax = 10_000

    /// - Parameter databasesMax: What the account may have.
    package init(store: any D1Store, clock: any NodeClock, databasesMax: Int = 50_000) {
        self.store = store
        self.clock = clock
        self.databasesMax = databasesMax
    }

    /// Makes the catalog when it is missing, and ends deletions that were interrupted. To be called before anything else.
    package func open() async throws(D1CatalogError) {
        _ = try await rows(
            """
            CREATE TABLE IF NOT EXISTS databases(id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE,
            resource TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL, read_replication TEXT NOT NULL, jurisdiction TEXT,
            is_leaving INTEGER NOT NULL DEFAULT 0)
            """)
        for row in try await rows("SELECT * FROM databases WHERE is_leaving") { try await remove(try Self.entry(row)) }
    }

    /// Enters those of `resources` that aren't there: databases from before the catalog. They are there, so no limit holds.
    package func enter(_ resources: [String]) async throws(D1CatalogError) {
        let known = Set(try await rows("SELECT resource FROM databases").compactMap { $0["resource"]?.text })
        for resource in resources where !known.contains(resource) {
            let id = Self.makeID()
            let isTaken = try await !rows("SELECT 1 FROM databases WHERE name = ?", [.text(resource)]).isEmpty
            _ = try await insert(isTaken ? id : resource, id: id, resource: resource, .disabled, nil, isLimited: false)
        }
    }

    /// Asks whether configurations may name these databases: nothing is made.
    ///
    /// - Throws: `.tooMany` when those that aren't there would be too many beside those that are.
    package func checkRoom(for names: Set<String>) async throws(D1CatalogError) {
        var missing = 0
        for name in names where try await named(name) == nil { missing += 1 }
        guard missing > 0 else { return }
        let count = try await rows("SELECT count(*) n FROM databases WHERE NOT is_leaving").first?["n"]?.integer ?? 0
        guard Int(count) + missing <= databasesMax else { throw .tooMany(databasesMax) }
    }

    // MARK: Databases

    /// Makes a database. Its files come to be with its first call.
    ///
    /// - Throws: `.invalid` for a name that none can have, `.nameTaken`, `.tooMany`.
    package func create(
        _ name: String, readReplication: D1ReadReplication = .disabled, jurisdiction: String? = nil
    ) async throws(D1CatalogError) -> D1DatabaseEntry {
        try Self.check(name)
        let id = Self.makeID()
        return try await insert(name, id: id, resource: id, readReplication, jurisdiction)
    }

    /// The database that a configuration means by `name`: the one with that resource, else the one with that name or id, else
    /// a new one.
    package func adopt(_ name: String) async throws(D1CatalogError) -> D1DatabaseEntry {
        if let entry = try await named(name) { return entry }
        do throws(D1CatalogError) {
            return try await insert(name, id: Self.makeID(), resource: name, .disabled, nil)
        } catch {
            // Somebody else was faster.
            guard case .nameTaken = error, let entry = try await named(name) else { throw error }
            return entry
        }
    }

    /// What a configuration means by `name`, if it is there.
    private func named(_ name: String) async throws(D1CatalogError) -> D1DatabaseEntry? {
        let found = try await rows(
            """
            SELECT * FROM databases WHERE (resource = ?1 OR name = ?1 OR id = ?2) AND NOT is_leaving
            ORDER BY resource = ?1 DESC, name = ?1 DESC LIMIT 1
            """, [.text(name), .text(name.lowercased())])
        guard let row = found.first else { return nil }
        return try Self.entry(row)
    }

    /// - Parameter database: Its id or its name.
    /// - Throws: `.notFound`.
    package func find(_ database: String) async throws(D1CatalogError) -> D1DatabaseEntry {
        let found = try await rows(
            """
            SELECT * FROM databases WHERE (id = ?1 OR name = ?2) AND NOT is_leaving ORDER BY id = ?1 DESC LIMIT 1
            """, [.text(database.lowercased()), .text(database)])
        guard let row = found.first else { throw .notFound(database) }
        return try Self.entry(row)
    }

    /// Those whose name contains `text`, oldest first.
    ///
    /// - Parameters:
    ///   - page: From 1; behind the last one there is nothing.
    ///   - count: On a page: 1...10 000.
    /// - Returns: the page, and how many there are on all.
    package func list(
        nameContaining text: String = "", page: Int = 1, count: Int = 1000
    ) async throws(D1CatalogError) -> (entries: [D1DatabaseEntry], totalCount: Int) {
        guard page >= 1, page <= 1 << 32 else { throw .invalid("page", "expected 1 or more, got \(page)") }
        guard (1...Self.pageCountMax).contains(count) else {
            throw .invalid("per_page", "expected 1 to \(Self.pageCountMax), got \(count)")
        }
        let condition = "NOT is_leaving AND instr(name, ?1) > 0"
        let found = try await rows(
            "SELECT * FROM databases WHERE \(condition) ORDER BY created_at, id LIMIT ?2 OFFSET ?3",
            [.text(text), .integer(Int64(count)), .integer(Int64(page - 1) * Int64(count))])
        var entries: [D1DatabaseEntry] = []
        for row in found { entries.append(try Self.entry(row)) }
        let total = try await rows("SELECT count(*) n FROM databases WHERE \(condition)", [.text(text)])
        return (entries, Int(total.first?["n"]?.integer ?? 0))
    }

    /// - Throws: `.notFound`, `.invalid`, `.nameTaken`.
    package func rename(_ database: String, to name: String) async throws(D1CatalogError) -> D1DatabaseEntry {
        let entry = try await find(database)
        if entry.name == name { return entry }
        try Self.check(name)
        return try await update(entry, "name", .text(name), orTaken: name)
    }

    /// What reads may be answered by: kept for whoever asks, since one node has one instance of each database.
    package func setReadReplication(
        _ mode: D1ReadReplication, of database: String
    ) async throws(D1CatalogError) -> D1DatabaseEntry {
        try await update(try await find(database), "read_replication", .text(mode.rawValue), orTaken: "")
    }

    /// Removes a database with all that belongs to it. Whoever calls makes sure that no binding uses it.
    package func delete(_ database: String) async throws(D1CatalogError) {
        let entry = try await find(database)
        // From here on it is nobody's, and its name is free: what an interruption leaves over goes with the next `open`.
        let marked = try await rows(
            "UPDATE databases SET is_leaving = 1, name = id WHERE id = ? AND NOT is_leaving RETURNING id", [.text(entry.id)])
        guard !marked.isEmpty else { throw .notFound(database) }
        try await remove(entry)
    }

    /// What only the database itself knows.
    package func facts(of entry: D1DatabaseEntry) async throws(D1CatalogError) -> D1DatabaseFacts {
        let sql = "SELECT count(*) n FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'"
        let results = try await results(.query([.init(sql: sql)], .allRows), on: entry.resource)
        guard let result = results.first, let count = result.results.first?["n"]?.integer else { throw .failed(.closed) }
        return D1DatabaseFacts(tableCount: Int(count), byteCount: result.meta.sizeAfter)
    }

    // MARK: Steps

    private func insert(
        _ name: String, id: String, resource: String, _ readReplication: D1ReadReplication, _ jurisdiction: String?,
        isLimited: Bool = true
    ) async throws(D1CatalogError) -> D1DatabaseEntry {
        let made = try await rows(
            """
            INSERT INTO databases(id, name, resource, created_at, read_replication, jurisdiction)
            SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE (SELECT count(*) FROM databases WHERE NOT is_leaving) < ?7 RETURNING *
            """,
            [
                .text(id), .text(name), .text(resource), .integer(clock.wallTime().milliseconds),
                .text(readReplication.rawValue), jurisdiction.map { .text($0) } ?? .null,
                .integer(isLimited ? Int64(databasesMax) : .max),
            ], orTaken: name)
        guard let row = made.first else { throw .tooMany(databasesMax) }
        return try Self.entry(row)
    }

    private func update(
        _ entry: D1DatabaseEntry, _ column: String, _ value: D1Value, orTaken name: String
    ) async throws(D1CatalogError) -> D1DatabaseEntry {
        let changed = try await rows(
            "UPDATE databases SET \(column) = ? WHERE id = ? AND NOT is_leaving RETURNING *", [value, .text(entry.id)],
            orTaken: name)
        guard let row = changed.first else { throw .notFound(entry.id) }
        return try Self.entry(row)
    }

    private func remove(_ entry: D1DatabaseEntry) async throws(D1CatalogError) {
        do throws(D1Failure) { try await store.delete(entry.resource) } catch { throw .failed(error) }
        _ = try await rows("DELETE FROM databases WHERE id = ? AND is_leaving", [.text(entry.id)])
    }

    private func rows(
        _ sql: String, _ values: [D1Value] = [], orTaken name: String? = nil
    ) async throws(D1CatalogError) -> [D1Row] {
        do throws(D1CatalogError) {
            return try await results(.query([.init(sql: sql, parameters: values)], .allRows), on: Self.resource)
                .first?.results ?? []
        } catch {
            guard let name, case .failed(let failure) = error, failure.text.hasPrefix("UNIQUE constraint failed") else {
                throw error
            }
            throw .nameTaken(name)
        }
    }

    private func results(_ work: D1Request.Work, on resource: String) async throws(D1CatalogError) -> [D1Result] {
        let answer: D1Answer
        do throws(D1Failure) { answer = try await store.run(D1Request(work), on: resource) } catch { throw .failed(error) }
        guard let results = try? D1ReplyReader(decoding: answer.bytes).results(columns: false) else { throw .failed(.closed) }
        return results.map(\.0)
    }

    private static func entry(_ row: D1Row) throws(D1CatalogError) -> D1DatabaseEntry {
        guard let id = row["id"]?.text, let name = row["name"]?.text, let resource = row["resource"]?.text,
            let time = row["created_at"]?.integer, let mode = row["read_replication"]?.text,
            let readReplication = D1ReadReplication(rawValue: mode)
        else { throw .failed(D1Failure("the catalog has a row that can't be read")) }
        return D1DatabaseEntry(
            id: id, name: name, createdAt: UnixTime(milliseconds: time), readReplication: readReplication,
            jurisdiction: row["jurisdiction"]?.text, resource: resource)
    }

    private static func check(_ name: String) throws(D1CatalogError) {
        guard (1...nameBytesMax).contains(name.utf8.count) else {
            throw .invalid("name", "expected 1 to \(nameBytesMax) bytes, got \(name.utf8.count)")
        }
        guard name.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "/") }) else {
            throw .invalid("name", "blanks, control characters and \"/\" aren't allowed")
        }
        // It would be found as somebody else's id.
        guard !isID(name) else { throw .invalid("name", "it looks like an id") }
    }

    /// Whether `text` has the form of an id.
    package static func isID(_ text: String) -> Bool {
        let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        return parts.map(\.count) == [8, 4, 4, 4, 12]
            && parts.joined().allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0 | 0x20) }
    }

    /// A UUID of random bits (RFC 9562 §5.4).
    private static func makeID() -> String {
        var generator = SystemRandomNumberGenerator()
        let high: UInt64 = generator.next() & 0xffff_ffff_ffff_0fff | 0x4000
        let low: UInt64 = generator.next() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000
        let digits = [high, low].map { number in
            let text = String(number, radix: 16)
            return String(repeating: "0", count: 16 - text.utf8.count) + text
        }.joined()
        var id = ""
        for (index, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(index) { id += "-" }
            id.append(digit)
        }
        return id
    }
}
