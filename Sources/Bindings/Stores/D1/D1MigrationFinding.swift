/// When a migration runs: before the new code starts, beside the old code, or once the old code is gone.
package enum D1MigrationKind: String, CaseIterable, Sendable {
    case expand, contract
}

/// What the linter says about one statement of a migration.
package struct D1MigrationFinding: Equatable, Sendable, CustomStringConvertible {
    package enum Severity: String, Sendable { case error, warning }

    package enum Rule: String, CaseIterable, Sendable {
        // What the code that serves can't live with: an error in an `expand` file, allowed in a `contract` file.
        case dropTable = "drop-table"
        case dropColumn = "drop-column"
        case dropView = "drop-view"
        case dropUniqueIndex = "drop-unique-index"
        case renameTable = "rename-table"
        case renameColumn = "rename-column"
        case addNotNull = "add-not-null"
        case addUnique = "add-unique"
        case addCheck = "add-check"
        case rebuildTable = "rebuild-table"
        // What is doubtful.
        case dropTrigger = "drop-trigger"
        case dropIndex = "drop-index"
        case replaceView = "replace-view"
        case raisingTrigger = "raising-trigger"
        case unboundedDelete = "unbounded-delete"
        case unboundedUpdate = "unbounded-update"
        // What is wrong in any migration.
        case foreignKeys = "foreign-keys"
        case transactionControl = "transaction-control"
        case header

        /// Whether it is a mistake whatever runs beside the migration.
        package var isMistake: Bool { self == .foreignKeys || self == .transactionControl || self == .header }
    }

    package let severity: Severity
    package let rule: Rule
    package let file: String
    /// From 1; a column is a character.
    package let line: Int
    package let column: Int
    /// The statement, on one line, shortened.
    package let statement: String
    package let reason: String
    /// What to do instead.
    package let advice: String

    /// Whether `--allow-breaking` lets it through.
    package var isBreaking: Bool { severity == .error && !rule.isMistake }

    package var place: String { "\(file):\(line):\(column)" }

    /// `0003_x.sql:4:1: error: DROP TABLE users: reason; advice [drop-table]`
    package var description: String {
        "\(place): \(severity.rawValue): \(statement.isEmpty ? "" : "\(statement): ")\(reason); \(advice) [\(rule.rawValue)]"
    }
}

extension D1Migration {
    /// What its header says, a comment before the first statement: `-- edge: contract`. Without one it is `expand`.
    package var kind: D1MigrationKind { SQLScript(text).migrationHeader.kind }
}

extension SQLScript {
    /// What is wrong with a header, and where.
    struct HeaderProblem: Equatable {
        let start: Int
        let reason: String
        let advice: String
    }

    /// The kind that the header says, and all that is wrong with it.
    var migrationHeader: (kind: D1MigrationKind, problems: [HeaderProblem]) {
        var found: D1MigrationKind?
        var problems: [HeaderProblem] = []
        let kinds = D1MigrationKind.allCases.map { "\"-- edge: \($0.rawValue)\"" }.joined(separator: " or ")
        for comment in comments {
            let words = comment.text.split { $0 == " " || $0 == "\t" || $0 == "\r" }.joined(separator: " ")
            guard words.lowercased().hasPrefix("edge:") else { continue }
            let value = words.dropFirst("edge:".count).drop { $0 == " " }
            guard comment.isAtTop else {
                problems.append(
                    HeaderProblem(
                        start: comment.start, reason: "the header stands behind a statement, where it would have no effect",
                        advice: "move it to the top of the file"))
                continue
            }
            guard let kind = D1MigrationKind(rawValue: value.lowercased()) else {
                problems.append(
                    HeaderProblem(
                        start: comment.start, reason: "the header says \"\(D1Failure.shortened(String(value)))\"",
                        advice: "write \(kinds)"))
                continue
            }
            if let found, found != kind {
                problems.append(
                    HeaderProblem(
                        start: comment.start, reason: "the file has two headers that differ",
                        advice: "keep one, and put what belongs to the other into a file of its own"))
            }
            found = found ?? kind
        }
        return (found ?? .expand, problems)
    }
}
