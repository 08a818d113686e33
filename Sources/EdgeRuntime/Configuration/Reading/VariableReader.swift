/// Reads a table of variables: the same in both formats.
struct VariableReader {
    let collector: DiagnosticCollector
    /// Names of keys that probably were meant to stand above the table's header.
    let workerKeys: [String]

    func read(_ reader: TableReader) -> [Variable] {
        reader.table.entries.compactMap { entry in
            let path = reader.path(entry.key)
            guard BindingReader.isName(entry.key) else {
                collector.error(
                    .invalidValue, at: entry.keyLocation, path: path, "\(JSONText.quoted(entry.key)) is no name for a variable",
                    fix: "a name has letters, digits and \"_\", and begins with no digit")
                return nil
            }
            if workerKeys.contains(entry.key) {
                collector.warning(
                    .notAllowedHere, at: entry.keyLocation, path: path,
                    "\"\(entry.key)\" is a variable here: a key belongs to the last [table] header above it",
                    fix: "move it above the header")
            }
            let value: Variable.Value
            if let text = entry.value.string {
                value = .text(text)
                warnOfSecret(entry, path)
            } else if let json = entry.value.json {
                value = .json(json)
            } else {
                let message =
                    if case .date = entry.value.content { "a variable can't be a date" } else { "a variable can't hold dates, infinities or nan" }
                collector.error(.wrongType, at: entry.value.location, path: path, message, fix: "write it as a string")
                return nil
            }
            let byteCount =
                switch value {
                case .text(let text), .json(let text): text.utf8.count
                }
            guard byteCount <= PlatformLimits.variableByteCountMax else {
                collector.error(
                    .outOfRange, at: entry.value.location, path: path,
                    "a variable has at most \(PlatformLimits.variableByteCountMax) bytes, got \(byteCount)",
                    fix: "keep large values in KV or R2")
                return nil
            }
            return Variable(name: entry.key, value: value, place: entry.keyLocation)
        }
    }

    /// Only a text can be a secret: `TOKEN_TTL = 3600` is none.
    private func warnOfSecret(_ entry: DocumentTable.Entry, _ path: String) {
        let name = entry.key.lowercased()
        guard ["key", "secret", "token", "password"].contains(where: { name.contains($0) }) else { return }
        collector.warning(
            .secretInVariables, at: entry.keyLocation, path: path,
            "\"\(entry.key)\" looks like a secret; variables are visible in versions and logs",
            fix: "list it in secrets, and set it with \"edge secret put\" or in .dev.vars")
    }
}

/// The date whose runtime behaviour a worker was written for.
enum CompatibilityDate {
    /// Changes that a date turns on.
    package enum Behaviour: String, CaseIterable, Sendable {
        case navigationPrefersAssets = "2025-04-01"
        case deleteAllRemovesAlarms = "2026-02-24"
        case automaticCloseReply = "2026-04-07"
    }

    static func read(
        _ value: DocumentValue, path: String, today: CivilDate?, _ collector: DiagnosticCollector
    ) -> CivilDate? {
        guard let text = value.string else {
            let fix: String? = if case .date(let date) = value.content { "put it in quotes: \"\(date)\"" } else { nil }
            collector.error(
                .wrongType, at: value.location, path: path, "expected a date such as \"2026-08-01\", got \(value.described)",
                fix: fix)
            return nil
        }
        if text.unicodeScalars.contains(where: { $0 == "\u{2013}" || $0 == "\u{2014}" }) {
            let fixed = String(
                text.unicodeScalars.map { $0 == "\u{2013}" || $0 == "\u{2014}" ? "-" : Character($0) })
            collector.error(
                .invalidValue, at: value.location, path: path,
                "\"\(text)\" has an en dash or em dash where a date needs a hyphen", fix: "compatibility_date = \"\(fixed)\"")
            return nil
        }
        guard let date = parse(text) else {
            collector.error(
                .invalidValue, at: value.location, path: path, "expected a date such as \"2026-08-01\", got \(value.described)")
            return nil
        }
        if let today, date > today {
            collector.error(
                .outOfRange, at: value.location, path: path, "\(date) is in the future; today is \(today)",
                fix: "compatibility_date = \"\(today)\"")
            return nil
        }
        return date
    }

    static func parse(_ text: String) -> CivilDate? {
        guard text.utf8.count == 10, let date = DocumentDate(Array(text.utf8)), date.time == nil, let day = date.day else {
            return nil
        }
        return CivilDate(year: day.year, month: day.month, day: day.day)
    }

    /// What a worker gets that names no date.
    static var newest: CivilDate {
        Behaviour.allCases.compactMap { parse($0.rawValue) }.max() ?? CivilDate(daysSinceEpoch: 20_454)
    }
}
