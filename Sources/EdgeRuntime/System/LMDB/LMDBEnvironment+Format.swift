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
    /// - Parameter upgrading: Older formats whose files can be used as they are; from now on they have the new one,
    ///   and older nodes refuse them.
    /// - Throws: `LMDBFormatError`, or the `LMDBError` of what couldn't be read.
    package func requireFormat(_ format: String, upgrading older: [String] = []) throws {
        let database = try openDatabase("edge.format")
        let key = Array("format".utf8)
        let found = try read { transaction throws(LMDBError) in try transaction.value(of: key, in: database) }
        guard let found else {
            return try write { try $0.put(key, Array(format.utf8), in: database) }
        }
        let text = String(decoding: found, as: UTF8.self)
        if older.contains(text) { return try write { try $0.put(key, Array(format.utf8), in: database) } }
        guard text == format else {
            throw LMDBFormatError(directory: directory, found: text, expected: format)
        }
    }
}

extension LMDBEnvironment {
    /// The same for files that may be of the format before: `upgrade` then brings them up to date, in the transaction that
    /// notes the new format, so that an interrupted one begins anew.
    ///
    /// - Parameter open: Opens the databases of the store.
    /// - Returns: what `open` returned.
    package func requireFormat<Tables>(
        _ format: String, from older: String, open: () throws -> Tables,
        upgrade: (Tables, borrowing LMDBWriteTransaction) throws -> Void
    ) throws -> Tables {
        let database = try openDatabase("edge.format")
        let key = Array("format".utf8)
        let found = try read { transaction throws(LMDBError) in try transaction.value(of: key, in: database) }
        guard found == Array(older.utf8) else {
            try requireFormat(format)
            return try open()
        }
        let tables = try open()
        try write { transaction in
            try upgrade(tables, transaction)
            try transaction.put(key, Array(format.utf8), in: database)
        }
        return tables
    }
}
