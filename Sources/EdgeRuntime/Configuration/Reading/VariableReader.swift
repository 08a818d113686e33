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
                    .invalidValue, at: entry.keyLocation, path: path,
                    "\(JSONText.quoted(entry.key)) is no name for a variable",
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
                    if case .date = entry.value.content { "a variable can't be a date" } else {
                        "a variable can't hold dates, infinities or nan"
                    }
                collector.error(
                    .wrongType, at: entry.value.location, path: path, message, fix: "write it as a string")
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
