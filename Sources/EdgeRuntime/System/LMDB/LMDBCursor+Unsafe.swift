internal import CLMDB

/// A place in a database, in byte order of the keys. Lent for one closure, inside a transaction's closure.
@safe package struct LMDBCursor: ~Copyable {
    private let pointer: OpaquePointer?
    private let openingCode: Int32
    /// `nil` in a read transaction.
    private let state: WriteState?
    private var currentKey = unsafe MDB_val()
    private var currentValue = unsafe MDB_val()

    init(_ transaction: OpaquePointer, _ database: LMDBDatabase, state: WriteState?) {
        var cursor: OpaquePointer?
        openingCode = unsafe mdb_cursor_open(transaction, database.handle, &cursor)
        unsafe pointer = cursor
        self.state = state
    }

    deinit {
        if let pointer = unsafe pointer { unsafe mdb_cursor_close(pointer) }
    }

    // MARK: Moving. Each says whether there is an entry; without one the cursor stands nowhere.

    package mutating func moveToFirst() throws(LMDBError) -> Bool { try move(MDB_FIRST) }
    package mutating func moveToLast() throws(LMDBError) -> Bool { try move(MDB_LAST) }
    package mutating func moveToNext() throws(LMDBError) -> Bool { try move(MDB_NEXT) }
    package mutating func moveToPrevious() throws(LMDBError) -> Bool { try move(MDB_PREV) }

    /// Moves to the first entry whose key is `key` or greater; an empty `key` is the start.
    package mutating func seek(_ key: [UInt8]) throws(LMDBError) -> Bool {
        guard !key.isEmpty else { return try moveToFirst() }
        let code = unsafe key.withUnsafeBytes { bytes in
            // SAFETY: the key is read during the call and replaced by one in the map.
            unsafe currentKey = MDB_val(bytes)
            return get(MDB_SET_RANGE)
        }
        return try settle(code)
    }

    /// Moves to the last entry whose key is smaller than `key`.
    package mutating func seek(before key: [UInt8]) throws(LMDBError) -> Bool {
        try seek(key) ? try moveToPrevious() : try moveToLast()
    }

    private mutating func move(_ operation: MDB_cursor_op) throws(LMDBError) -> Bool {
        try settle(get(operation))
    }

    private mutating func get(_ operation: MDB_cursor_op) -> Int32 {
        guard let pointer = unsafe pointer else { return openingCode }
        // SAFETY: both values are filled with addresses in the map, valid until the transaction's next write or end.
        return unsafe mdb_cursor_get(pointer, &currentKey, &currentValue, operation)
    }

    private mutating func settle(_ code: Int32) throws(LMDBError) -> Bool {
        if code == 0 { return true }
        unsafe currentKey = MDB_val()
        unsafe currentValue = MDB_val()
        guard code == MDB_NOTFOUND else { throw LMDBError("mdb_cursor_get", LMDBError.Code(rawValue: code)) }
        return false
    }

    // MARK: Where it stands. Look before the next write: it moves what is looked at.

    package var key: [UInt8] { unsafe Array(currentKey.bytes) }
    package var value: [UInt8] { unsafe Array(currentValue.bytes) }
    package var keyByteCount: Int { unsafe currentKey.mv_size }
    package var valueByteCount: Int { unsafe currentValue.mv_size }

    /// Lends key and value in place.
    @inline(__always)
    package func withEntry<Result, Failure: Error>(
        _ body: (_ key: RawSpan, _ value: RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // SAFETY: the bytes lie in the map; spans can't leave the closure.
        try unsafe body(currentKey.bytes.bytes, currentValue.bytes.bytes)
    }

    package func keyStarts(with prefix: [UInt8]) -> Bool {
        unsafe currentKey.bytes.starts(with: prefix)
    }

    /// Removes the entry; `moveToNext` then goes to the one behind it.
    package mutating func delete() throws(LMDBError) {
        guard let pointer = unsafe pointer, let state else {
            throw LMDBError("mdb_cursor_del", .badTransaction)
        }
        state.hasWritten = true
        try state.check("mdb_cursor_del", unsafe mdb_cursor_del(pointer, 0))
    }
}
