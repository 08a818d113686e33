/// Reads the entries of one table of a wrangler file, with the sentences that wrangler's users know. A wrong value
/// is reported and read as absent.
struct WranglerTable {
    let table: DocumentTable
    let place: SourcePlace
    /// The key path, such as `kv_namespaces[0]`.
    let path: String
    /// What comes before the path in an environment: `env.staging.`
    let prefix: String
    let collector: DiagnosticCollector
    private var known: Set<String> = []

    init(
        _ table: DocumentTable, at place: SourcePlace, path: String, prefix: String,
        _ collector: DiagnosticCollector
    ) {
        self.table = table
        self.place = place
        self.path = path
        self.prefix = prefix
        self.collector = collector
    }

    func field(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    mutating func value(_ key: String) -> DocumentValue? {
        known.insert(key)
        guard let value = table[key] else { return nil }
        if case .null = value.content { return nil }
        return value
    }

    mutating func string(_ key: String) -> Located<String>? {
        guard let value = value(key) else { return nil }
        guard let text = value.string else { return wrongType(value, key, "string") }
        return Located(text, at: value.location)
    }

    mutating func boolean(_ key: String) -> Bool? {
        guard let value = value(key) else { return nil }
        guard let boolean = value.boolean else { return wrongType(value, key, "boolean") }
        return boolean
    }

    mutating func integer(_ key: String, in range: ClosedRange<Int>) -> Int? {
        guard let value = value(key) else { return nil }
        guard let integer = value.integer, let number = Int(exactly: integer) else {
            return wrongType(value, key, "number")
        }
        guard range.contains(number) else {
            report(
                .outOfRange, value.location, key,
                "Expected \"\(field(key))\" to be between \(range.lowerBound) and \(range.upperBound) but got \(number)."
            )
            return nil
        }
        return number
    }

    mutating func number(_ key: String, in range: ClosedRange<Double>) -> Double? {
        guard let value = value(key) else { return nil }
        let number: Double
        switch value.content {
        case .integer(let integer): number = Double(integer)
        case .float(let float): number = float
        default: return wrongType(value, key, "number")
        }
        guard range.contains(number) else {
            report(
                .outOfRange, value.location, key,
                "Expected \"\(field(key))\" to be between \(range.lowerBound) and \(range.upperBound) but got \(value.tomlText)."
            )
            return nil
        }
        return number
    }

    mutating func strings(_ key: String) -> [Located<String>]? {
        guard let value = value(key) else { return nil }
        guard let elements = value.array else { return wrongType(value, key, "string array") }
        return elements.enumerated().compactMap { index, element in
            guard let text = element.string else { return wrongType(element, "\(key)[\(index)]", "string") }
            return Located(text, at: element.location)
        }
    }

    mutating func choice<Choice: RawRepresentable<String> & CaseIterable>(_ key: String, _ type: Choice.Type)
        -> Choice?
    {
        guard let text = string(key) else { return nil }
        guard let choice = Choice(rawValue: text.value) else {
            let names = Choice.allCases.map { JSONText.quoted($0.rawValue) }.joined(separator: ",")
            report(
                .invalidValue, text.place, key,
                "Expected \"\(field(key))\" field to be one of [\(names)] but got \(JSONText.quoted(text.value))."
            )
            return nil
        }
        return choice
    }

    mutating func table(_ key: String) -> WranglerTable? {
        guard let value = value(key) else { return nil }
        guard let table = value.table else { return wrongType(value, key, "object") }
        return WranglerTable(table, at: value.location, path: field(key), prefix: prefix, collector)
    }

    mutating func tables(_ key: String) -> [WranglerTable]? {
        guard let value = value(key) else { return nil }
        guard let elements = value.array else { return wrongType(value, key, "array") }
        return elements.enumerated().compactMap { index, element in
            guard let table = element.table else { return wrongType(element, "\(key)[\(index)]", "object") }
            return WranglerTable(
                table, at: element.location, path: "\(field(key))[\(index)]", prefix: prefix, collector)
        }
    }

    /// A string field that a binding must have.
    mutating func required(_ key: String) -> Located<String>? {
        known.insert(key)
        guard let text = table[key]?.string, let location = table[key]?.location, !text.isEmpty else {
            let shown = DocumentValue(.table(table), at: place).json ?? "{}"
            collector.error(
                .missingKey, at: table[key]?.location ?? place, path: prefix + field(key),
                "\"\(path)\" bindings should have a string \"\(key)\" field but got \(shown).")
            return nil
        }
        return Located(text, at: location)
    }

    func report(
        _ code: Diagnostic.Code, _ place: SourcePlace, _ key: String, _ message: String, fix: String? = nil
    ) {
        collector.error(code, at: place, path: prefix + field(key), message, fix: fix)
    }

    private func wrongType<Value>(_ value: DocumentValue, _ key: String, _ type: String) -> Value? {
        report(
            .wrongType, value.location, key,
            "Expected \"\(field(key))\" to be of type \(type) but got \(value.json ?? value.tomlText).")
        return nil
    }

    /// What nobody asked for is a warning: newer keys must not stop an older tool.
    func finish() {
        for entry in table.entries where !known.contains(entry.key) {
            let nearest = NearestName.of(entry.key, among: known.sorted())
            collector.warning(
                .unknownKey, at: entry.keyLocation, path: prefix + field(entry.key),
                "Unexpected fields found in \(prefix)\(path) field: \"\(entry.key)\"",
                fix: nearest.map { "write \($0)" })
        }
    }
}
