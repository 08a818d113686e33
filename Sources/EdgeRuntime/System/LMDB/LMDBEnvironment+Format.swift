/// The files were written by a newer node, or by another kind of store.
package struct LMDBFormatError: Error, Equatable, Sendable, CustomStringConvertible {
    package let directory: String
    package let found: String
    package let expected: String

    package var description: String {
        "\(directory): the files have format \"\(found)\", this node reads \"\(expected)\"; "
            + "start the node that wrote them, or a newer one"
    }
}

extension LMDBEnvironment {
    /// Writes what the files hold when they are new, e.g. `kv 1`, and refuses files that hold something else.
    ///
    /// - Throws: `LMDBFormatError`, or the `LMDBError` of what couldn't be read.
    package func requireFormat(_ format: String) throws {
        try requireFormat(format, upgradingFrom: []) { _ in }
    }

    /// As above. Files of an older format are first brought to `format` by `upgrade`, in the transaction that says so: after
    /// a crash they are of one format or of the other.
    package func requireFormat(
        _ format: String, upgradingFrom older: [String], _ upgrade: (borrowing LMDBWriteTransaction) throws -> Void
    ) throws {
        let database = try openDatabase("edge.format")
        let key = Array("format".utf8)
        let found = try read { transaction throws(LMDBError) in try transaction.value(of: key, in: database) }
        let text = found.map { String(decoding: $0, as: UTF8.self) }
        if text == format { return }
        if let text, !older.contains(text) {
            throw LMDBFormatError(directory: directory, found: text, expected: format)
        }
        try write { transaction in
            if text != nil { try upgrade(transaction) }
            try transaction.put(key, Array(format.utf8), in: database)
        }
    }
}
