import Testing

@testable import StoresD1

@Suite struct `D1 migration linter` {
    /// What is there before each case.
    static let schema = [
        "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT, \"e mail\" TEXT)",
        "CREATE UNIQUE INDEX users_name ON users(name)", "CREATE INDEX users_id ON users(id)",
        "CREATE VIEW names AS SELECT name FROM users",
        "CREATE TRIGGER filled AFTER INSERT ON users BEGIN UPDATE users SET name = 'a;b' WHERE id = NEW.id; END",
    ]

    private func findings(_ text: String, schema: [String] = schema) -> [D1MigrationFinding] {
        var linter = D1MigrationLinter(schema: schema)
        return linter.check(D1Migration(name: "1.sql", text: text))
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let sql: String
        /// `rule` for an error, `(rule)` for a warning.
        let outcome: [String]
        var testDescription: String { sql }
        init(_ sql: String, _ outcome: String...) {
            self.sql = sql
            self.outcome = outcome
        }
    }

    @Test(arguments: [
        // Drops.
        Case("DROP TABLE users", "drop-table"), Case("drop table if exists main.\"USERS\";", "drop-table"),
        Case("CREATE TABLE t(a); DROP TABLE t"), Case("CREATE TABLE t(a); DROP TABLE [T]"),
        Case("ALTER TABLE users DROP COLUMN name", "drop-column"), Case("ALTER TABLE users DROP name", "drop-column"),
        Case("ALTER TABLE users ADD a; ALTER TABLE users DROP a"),
        Case("ALTER TABLE users ADD a; ALTER TABLE users RENAME a TO b; ALTER TABLE users DROP b"),
        Case("DROP VIEW names", "drop-view"),
        Case("DROP VIEW names; CREATE VIEW names AS SELECT name, id FROM users", "(replace-view)"),
        Case("CREATE VIEW v AS SELECT 1; DROP VIEW v"),
        Case("DROP TRIGGER filled", "(drop-trigger)"),
        Case("DROP TRIGGER filled; CREATE TRIGGER filled AFTER INSERT ON users BEGIN SELECT 1; END"),
        Case("DROP INDEX users_name", "drop-unique-index"), Case("DROP INDEX users_id"),
        Case("DROP INDEX users_name; CREATE UNIQUE INDEX u2 ON users (NAME)"),
        Case("CREATE UNIQUE INDEX u2 ON users(name) WHERE name > ''; DROP INDEX users_name", "add-unique", "drop-unique-index"),
        Case("DROP INDEX unheard_of", "(drop-index)"),
        // Renames.
        Case("ALTER TABLE users RENAME TO people", "rename-table"),
        Case("CREATE TABLE t(a); ALTER TABLE t RENAME TO t2; DROP TABLE t2"),
        Case("ALTER TABLE users RENAME COLUMN name TO title", "rename-column"),
        Case("ALTER TABLE users RENAME \"e mail\" TO mail", "rename-column"),
        // Columns that are added.
        Case("ALTER TABLE users ADD COLUMN a TEXT"), Case("ALTER TABLE users ADD a TEXT NOT NULL DEFAULT ''"),
        Case("ALTER TABLE users ADD a TEXT NOT NULL", "add-not-null"),
        Case("ALTER TABLE users ADD a TEXT NOT NULL DEFAULT NULL", "add-not-null"),
        Case("ALTER TABLE users ADD a TEXT DEFAULT (NULL) NOT NULL", "add-not-null"),
        Case("ALTER TABLE users ADD a TEXT DEFAULT -1 NOT NULL"), Case("ALTER TABLE users ADD a DEFAULT (1 + (2)) NOT NULL"),
        Case("CREATE TABLE t(a); ALTER TABLE t ADD b NOT NULL"),
        Case("ALTER TABLE users ADD a CHECK (a IN ('NULL', 'b'))"),
        Case("ALTER TABLE users ADD a CHECK (a IS NULL OR length(name) > 0)", "add-check"),
        Case("ALTER TABLE users ADD a UNIQUE", "add-unique"), Case("ALTER TABLE users ADD a REFERENCES users(id)"),
        Case("ALTER TABLE users ADD a AS (id * 2) NOT NULL", "add-not-null"),
        // Unique indexes.
        Case("CREATE UNIQUE INDEX u ON users(id, name)", "add-unique"), Case("CREATE INDEX u ON users(name)"),
        Case("ALTER TABLE users ADD a; CREATE UNIQUE INDEX u ON users(a)"),
        Case("CREATE TABLE t(a); CREATE UNIQUE INDEX u ON t(a)"),
        Case("CREATE UNIQUE INDEX IF NOT EXISTS users_name ON users(name)"),
        // Rebuilds, in both orders.
        Case(
            "CREATE TABLE users_new(id, name TEXT NOT NULL); INSERT INTO users_new SELECT id, name FROM users; DROP TABLE users; "
                + "ALTER TABLE users_new RENAME TO users", "rebuild-table"),
        Case(
            "ALTER TABLE users RENAME TO old; CREATE TABLE users(id); INSERT INTO users SELECT id FROM old; DROP TABLE old",
            "rebuild-table"),
        Case("CREATE TABLE other(a); DROP TABLE users", "drop-table"),
        Case("CREATE TABLE t(a); CREATE TABLE u(a); DROP TABLE t; ALTER TABLE u RENAME TO t"),
        // Rows.
        Case("DELETE FROM users", "(unbounded-delete)"), Case("DELETE FROM users WHERE id = 1"),
        Case("UPDATE users SET name = ''", "(unbounded-update)"), Case("UPDATE OR IGNORE users SET name = '' WHERE 1"),
        Case("UPDATE users SET name = (SELECT 1 WHERE 1)", "(unbounded-update)"),
        Case("WITH x AS (SELECT 1 WHERE 1) DELETE FROM users", "(unbounded-delete)"),
        Case("CREATE TABLE t(a); DELETE FROM t; UPDATE t SET a = 1"),
        Case("INSERT INTO users(name) VALUES ('DELETE FROM users')"),
        // Triggers.
        Case("CREATE TRIGGER g AFTER INSERT ON users BEGIN DELETE FROM users; DROP TABLE users; END"),
        Case("CREATE TRIGGER g BEFORE INSERT ON users BEGIN SELECT RAISE(ABORT, 'no'); END", "(raising-trigger)"),
        Case("CREATE TEMP TRIGGER g AFTER INSERT ON users BEGIN SELECT 1; END; DROP TABLE users", "drop-table"),
        Case(
            "CREATE TRIGGER g AFTER INSERT ON users BEGIN SELECT CASE WHEN 1 THEN 2 END; SELECT 1; END; DROP TABLE users",
            "drop-table"),
        // What only looks like something.
        Case("-- DROP TABLE users\n/* DROP TABLE users; */ SELECT 'DROP TABLE users'"),
        Case("CREATE TABLE \"drop table\"(\"DROP TABLE users;\" TEXT)"), Case("/* never closed DROP TABLE users"),
        Case("SELECT 1;;; ; DROP TABLE users;", "drop-table"), Case("\u{FEFF}DROP TABLE users", "drop-table"),
        Case(""), Case("';"), Case("ALTER TABLE"), Case("DROP"), Case("CREATE UNIQUE INDEX"), Case("]"), Case("x'"),
        Case("1e+"),
        // Wrong in any file.
        Case("PRAGMA foreign_keys = OFF; SELECT 1; pragma main.foreign_keys(1)", "foreign-keys", "foreign-keys"),
        Case("PRAGMA defer_foreign_keys = ON; PRAGMA foreign_keys"),
        Case("BEGIN TRANSACTION; SELECT 1; COMMIT"), Case("SAVEPOINT a; SELECT 1", "transaction-control"),
        Case("BEGIN; BEGIN", "transaction-control"), Case("COMMIT", "transaction-control"),
        Case("VACUUM", "transaction-control"), Case("ATTACH 'x' AS y", "transaction-control"),
        // Headers.
        Case("-- edge: contract\nDROP TABLE users"), Case("--edge:contract\r\nDROP TABLE users; DELETE FROM users"),
        Case("-- a note\n/* and */ -- edge:  Contract\nDROP TABLE users"),
        Case("-- edge: expand\nDROP TABLE users", "drop-table"),
        Case("-- edge: contract\nPRAGMA foreign_keys = 0", "foreign-keys"),
        Case("-- edge: contrakt\nDROP TABLE users", "header", "drop-table"),
        Case("SELECT 1;\n-- edge: contract\nDROP TABLE users", "header", "drop-table"),
        Case("-- edge: expand\n-- edge: contract\n", "header"),
        Case("-- on the edge: contract\nDROP TABLE users", "drop-table"),
    ])
    func `says`(_ example: Case) {
        let found = findings(example.sql).map { $0.severity == .error ? $0.rule.rawValue : "(\($0.rule.rawValue))" }
        #expect(found == example.outcome)
    }

    @Test func `a finding has its place, its statement, the reason and what to do instead`() {
        let found = findings("-- é\nSELECT 1;\n  /* ä */ ALTER TABLE users\r\n\tDROP COLUMN name;\n")
        #expect(
            found.map(\.description) == [
                "1.sql:3:11: error: ALTER TABLE users DROP COLUMN name: the code in service still uses column users.name; drop it in a "
                    + "file with \"-- edge: contract\" once nothing uses it [drop-column]"
            ])
        #expect(found[0].isBreaking)
        #expect(findings("PRAGMA foreign_keys=0").allSatisfy { !$0.isBreaking })
        let long = findings(
            "DELETE FROM users -- \(String(repeating: "x", count: 500))\n RETURNING \(String(repeating: "y", count: 500))")
        #expect(long.map(\.statement.count) == [80])
    }

    @Test func `what pending files make is new to all of them until it is deployed`() {
        var linter = D1MigrationLinter()
        #expect(linter.check(D1Migration(name: "1.sql", text: "CREATE TABLE t(a)")).isEmpty)
        #expect(linter.check(D1Migration(name: "2.sql", text: "ALTER TABLE t RENAME a TO b")).isEmpty)
        linter.settle()
        #expect(linter.check(D1Migration(name: "3.sql", text: "ALTER TABLE t RENAME b TO c")).map(\.rule) == [.renameColumn])
        // One that waits is not there for those behind it.
        let contract = D1Migration(name: "4.sql", text: "-- edge: contract\nDROP TABLE t; CREATE TABLE t(z)")
        #expect(linter.check(contract, isLater: true).isEmpty)
        #expect(linter.check(D1Migration(name: "5.sql", text: "DROP TABLE t")).map(\.rule) == [.dropTable])
    }

    @Test func `any text is read to its end`() {
        var generator = SeededGenerator(seed: 12)
        let pieces = [
            "CREATE", " TABLE", " t", "(", ")", ";", "'", "\"", "`", "[", "]", "--", "\n", "/*", "*/", "TRIGGER ", " BEGIN ",
            "END", "é",
            "x'", "?", "1", ".", "e+", "\0", " ALTER TABLE t ", "ADD ", "DROP ", "RENAME ", "TO ", "NOT NULL ", "DEFAULT ", ",",
            "$",
        ]
        for _ in 0..<3000 {
            let text = (0..<Int.random(in: 0...30, using: &generator)).map { _ in pieces.randomElement(using: &generator) ?? ""
            }
            .joined()
            for finding in findings(text) { #expect(finding.line >= 1 && finding.column >= 1) }
            let script = SQLScript(text)
            let tokens = script.statements.flatMap(\.tokens)
            #expect(zip(tokens, tokens.dropFirst()).allSatisfy { $0.range.upperBound <= $1.range.lowerBound }, "\(text)")
        }
    }

    @Test func `statements end where SQLite ends them`() throws {
        let text = """
            CREATE TABLE t(a DEFAULT ';', "b;" TEXT);
            CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO t SELECT CASE WHEN 1 THEN 2 END; UPDATE t SET a = 1; END;
            INSERT INTO t VALUES (x'3b', 1.5e+3), ([b;], `a`); -- the end;
            EXPLAIN QUERY PLAN SELECT 1; /* ; */ SELECT 2
            """
        #expect(
            SQLScript(text).statements.map { String($0.text.prefix(14)) } == [
                "CREATE TABLE t", "CREATE TRIGGER", "INSERT INTO t ", "EXPLAIN QUERY ", "SELECT 2",
            ])
    }
}
