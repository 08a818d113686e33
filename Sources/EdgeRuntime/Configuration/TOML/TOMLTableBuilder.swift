/// A table while its document is being read: who defined it decides what may still be added to it.
final class TOMLTableBuilder {
    enum Definition {
        /// It stands only in the name of a longer header: its own header may still come.
        case implicit
        case header
        /// By a dotted key: more dotted keys may add to it, a header may not define it again.
        case dotted
    }

    enum Content {
        /// Closed: nothing can be added to an inline table or an array of values.
        case value(DocumentValue)
        case table(TOMLTableBuilder)
        case tables([TOMLTableBuilder])
    }

    struct Entry {
        let key: TOMLKey
        var content: Content
    }

    var definition: Definition
    let location: SourcePlace
    private var entries: [Entry] = []
    private var indexes: [String: Int] = [:]

    init(_ definition: Definition, at location: SourcePlace) {
        self.definition = definition
        self.location = location
    }

    func entry(_ key: TOMLKey) -> Entry? { indexes[key.name].map { entries[$0] } }

    func set(_ key: TOMLKey, _ content: Content) {
        if let index = indexes[key.name] {
            entries[index].content = content
        } else {
            indexes[key.name] = entries.count
            entries.append(Entry(key: key, content: content))
        }
    }

    var document: DocumentTable {
        DocumentTable(
            entries.map { entry in
                DocumentTable.Entry(
                    key: entry.key.name, keyLocation: entry.key.location,
                    value: Self.value(of: entry))
            })
    }

    private static func value(of entry: Entry) -> DocumentValue {
        switch entry.content {
        case .value(let value): value
        case .table(let table): DocumentValue(.table(table.document), at: table.location)
        case .tables(let tables):
            DocumentValue(
                .array(tables.map { DocumentValue(.table($0.document), at: $0.location) }),
                at: tables.first?.location ?? entry.key.location)
        }
    }
}

/// One part of a key.
struct TOMLKey {
    let name: String
    let location: SourcePlace
}
