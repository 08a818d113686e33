internal import CLMDB
internal import Glibc

/// What liblmdb, or the kernel below it, refused.
package struct LMDBError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A code of lmdb.h (negative) or an errno (positive).
    package struct Code: RawRepresentable, Equatable, Sendable {
        package let rawValue: Int32
        package init(rawValue: Int32) { self.rawValue = rawValue }

        package static let keyExists = Code(rawValue: MDB_KEYEXIST)
        package static let notFound = Code(rawValue: MDB_NOTFOUND)
        package static let corrupted = Code(rawValue: MDB_CORRUPTED)
        package static let panic = Code(rawValue: MDB_PANIC)
        package static let notLMDB = Code(rawValue: MDB_INVALID)
        /// The map can grow no further: `LMDBEnvironment.Options.mapByteCountMax`.
        package static let mapFull = Code(rawValue: MDB_MAP_FULL)
        package static let mapResized = Code(rawValue: MDB_MAP_RESIZED)
        package static let databasesFull = Code(rawValue: MDB_DBS_FULL)
        package static let readersFull = Code(rawValue: MDB_READERS_FULL)
        /// One transaction changed more than half a gigabyte.
        package static let transactionFull = Code(rawValue: MDB_TXN_FULL)
        /// A key that is empty or longer than `LMDBEnvironment.keyByteCountMax`.
        package static let badValueSize = Code(rawValue: MDB_BAD_VALSIZE)
        package static let badTransaction = Code(rawValue: MDB_BAD_TXN)
        /// Another node, or this one a second time, has the environment open.
        package static let inUse = Code(rawValue: EWOULDBLOCK)
        package static let diskFull = Code(rawValue: ENOSPC)
        package static let inputOutput = Code(rawValue: EIO)
    }

    /// The call, e.g. `mdb_txn_commit`.
    package let operation: String
    package let code: Code
    /// What it was applied to, e.g. a directory.
    package let subject: String

    package init(_ operation: String, _ code: Code, on subject: String = "") {
        self.operation = operation
        self.code = code
        self.subject = subject
    }

    /// The commit's last step, after which the transaction counts. Failures of all earlier ones leave nothing behind.
    package static let lastCommitStep = "mdb_env_write_meta"

    /// Whether it is open what the disk holds of the transaction.
    package var leavesOutcomeOpen: Bool {
        operation == Self.lastCommitStep || code == .inputOutput || code == .panic
    }

    package var description: String {
        let what = subject.isEmpty ? operation : "\(operation) \(subject)"
        if code == .inUse { return "\(what): another node has it open" }
        // SAFETY: mdb_strerror returns a NUL-terminated string: its own constants, or strerror's for an
        // errno.
        let reason = unsafe mdb_strerror(code.rawValue).map { unsafe String(cString: $0) }
        return "\(what): \(reason ?? "error \(code.rawValue)")"
    }
}
