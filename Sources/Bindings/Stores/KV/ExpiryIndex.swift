internal import LMDB

/// All records of an environment that expire, by the second at which they do. It serves the sweeper alone: reads look at
/// the record itself.
///
/// Key: second, place (both big-endian). Value: the namespace's name with its length (u16) in front, then the key.
struct ExpiryIndex: Sendable {
    let database: LMDBDatabase

    struct Due: Sendable {
        var entry: ExpiryEntry
        var namespace: String
        var key: [UInt8]
    }

    /// Adds a record and says where it stands: behind the others of its second.
    func insert(
        second: Int64, namespace: String, key: [UInt8], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> ExpiryEntry {
        let last: ExpiryEntry? = try transaction.withCursor(database) { cursor throws(LMDBError) in
            let end = Self.key(ExpiryEntry(second: second, place: .max))
            guard try cursor.seek(before: end) else { return nil }
            return Self.entry(cursor.key)
        }
        let place = last.map { $0.second == second ? $0.place + 1 : 0 } ?? 0
        let entry = ExpiryEntry(second: second, place: place)
        var value: [UInt8] = []
        value.append(littleEndian: UInt16(namespace.utf8.count))
        value += namespace.utf8
        value += key
        try transaction.put(Self.key(entry), value, in: database)
        return entry
    }

    func remove(_ entry: ExpiryEntry, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        try transaction.delete(Self.key(entry), in: database)
    }

    /// The earliest records that are gone at `now`.
    func due(
        at now: Int64, max: Int, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [Due] {
        try transaction.withCursor(database) { cursor throws(LMDBError) in
            var due: [Due] = []
            var found = try cursor.moveToFirst()
            while found, due.count < max {
                let entry = Self.entry(cursor.key)
                if entry.second > now { break }
                let value = cursor.value
                let nameEnd = 2 + Int(value[0]) + Int(value[1]) << 8
                due.append(
                    Due(
                        entry: entry, namespace: String(decoding: value[2..<nameEnd], as: UTF8.self),
                        key: Array(value[nameEnd...])))
                found = try cursor.moveToNext()
            }
            return due
        }
    }

    private static func key(_ entry: ExpiryEntry) -> [UInt8] {
        var key: [UInt8] = []
        key.append(bigEndian: entry.second)
        key.append(bigEndian: entry.place)
        return key
    }

    private static func entry(_ key: [UInt8]) -> ExpiryEntry {
        ExpiryEntry(
            second: key.bigEndian(at: 0), place: key.bigEndian(at: 8))
    }
}
