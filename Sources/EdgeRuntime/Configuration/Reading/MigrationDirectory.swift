/// The names in a folder of D1 migrations: `0001_users.sql`, `0002_content.sql`, … or `0001_users/migration.sql`, …
/// without gaps.
package enum MigrationDirectory {
    /// - Parameter names: Those that the pattern takes; `nil` when there is no such folder.
    static func check(
        _ names: [String]?, _ migrations: D1Migrations, at place: SourcePlace, path: String,
        _ collector: DiagnosticCollector
    ) {
        let directory = migrations.directory
        guard let names else {
            collector.error(
                .migration, at: place, path: path, "there is no folder \"\(directory)\"",
                fix: "mkdir -p \(directory)")
            return
        }
        var last: (number: Int, name: String)?
        var problems: [String] = []
        let numbered = names.map { name in
            (number: Int(name.prefix { $0.isASCII && $0.isNumber }), name: name)
        }
        for file in numbered where file.number == nil {
            problems.append("\"\(file.name)\" doesn't begin with a number, such as 0001_")
        }
        let sorted = numbered.compactMap { file in file.number.map { (number: $0, name: file.name) } }
            .sorted { ($0.number, $0.name) < ($1.number, $1.name) }
        for file in sorted {
            if let last, file.number == last.number {
                problems.append("\"\(last.name)\" and \"\(file.name)\" have the same number")
            } else if let last, file.number != last.number + 1 {
                problems.append("number \(last.number + 1) is missing before \"\(file.name)\"")
            }
            last = file
        }
        guard !problems.isEmpty else { return }
        collector.error(
            .migration, at: place, path: path, "\(directory): \(problems.joined(separator: "; "))")
    }
}

/// Which files of a folder are meant: `*.sql`, `*/migration.sql`. `*` stands for any characters but `/`, `?` for one.
package struct FilePattern: Sendable {
    private let parts: [[Character]]

    package init(_ text: String) {
        var parts = text.split(separator: "/", omittingEmptySubsequences: true).map { Array($0) }
        if parts.first == ["."] { parts.removeFirst() }
        self.parts = parts
    }

    /// How many folders and files a name has that can match.
    package var partCount: Int { parts.count }

    package func matches(_ path: String) -> Bool {
        let names = path.split(separator: "/", omittingEmptySubsequences: false)
        return names.count == parts.count && zip(parts, names).allSatisfy { Self.matches($0, Array($1)) }
    }

    private static func matches(_ pattern: [Character], _ name: [Character]) -> Bool {
        // A star that took too little is tried again with one character more: only the last one needs that.
        var (i, j) = (0, 0)
        var retry: (pattern: Int, name: Int)?
        while j < name.count {
            if i < pattern.count, pattern[i] == "*" {
                retry = (i, j)
                i += 1
            } else if i < pattern.count, pattern[i] == "?" || pattern[i] == name[j] {
                i += 1
                j += 1
            } else if let last = retry {
                retry = (last.pattern, last.name + 1)
                i = last.pattern + 1
                j = last.name + 1
            } else {
                return false
            }
        }
        return pattern[i...].allSatisfy { $0 == "*" }
    }
}
