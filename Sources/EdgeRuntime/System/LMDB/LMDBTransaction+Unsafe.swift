internal import CLMDB

/// A snapshot: what was committed when it began. Lent for one closure, on one thread.
@safe package struct LMDBReadTransaction: ~Copyable {
    let pointer: OpaquePointer

    init(_ pointer: OpaquePointer) { unsafe self.pointer = pointer }

    init(_ slot: ReadSlot) { unsafe pointer = slot.liveTransaction }

    /// Lends the value of `key`; `nil` without calling `body` when there is none.
    package func withValue<Result>(
        of key: [UInt8], in database: LMDBDatabase, _ body: (RawSpan) throws(LMDBError) -> Result
    ) throws(LMDBError) -> Result? {
        guard let value = unsafe try find(key, database) else { return nil }
        // SAFETY: the bytes lie in the map and stay until the transaction ends or is written to.
        return try unsafe body(value.bytes)
    }

    /// The same for the hottest path, without a result; says whether there was a value.
    package func visitValue(
        of key: [UInt8], in database: LMDBDatabase, _ body: (RawSpan) throws(LMDBError) -> Void
    ) throws(LMDBError) -> Bool {
        guard let value = unsafe try find(key, database) else { return false }
        // SAFETY: as above.
        try unsafe body(value.bytes)
        return true
    }

    /// A copy of the value of `key`.
    package func value(of key: [UInt8], in database: LMDBDatabase) throws(LMDBError) -> [UInt8]? {
        guard let value = unsafe try find(key, database) else { return nil }
        return unsafe Array(value)
    }

    package func contains(_ key: [UInt8], in database: LMDBDatabase) throws(LMDBError) -> Bool {
        unsafe try find(key, database) != nil
    }

    /// How many entries `database` has. Constant time.
    package func count(of database: LMDBDatabase) throws(LMDBError) -> Int {
        var statistics = MDB_stat()
        try check("mdb_stat", unsafe mdb_stat(pointer, database.handle, &statistics))
        return Int(statistics.ms_entries)
    }

    /// How many pages its tree takes. Constant time.
    package func pageCount(of database: LMDBDatabase) throws(LMDBError) -> Int {
        var statistics = MDB_stat()
        try check("mdb_stat", unsafe mdb_stat(pointer, database.handle, &statistics))
        return statistics.ms_branch_pages + statistics.ms_leaf_pages + statistics.ms_overflow_pages
    }

    /// Lends a cursor over `database`, which stands nowhere at first.
    package func withCursor<Result, Failure: Error>(
        _ database: LMDBDatabase, _ body: (inout LMDBCursor) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var cursor = unsafe LMDBCursor(pointer, database, state: nil)
        return try body(&cursor)
    }

    func find(_ key: [UInt8], _ database: LMDBDatabase) throws(LMDBError) -> UnsafeRawBufferPointer? {
        var value = unsafe MDB_val()
        let code = unsafe key.withUnsafeBytes { bytes in
            // SAFETY: mdb_get reads the key and fills `value`; it writes through neither pointer.
            var key = unsafe MDB_val(bytes)
            return unsafe mdb_get(pointer, database.handle, &key, &value)
        }
        if code == MDB_NOTFOUND { return nil }
        try check("mdb_get", code)
        return unsafe value.bytes
    }
}

/// What the environment must know of a running write transaction.
final class WriteState {
    /// liblmdb ran out of map: the transaction can't be committed; it is worth repeating after growth.
    var isMapFull = false
    /// Something was changed since this was last set to false.
    var hasWritten = false

    func check(_ operation: String, _ code: Int32) throws(LMDBError) {
        guard code != 0 else { return }
        if code == MDB_MAP_FULL { isMapFull = true }
        throw LMDBError(operation, LMDBError.Code(rawValue: code))
    }
}

/// A transaction that changes things. Lent for one closure, on one thread; sees its own changes.
///
/// It ends with the closure: changes of one that threw are undone.
@safe package struct LMDBWriteTransaction: ~Copyable {
    /// The same transaction, seen by those who only read.
    package let reading: LMDBReadTransaction
    let state: WriteState

    /// Whoever makes it commits or aborts the transaction behind `pointer`, once, when this is gone.
    init(_ pointer: OpaquePointer, _ state: WriteState) {
        reading = unsafe LMDBReadTransaction(pointer)
        self.state = state
    }

    /// Runs `body` in a transaction inside this one, so that its changes alone are undone when it throws.
    func isolated<Result>(
        _ body: (borrowing LMDBWriteTransaction) throws -> Result
    ) throws -> Result {
        var child: OpaquePointer?
        try state.check(
            "mdb_txn_begin",
            unsafe mdb_txn_begin(mdb_txn_env(reading.pointer), reading.pointer, 0, &child))
        guard let child = unsafe child else { throw LMDBError("mdb_txn_begin", .badTransaction) }
        let result: Result
        do {
            result = unsafe try body(LMDBWriteTransaction(child, state))
        } catch {
            unsafe mdb_txn_abort(child)
            throw error
        }
        unsafe try state.check("mdb_txn_commit", mdb_txn_commit(child))
        return result
    }

    package func value(of key: [UInt8], in database: LMDBDatabase) throws(LMDBError) -> [UInt8]? {
        try reading.value(of: key, in: database)
    }

    package func contains(_ key: [UInt8], in database: LMDBDatabase) throws(LMDBError) -> Bool {
        try reading.contains(key, in: database)
    }

    /// Lends a cursor that can also delete where it stands.
    package func withCursor<Result, Failure: Error>(
        _ database: LMDBDatabase, _ body: (inout LMDBCursor) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var cursor = unsafe LMDBCursor(reading.pointer, database, state: state)
        return try body(&cursor)
    }

    /// Stores `value` under `key`, replacing any older value.
    package func put(_ key: [UInt8], _ value: [UInt8], in database: LMDBDatabase) throws(LMDBError) {
        let code = write(key, value, database, flags: 0)
        try state.check("mdb_put", code)
    }

    /// Stores `value` under `key` unless there is a value already; says whether it stored.
    package func putNew(_ key: [UInt8], _ value: [UInt8], in database: LMDBDatabase) throws(LMDBError) -> Bool {
        let code = write(key, value, database, flags: MDB_NOOVERWRITE)
        if code == MDB_KEYEXIST { return false }
        try state.check("mdb_put", code)
        return true
    }

    /// Stores `head` and then `tail` as one value, without joining them in memory first.
    package func put(
        _ key: [UInt8], head: [UInt8], tail: ArraySlice<UInt8>, in database: LMDBDatabase
    ) throws(LMDBError) {
        state.hasWritten = true
        var value = unsafe MDB_val()
        unsafe value.mv_size = head.count + tail.count
        let code = unsafe key.withUnsafeBytes { bytes in
            // SAFETY: with MDB_RESERVE, mdb_put fills `value` with the address of mv_size bytes for us to
            // write.
            var key = unsafe MDB_val(bytes)
            return unsafe mdb_put(reading.pointer, database.handle, &key, &value, UInt32(MDB_RESERVE))
        }
        try state.check("mdb_put", code)
        let target = unsafe UnsafeMutableRawBufferPointer(start: value.mv_data, count: value.mv_size)
        // SAFETY: the space is exactly as large as both parts, in memory nobody else sees before the commit.
        unsafe target.copyBytes(from: head)
        unsafe UnsafeMutableRawBufferPointer(rebasing: target[head.count...]).copyBytes(from: tail)
    }

    /// Removes `key`; says whether it was there.
    @discardableResult
    package func delete(_ key: [UInt8], in database: LMDBDatabase) throws(LMDBError) -> Bool {
        state.hasWritten = true
        let code = unsafe key.withUnsafeBytes { bytes in
            // SAFETY: mdb_del reads the key during the call.
            var key = unsafe MDB_val(bytes)
            return unsafe mdb_del(reading.pointer, database.handle, &key, nil)
        }
        if code == MDB_NOTFOUND { return false }
        try state.check("mdb_del", code)
        return true
    }

    /// Removes every entry of `database`, which stays open.
    package func removeAll(in database: LMDBDatabase) throws(LMDBError) {
        state.hasWritten = true
        try state.check("mdb_drop", unsafe mdb_drop(reading.pointer, database.handle, 0))
    }

    private func write(_ key: [UInt8], _ value: [UInt8], _ database: LMDBDatabase, flags: Int32) -> Int32 {
        state.hasWritten = true
        return unsafe key.withUnsafeBytes { keyBytes in
            unsafe value.withUnsafeBytes { valueBytes in
                // SAFETY: mdb_put copies both during the call.
                var key = unsafe MDB_val(keyBytes)
                var value = unsafe MDB_val(valueBytes)
                return unsafe mdb_put(reading.pointer, database.handle, &key, &value, UInt32(flags))
            }
        }
    }
}

func check(_ operation: String, _ code: Int32) throws(LMDBError) {
    guard code == 0 else { throw LMDBError(operation, LMDBError.Code(rawValue: code)) }
}

extension MDB_val {
    /// For reading only, although C can't say so.
    init(_ bytes: UnsafeRawBufferPointer) {
        unsafe self.init(mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
    }

    var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: mv_data, count: mv_size) }
}
