/// A value of a TOML or JSON document, with its place.
package struct DocumentValue: Sendable {
    package indirect enum Content: Sendable {
        case string(String)
        case integer(Int64)
        case float(Double)
        case boolean(Bool)
        case date(DocumentDate)
        /// JSON only.
        case null
        case array([DocumentValue])
        case table(DocumentTable)
    }

    package let content: Content
    /// The whole value, quotes and brackets included; a table written under a header has the header's place.
    package let location: SourcePlace

    package init(_ content: Content, at location: SourcePlace) {
        self.content = content
        self.location = location
    }

    package var table: DocumentTable? {
        guard case .table(let table) = content else { return nil }
        return table
    }

    package var array: [DocumentValue]? {
        guard case .array(let elements) = content else { return nil }
        return elements
    }

    package var string: String? {
        guard case .string(let text) = content else { return nil }
        return text
    }

    package var integer: Int64? {
        guard case .integer(let number) = content else { return nil }
        return number
    }

    package var boolean: Bool? {
        guard case .boolean(let value) = content else { return nil }
        return value
    }
}

/// Names and values in the order of the text. A name occurs once.
package struct DocumentTable: Sendable {
    package struct Entry: Sendable {
        package let key: String
        /// The place of this key alone: the `b` of `a.b = 1`.
        package let keyLocation: SourcePlace
        package let value: DocumentValue
        package init(key: String, keyLocation: SourcePlace, value: DocumentValue) {
            self.key = key
            self.keyLocation = keyLocation
            self.value = value
        }
    }

    package private(set) var entries: [Entry] = []
    private var indexes: [String: Int] = [:]

    package init() {}

    package init(_ entries: some Sequence<Entry>) { for entry in entries { set(entry) } }

    package subscript(key: String) -> DocumentValue? { entry(key)?.value }

    package func entry(_ key: String) -> Entry? { indexes[key].map { entries[$0] } }

    /// Adds the entry, or replaces the one of the same key in its place.
    package mutating func set(_ entry: Entry) {
        if let index = indexes[entry.key] {
            entries[index] = entry
        } else {
            indexes[entry.key] = entries.count
            entries.append(entry)
        }
    }

    package mutating func remove(_ key: String) {
        guard indexes[key] != nil else { return }
        self = DocumentTable(entries.filter { $0.key != key })
    }

    package var keys: [String] { entries.map(\.key) }
    package var isEmpty: Bool { entries.isEmpty }
    package var count: Int { entries.count }
}
