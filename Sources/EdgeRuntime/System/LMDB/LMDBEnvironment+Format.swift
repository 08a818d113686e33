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
        try requireFormat(format, upgradingFrom: older) { _ in }
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

    /// Refuses files of any other format, and leaves them as they are: for a store that opens its databases before it can
    /// upgrade them.
    package func checkFormat(_ formats: [String]) throws {
        let database = try openDatabase("edge.format")
        let key = Array("format".utf8)
        let found = try read { transaction throws(LMDBError) in try transaction.value(of: key, in: database) }
        guard let text = found.map({ String(decoding: $0, as: UTF8.self) }), !formats.contains(text) else { return }
        throw LMDBFormatError(directory: directory, found: text, expected: formats.first ?? "")
    }
}
