internal import CLMDB
internal import Glibc

/// liblmdb as its documentation shows it, one thread, nothing of ours around it.
@safe final class RawLMDB {
    private let environment: OpaquePointer
    private var database: MDB_dbi = 0
    private var reader: OpaquePointer?

    init(_ directory: String) throws {
        unsafe mkdir(directory, 0o700)
        var made: OpaquePointer?
        try Self.check(unsafe mdb_env_create(&made))
        guard let made = unsafe made else { throw PeerError(description: "mdb_env_create") }
        unsafe environment = made
        unsafe reader = nil
        unsafe mdb_env_set_mapsize(environment, 1 << 30)
        try Self.check(unsafe mdb_env_open(environment, directory, 0, 0o600))
        var transaction: OpaquePointer?
        try Self.check(unsafe mdb_txn_begin(environment, nil, 0, &transaction))
        try Self.check(unsafe mdb_dbi_open(transaction, nil, UInt32(MDB_CREATE), &database))
        try Self.check(unsafe mdb_txn_commit(transaction))
    }

    deinit {
        if let reader = unsafe reader { unsafe mdb_txn_abort(reader) }
        unsafe mdb_env_close(environment)
    }

    /// All puts in one transaction.
    func put(_ entries: some Sequence<(key: [UInt8], value: [UInt8])>) throws {
        var transaction: OpaquePointer?
        try Self.check(unsafe mdb_txn_begin(environment, nil, 0, &transaction))
        for entry in entries {
            let code = unsafe entry.key.withUnsafeBytes { key in
                unsafe entry.value.withUnsafeBytes { value in
                    // SAFETY: mdb_put copies both before it returns.
                    var (key, value) = unsafe (MDB_val(lent: key), MDB_val(lent: value))
                    return unsafe mdb_put(transaction, database, &key, &value, 0)
                }
            }
            try Self.check(code)
        }
        try Self.check(unsafe mdb_txn_commit(transaction))
    }

    /// One snapshot for all gets that follow.
    func beginReading() throws {
        try Self.check(unsafe mdb_txn_begin(environment, nil, UInt32(MDB_RDONLY), &reader))
    }

    /// A new snapshot, as cheap as liblmdb has it.
    func renewReading() throws {
        unsafe mdb_txn_reset(reader)
        try Self.check(unsafe mdb_txn_renew(reader))
    }

    /// Finds the value and copies it into `room`.
    func get(_ key: [UInt8], into room: inout [UInt8]) throws -> Int {
        var value = unsafe MDB_val()
        let code = unsafe key.withUnsafeBytes { key in
            var key = unsafe MDB_val(lent: key)
            return unsafe mdb_get(reader, database, &key, &value)
        }
        try Self.check(code)
        let count = unsafe min(value.mv_size, room.count)
        // SAFETY: the value lies in the map until the snapshot ends; the room has `count` bytes.
        unsafe room.withUnsafeMutableBytes {
            unsafe $0.baseAddress?.copyMemory(from: value.mv_data, byteCount: count)
        }
        return count
    }

    private static func check(_ code: Int32) throws {
        guard code != 0 else { return }
        throw unsafe PeerError(description: "liblmdb: \(String(cString: mdb_strerror(code)))")
    }
}

extension MDB_val {
    fileprivate init(lent bytes: UnsafeRawBufferPointer) {
        unsafe self.init(mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
    }
}
