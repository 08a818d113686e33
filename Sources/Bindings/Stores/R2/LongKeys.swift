internal import LMDB

/// Keys of any length in the exact order of their bytes, in databases whose keys are short (Debian's
/// liblmdb: 511 bytes).
///
/// A key is cut into chunks of `chunkByteCount`. A key of at most one chunk stands in `roots` as it is. Of
/// a longer one, the first chunk stands there and names a branch; the rest stands in `branches` behind the
/// branch's number, cut the same way. All keys that share a full chunk lie between the neighbours of that
/// chunk, so walking down at each branch yields the order of the whole keys. The work for one key depends
/// on its length alone.
///
/// A value is `0, record`, or `1, branch (8 bytes), has a record (0 or 1), record`; only full chunks have
/// the latter. The branch numbers' counter is the value of eight zero bytes in `branches`: zero is no
/// branch.
struct LongKeys: Sendable {
    static let chunkByteCount = 480

    private let roots: LMDBDatabase
    private let branches: LMDBDatabase

    init(_ environment: LMDBEnvironment, name: String) throws(LMDBError) {
        roots = try environment.openDatabase(name)
        branches = try environment.openDatabase(name + "-branches")
    }

    // MARK: One key

    func value(
        of key: [UInt8], _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [UInt8]? {
        var place = Place.root(key)
        while true {
            guard
                let entry = try transaction.value(of: place.physicalKey, in: database(place)).map(Entry.init)
            else { return nil }
            if place.isLast { return entry.record }
            guard let branch = entry.branch else { return nil }
            place = place.below(branch)
        }
    }

    func put(
        _ key: [UInt8], _ record: [UInt8], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        var place = Place.root(key)
        while true {
            let database = database(place)
            let isFull = place.isFull
            var entry = Entry()
            // A chunk that isn't full can't have a branch that must be kept.
            if isFull, let bytes = try transaction.value(of: place.physicalKey, in: database) {
                entry = Entry(bytes)
            }
            if place.isLast {
                entry.record = record
                return try transaction.put(place.physicalKey, entry.bytes, in: database)
            }
            if entry.branch == nil {
                entry.branch = try makeBranch(transaction)
                try transaction.put(place.physicalKey, entry.bytes, in: database)
            }
            guard let branch = entry.branch else { preconditionFailure("was made above") }
            place = place.below(branch)
        }
    }

    /// Removes `key`; says whether it was there.
    @discardableResult
    func delete(_ key: [UInt8], _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) -> Bool {
        try delete(Place.root(key), transaction)
    }

    private func delete(
        _ place: Place, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Bool {
        let database = database(place)
        guard var entry = try transaction.value(of: place.physicalKey, in: database).map(Entry.init) else {
            return false
        }
        if place.isLast {
            guard entry.record != nil else { return false }
            entry.record = nil
        } else {
            guard let branch = entry.branch, try delete(place.below(branch), transaction) else {
                return false
            }
            guard try isEmpty(branch, transaction) else { return true }
            entry.branch = nil
        }
        if entry.record == nil, entry.branch == nil {
            try transaction.delete(place.physicalKey, in: database)
        } else {
            try transaction.put(place.physicalKey, entry.bytes, in: database)
        }
        return true
    }

    // MARK: Many keys

    enum Step {
        case next
        /// Goes on with the first key that is not smaller.
        case seek([UInt8])
        case stop
    }

    /// Visits the keys from `bound` on, that one included, in their order, until `visit` stops or none is
    /// left.
    func scan(
        from bound: [UInt8], _ transaction: borrowing LMDBReadTransaction,
        _ visit: (_ key: [UInt8], _ record: [UInt8]) throws(LMDBError) -> Step
    ) throws(LMDBError) {
        try transaction.withCursor(roots) { cursor throws(LMDBError) in
            var bound = bound
            var isAtBound = false  // The cursor stands on the entry to look at, whatever `bound` says.
            while true {
                if !isAtBound {
                    guard try cursor.seek(Array(bound.prefix(Self.chunkByteCount))) else { return }
                }
                isAtBound = false
                let chunk = cursor.key
                let entry = Entry(cursor.value)
                // The usual case needs no more than the cursor's next step.
                if entry.branch == nil, let record = entry.record, !Self.lies(chunk, before: bound) {
                    switch try visit(chunk, record) {
                    case .next:
                        guard try cursor.moveToNext() else { return }
                        bound = []
                        isAtBound = true
                    case .seek(let next): bound = next
                    case .stop: return
                    }
                    continue
                }
                guard let found = try first(atOrAfter: bound, chunk, entry, transaction) else {
                    guard try cursor.moveToNext() else { return }
                    bound = []
                    isAtBound = true
                    continue
                }
                switch try visit(found.key, found.record) {
                case .next: bound = found.key + [0]
                case .seek(let next): bound = next
                case .stop: return
                }
            }
        }
    }

    /// The first key not smaller than `bound` among those that begin with `chunk`, which is `bound`'s own
    /// first chunk or greater.
    private func first(
        atOrAfter bound: [UInt8], _ chunk: [UInt8], _ entry: Entry,
        _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> (key: [UInt8], record: [UInt8])? {
        if let record = entry.record, !Self.lies(chunk, before: bound) { return (chunk, record) }
        guard let branch = entry.branch else { return nil }
        let isOnPath = bound.count > chunk.count && bound.starts(with: chunk)
        let rest = isOnPath ? Array(bound[chunk.count...]) : []
        guard let below = try first(inBranch: branch, atOrAfter: rest, transaction) else { return nil }
        return (chunk + below.key, below.record)
    }

    private func first(
        inBranch branch: UInt64, atOrAfter bound: [UInt8], _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> (key: [UInt8], record: [UInt8])? {
        let prefix = Place.bytes(branch)
        return try transaction.withCursor(branches) {
            cursor throws(LMDBError) -> (key: [UInt8], record: [UInt8])? in
            var isThere = try cursor.seek(prefix + bound.prefix(Self.chunkByteCount))
            while isThere, cursor.keyStarts(with: prefix) {
                let chunk = Array(cursor.key.dropFirst(prefix.count))
                if let found = try first(atOrAfter: bound, chunk, Entry(cursor.value), transaction) {
                    return found
                }
                isThere = try cursor.moveToNext()
            }
            return nil
        }
    }

    /// Whether `chunk`, as a whole key, is smaller than `bound`. It is never smaller than `bound`'s first
    /// chunk.
    private static func lies(_ chunk: [UInt8], before bound: [UInt8]) -> Bool {
        bound.count > chunk.count && bound.starts(with: chunk)
    }

    // MARK: Branches

    private func makeBranch(_ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) -> UInt64 {
        let counter = Place.bytes(0)
        let last = try transaction.value(of: counter, in: branches).map(Place.number) ?? 0
        try transaction.put(counter, Place.bytes(last + 1), in: branches)
        return last + 1
    }

    private func isEmpty(
        _ branch: UInt64, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Bool {
        let prefix = Place.bytes(branch)
        return try transaction.withCursor(branches) { cursor throws(LMDBError) in
            let found = try cursor.seek(prefix)
            return !(found && cursor.keyStarts(with: prefix))
        }
    }

    private func database(_ place: Place) -> LMDBDatabase { place.branch == nil ? roots : branches }

    /// Where a part of a key stands.
    private struct Place {
        var branch: UInt64?
        var rest: ArraySlice<UInt8>

        static func root(_ key: [UInt8]) -> Place { Place(branch: nil, rest: key[...]) }

        func below(_ branch: UInt64) -> Place {
            Place(branch: branch, rest: rest.dropFirst(LongKeys.chunkByteCount))
        }

        var isLast: Bool { rest.count <= LongKeys.chunkByteCount }
        var isFull: Bool { rest.count >= LongKeys.chunkByteCount }
        var physicalKey: [UInt8] {
            (branch.map(Self.bytes) ?? []) + rest.prefix(LongKeys.chunkByteCount)
        }

        static func bytes(_ number: UInt64) -> [UInt8] {
            stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: number >> $0) }
        }

        static func number(_ bytes: [UInt8]) -> UInt64 { bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } }
    }

    private struct Entry {
        var branch: UInt64?
        var record: [UInt8]?

        init() {}

        init(_ bytes: [UInt8]) {
            guard let form = bytes.first else { return }
            if form == 0 {
                record = Array(bytes.dropFirst())
            } else if bytes.count >= 10 {
                branch = Place.number(Array(bytes[1..<9]))
                if bytes[9] == 1 { record = Array(bytes[10...]) }
            }
        }

        var bytes: [UInt8] {
            guard let branch else { return [0] + (record ?? []) }
            return [1] + Place.bytes(branch) + [record == nil ? 0 : 1] + (record ?? [])
        }
    }
}
