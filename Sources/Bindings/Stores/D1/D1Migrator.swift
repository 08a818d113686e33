internal import Interfaces

/// One migration: its path relative to the migrations directory, and its SQL.
package struct D1Migration: Equatable, Sendable {
    package var name: String
    package var text: String
    /// What tells whether an applied file still has its text; `nil` leaves that unchecked.
    package var digest: String?
    /// What takes it back; `nil` when nothing does.
    package var down: String?

    package init(name: String, text: String, digest: String? = nil, down: String? = nil) {
        self.name = name
        self.text = text
        self.digest = digest
        self.down = down
    }

    /// Gives each migration `x.sql` the text of the file `x.down.sql`, which is none itself.
    package static func paired(_ files: [D1Migration]) -> [D1Migration] {
        let suffix = ".down.sql"
        var downs: [String: String] = [:]
        for file in files where file.name.hasSuffix(suffix) {
            downs[file.name.dropLast(suffix.utf8.count) + ".sql"] = file.text
        }
        return files.filter { !$0.name.hasSuffix(suffix) }.map { file in
            var file = file
            file.down = downs[file.name]
            return file
        }
    }

    /// Whether it comes before another: by the leading number of each part of the path, parts without one
    /// last, ties by their text (spec: d1, section 9).
    package static func precedes(_ left: D1Migration, _ right: D1Migration) -> Bool {
        let lefts = left.name.split(separator: "/")
        let rights = right.name.split(separator: "/")
        for (left, right) in zip(lefts, rights) where left != right {
            switch (number(left), number(right)) {
            case (let left?, let right?) where left != right: return left < right
            case (.some, nil): return true
            case (nil, .some): return false
            default: return left < right
            }
        }
        return lefts.count < rights.count
    }

    private static func number(_ part: Substring) -> UInt64? {
        UInt64(part.prefix { $0.isASCII && $0.isNumber })
    }
}

/// What became of each pending migration.
package struct D1MigrationReport: Equatable, Sendable, CustomStringConvertible {
    package enum Outcome: Equatable, Sendable {
        case applied
        /// Taken back by its down file.
        case reverted
        /// Rolled back as a whole; the reason is SQLite's.
        case failed(String)
        /// Not tried, or taken back with the one that failed.
        case skipped
    }
    package struct Item: Equatable, Sendable {
        package let name: String
        package let outcome: Outcome
    }
    package var items: [Item] = []
    package var warnings: [String] = []
    /// The state before the first of them, to go back to; `nil` when nothing was pending.
    package var bookmark: String?
    /// The state after going back to `bookmark` because one failed; `nil` when that didn't happen.
    package var restoredBookmark: String?

    package var succeeded: Bool {
        items.allSatisfy { $0.outcome == .applied || $0.outcome == .reverted }
    }

    /// As wrangler prints it.
    package var description: String {
        guard !items.isEmpty else { return "✅ No migrations to apply!" }
        var lines: [String] = warnings.map { "⚠️ \($0)" }
        for item in items {
            switch item.outcome {
            case .applied: lines.append("✅ \(item.name)")
            case .reverted: lines.append("↩️ \(item.name)")
            case .failed(let reason): lines.append("❌ \(item.name): \(reason)")
            case .skipped: lines.append("🕒 \(item.name)")
            }
        }
        return lines.joined(separator: "\n")
    }
}

/// Brings the schema of a database up to date. Where the files come from is its caller's business.
package struct D1Migrator: Sendable {
    private let store: any D1Store
    private let database: String
    private let table: String
    /// Beside the table that wrangler knows, which keeps its columns.
    private var digestTable: String { D1MigrationTables(table).digests }

    /// - Parameter table: Where the names of applied migrations are kept; their digests are beside it.
    package init(store: any D1Store, database: String, table: String = "d1_migrations") {
        self.store = store
        self.database = database
        self.table = table
    }

    /// The migrations that have not been applied yet, in the order in which they will be. Makes the table
    /// when it is missing.
    package func pending(_ migrations: [D1Migration]) async throws(D1Failure) -> [D1Migration] {
        let applied = try await applied()
        return migrations.filter { !applied.contains($0.name) }.sorted(by: D1Migration.precedes)
    }

    /// Whether a failure takes back the migrations before it.
    package enum Scope: Sendable {
        /// Each migration is a transaction of its own: what came before the one that fails stays, as wrangler
        /// does it.
        case each
        /// All pending ones are one transaction, as a release wants them: all or nothing.
        case all
    }

    /// What a failure does to the migrations before it that were transactions of their own.
    package enum Failure: Sendable {
        case keepsEarlier
        /// The database goes back to the state before the first. What others wrote meanwhile goes with it; restoring
        /// the state before that brings it back. Needs a history.
        case restores
    }

    /// Applies what is pending, each migration together with its row in the table. The first one that fails
    /// ends the run.
    ///
    /// - Parameter last: The name of the last one to apply; `nil` applies all.
    /// - Throws: only when the database itself doesn't answer; a bad migration is in the report.
    package func apply(
        _ migrations: [D1Migration], as scope: Scope = .each, upTo last: String? = nil,
        onFailure failure: Failure = .keepsEarlier
    ) async throws(D1Failure) -> D1MigrationReport {
        var report = D1MigrationReport()
        var pending = try await pending(migrations)
        if let last {
            guard migrations.contains(where: { $0.name == last }) else { throw noMigration(last) }
            // One that was applied already leaves those before it.
            let end = D1Migration(name: last, text: "")
            pending = pending.filter { !D1Migration.precedes(end, $0) }
        }
        guard !pending.isEmpty else { return report }
        report.bookmark = try await store.bookmark(of: database)
        var texts: [[String]] = []
        for migration in pending {
            let (text, stripped) = SQLText.withoutTransaction(migration.text)
            if stripped {
                report.warnings.append(
                    "\(migration.name): BEGIN TRANSACTION and COMMIT were left out: "
                        + "migrations run in a transaction already")
            }
            texts.append([text, record(migration)])
        }
        switch scope {
        case .each: report.items = await applyEach(pending, texts)
        case .all: report.items = await applyAll(pending, texts)
        }
        if failure == .restores, !report.succeeded, report.items.contains(where: { $0.outcome == .applied }),
            let bookmark = report.bookmark
        {
            report.restoredBookmark = try await store.restore(database, to: .bookmark(bookmark)).bookmark
            report.items = report.items.map { $0.outcome == .applied ? .init(name: $0.name, outcome: .skipped) : $0 }
        }
        return report
    }

    private func noMigration(_ name: String) -> D1Failure {
        D1Failure("no migration is named \(D1Failure.shortened(name))")
    }

    /// Applies what is pending to a copy of the database, which is gone afterwards.
    package func dryRun(
        _ migrations: [D1Migration], upTo last: String? = nil
    ) async throws(D1Failure) -> D1MigrationReport {
        // No binding's database has such a name.
        let copy = database + "/dry-run"
        try await store.delete(copy)
        try await store.branch(database, at: nil, to: copy)
        // What it names is the copy's, and gone with it.
        let result: Result<D1MigrationReport, D1Failure>
        do {
            result = .success(try await D1Migrator(store: store, database: copy, table: table).apply(migrations, upTo: last))
        } catch { result = .failure(error) }
        try await store.delete(copy)
        return try result.get()
    }

    /// Takes back, last first, what was applied after `first` (`nil`: everything), each in one transaction with its row
    /// in the table. The first one that fails ends the run.
    ///
    /// - Throws: when one of them has no down file, or no file at all: before anything is taken back.
    package func revert(
        _ migrations: [D1Migration], downTo first: String?
    ) async throws(D1Failure) -> D1MigrationReport {
        let applied = try await applied()
        if let first, !applied.contains(first) { throw noMigration(first) }
        let all = applied.map { name in
            migrations.first { $0.name == name } ?? D1Migration(name: name, text: "")
        }.sorted(by: D1Migration.precedes)
        let start = first.flatMap { first in all.firstIndex { $0.name == first } }.map { $0 + 1 } ?? 0
        let due = Array(all[start...].reversed())
        for migration in due where migration.down == nil {
            throw D1Failure("\(migration.name) has no down file: nothing was taken back")
        }
        var report = D1MigrationReport()
        guard !due.isEmpty else { return report }
        report.bookmark = try await store.bookmark(of: database)
        let texts = due.map { migration in
            [SQLText.withoutTransaction(migration.down ?? "").text, unrecord(migration)]
        }
        report.items = await applyEach(due, texts).map { item in
            item.outcome == .applied ? .init(name: item.name, outcome: .reverted) : item
        }
        return report
    }

    private func unrecord(_ migration: D1Migration) -> String {
        [table, digestTable].map { table in
            "DELETE FROM \(SQLText.quoted(identifier: table)) WHERE name = \(SQLText.quoted(text: migration.name))"
        }.joined(separator: ";")
    }

    /// - Parameter texts: Of each migration, the file and what goes with it into the tables: apart, so that nothing in the file,
    ///   such as a comment without an end, can hide that.
    private func applyEach(_ pending: [D1Migration], _ texts: [[String]]) async -> [D1MigrationReport.Item] {
        var items: [D1MigrationReport.Item] = []
        var hasFailed = false
        for (migration, pair) in zip(pending, texts) {
            var outcome = D1MigrationReport.Outcome.skipped
            if !hasFailed {
                do {
                    try await store.runScript(pair, on: database)
                    outcome = .applied
                } catch {
                    hasFailed = true
                    outcome = .failed(error.text)
                }
            }
            items.append(.init(name: migration.name, outcome: outcome))
        }
        return items
    }

    private func applyAll(_ pending: [D1Migration], _ texts: [[String]]) async -> [D1MigrationReport.Item] {
        do {
            try await store.runScript(texts.flatMap { $0 }, on: database)
            return pending.map { .init(name: $0.name, outcome: .applied) }
        } catch {
            let culprit = if case .text(let index)? = error.part { index / 2 } else { pending.count - 1 }
            return pending.enumerated().map { index, migration in
                .init(name: migration.name, outcome: index == culprit ? .failed(error.text) : .skipped)
            }
        }
    }

    /// The names of applied migrations whose digest is another one now. One that was applied without a digest, by an
    /// older version or by wrangler, gets the present one.
    package func changed(_ migrations: [D1Migration]) async throws(D1Failure) -> [String] {
        let applied = try await applied()
        let candidates = migrations.filter { $0.digest != nil && applied.contains($0.name) }
        guard !candidates.isEmpty else { return [] }
        let rows = try await rows("SELECT name, digest FROM \(SQLText.quoted(identifier: digestTable))")
        var known: [String: String] = [:]
        for row in rows {
            if let name = row["name"]?.text, let digest = row["digest"]?.text { known[name] = digest }
        }
        let unknown = candidates.filter { known[$0.name] == nil }
        if !unknown.isEmpty { try await store.runScript([unknown.map(recordDigest).joined()], on: database) }
        return candidates.filter { known[$0.name] != nil && known[$0.name] != $0.digest }
            .sorted(by: D1Migration.precedes).map(\.name)
    }

    /// The names in the table, also of files that are no longer there.
    package func applied() async throws(D1Failure) -> Set<String> {
        try await store.runScript([D1MigrationTables(table).creation], on: database)
        let rows = try await rows("SELECT name FROM \(SQLText.quoted(identifier: table)) ORDER BY id")
        return Set(rows.compactMap { $0["name"]?.text })
    }

    /// A migration that was applied, as the table has it.
    package struct Applied: Equatable, Sendable {
        package let number: Int64
        package let name: String
        package let appliedAt: String
    }

    /// The rows of the table, in the order in which they were applied; none when there is no table.
    package func history() async throws(D1Failure) -> [Applied] {
        let known = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = \(SQLText.quoted(text: table)) COLLATE NOCASE"
        guard try await !rows(known).isEmpty else { return [] }
        return try await rows("SELECT id, name, applied_at FROM \(SQLText.quoted(identifier: table)) ORDER BY id").map { row in
            Applied(
                number: row["id"]?.integer ?? 0, name: row["name"]?.text ?? "", appliedAt: row["applied_at"]?.text ?? "")
        }
    }

    /// The names of applied migrations with their digests, `nil` where none is known. Makes no table.
    package func recorded() async throws(D1Failure) -> [String: String?] {
        let tables = D1MigrationTables(table)
        let known = try await rows(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name COLLATE NOCASE IN "
                + "(\(SQLText.quoted(text: tables.names)), \(SQLText.quoted(text: tables.digests)))"
        ).compactMap { $0["name"]?.text?.lowercased() }
        guard known.contains(tables.names.lowercased()) else { return [:] }
        let (names, digests) = (SQLText.quoted(identifier: tables.names), SQLText.quoted(identifier: tables.digests))
        let found = try await rows(
            known.contains(tables.digests.lowercased())
                ? "SELECT n.name, d.digest FROM \(names) n LEFT JOIN \(digests) d ON d.name = n.name"
                : "SELECT name, NULL AS digest FROM \(names)")
        var recorded: [String: String?] = [:]
        for row in found { if let name = row["name"]?.text { recorded[name] = .some(row["digest"]?.text) } }
        return recorded
    }

    /// The statements that made what is in the database.
    package func schema() async throws(D1Failure) -> [String] {
        try await rows("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type = 'table' DESC, rowid")
            .compactMap { $0["sql"]?.text }
    }

    /// How many rows a table has; `nil` when there is none.
    package func rowCount(of name: String) async throws(D1Failure) -> Int64? {
        let known = """
            SELECT name FROM sqlite_schema WHERE type = 'table' AND name = \(SQLText.quoted(text: name)) COLLATE NOCASE
            """
        guard try await !rows(known).isEmpty else { return nil }
        return try await rows("SELECT count(*) AS n FROM \(SQLText.quoted(identifier: name))").first?["n"]?.integer
    }

    private func rows(_ sql: String) async throws(D1Failure) -> [D1Row] {
        let reply = try await store.run(D1Request(.query([.init(sql: sql)], .allRows)), on: database)
        guard let results = try? D1ReplyReader(decoding: reply.bytes).results(columns: false).first?.0.results
        else {
            throw .closed
        }
        return results
    }

    private func record(_ migration: D1Migration) -> String { D1MigrationTables(table).record(migration) }

    private func recordDigest(_ migration: D1Migration) -> String { D1MigrationTables(table).recordDigest(migration) }
}
