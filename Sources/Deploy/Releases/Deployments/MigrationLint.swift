internal import StoresD1

/// Judges a folder of migrations without a database: each file as if all before it had been deployed.
package enum MigrationLint {
    package struct Finding: Equatable, Sendable {
        package let isError: Bool
        package let rule: String
        /// `nil`: it concerns the folder.
        package let place: Place?
        /// On one line, shortened; may be empty.
        package let statement: String
        package let reason: String
        /// What to do instead; may be empty.
        package let advice: String

        package struct Place: Equatable, Sendable {
            package let file: String
            /// From 1.
            package let line: Int
            package let column: Int
        }

        /// - Parameter folder: What the file's name is shown behind.
        package func description(in folder: String) -> String {
            let origin = place.map { "\(folder)/\($0.file):\($0.line):\($0.column)" } ?? folder
            return "\(origin): \(isError ? "error" : "warning"): " + (statement.isEmpty ? "" : "\(statement): ") + reason
                + (advice.isEmpty ? "" : "; \(advice)") + " [\(rule)]"
        }
    }

    /// - Parameter files: In any order.
    package static func check(_ files: [(name: String, text: String)]) -> [Finding] {
        let migrations = D1Migration.paired(files.map { D1Migration(name: $0.name, text: $0.text) }).sorted(
            by: D1Migration.precedes)
        var findings = MigrationNumbers.problems(migrations.map(\.name)).map { problem in
            Finding(isError: true, rule: "numbers", place: nil, statement: "", reason: problem, advice: "")
        }
        var linter = D1MigrationLinter()
        for migration in migrations {
            findings += linter.check(migration).map { finding in
                Finding(
                    isError: finding.severity == .error, rule: finding.rule.rawValue,
                    place: Finding.Place(file: finding.file, line: finding.line, column: finding.column),
                    statement: finding.statement, reason: finding.reason, advice: finding.advice)
            }
            linter.settle()
        }
        return findings
    }
}
