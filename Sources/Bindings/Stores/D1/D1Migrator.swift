internal import Interfaces

/// One migration: its path relative to the migrations directory, and its SQL.
package struct D1Migration: Equatable, Sendable {
    package var name: String
    package var text: String

    package init(name: String, text: String) {
        self.name = name
        self.text = text
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

    package var succeeded: Bool {
        items.allSatisfy { $0.outcome == .applied }
    }

    /// As wrangler prints it.
    package var description: String {
        guard !items.isEmpty else { return "✅ No migrations to apply!" }
        var lines: [String] = warnings.map { "⚠️ \($0)" }
        for item in items {
            switch item.outcome {
            case .applied: lines.append("✅ \(item.name)")
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

    /// - Parameter table: Where the names of applied migrations are kept.
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

    /// Applies what is pending, each migration together with its row in the table. The first one that fails
    /// ends the run.
    ///
    /// - Throws: only when the database itself doesn't answer; a bad migration is in the report.
    package func apply(
        _ migrations: [D1Migration], as scope: Scope = .each
    ) async throws(D1Failure) -> D1MigrationReport {
        var report = D1MigrationReport()
        let pending = try await pending(migrations)
        guard !pending.isEmpty else { return report }
        report.bookmark = try await store.bookmark(of: database)
        var texts: [String] = []
        for migration in pending {
            let (text, stripped) = SQLText.withoutTransaction(migration.text)
            if stripped {
                report.warnings.append(
                    "\(migration.name): BEGIN TRANSACTION and COMMIT were left out: "
                        + "migrations run in a transaction already")
            }
            texts.append(text + "\n" + record(migration.name))
        }
        switch scope {
        case .each: report.items = await applyEach(pending, texts)
        case .all: report.items = await applyAll(pending, texts)
        }
        return report
    }

    private func applyEach(_ pending: [D1Migration], _ texts: [String]) async -> [D1MigrationReport.Item] {
        var items: [D1MigrationReport.Item] = []
        var hasFailed = false
        for (migration, text) in zip(pending, texts) {
            var outcome = D1MigrationReport.Outcome.skipped
            if !hasFailed {
                do {
                    try await store.runScript([text], on: database)
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

    private func applyAll(_ pending: [D1Migration], _ texts: [String]) async -> [D1MigrationReport.Item] {
        do {
            try await store.runScript(texts, on: database)
            return pending.map { .init(name: $0.name, outcome: .applied) }
        } catch {
            let culprit = if case .text(let index)? = error.part { index } else { pending.count - 1 }
            return pending.enumerated().map { index, migration in
                .init(name: migration.name, outcome: index == culprit ? .failed(error.text) : .skipped)
            }
        }
    }

    /// The names in the table, also of files that are no longer there.
    package func applied() async throws(D1Failure) -> Set<String> {
        let name = SQLText.quoted(identifier: table)
        let table = """
            CREATE TABLE IF NOT EXISTS \(name)(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, \
            applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL);
            """
        try await store.runScript([table], on: database)
        let reply = try await store.run(
            D1Request(.query([.init(sql: "SELECT name FROM \(name) ORDER BY id")], .allRows)), on: database)
        guard let results = try? D1ReplyReader(decoding: reply.bytes).results(columns: false).first?.0.results
        else {
            throw .closed
        }
        return Set(results.compactMap { $0["name"]?.text })
    }

    private func record(_ name: String) -> String {
        // The semicolon ends a last statement that has none of its own.
        ";INSERT INTO \(SQLText.quoted(identifier: table)) (name) values (\(SQLText.quoted(text: name)));"
    }
}
