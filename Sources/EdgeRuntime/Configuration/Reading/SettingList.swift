/// Lists the values of a merged document with their origins.
struct SettingList {
    private(set) var settings: [Setting] = []
    private let derived: [String: DerivedSettings.Value]
    private var seen: Set<String> = []

    init(_ derived: DerivedSettings) {
        self.derived = Dictionary(derived.values.map { ($0.path, $0.value) }) { _, last in last }
    }

    /// Adds all values of `table`, `list` being its path inside a worker, by which lists of bindings are known.
    mutating func add(_ table: DocumentTable, path: String, list: String = "") {
        for entry in table.entries {
            let key = DocumentValue.tomlKey(entry.key)
            add(
                entry.value, path: path.isEmpty ? key : "\(path).\(key)",
                list: list.isEmpty ? entry.key : "\(list).\(entry.key)")
        }
    }

    private mutating func add(_ value: DocumentValue, path: String, list: String) {
        switch value.content {
        case .table(let table) where !table.isEmpty: add(table, path: path, list: list)
        case .array(let elements) where !elements.isEmpty && elements.allSatisfy({ $0.table != nil }):
            let identity = Layers.identity(ofList: list)
            for (index, element) in elements.enumerated() {
                guard let table = element.table else { continue }
                let name = identity.flatMap { table[$0]?.string }
                add(
                    table, path: name.map { "\(path).\(DocumentValue.tomlKey($0))" } ?? "\(path)[\(index)]",
                    list: "\(list)[]")
            }
        default:
            let place = value.location.file == BuiltInValues.sourceName ? nil : value.location
            append(
                Setting(
                    path: path, value: derived[path]?.text ?? value.tomlText, place: place,
                    note: derived[path]?.note))
        }
    }

    /// Adds the computed values below `path` that no layer holds.
    mutating func addDerived(_ path: String) {
        for (key, value) in derived.sorted(by: { $0.key < $1.key })
        where key.hasPrefix(path + ".") && !seen.contains(key) {
            append(Setting(path: key, value: value.text, place: nil, note: value.note))
        }
    }

    private mutating func append(_ setting: Setting) {
        seen.insert(setting.path)
        settings.append(setting)
    }
}
