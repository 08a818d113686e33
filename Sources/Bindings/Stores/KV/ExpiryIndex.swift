internal import LMDB

/// All records of an environment that expire, by the second at which they do. It serves the sweeper alone:
/// reads look at the record itself.
///
/// Key: second, place (both big-endian). Value: the name of the namespace's space with its length (u16) in front, then the
/// key.
struct ExpiryIndex: Sendable {
    let database: LMDBDatabase

    struct Due: Sendable {
        /// The index's own key.
        var place: [UInt8]
        var entry: ExpiryEntry?
        /// What it stands for; `nil` when it can't be read.
        var target: Target?
    }

    struct Target: Equatable, Sendable {
        var space: String
        var key: [UInt8]

        init(space: String, key: [UInt8]) {
            self.space = space
            self.key = key
        }

        init?(_ value: [UInt8]) {
            guard value.count >= 2 else { return nil }
            let nameEnd = 2 + Int(value[0]) + Int(value[1]) << 8
            // Behind the keys stand records of the space's own.
            guard nameEnd < value.count, value[nameEnd] != 0xFF else { return nil }
            space = String(decoding: value[2..<nameEnd], as: UTF8.self)
            key = Array(value[nameEnd...])
        }

        var encoded: [UInt8] {
            var value: [UInt8] = []
            value.append(littleEndian: UInt16(space.utf8.count))
            value += space.utf8
            value += key
            return value
        }
    }

    /// Adds a record and says where it stands: behind the others of its second.
    func insert(
        second: Int64, of target: Target, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> ExpiryEntry {
        let last: ExpiryEntry? = try transaction.withCursor(database) { cursor throws(LMDBError) in
            let end = Self.key(ExpiryEntry(second: second, place: .max))
            guard try cursor.seek(before: end) else { return nil }
            return Self.entry(cursor.key)
        }
        let place = last.map { $0.second == second ? $0.place + 1 : 0 } ?? 0
        let entry = ExpiryEntry(second: second, place: place)
        try put(entry, target, transaction)
        return entry
    }

    func put(
        _ entry: ExpiryEntry, _ target: Target, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        try transaction.put(Self.key(entry), target.encoded, in: database)
    }

    func remove(_ entry: ExpiryEntry, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        try transaction.delete(Self.key(entry), in: database)
    }

    func remove(at place: [UInt8], _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        try transaction.delete(place, in: database)
    }

    /// What `entry` stands for; `nil` when it isn't there or can't be read.
    func target(
        of entry: ExpiryEntry, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> Target? {
        try transaction.value(of: Self.key(entry), in: database).flatMap { Target($0) }
    }

    /// `nil`: nothing is there, or nothing that can be read.
    func item(
        at place: [UInt8], _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> (entry: ExpiryEntry, target: Target)? {
        guard let entry = Self.entry(place), let value = try transaction.value(of: place, in: database),
            let target = Target(value)
        else { return nil }
        return (entry, target)
    }

    /// The earliest records that are gone at `now`.
    func due(
        at now: Int64, max: Int, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [Due] {
        var due: [Due] = []
        try scan(transaction) { item throws(LMDBError) in
            if let entry = item.entry, entry.second > now { return false }
            due.append(item)
            return due.count < max
        }
        return due
    }

    /// Lends each entry, the earliest first, until `body` returns false.
    func scan(
        _ transaction: borrowing LMDBReadTransaction, _ body: (Due) throws(LMDBError) -> Bool
    ) throws(LMDBError) {
        try transaction.withCursor(database) { cursor throws(LMDBError) in
            var found = try cursor.moveToFirst()
            while found {
                let place = cursor.key
                let item = Due(place: place, entry: Self.entry(place), target: Target(cursor.value))
                guard try body(item) else { return }
                found = try cursor.moveToNext()
            }
        }
    }

    private static func key(_ entry: ExpiryEntry) -> [UInt8] {
        var key: [UInt8] = []
        key.append(bigEndian: entry.second)
        key.append(bigEndian: entry.place)
        return key
    }

    private static func entry(_ key: [UInt8]) -> ExpiryEntry? {
        guard key.count == 12 else { return nil }
        return ExpiryEntry(second: key.bigEndian(at: 0), place: key.bigEndian(at: 8))
    }
}
