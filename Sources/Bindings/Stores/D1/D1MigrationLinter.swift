/// Tells which migrations the code that serves can't live with (spec: deploys, part D).
///
/// While a release is brought into service, the old code and the new run on one schema, so a migration that runs before
/// the switch may only add. What takes something away, or asks more of what the old code writes, belongs into a `contract`
/// file, which runs when the old code is gone. Tables, columns and indexes that pending files make themselves are nobody's
/// yet: with them anything goes.
///
/// It reads statements, not minds: that old code counts columns (`INSERT INTO t VALUES (…)`) it can't see.
package struct D1MigrationLinter {
    private var schema = D1MigrationSchema()

    /// - Parameter schema: The statements that made what is there, as `sqlite_schema` has them.
    package init(schema statements: [String] = []) {
        for statement in statements { learn(statement) }
    }

    /// Takes what a text makes as there, without judging it.
    package mutating func learn(_ text: String) {
        for statement in SQLScript(text).statements { SQLSchemaChange(statement).map { schema.apply($0) } }
        schema.settle()
    }

    /// Takes all that was checked until now as deployed.
    package mutating func settle() { schema.settle() }

    /// What is wrong with a migration, in the order of its statements. What it makes is known, and new, from then on.
    ///
    /// - Parameter isLater: Whether it will run after everything that is checked later: a `contract` file that is left for the
    ///   next time. Nothing of it is known then.
    package mutating func check(_ migration: D1Migration, isLater: Bool = false) -> [D1MigrationFinding] {
        let script = SQLScript(migration.text)
        let (kind, problems) = script.migrationHeader
        var findings = problems.map { problem in
            finding(
                migration, script, problem.start, nil, .header, problem.reason, advice: problem.advice)
        }
        findings += mistakes(migration, script)
        let before = schema
        let rebuilds = kind == .expand ? SQLTableRebuild.all(in: script, schema) : [:]
        for (index, statement) in script.statements.enumerated() {
            let change = SQLSchemaChange(statement)
            if kind == .expand {
                let start = statement.tokens[0].range.lowerBound
                var verdict: Verdict?
                if let rebuild = rebuilds[index] {
                    verdict = rebuild.isNamedHere ? Self.verdict(on: rebuild) : nil
                } else if let change {
                    verdict = self.verdict(on: change, script)
                } else {
                    verdict = self.verdict(on: SQLDataChange(statement))
                }
                if let verdict {
                    findings.append(
                        finding(
                            migration, script, start, statement, verdict.rule, verdict.reason, advice: verdict.advice,
                            verdict.severity))
                }
            }
            if let change { schema.apply(change) }
        }
        if isLater { schema = before }
        return findings.sorted { ($0.line, $0.column) < ($1.line, $1.column) }
    }

    private func finding(
        _ migration: D1Migration, _ script: SQLScript, _ start: Int, _ statement: SQLStatementText?,
        _ rule: D1MigrationFinding.Rule, _ reason: String, advice: String, _ severity: D1MigrationFinding.Severity = .error
    ) -> D1MigrationFinding {
        let place = script.place(of: start)
        return D1MigrationFinding(
            severity: severity, rule: rule, file: migration.name, line: place.line, column: place.column,
            statement: statement.map { Self.shortened($0.text) } ?? "", reason: reason, advice: advice)
    }

    private static func shortened(_ text: String) -> String {
        let line = text.split { $0.isWhitespace }.joined(separator: " ")
        return line.count > 80 ? line.prefix(79) + "…" : line
    }

    // MARK: What is wrong in any file

    private func mistakes(_ migration: D1Migration, _ script: SQLScript) -> [D1MigrationFinding] {
        // One pair around all is what tools write; it is left out.
        var hasBegin = false
        var hasCommit = false
        return script.statements.compactMap { statement in
            let start = statement.tokens[0].range.lowerBound
            var cursor = SQLCursor(statement.tokens)
            switch cursor.next?.keyword {
            case "PRAGMA":
                cursor.advance()
                guard cursor.takeName() == "foreign_keys", cursor.next != nil else { return nil }
                return finding(
                    migration, script, start, statement, .foreignKeys,
                    "has no effect inside of a transaction, which a migration is",
                    advice: "use PRAGMA defer_foreign_keys = ON: then foreign keys are checked when all files have run")
            case "BEGIN" where !hasBegin:
                hasBegin = true
                return nil
            case "COMMIT" where hasBegin && !hasCommit:
                hasCommit = true
                return nil
            case "BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "VACUUM", "ATTACH", "DETACH":
                return finding(
                    migration, script, start, statement, .transactionControl,
                    "can't be run in a migration, all of which are one transaction of one database", advice: "leave it out")
            default: return nil
            }
        }
    }

    // MARK: What the code that serves can't live with

    private struct Verdict {
        let rule: D1MigrationFinding.Rule
        let reason: String
        let advice: String
        var severity = D1MigrationFinding.Severity.error
    }

    private static let contract = "a file with \"-- edge: contract\""

    private func verdict(on change: SQLSchemaChange, _ script: SQLScript) -> Verdict? {
        switch change {
        case .createTable, .createView: nil
        case .createTrigger(_, let table, let raises):
            raises && !schema.isNew(table: table)
                ? Verdict(
                    rule: .raisingTrigger, reason: "refuses writes to \(table) that the code in service may make",
                    advice: "see that it lets through what that code writes, or put it into \(Self.contract)",
                    severity: .warning)
                : nil
        case .createIndex(let name, let table, let isUnique, let terms):
            verdict(onUnique: isUnique, name, table, terms)
        case .dropTable(let name):
            schema.isNew(table: name)
                ? nil
                : Verdict(
                    rule: .dropTable, reason: "the code in service still uses table \(name)",
                    advice: "drop it in \(Self.contract) once nothing uses it")
        case .dropView(let name): verdict(onDroppedView: name, script)
        case .dropTrigger(let name):
            schema.triggers[name] == true || Self.made(by: script).contains(name)
                ? nil
                : Verdict(
                    rule: .dropTrigger, reason: "the code in service may rely on what trigger \(name) fills",
                    advice: "drop it in \(Self.contract)", severity: .warning)
        case .dropIndex(let name): verdict(onDroppedIndex: name, script)
        case .renameTable(let name, let target):
            schema.isNew(table: name)
                ? nil
                : Verdict(
                    rule: .renameTable, reason: "the code in service knows table \(name) by this name",
                    advice: "make \(target) as a new table filled by triggers, and drop \(name) in \(Self.contract)")
        case .renameColumn(let table, let column, let target):
            schema.isNew(column: column, of: table)
                ? nil
                : Verdict(
                    rule: .renameColumn, reason: "the code in service knows column \(table).\(column) by this name",
                    advice: "add \(target), fill both by a trigger, and drop \(column) in \(Self.contract)")
        case .dropColumn(let table, let column):
            schema.isNew(column: column, of: table)
                ? nil
                : Verdict(
                    rule: .dropColumn, reason: "the code in service still uses column \(table).\(column)",
                    advice: "drop it in \(Self.contract) once nothing uses it")
        case .addColumn(let table, let column): schema.isNew(table: table) ? nil : verdict(on: column, of: table)
        }
    }

    private func verdict(on column: SQLColumn, of table: String) -> Verdict? {
        let name = "\(table).\(column.name)"
        if column.isUnique {
            return Verdict(
                rule: .addUnique, reason: "a column that is added can't be unique",
                advice: "add it without, and make a unique index on it")
        }
        if column.isNotNull, !column.hasDefault {
            return Verdict(
                rule: .addNotNull,
                reason: "\(name) is NOT NULL without a default, so rows that are there, and those that the code in service "
                    + "inserts, have no value for it",
                advice: "give it a DEFAULT, or leave NOT NULL out")
        }
        let others = column.checkedNames.subtracting([column.name])
        let known = schema.tables[table].flatMap(\.columns).map { others.intersection($0) }
        if column.hasCheck, let first = (known ?? []).min() {
            return Verdict(
                rule: .addCheck,
                reason: "the CHECK also concerns \(table).\(first), which the code in service writes without knowing it",
                advice: "check in the code, and add the CHECK by rebuilding the table in \(Self.contract)")
        }
        return nil
    }

    private func verdict(onUnique isUnique: Bool, _ name: String, _ table: String, _ terms: [String]) -> Verdict? {
        guard isUnique, !schema.isNew(table: table), schema.indexes[name] == nil else { return nil }
        // Columns that the old code doesn't write are NULL in its rows, and NULL equals nothing.
        if terms.contains(where: { schema.isNew(column: $0, of: table) }) { return nil }
        let others = Array(schema.indexes.values) + schema.droppedIndexes
        if others.contains(where: { $0.isUnique && $0.table == table && $0.terms == terms }) { return nil }
        return Verdict(
            rule: .addUnique, reason: "the code in service may write rows into \(table) that are equal in these columns",
            advice: "make the new code write no such rows, and the index in \(Self.contract)")
    }

    private func verdict(onDroppedIndex name: String, _ script: SQLScript) -> Verdict? {
        guard let index = schema.indexes[name] else {
            return Verdict(
                rule: .dropIndex, reason: "it isn't known here whether index \(name) is unique",
                advice: "if the code in service relies on that, drop it in \(Self.contract)", severity: .warning)
        }
        guard index.isUnique, !index.isNew, !schema.isNew(table: index.table) else { return nil }
        // What is dropped may be there under another name.
        let isThereAgain = script.statements.contains { statement in
            guard case .createIndex(_, let table, true, let terms)? = SQLSchemaChange(statement) else { return false }
            return table == index.table && terms == index.terms
        }
        guard !isThereAgain else { return nil }
        return Verdict(
            rule: .dropUniqueIndex,
            reason:
                "the code in service relies on index \(name) to keep rows of \(index.table) unique, or names its columns in "
                + "ON CONFLICT",
            advice: "drop it in \(Self.contract)")
    }

    private func verdict(onDroppedView name: String, _ script: SQLScript) -> Verdict? {
        guard schema.views[name] != true else { return nil }
        guard Self.made(by: script).contains(name) else {
            return Verdict(
                rule: .dropView, reason: "the code in service may still use view \(name)",
                advice: "drop it in \(Self.contract) once nothing uses it")
        }
        return Verdict(
            rule: .replaceView, reason: "the code in service reads view \(name) as it was",
            advice: "see that it still has all columns", severity: .warning)
    }

    /// The views and triggers that a file makes.
    private static func made(by script: SQLScript) -> Set<String> {
        Set(
            script.statements.compactMap { statement in
                switch SQLSchemaChange(statement) {
                case .createView(let name), .createTrigger(let name, _, _): name
                default: nil
                }
            })
    }

    private static func verdict(on rebuild: SQLTableRebuild.Step) -> Verdict {
        Verdict(
            rule: .rebuildTable,
            reason:
                "rebuilds table \(rebuild.table) (a new one is made and filled, the old one dropped, the new one renamed), which "
                + "the code in service uses meanwhile and afterwards",
            advice: "add what is new beside it now, and rebuild the table in \(contract)")
    }

    private func verdict(on change: SQLDataChange) -> Verdict? {
        switch change {
        case .delete(let table, hasCondition: false) where !schema.isNew(table: table):
            Verdict(
                rule: .unboundedDelete, reason: "removes all rows of \(table), also those that the code in service needs",
                advice: "say which rows with WHERE", severity: .warning)
        case .update(let table, hasCondition: false) where !schema.isNew(table: table):
            Verdict(
                rule: .unboundedUpdate, reason: "writes all rows of \(table) while writers wait",
                advice: "fill large tables by a job after the deployment, in batches of at most 1000 rows", severity: .warning)
        default: nil
        }
    }
}

/// What a statement does to rows.
enum SQLDataChange: Equatable {
    case delete(String, hasCondition: Bool)
    case update(String, hasCondition: Bool)
    case other

    init(_ statement: SQLStatementText) {
        self = .other
        // Behind WITH, the first verb that stands in no parentheses.
        var depth = 0
        var verb: Int?
        var hasCondition = false
        for (index, token) in statement.tokens.enumerated() {
            if token.kind == .sign, token.text == "(" { depth += 1 }
            if token.kind == .sign, token.text == ")" { depth -= 1 }
            guard depth == 0, token.kind == .word else { continue }
            if verb == nil, ["SELECT", "VALUES", "INSERT", "REPLACE", "UPDATE", "DELETE"].contains(token.keyword) {
                verb = index
            }
            if token.keyword == "WHERE" { hasCondition = true }
        }
        guard let verb, verb == 0 || statement.tokens[0].keyword == "WITH" else { return }
        var cursor = SQLCursor(Array(statement.tokens[verb...]))
        if cursor.take("DELETE"), cursor.take("FROM"), let table = cursor.takeName() {
            self = .delete(table, hasCondition: hasCondition)
        } else if cursor.take("UPDATE") {
            if cursor.take("OR") { cursor.advance() }
            if let table = cursor.takeName() { self = .update(table, hasCondition: hasCondition) }
        }
    }
}

/// The way to change what `ALTER TABLE` can't (https://www.sqlite.org/lang_altertable.html#otheralter), in one of two orders:
///
///     CREATE new, INSERT … SELECT FROM old, DROP old, RENAME new TO old
///     RENAME old TO other, CREATE old, INSERT … SELECT FROM other, DROP other
enum SQLTableRebuild {
    struct Step {
        let table: String
        /// Whether it is the statement that a finding names; the others of the pattern need none of their own.
        let isNamedHere: Bool
    }

    /// The statements of all rebuilds of tables that the code in service knows, by their numbers.
    static func all(in script: SQLScript, _ schema: D1MigrationSchema) -> [Int: Step] {
        let changes = script.statements.map { SQLSchemaChange($0) }
        var steps: [Int: Step] = [:]
        for (last, change) in changes.enumerated() {
            guard case .renameTable(let source, let target)? = change else { continue }
            let earlier = changes[..<last]
            if let drop = earlier.lastIndex(of: .dropTable(target)), !schema.isNew(table: target),
                earlier[..<drop].contains(where: { makes(source, $0) }),
                !earlier[..<drop].contains(where: { makes(target, $0) })
            {
                steps[drop] = Step(table: target, isNamedHere: true)
                steps[last] = Step(table: target, isNamedHere: false)
            } else if !schema.isNew(table: source), !earlier.contains(where: { makes(source, $0) }),
                let drop = changes[last...].firstIndex(of: .dropTable(target)),
                changes[last..<drop].contains(where: { makes(source, $0) })
            {
                steps[last] = Step(table: source, isNamedHere: true)
                steps[drop] = Step(table: source, isNamedHere: false)
            }
        }
        return steps
    }

    private static func makes(_ table: String, _ change: SQLSchemaChange?) -> Bool {
        if case .createTable(let name, _, _)? = change { name == table } else { false }
    }
}
