/// The date whose runtime behaviour a worker was written for.
package enum CompatibilityDate {
    /// Changes of the runtime that a date turns on.
    package enum Behaviour: String, CaseIterable, Sendable {
        /// Whether a worker of that date has it.
        package func isActive(on date: CivilDate) -> Bool { parse(rawValue).map { date >= $0 } ?? false }

        case navigationPrefersAssets = "2025-04-01"
        case deleteAllRemovesAlarms = "2026-02-24"
        case automaticCloseReply = "2026-04-07"
    }

    static func read(
        _ value: DocumentValue, path: String, today: CivilDate?, _ collector: DiagnosticCollector
    ) -> CivilDate? {
        guard let text = value.string else {
            let fix: String? =
                if case .date(let date) = value.content { "put it in quotes: \"\(date)\"" } else { nil }
            collector.error(
                .wrongType, at: value.location, path: path,
                "expected a date such as \"2026-08-01\", got \(value.described)",
                fix: fix)
            return nil
        }
        if text.unicodeScalars.contains(where: { $0 == "\u{2013}" || $0 == "\u{2014}" }) {
            let fixed = String(
                text.unicodeScalars.map { $0 == "\u{2013}" || $0 == "\u{2014}" ? "-" : Character($0) })
            collector.error(
                .invalidValue, at: value.location, path: path,
                "\"\(text)\" has an en dash or em dash where a date needs a hyphen",
                fix: "compatibility_date = \"\(fixed)\"")
            return nil
        }
        guard let date = parse(text) else {
            collector.error(
                .invalidValue, at: value.location, path: path,
                "expected a date such as \"2026-08-01\", got \(value.described)")
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
        guard text.utf8.count == 10, let date = DocumentDate(Array(text.utf8)), date.time == nil,
            let day = date.day
        else {
            return nil
        }
        return CivilDate(year: day.year, month: day.month, day: day.day)
    }

    /// What a worker gets that names no date.
    static var newest: CivilDate {
        Behaviour.allCases.compactMap { parse($0.rawValue) }.max() ?? CivilDate(daysSinceEpoch: 20_454)
    }
}
