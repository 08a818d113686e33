internal import LMDB

/// A namespace's entries in a database whose keys end at 511 bytes, although the namespace's go to 512.
///
/// A key of up to 510 bytes is a key of the database. Longer ones share a bucket under their first 511 bytes:
/// a list, ordered, of what is behind these (nothing, or one byte) and the number of the record. Such records
/// stand behind all keys, under 0xFF and their number, since no UTF-8 begins with 0xFF. So the database's
/// order is the order of the full keys, a bucket has at most 257 elements, and a put never rewrites a
/// neighbour's value.
struct KeySpace: Sendable {
    let database: LMDBDatabase

    private static let plainByteCountMax = 510
    private static let bucketByteCount = 511
    private static let recordMark: UInt8 = 0xFF

    // MARK: Reading

    /// Lends the record of `key`.
    func withRecord<Result>(
        of key: [UInt8], _ transaction: borrowing LMDBReadTransaction,
        _ body: (RawSpan) throws(LMDBError) -> Result
    ) throws(LMDBError) -> Result? {
        if key.count <= Self.plainByteCountMax {
            return try transaction.withValue(of: key, in: database, body)
        }
        guard let number = try bucket(of: key, transaction)[Bucket.rest(of: key)] else { return nil }
        return try transaction.withValue(of: Self.recordKey(number), in: database, body)
    }

    /// As above, without a result: what `get` needs and nothing more.
    func visitRecord(
        of key: [UInt8], _ transaction: borrowing LMDBReadTransaction,
        _ body: (RawSpan) throws(LMDBError) -> Void
    ) throws(LMDBError) {
        // What an isolate asks for needn't be UTF-8: records behind the keys are none of them.
        if key.first == Self.recordMark { return }
        if key.count <= Self.plainByteCountMax {
            _ = try transaction.visitValue(of: key, in: database, body)
        } else if let number = try bucket(of: key, transaction)[Bucket.rest(of: key)] {
            _ = try transaction.visitValue(of: Self.recordKey(number), in: database, body)
        }
    }

    /// Lends each entry with `prefix`, in order, from `prefix` on or behind `start`, until `body` returns
    /// false.
    func scan(
        prefix: [UInt8], after start: [UInt8]?, _ transaction: borrowing LMDBReadTransaction,
        _ body: (_ key: [UInt8], _ record: RawSpan) throws(LMDBError) -> Bool
    ) throws(LMDBError) {
        let bound = start ?? prefix
        try transaction.withCursor(database) { cursor throws(LMDBError) in
            var found = try cursor.seek(Array(bound.prefix(Self.bucketByteCount)))
            while found {
                let key = cursor.key
                if key[0] == Self.recordMark { return }
                if key.count == Self.bucketByteCount {
                    for element in Bucket(cursor.value).elements {
                        let full = key + element.rest
                        if let start, !start.lexicographicallyPrecedes(full) { continue }
                        guard full.starts(with: prefix) else {
                            // The bucket's first keys may stand before a prefix of 512 bytes.
                            if full.lexicographicallyPrecedes(prefix) { continue }
                            return
                        }
                        let goesOn = try transaction.withValue(
                            of: Self.recordKey(element.number), in: database
                        ) { record throws(LMDBError) in try body(full, record) }
                        if goesOn == false { return }
                    }
                } else if key != start {
                    guard key.starts(with: prefix) else { return }
                    let goesOn = try cursor.withEntry { _, record throws(LMDBError) in try body(key, record) }
                    if !goesOn { return }
                }
                found = try cursor.moveToNext()
            }
        }
    }

    enum EntryKind { case plain, bucket, behind }

    /// Lends what stands in the database, as it stands there, until `body` returns false.
    func visitAll(
        _ transaction: borrowing LMDBReadTransaction,
        _ body: (_ kind: EntryKind, _ key: [UInt8], _ value: RawSpan) throws(LMDBError) -> Bool
    ) throws(LMDBError) {
        try transaction.withCursor(database) { cursor throws(LMDBError) in
            var found = try cursor.moveToFirst()
            while found {
                let key = cursor.key
                let kind: EntryKind =
                    key[0] == Self.recordMark ? .behind : key.count == Self.bucketByteCount ? .bucket : .plain
                guard try cursor.withEntry({ _, value throws(LMDBError) in try body(kind, key, value) }) else { return }
                found = try cursor.moveToNext()
            }
        }
    }

    /// What all entries come to.
    func usage(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> KVUsage {
        var usage = KVUsage()
        try transaction.withCursor(database) { cursor throws(LMDBError) in
            var found = try cursor.moveToFirst()
            while found {
                let key = cursor.key
                if key[0] == Self.recordMark { return }
                if key.count == Self.bucketByteCount {
                    for element in Bucket(cursor.value).elements {
                        let record = try transaction.withValue(
                            of: Self.recordKey(element.number), in: database
                        ) { record throws(LMDBError) in KVUsage(key: key + element.rest, record) }
                        usage = usage + (record ?? KVUsage())
                    }
                } else {
                    let record = try cursor.withEntry { _, record throws(LMDBError) in KVUsage(key: key, record) }
                    usage = usage + record
                }
                found = try cursor.moveToNext()
            }
        }
        return usage
    }

    // MARK: Writing

    func put(
        _ key: [UInt8], head: [UInt8], tail: ArraySlice<UInt8>, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        if key.count <= Self.plainByteCountMax {
            return try transaction.put(key, head: head, tail: tail, in: database)
        }
        var bucket = try bucket(of: key, transaction.reading)
        let rest = Bucket.rest(of: key)
        let number: UInt64
        if let known = bucket[rest] {
            number = known
        } else {
            number = try nextRecordNumber(transaction)
            bucket[rest] = number
            try transaction.put(Array(key.prefix(Self.bucketByteCount)), bucket.bytes, in: database)
        }
        try transaction.put(Self.recordKey(number), head: head, tail: tail, in: database)
    }

    /// Puts a bucket in order: each key once, and none without a record.
    ///
    /// - Parameter key: The bucket's own, 511 bytes.
    func rewriteBucket(_ key: [UInt8], _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) -> Bool {
        guard let old = try transaction.value(of: key, in: database) else { return false }
        var bucket = Bucket([])
        for element in Bucket(old).elements where bucket[element.rest] == nil {
            if try transaction.contains(Self.recordKey(element.number), in: database) {
                bucket[element.rest] = element.number
            }
        }
        if bucket.bytes == old { return false }
        if bucket.elements.isEmpty {
            try transaction.delete(key, in: database)
        } else {
            try transaction.put(key, bucket.bytes, in: database)
        }
        return true
    }

    func delete(_ key: [UInt8], _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        if key.count <= Self.plainByteCountMax {
            try transaction.delete(key, in: database)
            return
        }
        var bucket = try bucket(of: key, transaction.reading)
        let rest = Bucket.rest(of: key)
        guard let number = bucket[rest] else { return }
        try transaction.delete(Self.recordKey(number), in: database)
        bucket[rest] = nil
        let bucketKey = Array(key.prefix(Self.bucketByteCount))
        if bucket.elements.isEmpty {
            try transaction.delete(bucketKey, in: database)
        } else {
            try transaction.put(bucketKey, bucket.bytes, in: database)
        }
    }

    private func bucket(
        of key: [UInt8], _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> Bucket {
        Bucket(try transaction.value(of: Array(key.prefix(Self.bucketByteCount)), in: database) ?? [])
    }

    static func recordKey(_ number: UInt64) -> [UInt8] {
        var key = [recordMark]
        key.append(bigEndian: number)
        return key
    }

    private func nextRecordNumber(_ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) -> UInt64 {
        try transaction.withCursor(database) { cursor throws(LMDBError) in
            guard try cursor.moveToLast(), cursor.keyStarts(with: [Self.recordMark]) else { return 0 }
            let last = cursor.key
            guard last.count == 9 else { throw LMDBError("kv record", .corrupted) }
            let lastNumber: UInt64 = last.bigEndian(at: 1)
            let (number, overflow) = lastNumber.addingReportingOverflow(1)
            guard !overflow else { throw LMDBError("kv record", .corrupted) }
            return number
        }
    }
}

/// The keys that share their first 511 bytes: ten bytes for each, in order.
struct Bucket {
    struct Element {
        /// What is behind the first 511 bytes: nothing or one byte.
        var rest: [UInt8]
        var number: UInt64
    }
    private(set) var elements: [Element] = []

    init(_ bytes: [UInt8]) {
        for start in stride(from: 0, to: bytes.count - bytes.count % 10, by: 10) {
            let rest = bytes[start] == 0 ? [] : [bytes[start + 1]]
            elements.append(Element(rest: rest, number: bytes.bigEndian(at: start + 2)))
        }
    }

    /// Each key once, in byte order.
    var isInOrder: Bool {
        zip(elements, elements.dropFirst()).allSatisfy { $0.rest.lexicographicallyPrecedes($1.rest) }
    }

    static func rest(of key: [UInt8]) -> [UInt8] { Array(key[511...]) }

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        for element in elements {
            bytes.append(UInt8(element.rest.count))
            bytes.append(element.rest.first ?? 0)
            bytes.append(bigEndian: element.number)
        }
        return bytes
    }

    subscript(rest: [UInt8]) -> UInt64? {
        get { elements.first { $0.rest == rest }?.number }
        set {
            elements.removeAll { $0.rest == rest }
            guard let newValue else { return }
            let place = elements.firstIndex { rest.lexicographicallyPrecedes($0.rest) } ?? elements.endIndex
            elements.insert(Element(rest: rest, number: newValue), at: place)
        }
    }
}
