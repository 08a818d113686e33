internal import SQLite
internal import System
internal import TenantSQL

/// A database file that a deployment can go back to.
package struct D1Backup: Equatable, Sendable {
    /// The state that it holds.
    package let bookmark: String
    package let byteCount: Int64
    /// By table.
    package let rowCounts: [String: Int64]
}

/// What a deployment needs of its databases beside calls.
extension EmbeddedD1Store {
    /// Applies what is pending of `run` in one transaction with its bookkeeping, whatever happens to the process meanwhile.
    ///
    /// Readers go on with the state before until it is committed. Calling it again with the same files does nothing.
    /// - Throws: with the place in a file when one is at fault; the database is then as it was.
    package func migrate(_ database: String, _ run: D1MigrationRun) async throws(D1MigrationFailure) -> D1Migrated {
        let engine: D1Engine
        do throws(D1Failure) { engine = try self.engine(for: database) } catch { throw D1MigrationFailure(error.text) }
        return try await engine.migrate(run)
    }

    /// Runs `run` on a copy of the database, which is gone afterwards. Calls go on meanwhile.
    package func rehearse(_ database: String, _ run: D1MigrationRun) async throws(D1MigrationFailure) -> D1Migrated {
        // No binding's database has such a name.
        let copy = database + "/dry-run"
        func clean<Value>(_ body: () async throws(D1Failure) -> Value) async throws(D1MigrationFailure) -> Value {
            do throws(D1Failure) { return try await body() } catch { throw D1MigrationFailure(error.text) }
        }
        try await clean { () throws(D1Failure) in
            try await delete(copy)
            try await duplicate(database, to: copy)
        }
        let result: Result<D1Migrated, D1MigrationFailure>
        do throws(D1MigrationFailure) { result = .success(try await migrate(copy, run)) } catch { result = .failure(error) }
        try await clean { () throws(D1Failure) in try await delete(copy) }
        return try result.get()
    }

    /// The directory of deployments' copies.
    package var backupDirectory: String { directory + "/backups" }

    /// What the file of a database is called, without what tells its kind: letters, digits, `-`, `_` and `%`.
    package static func fileStem(of database: String) -> String { String(file(of: database).dropLast(".sqlite".count)) }

    /// As `branch`, read beside the writer: writes don't wait for it.
    private func duplicate(_ database: String, to target: String) async throws(D1Failure) {
        let path = directory + "/" + Self.file(of: target)
        let image = path + ".new"
        do {
            try FileSystem.remove(image)
            _ = try await copy(database, to: image)
            try FileSystem.rename(image, to: path)
        } catch {
            try? FileSystem.remove(image)
            throw error as? D1Failure ?? D1Failure("\(error)")
        }
    }

    // MARK: Backups

    /// Writes a database as it is now to the file `path`, and looks whether the copy is whole: SQLite finds nothing wrong with
    /// it, and all tables have as many rows as in the database. Calls go on meanwhile.
    ///
    /// The file has its name when it is durable and verified, never before.
    package func backUp(_ database: String, to path: String) async throws(D1Failure) -> D1Backup {
        let image = path + ".new"
        do {
            try FileSystem.remove(image)
            let backup = try await engine(for: database).read { connection, bookmark, mayContinue in
                let counts = try Self.rowCounts(connection)
                let copied = {
                    let copy = try SQLiteConnection(path: image, .create)
                    try connection.backUp(to: copy, mayContinue: mayContinue)
                    let problems = try Self.problems(copy)
                    guard problems.isEmpty else { throw D1Failure("the copy is damaged: \(problems[0])") }
                    let found = try Self.rowCounts(copy)
                    guard found == counts else { throw D1Failure("the copy has other rows than the database") }
                }
                try copied()
                try PositionedFile.openToWrite(image, .keeping).synchronize()
                return D1Backup(
                    bookmark: bookmark.description, byteCount: FileSystem.byteCount(of: image), rowCounts: counts)
            }
            try FileSystem.rename(image, to: path)
            try FileSystem.synchronizeDirectory(FileSystem.parent(of: path))
            return backup
        } catch {
            for suffix in ["", "-wal", "-shm", "-journal"] { try? FileSystem.remove(image + suffix) }
            throw error as? D1Failure ?? D1Failure("\(error)")
        }
    }

    /// Looks for what is wrong with a database as it is now, and whether its history leads back to it; names that state. Calls
    /// go on meanwhile.
    ///
    /// - Throws: when something is wrong.
    package func checkup(_ database: String) async throws(D1Failure) -> String {
        let bookmark = try await engine(for: database).read { connection, bookmark, _ in
            let problems = try Self.problems(connection)
            guard problems.isEmpty else { throw D1Failure("the database is damaged: \(problems[0])") }
            return bookmark.description
        }
        _ = try await timeTravelInfo(of: database, at: .bookmark(bookmark))
        return bookmark
    }

    private static func problems(_ connection: SQLiteConnection) throws(SQLiteError) -> [String] {
        let statement = try connection.prepare("PRAGMA quick_check(10)")
        var found: [String] = []
        while try statement.step() { if let text = statement.text(0), text != "ok" { found.append(text) } }
        return found
    }

    private static func rowCounts(_ connection: SQLiteConnection) throws(SQLiteError) -> [String: Int64] {
        let tables = try connection.prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND rootpage <> 0")
        var counts: [String: Int64] = [:]
        while try tables.step() {
            guard let table = tables.text(0) else { continue }
            counts[table] = try connection.number("SELECT count(*) FROM \(SQLText.quoted(identifier: table))")
        }
        return counts
    }

    // MARK: Going back

    /// How many commits a database had since `bookmark`, those of deployments' migrations not counted.
    ///
    /// - Throws: when no history is kept, or it doesn't go back so far.
    package func foreignCommitCount(of database: String, since bookmark: String) async throws(D1Failure) -> Int {
        let mark = try D1Bookmark.parsed(bookmark)
        return try await engine(for: database).perform { try $0.foreignCommitCount(since: mark) }
    }

    /// Makes the state of `bookmark` the newest if nothing but migrations was written since. A write comes before it or after
    /// it, and is lost in neither case.
    ///
    /// - Returns: whether it did.
    package func restoreIfUntouched(_ database: String, to bookmark: String) async throws(D1Failure) -> Bool {
        let mark = try D1Bookmark.parsed(bookmark)
        return try await engine(for: database).perform { writer in
            guard try writer.foreignCommitCount(since: mark) == 0 else { return false }
            _ = try writer.restore(.bookmark(bookmark))
            return true
        }
    }

    /// Makes the content of the database file at `path`, which `backUp` wrote, the newest state.
    package func restore(_ database: String, copy path: String) async throws(D1Failure) {
        guard FileSystem.exists(path) else { throw D1Failure("\(path): the copy is not there any more") }
        _ = try await engine(for: database).perform { try $0.restore(copy: path) }
    }

    // MARK: Holding writes

    /// Refuses writes until `unfreeze`, and waits for those that are under way. Migrations and restores of deployments go on.
    ///
    /// - Returns: whether writes were let through before.
    @discardableResult
    package func freeze(_ database: String) async throws(D1Failure) -> Bool {
        let engine = try engine(for: database)
        let isNew = engine.freeze()
        do throws(D1Failure) { try await engine.open() } catch {
            if isNew { engine.unfreeze() }
            throw error
        }
        return isNew
    }

    package func unfreeze(_ database: String) { (try? engine(for: database, evenRetired: true))?.unfreeze() }
}

extension D1Bookmark {
    static func parsed(_ text: String) throws(D1Failure) -> D1Bookmark {
        guard let bookmark = D1Bookmark(text) else {
            throw D1Failure("Invalid bookmark: \(D1Failure.shortened(text))", code: 7400)
        }
        return bookmark
    }
}
