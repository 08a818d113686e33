/// One row of a result.
public struct D1Row: Sendable, Hashable {
    let columns: D1Columns
    /// The values of all columns, in order, those with equal names too.
    public let values: [D1Value]

    package init(columns: D1Columns, values: [D1Value]) {
        self.columns = columns
        self.values = values
    }

    /// The names as SQLite gives them: the alias, or the text of the expression such as `count(*)`.
    public var columnNames: [String] { columns.names }

    /// The value of the column `name`, the last one where several have it; `nil` when no column does.
    public subscript(_ name: String) -> D1Value? { columns.lastIndex(of: name).map { values[$0] } }

    /// The value of the column at `index`, counted from 0.
    public subscript(_ index: Int) -> D1Value { values[index] }

    /// The row as an object: each name once, at its first place, with its last value.
    public var object: [(name: String, value: D1Value)] {
        columns.distinctNames.map { name in (name, self[name] ?? .null) }
    }

    /// Reads the row into `type`: each coding key is a column name.
    ///
    /// A type that is a single value (`String.self`) is read from the first column. Booleans are numbers,
    /// bytes are `[UInt8]`; a missing column is fine for an optional property.
    /// - Throws: `DecodingError`.
    public func decode<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
        try D1ValueDecoder.decode(type, from: self)
    }

    public static func == (left: D1Row, right: D1Row) -> Bool {
        left.columns.names == right.columns.names && left.values == right.values
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(values) }
}

/// The columns of a result, shared by its rows.
package final class D1Columns: Sendable {
    package let names: [String]
    /// Only where a search through the names would take longer than hashing one. By bytes: equal strings may differ in them,
    /// and are two names to SQLite.
    private let indices: [[UInt8]: Int]?

    package init(_ names: [String]) {
        self.names = names
        guard names.count > 8 else {
            indices = nil
            return
        }
        indices = Dictionary(names.enumerated().map { (Array($1.utf8), $0) }, uniquingKeysWith: { _, last in last })
    }

    func lastIndex(of name: String) -> Int? {
        if let indices { return indices[Array(name.utf8)] }
        return names.lastIndex { $0.utf8.elementsEqual(name.utf8) }
    }

    var distinctNames: [String] {
        var seen: Set<[UInt8]> = []
        return names.filter { seen.insert(Array($0.utf8)).inserted }
    }
}
