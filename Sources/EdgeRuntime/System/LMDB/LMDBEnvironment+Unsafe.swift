internal import CLMDB
internal import Glibc
internal import Synchronization
internal import System

/// A named key space of an environment. Its number is valid for as long as the environment is open.
package struct LMDBDatabase: Hashable, Sendable {
    let handle: UInt32
}

/// One directory with one memory-mapped file of ordered bytes. See `LMDB.swift` for the rules it keeps.
///
/// Any thread may call it. Reads run in place and take no system call; a write waits for the disk, twice.
// Sendable: `pointer` is shared as liblmdb allows, see `LMDB.swift`.
@safe package final class LMDBEnvironment: @unchecked Sendable {
    package struct Options: Sendable {
        /// Address space at the start. It costs neither memory nor disk.
        package var mapByteCount = 1 << 30
        /// The growth's end: beyond it, writes fail with `.mapFull`.
        package var mapByteCountMax = 1 << 40
        /// Named databases that can be open. Each costs every new snapshot some nanoseconds.
        package var databasesMax = 256
        /// Reads that can run at the same moment; more wait for one of them to end.
        package var readersMax = 32
        /// For tests: called with the name of an operation (`commit`, `sync`) that is about to begin; what it
        /// returns is thrown in place of it.
        package var fault: (@Sendable (_ operation: String) -> LMDBError?)?

        package init() {}
    }

    /// Debian builds liblmdb with its default MDB_MAXKEYSIZE.
    package static let keyByteCountMax = 511

    package let directory: String
    private let options: Options
    /// Whoever uses it holds a slot or the writer's lock; `reopen`, which replaces it, holds all of them.
    @exclusivity(unchecked) private var pointer: OpaquePointer
    private let ownerLock: Int32
    private let slots: [ReadSlot]
    /// Counts what read transactions must not miss: commits, new databases, a resized map.
    private let generation = Atomic<UInt64>(1)
    /// Not zero once the map was lost: nothing may touch it any more.
    private let failure = Atomic<Int32>(0)
    /// How often the file was opened anew.
    private let reopenings = Atomic<UInt64>(0)

    /// What only the thread that may write touches.
    private struct WriterState {
        var mapByteCount: Int
        var databases: [String: LMDBDatabase] = [:]
        /// The file was closed and could not be opened again: the next write tries once more.
        var isPointerGone = false
    }
    private let writer: Mutex<WriterState>

    /// Opens or makes the environment in `directory`, whose parent must exist.
    package init(directory: String, options: Options = Options()) throws(LMDBError) {
        if unsafe mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw LMDBError("mkdir", LMDBError.Code(rawValue: errno), on: directory)
        }
        let ownerLock = try Self.lock(directory)
        do {
            unsafe pointer = try Self.open(directory, options, mapByteCount: options.mapByteCount)
        } catch {
            Glibc.close(ownerLock)
            throw error
        }
        self.directory = directory
        self.options = options
        self.ownerLock = ownerLock
        slots = (0..<Self.slotCount(options)).map { _ in ReadSlot() }
        var info = unsafe MDB_envinfo()
        // SAFETY: mdb_env_info fills the struct that it is lent.
        unsafe mdb_env_info(pointer, &info)
        writer = unsafe Mutex(WriterState(mapByteCount: info.me_mapsize))
        // The file's name must survive a power cut as surely as its contents do.
        for path in [directory, directory + "/.."] {
            if let fault = options.fault?("sync") { throw fault }
            try Self.sync(directory: path)
        }
    }

    /// Ends the use of the environment, once readers and a writer have left it: later calls throw `EBADF`.
    package func close() {
        writer.withLock { writer in
            let before = failure.exchange(EBADF, ordering: .acquiringAndReleasing)
            if writer.isPointerGone {
                writer.isPointerGone = false
                Glibc.close(ownerLock)
                return
            }
            guard before == 0 else { return }
            writer.databases = [:]
            for slot in slots {
                while !slot.tryAcquire() { sched_yield() }
                slot.end()
            }
            unsafe mdb_env_close(pointer)
            Glibc.close(ownerLock)
            for slot in slots { slot.release() }
        }
    }

    deinit { close() }

    // MARK: Databases

    /// The database called `name`, made durably when it is missing. Blocks like a write does.
    package func openDatabase(_ name: String) throws(LMDBError) -> LMDBDatabase {
        try writer.withLock { writer throws(LMDBError) in
            if let known = writer.databases[name] { return known }
            while true {
                let (code, handle) = unsafe Self.open(name, try self.beginWrite(&writer))
                switch code {
                case 0:
                    self.generation.add(1, ordering: .releasing)
                    let database = LMDBDatabase(handle: handle)
                    writer.databases[name] = database
                    return database
                case MDB_MAP_FULL: try self.grow(&writer)
                default: throw LMDBError("mdb_dbi_open", LMDBError.Code(rawValue: code), on: name)
                }
            }
        }
    }

    /// Opens a named database in `transaction`, which is gone afterwards.
    private static func open(_ name: String, _ transaction: OpaquePointer) -> (code: Int32, handle: MDB_dbi) {
        var handle: MDB_dbi = 0
        let code = unsafe mdb_dbi_open(transaction, name, UInt32(MDB_CREATE), &handle)
        guard code == 0 else {
            unsafe mdb_txn_abort(transaction)
            return (code, 0)
        }
        return (unsafe mdb_txn_commit(transaction), handle)
    }

    /// The names of all databases ever made here, in byte order.
    package func databaseNames() throws(LMDBError) -> [String] {
        // Handle 1 is the main database: its keys are the names (mdb_dbi_open, "name").
        try read { transaction throws(LMDBError) in
            try transaction.withCursor(LMDBDatabase(handle: 1)) { cursor throws(LMDBError) in
                var names: [String] = []
                var found = try cursor.moveToFirst()
                while found {
                    names.append(String(decoding: cursor.key, as: UTF8.self))
                    found = try cursor.moveToNext()
                }
                return names
            }
        }
    }

    // MARK: Reading

    /// Lends a snapshot that holds everything committed before the call.
    ///
    /// `body` must be short and must neither write to this environment nor wait for someone who does.
    package func read<Result>(
        _ body: (borrowing LMDBReadTransaction) throws(LMDBError) -> Result
    ) throws(LMDBError) -> Result {
        let slot = try acquireReader()
        defer { slot.release() }
        return try body(LMDBReadTransaction(slot))
    }

    /// The same for the hottest path: without a result, no generic code runs between caller and snapshot.
    package func read(
        _ body: (borrowing LMDBReadTransaction) throws(LMDBError) -> Void
    ) throws(LMDBError) {
        let slot = try acquireReader()
        defer { slot.release() }
        try body(LMDBReadTransaction(slot))
    }

    /// Writes all that is committed now to a new file at `path`, without free pages; blocks, for as long as reading everything
    /// takes. Writes go on meanwhile, but for one that needs a larger map, which waits.
    package func copy(to path: String) throws(LMDBError) {
        // The copy reads in a transaction of its own: the slot is held to keep the map where it is.
        let slot = try acquireReader()
        defer { slot.release() }
        let number = unsafe Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw LMDBError("open", LMDBError.Code(rawValue: errno), on: path) }
        let file = Descriptor(owning: number)
        let code = unsafe mdb_env_copyfd2(pointer, file.rawValue, UInt32(MDB_CP_COMPACT))
        guard code == 0 else { throw LMDBError("mdb_env_copyfd2", LMDBError.Code(rawValue: code), on: path) }
        guard fdatasync(file.rawValue) == 0 else { throw LMDBError("fdatasync", LMDBError.Code(rawValue: errno), on: path) }
    }

    private func acquireReader() throws(LMDBError) -> ReadSlot {
        while true {
            let opening = reopenings.load(ordering: .acquiring)
            let slot = acquireSlot()
            guard failure.load(ordering: .relaxed) == 0 else {
                slot.release()
                throw LMDBError(
                    "mmap", LMDBError.Code(rawValue: failure.load(ordering: .relaxed)), on: directory)
            }
            let code = unsafe slot.refresh(pointer, generation: generation.load(ordering: .acquiring))
            if code == 0 { return slot }
            slot.release()
            switch code {
            case MDB_MAP_RESIZED:
                try writer.withLock { writer throws(LMDBError) in try self.resize(to: 0, &writer) }
            case MDB_PANIC:
                try writer.withLock { writer throws(LMDBError) in
                    // Another may have been faster.
                    if self.reopenings.load(ordering: .acquiring) == opening { try self.reopen(&writer) }
                }
            default: throw LMDBError("mdb_txn_begin", LMDBError.Code(rawValue: code), on: directory)
            }
        }
    }

    /// A slot nobody else uses. A thread comes back to the same one, so its cache lines stay where they are.
    private func acquireSlot() -> ReadSlot {
        let thread = UInt64(pthread_self())
        let home = Int(truncatingIfNeeded: (thread &* 0x9E37_79B9_7F4A_7C15) >> 40)
        let mask = slots.count - 1
        while true {
            for offset in 0...mask {
                let slot = slots[(home &+ offset) & mask]
                if slot.tryAcquire() { return slot }
            }
            sched_yield()  // All are reading; reads take microseconds.
        }
    }

    // MARK: Writing

    /// Runs `body` in a transaction of its own and commits it. When this returns, the changes are durable.
    ///
    /// `body` may run again, in a new transaction and with the changes of its first run undone, after the map
    /// has grown: what it does outside of the transaction must bear that. Blocks for other writers and for
    /// the disk.
    ///
    /// - Throws: what `body` throws, or an `LMDBError`. Nothing is changed then.
    package func write<Result: Sendable>(
        _ body: (borrowing LMDBWriteTransaction) throws -> Result
    ) throws -> Result {
        try writer.withLock { writer in
            while true {
                let state = WriteState()
                let transaction = unsafe try beginWrite(&writer)
                do {
                    let result = unsafe try body(LMDBWriteTransaction(transaction, state))
                    if !state.isMapFull {
                        unsafe try commit(transaction, state)
                        return result
                    }
                    unsafe mdb_txn_abort(transaction)
                } catch let error as CommitError {
                    // The transaction is gone.
                    if !state.isMapFull { throw error.cause }
                } catch {
                    unsafe mdb_txn_abort(transaction)
                    if !state.isMapFull { throw error }
                }
                try grow(&writer)
            }
        }
    }

    /// Runs all `operations` in one transaction, in order, and commits it: each succeeds or fails for itself.
    ///
    /// First without protection, which costs nothing: an operation that throws before it wrote has done no
    /// harm. After one that threw too late, all of them run again, each in a nested transaction. When a
    /// transaction of all is too large, each gets its own.
    func write(_ operations: [any BatchOperation]) throws(LMDBError) {
        let isTooLarge = try writer.withLock { writer throws(LMDBError) in
            var isolation = BatchIsolation.none
            while true {
                let state = WriteState()
                let transaction = unsafe try beginWrite(&writer)
                switch unsafe run(operations, LMDBWriteTransaction(transaction, state), isolation) {
                case .harmed:
                    unsafe mdb_txn_abort(transaction)
                    isolation = .nested
                    continue
                case .allFailed:
                    unsafe mdb_txn_abort(transaction)
                    return false
                case .ran:
                    do throws(CommitError) {
                        unsafe try commit(transaction, state)
                        return false
                    } catch {
                        if !state.isMapFull { throw error.cause }
                    }
                case .mapFull: unsafe mdb_txn_abort(transaction)
                case .transactionFull:
                    unsafe mdb_txn_abort(transaction)
                    if operations.count > 1 { return true }
                    return false
                }
                do throws(LMDBError) {
                    try grow(&writer)
                } catch {
                    // What makes room, or needs none, must not fail with what doesn't fit.
                    guard operations.count > 1 else { throw error }
                    return true
                }
            }
        }
        guard isTooLarge else { return }
        for operation in operations {
            do throws(LMDBError) { try write([operation]) } catch { operation.fail(error) }
        }
    }

    private func run(
        _ operations: [any BatchOperation], _ transaction: borrowing LMDBWriteTransaction,
        _ isolation: BatchIsolation
    ) -> BatchOutcome {
        let state = transaction.state
        var hasSucceeded = false
        for operation in operations {
            state.hasWritten = false
            let error = operation.run(transaction, isolation)
            if state.isMapFull { return .mapFull }
            guard let error else {
                hasSucceeded = true
                continue
            }
            if let error = error as? LMDBError, error.code == .transactionFull { return .transactionFull }
            if state.hasWritten, isolation == .none { return .harmed }
        }
        return hasSucceeded ? .ran : .allFailed
    }

    /// Commits; a full map is noted in `state`. The transaction is gone in any case.
    private func commit(_ transaction: OpaquePointer, _ state: WriteState) throws(CommitError) {
        if let fault = options.fault?("commit") {
            unsafe mdb_txn_abort(transaction)
            throw CommitError(cause: fault)
        }
        let code = unsafe mdb_txn_commit(transaction)
        guard code == 0 else {
            if code == MDB_MAP_FULL { state.isMapFull = true }
            // Nothing was committed, unless it was the last step that failed.
            let step = hasPanicked() ? LMDBError.lastCommitStep : "mdb_txn_commit"
            throw CommitError(cause: LMDBError(step, LMDBError.Code(rawValue: code), on: directory))
        }
        generation.add(1, ordering: .releasing)
    }

    /// Whether liblmdb has given the environment up. For the writer.
    private func hasPanicked() -> Bool {
        var transaction: OpaquePointer?
        let code = unsafe mdb_txn_begin(pointer, nil, UInt32(MDB_RDONLY), &transaction)
        if code == 0 { unsafe mdb_txn_abort(transaction) }
        return code == MDB_PANIC
    }

    private func beginWrite(_ writer: inout WriterState) throws(LMDBError) -> OpaquePointer {
        if writer.isPointerGone { try reopen(&writer) }
        let lost = failure.load(ordering: .relaxed)
        guard lost == 0 else { throw LMDBError("mmap", LMDBError.Code(rawValue: lost), on: directory) }
        let current = generation.load(ordering: .acquiring)
        for slot in slots where slot.tryAcquire() {
            slot.giveUp(olderThan: current)
            slot.release()
        }
        var transaction: OpaquePointer?
        var code = unsafe mdb_txn_begin(pointer, nil, 0, &transaction)
        if code == MDB_PANIC {
            try reopen(&writer)
            code = unsafe mdb_txn_begin(pointer, nil, 0, &transaction)
        }
        guard code == 0, let transaction = unsafe transaction else {
            throw LMDBError("mdb_txn_begin", LMDBError.Code(rawValue: code), on: directory)
        }
        return unsafe transaction
    }

    private func grow(_ writer: inout WriterState) throws(LMDBError) {
        guard writer.mapByteCount < options.mapByteCountMax else {
            throw LMDBError("mdb_put", .mapFull, on: directory)
        }
        try resize(to: min(writer.mapByteCount * 2, options.mapByteCountMax), &writer)
    }

    /// Maps the file anew while nobody reads or writes; zero takes the size that another process chose.
    private func resize(to byteCount: Int, _ writer: inout WriterState) throws(LMDBError) {
        for slot in slots {
            while !slot.tryAcquire() { sched_yield() }
            slot.giveUp(olderThan: .max)
        }
        defer { for slot in slots { slot.release() } }
        let code = unsafe mdb_env_set_mapsize(pointer, byteCount)
        guard code == 0 else {
            failure.store(code, ordering: .relaxed)  // The old map is gone: mdb_env_set_mapsize unmaps first.
            throw LMDBError("mdb_env_set_mapsize", LMDBError.Code(rawValue: code), on: directory)
        }
        var info = unsafe MDB_envinfo()
        // SAFETY: mdb_env_info fills the struct that it is lent.
        unsafe mdb_env_info(pointer, &info)
        writer.mapByteCount = unsafe info.me_mapsize
        generation.add(1, ordering: .releasing)
    }

    // MARK: Opening

    /// Opens the file anew. When the last step of a commit fails, liblmdb can't tell what the disk holds and refuses
    /// every transaction from then on (`MDB_PANIC`); what is read now is what the file says.
    private func reopen(_ writer: inout WriterState) throws(LMDBError) {
        for slot in slots {
            while !slot.tryAcquire() { sched_yield() }
            slot.end()
        }
        defer { for slot in slots { slot.release() } }
        guard failure.load(ordering: .acquiring) != EBADF else {
            throw LMDBError("mdb_env_open", LMDBError.Code(rawValue: EBADF), on: directory)
        }
        if !writer.isPointerGone { unsafe mdb_env_close(pointer) }
        writer.isPointerGone = true
        do throws(LMDBError) {
            unsafe pointer = try Self.open(directory, options, mapByteCount: writer.mapByteCount)
            do throws(LMDBError) { try openDatabasesAgain(writer) } catch {
                unsafe mdb_env_close(pointer)
                throw error
            }
        } catch {
            failure.store(error.code.rawValue, ordering: .releasing)
            throw error
        }
        writer.isPointerGone = false
        failure.store(0, ordering: .releasing)
        reopenings.add(1, ordering: .releasing)
        generation.add(1, ordering: .releasing)
    }

    /// Gives all databases the numbers that they had: liblmdb counts them in the order in which they are opened.
    private func openDatabasesAgain(_ writer: WriterState) throws(LMDBError) {
        for (name, database) in writer.databases.sorted(by: { $0.value.handle < $1.value.handle }) {
            var transaction: OpaquePointer?
            let begun = unsafe mdb_txn_begin(pointer, nil, 0, &transaction)
            guard begun == 0, let transaction = unsafe transaction else {
                throw LMDBError("mdb_txn_begin", LMDBError.Code(rawValue: begun), on: directory)
            }
            let (code, handle) = unsafe Self.open(name, transaction)
            guard code == 0 else { throw LMDBError("mdb_dbi_open", LMDBError.Code(rawValue: code), on: name) }
            guard handle == database.handle else { throw LMDBError("mdb_dbi_open", .badTransaction, on: name) }
        }
    }

    private static func open(
        _ directory: String, _ options: Options, mapByteCount: Int
    ) throws(LMDBError) -> OpaquePointer {
        var environment: OpaquePointer?
        var code = unsafe mdb_env_create(&environment)
        guard code == 0, let environment = unsafe environment else {
            throw LMDBError("mdb_env_create", LMDBError.Code(rawValue: code))
        }
        unsafe mdb_env_set_mapsize(environment, mapByteCount)
        unsafe mdb_env_set_maxdbs(environment, UInt32(options.databasesMax))
        unsafe mdb_env_set_maxreaders(environment, UInt32(slotCount(options) + 8))  // Some for tools such as mdb_stat.
        code = unsafe mdb_env_open(environment, directory, UInt32(MDB_NOTLS), 0o600)
        guard code == 0 else {
            unsafe mdb_env_close(environment)
            throw LMDBError("mdb_env_open", LMDBError.Code(rawValue: code), on: directory)
        }
        do throws(LMDBError) { unsafe try fillUp(environment, directory) } catch {
            unsafe mdb_env_close(environment)
            throw error
        }
        return unsafe environment
    }

    /// A file that lost its end would end the process where a page beyond it is touched (SIGBUS, mmap(2)). Filled up with
    /// zeros, which are no valid page, such a page is an error to whoever needs it. Files may also be short in good health:
    /// liblmdb doesn't write pages that were freed in the transaction that took them.
    private static func fillUp(_ environment: OpaquePointer, _ directory: String) throws(LMDBError) {
        var info = unsafe MDB_envinfo()
        var statistics = MDB_stat()
        var file: mdb_filehandle_t = -1
        // SAFETY: each call fills the value that it is lent.
        unsafe mdb_env_info(environment, &info)
        unsafe mdb_env_stat(environment, &statistics)
        unsafe mdb_env_get_fd(environment, &file)
        let byteCount = unsafe (info.me_last_pgno + 1) * Int(statistics.ms_psize)
        var status = stat()
        guard unsafe fstat(file, &status) == 0 else {
            throw LMDBError("fstat", LMDBError.Code(rawValue: errno), on: directory)
        }
        guard status.st_size < byteCount else { return }
        guard ftruncate(file, byteCount) == 0 else {
            throw LMDBError("ftruncate", LMDBError.Code(rawValue: errno), on: directory)
        }
    }

    /// A power of two, so that a thread finds its slot without a division.
    private static func slotCount(_ options: Options) -> Int {
        var count = 1
        while count < options.readersMax { count *= 2 }
        return count
    }

    private static func lock(_ directory: String) throws(LMDBError) -> Int32 {
        let path = directory + "/owner"
        let number = unsafe Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw LMDBError("open", LMDBError.Code(rawValue: errno), on: path) }
        let descriptor = Descriptor(owning: number)
        guard descriptor.lockExclusively() else {
            throw LMDBError("flock", LMDBError.Code(rawValue: EWOULDBLOCK), on: path)
        }
        return descriptor.release()
    }

    private static func sync(directory: String) throws(LMDBError) {
        let number = unsafe Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw LMDBError("open", LMDBError.Code(rawValue: errno), on: directory) }
        let descriptor = Descriptor(owning: number)
        guard fsync(descriptor.rawValue) == 0 else {
            throw LMDBError("fsync", LMDBError.Code(rawValue: errno), on: directory)
        }
    }
}

/// A read transaction that is kept between reads, and who uses it now.
///
/// Its snapshot stays open after a read: while nothing is committed, the next read begins at no cost.
@safe final class ReadSlot: @unchecked Sendable {  // All but `busy` belongs to whoever turned `busy` to true.
    private let busy = Atomic<Bool>(false)
    // `busy` sees to the exclusivity of the rest; checking it again at run time would cost each read three calls.
    @exclusivity(unchecked) fileprivate var transaction: OpaquePointer?
    @exclusivity(unchecked) private var isLive = false
    @exclusivity(unchecked) private var generation: UInt64 = 0

    init() { unsafe transaction = nil }

    fileprivate func tryAcquire() -> Bool {
        // Look before writing: a failed exchange would steal the cache line from its owner.
        !busy.load(ordering: .relaxed)
            && busy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged
    }

    fileprivate func release() { busy.store(false, ordering: .releasing) }

    /// Makes the snapshot hold all of `generation`.
    fileprivate func refresh(_ environment: OpaquePointer, generation current: UInt64) -> Int32 {
        if unsafe isLive, unsafe generation == current { return 0 }
        giveUp(olderThan: .max)
        let code =
            if let transaction = unsafe transaction {
                unsafe mdb_txn_renew(transaction)
            } else {
                unsafe mdb_txn_begin(environment, nil, UInt32(MDB_RDONLY), &transaction)
            }
        unsafe isLive = code == 0
        unsafe generation = current
        return code
    }

    /// Frees the transaction.
    fileprivate func end() {
        if let transaction = unsafe transaction { unsafe mdb_txn_abort(transaction) }
        unsafe transaction = nil
        unsafe isLive = false
    }

    fileprivate func giveUp(olderThan current: UInt64) {
        guard unsafe isLive, unsafe generation < current, let transaction = unsafe transaction else { return }
        unsafe mdb_txn_reset(transaction)
        unsafe isLive = false
    }

    var liveTransaction: OpaquePointer {
        guard let transaction = unsafe transaction else {
            preconditionFailure("refresh made the transaction before the slot was handed out")
        }
        return unsafe transaction
    }
}
