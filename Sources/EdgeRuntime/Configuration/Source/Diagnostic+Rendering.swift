extension Diagnostic: CustomStringConvertible {
    /// `file:line:column: severity: path: message`, on one line.
    package var description: String {
        var text = location.map { "\($0): " } ?? ""
        text += "\(severity.rawValue): "
        if !path.isEmpty { text += "\(path): " }
        return text + message
    }

    /// The description, the line with a caret below it, related places and the fix.
    package var rendered: String {
        var lines = [description]
        if let location { lines += Self.excerpt(location) }
        for place in related { lines.append("  \(place.location): \(place.message)") }
        if let fix { lines.append("  fix: \(fix)") }
        return lines.joined(separator: "\n")
    }

    private static func excerpt(_ location: SourcePlace) -> [String] {
        guard !location.source.isConfidential, !location.source.bytes.isEmpty else { return [] }
        let line = location.line
        // A control character would otherwise reach the reader's terminal.
        let text = String(
            location.source.text(ofLine: line).unicodeScalars.map { scalar -> Character in
                scalar.properties.generalCategory == .control && scalar != "\t"
                    ? "\u{FFFD}" : Character(scalar)
            })
        let number = String(line)
        let margin = String(repeating: " ", count: max(0, 5 - number.count))
        let blank = String(repeating: " ", count: max(5, number.count))
        // Tabs are repeated, so that the caret stands below its character whatever their width.
        let indent = String(text.prefix(location.column - 1).map { $0 == "\t" ? "\t" : " " })
        let room = max(1, text.count - location.column + 1)
        let carets = String(repeating: "^", count: max(1, min(location.length, room)))
        return ["\(margin)\(number) | \(text)", "\(blank) | \(indent)\(carets)"]
    }

    /// One JSON object: `{file,line,column,length,path,severity,code,message,fix}`.
    package var json: String {
        var members: [(String, String)] = [
            ("file", (location?.file).map(JSONText.quoted) ?? "null"),
            ("line", location.map { String($0.line) } ?? "null"),
            ("column", location.map { String($0.column) } ?? "null"),
            ("length", location.map { String($0.length) } ?? "null"),
            ("path", JSONText.quoted(path)),
            ("severity", JSONText.quoted(severity.rawValue)),
            ("code", JSONText.quoted(code.rawValue)),
            ("message", JSONText.quoted(message)),
            ("fix", fix.map(JSONText.quoted) ?? "null"),
        ]
        if !related.isEmpty {
            let places = related.map { place in
                JSONText.object([
                    ("file", JSONText.quoted(place.location.file)), ("line", String(place.location.line)),
                    ("column", String(place.location.column)), ("message", JSONText.quoted(place.message)),
                ])
            }
            members.append(("related", "[\(places.joined(separator: ","))]"))
        }
        return JSONText.object(members)
    }
}

extension [Diagnostic] {
    package var hasErrors: Bool { contains { $0.severity == .error } }

    /// All of them for a person, one blank line between two.
    package var rendered: String { map(\.rendered).joined(separator: "\n\n") }

    /// All of them as one JSON array.
    package var json: String { "[\(map(\.json).joined(separator: ","))]" }
}
