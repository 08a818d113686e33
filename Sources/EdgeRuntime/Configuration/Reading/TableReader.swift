/// A value and its place.
struct Located<Value: Sendable>: Sendable {
    let value: Value
    let place: SourcePlace
    init(_ value: Value, at place: SourcePlace) {
        self.value = value
        self.place = place
    }
}

/// Reads the entries of one table with their types and ranges. What isn't asked for is unknown: `finish` says so.
/// A wrong value is reported and read as absent; nothing is coerced.
struct TableReader {
    let table: DocumentTable
    /// The key path of the table, for messages.
    let path: String
    let place: SourcePlace
    let collector: DiagnosticCollector
    private var known: [String] = []

    init(_ table: DocumentTable, path: String, at place: SourcePlace, _ collector: DiagnosticCollector) {
        self.table = table
        self.path = path
        self.place = place
        self.collector = collector
    }

    func path(_ key: String) -> String {
        path.isEmpty ? DocumentValue.tomlKey(key) : "\(path).\(DocumentValue.tomlKey(key))"
    }

    // MARK: Entries

    mutating func value(_ key: String) -> DocumentValue? {
        known.append(key)
        return table[key]
    }

    mutating func string(_ key: String) -> Located<String>? {
        guard let value = value(key) else { return nil }
        guard let text = value.string else { return wrongType(value, key, "string") }
        return Located(text, at: value.location)
    }

    /// A string that must hold something.
    mutating func name(_ key: String) -> Located<String>? {
        guard let text = string(key) else { return nil }
        guard !text.value.isEmpty else {
            report(.invalidValue, text.place, key, "expected a name, got an empty string")
            return nil
        }
        return text
    }

    mutating func boolean(_ key: String) -> Located<Bool>? {
        guard let value = value(key) else { return nil }
        guard let boolean = value.boolean else { return wrongType(value, key, "true or false") }
        return Located(boolean, at: value.location)
    }

    mutating func integer(_ key: String, in range: ClosedRange<Int>) -> Located<Int>? {
        guard let value = value(key) else { return nil }
        let expected = "integer \(range.lowerBound)…\(range.upperBound)"
        guard let number = value.integer else { return wrongType(value, key, expected) }
        guard let fitting = Int(exactly: number), range.contains(fitting) else {
            report(.outOfRange, value.location, key, "expected \(expected), got \(number)")
            return nil
        }
        return Located(fitting, at: value.location)
    }

    mutating func number(_ key: String, in range: ClosedRange<Double>) -> Located<Double>? {
        guard let value = value(key) else { return nil }
        let expected = "number \(Self.short(range.lowerBound))…\(Self.short(range.upperBound))"
        let number: Double
        switch value.content {
        case .integer(let integer): number = Double(integer)
        case .float(let float): number = float
        default: return wrongType(value, key, expected)
        }
        guard range.contains(number) else {
            report(.outOfRange, value.location, key, "expected \(expected), got \(value.tomlText)")
            return nil
        }
        return Located(number, at: value.location)
    }

    private static func short(_ number: Double) -> String {
        number == number.rounded() ? String(Int(number)) : "\(number)"
    }

    mutating func duration(_ key: String, in range: ClosedRange<Duration>) -> Located<Duration>? {
        guard let value = value(key) else { return nil }
        if let number = value.integer {
            report(
                .wrongType, value.location, key, "a duration needs a unit, got \(number)",
                fix: "\(DocumentValue.tomlKey(key)) = \"\(number)s\", or ms, m, h, d")
            return nil
        }
        guard let text = value.string else { return wrongType(value, key, "a duration such as \"30s\"") }
        guard let duration = DurationText.parse(text) else {
            report(
                .invalidValue, value.location, key,
                "expected a duration such as \"30s\", got \(JSONText.quoted(text))",
                fix: "a whole number and ms, s, m, h or d")
            return nil
        }
        guard range.contains(duration) else {
            report(
                .outOfRange, value.location, key,
                "expected a duration of \(DurationText.text(range.lowerBound))…\(DurationText.text(range.upperBound)), got \(JSONText.quoted(text))"
            )
            return nil
        }
        return Located(duration, at: value.location)
    }

    mutating func size(_ key: String, in range: ClosedRange<Int>) -> Located<Int>? {
        guard let value = value(key) else { return nil }
        if let number = value.integer {
            report(
                .wrongType, value.location, key, "a size needs a unit, got \(number)",
                fix: "\(DocumentValue.tomlKey(key)) = \"\(number)MiB\", or B, KiB, GiB, KB, MB, GB")
            return nil
        }
        guard let text = value.string else { return wrongType(value, key, "a size such as \"64MiB\"") }
        guard let size = SizeText.parse(text) else {
            report(
                .invalidValue, value.location, key,
                "expected a size such as \"64MiB\", got \(JSONText.quoted(text))",
                fix: "a whole number and B, KiB, MiB or GiB")
            return nil
        }
        guard range.contains(size) else {
            report(
                .outOfRange, value.location, key,
                "expected a size of \(SizeText.text(range.lowerBound))…\(SizeText.text(range.upperBound)), got \(JSONText.quoted(text))"
            )
            return nil
        }
        return Located(size, at: value.location)
    }

    mutating func choice<Choice: RawRepresentable<String> & CaseIterable & Sendable>(
        _ key: String, _ type: Choice.Type
    ) -> Located<Choice>? {
        guard let text = string(key) else { return nil }
        guard let choice = Choice(rawValue: text.value) else {
            let names = Choice.allCases.map(\.rawValue)
            report(
                .invalidValue, text.place, key,
                "expected one of \(names.map(JSONText.quoted).joined(separator: ", ")), got \(JSONText.quoted(text.value))",
                fix: NearestName.of(text.value, among: names).map {
                    "\(DocumentValue.tomlKey(key)) = \"\($0)\""
                })
            return nil
        }
        return Located(choice, at: text.place)
    }

    mutating func strings(_ key: String) -> [Located<String>]? {
        guard let value = value(key) else { return nil }
        guard let elements = value.array else { return wrongType(value, key, "an array of strings") }
        return elements.enumerated().compactMap { index, element in
            guard let text = element.string else {
                return wrongType(element, "\(DocumentValue.tomlKey(key))[\(index)]", "string", isPath: true)
            }
            return Located(text, at: element.location)
        }
    }

    mutating func table(_ key: String) -> TableReader? {
        guard let value = value(key) else { return nil }
        guard let table = value.table else { return wrongType(value, key, "a table") }
        return TableReader(table, path: path(key), at: value.location, collector)
    }

    /// The tables of an array, each under the name that `identity` gives it, or its number.
    mutating func tables(_ key: String, identity: String? = nil) -> [TableReader]? {
        guard let value = value(key) else { return nil }
        guard let elements = value.array else { return wrongType(value, key, "an array of tables") }
        return elements.enumerated().compactMap { index, element in
            guard let table = element.table else {
                return wrongType(element, "\(DocumentValue.tomlKey(key))[\(index)]", "a table", isPath: true)
            }
            let name = identity.flatMap { table[$0]?.string }
            let place = name.map { "\(path(key)).\(DocumentValue.tomlKey($0))" } ?? "\(path(key))[\(index)]"
            return TableReader(table, path: place, at: element.location, collector)
        }
    }

    // MARK: Findings

    func report(
        _ code: Diagnostic.Code, _ place: SourcePlace, _ key: String, element: Int? = nil, _ message: String,
        fix: String? = nil, related: [Diagnostic.Related] = []
    ) {
        let path = path(key) + (element.map { "[\($0)]" } ?? "")
        collector.error(code, at: place, path: path, message, fix: fix, related: related)
    }

    /// Reports that an entry isn't there.
    func missing(_ key: String, _ expected: String) {
        collector.error(.missingKey, at: place, path: path(key), "\"\(key)\" is missing: \(expected)")
    }

    private func wrongType<Value>(
        _ value: DocumentValue, _ key: String, _ expected: String, isPath: Bool = false
    ) -> Value? {
        let full = isPath ? (path.isEmpty ? key : "\(path).\(key)") : path(key)
        collector.error(
            .wrongType, at: value.location, path: full, "expected \(expected), got \(value.described)")
        return nil
    }

    /// Reports the entries that nobody asked for.
    func finish(hint: (String) -> String? = { _ in nil }) {
        for entry in table.entries where !known.contains(entry.key) {
            let nearest = NearestName.of(entry.key, among: known)
            let message = "unknown key \"\(entry.key)\"" + (nearest.map { "; did you mean \"\($0)\"?" } ?? "")
            collector.add(
                Diagnostic(
                    collector.unknownKeySeverity, .unknownKey, at: entry.keyLocation, path: path(entry.key),
                    message,
                    fix: hint(entry.key) ?? nearest.map { "write \($0)" }
                        ?? "known here: \(Array(Set(known)).sorted().joined(separator: ", "))"))
        }
    }
}

extension DocumentValue {
    /// What stands there, for a message: short values as they are, others by kind.
    var described: String {
        switch content {
        case .string(let text): text.count <= 60 ? JSONText.quoted(text) : "a long string"
        case .integer, .float, .boolean: tomlText
        case .date(let date): "the date \(date)"
        case .null: "null"
        case .array: "an array"
        case .table: "a table"
        }
    }
}
