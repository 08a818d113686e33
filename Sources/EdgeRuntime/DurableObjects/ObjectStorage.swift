internal import Interfaces
internal import SQLite
internal import System
package import TenantSQL

/// The durable memory of one object. What is written between two suspensions of its code is one atomic transaction; nothing
/// leaves the object before it is on the disk.
public final class ObjectStorage {
    public let sql: SQLStorage
    public let kv: KeyValueStorage
    let database: ObjectDatabase
    private let table: KeyValueTable
    let alarms: ObjectAlarms

    static let nameRow = 2

    /// What is kept of earlier states.
    package struct Past: Sendable {
        /// How far back the object can go; zero keeps no history.
        package var retention = Duration.zero
        /// Frames in the log after which it is copied into the history, and into the file.
        package var checkpointFrames = 1000
        package var faults = DatabaseFaults.none

        package init(retention: Duration = .zero) { self.retention = retention }
    }

    /// Opens the object's file.
    ///
    /// - Parameters:
    ///   - isSQL: Whether the class has SQLite storage; else it has keys and values only, by the asynchronous calls.
    ///   - databases: What all objects of the isolate share.
    ///   - past: Of an object with SQLite storage; others keep none.
    package init(
        path: String, isSQL: Bool = true, databases: OpenDatabases = OpenDatabases(), past: Past = Past(),
        turns: any ObjectTurns
    ) throws {
        var past = past
        if !isSQL { past.retention = .zero }
        database = try ObjectDatabase(path: path, databases: databases, past: past, turns: turns)
        table = KeyValueTable(database: database, limits: isSQL ? .sql : .keysAndValues)
        sql = SQLStorage(database, isAvailable: isSQL)
        kv = KeyValueStorage(table, isAvailable: isSQL)
        alarms = try ObjectAlarms(database)
        database.alarms = alarms
        database.sql = sql
    }

    /// The object's name, where it was seen once.
    package var name: String? {
        get throws {
            try database.check()
            return try database.trusted {
                let statement = try database.sqlite.prepare("SELECT value FROM _cf_METADATA WHERE key = \(Self.nameRow)")
                return try statement.step() ? statement.text(0) : nil
            }
        }
    }

    /// Nobody waits for it: it is seen again with the next call.
    package func keepName(_ name: String) throws {
        guard try self.name == nil else { return }
        try database.beginWriting(confirmed: false)
        try database.trusted {
            let statement = try database.sqlite.prepare(
                "INSERT OR REPLACE INTO _cf_METADATA (key, value) VALUES (\(Self.nameRow), ?1)")
            try statement.bind(name, at: 1)
            while try statement.step() {}
        }
    }

    /// The incarnation is over: later calls throw `error`.
    package func close(_ error: DurableObjectError) {
        sql.close()
        database.close(error)
    }

    /// Whether all that was written is durable, and the node knows of the alarm.
    package var isQuiet: Bool { database.isQuiet && alarms.isSettled }
    package func untilQuiet() async {
        while database.failure == nil, !isQuiet { await database.nextChange() }
    }

    // MARK: Keys and values

    public func get<Value: Decodable>(
        _ key: String, as type: Value.Type = Value.self
    ) async throws -> Value? {
        try table.get(key).map { try BinaryValueDecoder.decode(type, from: $0) }
    }

    /// Those that are there, in the order of their keys' bytes.
    public func get<Value: Decodable>(
        _ keys: [String], as type: Value.Type = Value.self
    ) async throws -> [(key: String, value: Value)] {
        try checkCount(keys.count)
        let distinct = Set(keys.map { Array($0.utf8) }).sorted { $0.lexicographicallyPrecedes($1) }
        return try distinct.compactMap { bytes in
            let key = String(decoding: bytes, as: UTF8.self)
            return try table.get(key).map { (key, try BinaryValueDecoder.decode(type, from: $0)) }
        }
    }

    /// Stores a value. Returns before it is durable: what leaves the object afterwards waits for that, unless `allowUnconfirmed`.
    public func put(
        _ key: String, _ value: some Encodable, allowUnconfirmed: Bool = false
    ) async throws {
        try table.put(key, Self.encoded(value), confirmed: !allowUnconfirmed)
    }

    /// All of them or none.
    public func put(
        _ entries: [(key: String, value: any Encodable)], allowUnconfirmed: Bool = false
    ) async throws {
        try checkCount(entries.count)
        var encoded: [(key: String, value: [UInt8])] = []
        for entry in entries {
            let value = entry.value
            encoded.append((entry.key, try Self.encoded(value)))
        }
        try transactionSync(confirmed: !allowUnconfirmed) {
            for (key, value) in encoded { try table.put(key, value, confirmed: !allowUnconfirmed) }
        }
    }

    private static func encoded(_ value: some Encodable) throws -> [UInt8] { try BinaryValueEncoder.encode(value) }

    /// - Returns: whether there was one.
    @discardableResult
    public func delete(
        _ key: String, allowUnconfirmed: Bool = false
    ) async throws -> Bool {
        try table.delete(key, confirmed: !allowUnconfirmed)
    }

    /// - Returns: how many there were.
    @discardableResult
    public func delete(
        _ keys: [String]
    ) async throws -> Int {
        try checkCount(keys.count)
        return try transactionSync { try keys.count { try table.delete($0) } }
    }

    public func list<Value: Decodable>(
        _ options: ObjectListOptions = ObjectListOptions(), as type: Value.Type = Value.self
    ) async throws -> [(key: String, value: Value)] {
        try table.list(options).map { ($0.key, try BinaryValueDecoder.decode(type, from: $0.value)) }
    }

    private func checkCount(_ count: Int) throws {
        guard count <= KeyValueTable.keysMax else {
            throw DurableObjectError("Maximum number of keys is \(KeyValueTable.keysMax).")
        }
    }

    /// Removes all tables, all keys and the alarm, as one step.
    public func deleteAll() async throws {
        guard !database.isInLongTransaction else {
            throw DurableObjectError("Cannot call deleteAll() within a transaction")
        }
        alarms.noteDeletion()
        database.schema += 1
        try transactionSync {
            // Rows first: what refers to another table must be gone when that one goes.
            try database.run("PRAGMA defer_foreign_keys = ON")
            for kind in ["view", "trigger"] { for name in try names(kind) { try drop(kind, name) } }
            let virtual = try names("table", "AND sql LIKE 'CREATE VIRTUAL TABLE%'")
            for name in virtual { try drop("table", name) }
            let tables = try names("table")
            for name in tables { try database.run("DELETE FROM \(Self.quoted(name))") }
            for name in tables { try drop("table", name) }
            try database.run(
                "DELETE FROM _cf_KV; DELETE FROM _cf_METADATA WHERE key = \(ObjectAlarms.row); PRAGMA defer_foreign_keys = OFF")
        }
    }

    private func names(_ kind: String, _ condition: String = "") throws -> [String] {
        do {
            return try database.trusted {
                let statement = try database.sqlite.prepare(
                    """
                    SELECT name FROM sqlite_schema WHERE type = ?1 AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'
                        AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \(condition)
                    """)
                try statement.bind(kind, at: 1)
                var names: [String] = []
                while try statement.step() { names.append(statement.text(0) ?? "") }
                return names
            }
        } catch let error as SQLiteError { throw database.failed(error) }
    }

    private func drop(_ kind: String, _ name: String) throws { try database.run("DROP \(kind) IF EXISTS \(Self.quoted(name))") }

    private static func quoted(_ name: String) -> String {
        "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
    }

    // MARK: Transactions

    /// All of what `body` writes, or, if it throws, nothing of it. May be nested.
    public func transactionSync<Result>(_ body: () throws -> Result) throws -> Result {
        try transactionSync(confirmed: true, body)
    }

    private func transactionSync<Result>(confirmed: Bool, _ body: () throws -> Result) throws -> Result {
        let savepoint = try database.beginSavepoint(confirmed: confirmed)
        let result: Result
        do { result = try body() } catch {
            try database.endSavepoint(savepoint, keeping: false)
            throw error
        }
        try database.endSavepoint(savepoint, keeping: true)
        return result
    }

    /// As `transactionSync`, for code that awaits. No other event of the object runs meanwhile; what any call on the storage
    /// does until its end is part of it.
    public func transaction<Result>(
        _ body: @escaping (ObjectTransaction) async throws -> Result
    ) async throws -> Result {
        let box = ResultBox<Result>()
        // Not a closure: one in a generic function leaves the caller's executor (Swift 6.3), a function stays on it.
        func section() async throws {
            let transaction = ObjectTransaction(try database.beginLongTransaction(), database)
            do {
                box.result = try await body(transaction)
                try transaction.end(keeping: true)
            } catch {
                // A reset has taken the transaction with it.
                if database.failure == nil { try transaction.end(keeping: false) }
                throw error
            }
        }
        try await database.turns.criticalSection(section)
        guard let result = box.result else { throw DurableObjectError("The transaction was cut off.") }
        return result
    }

    private final class ResultBox<Value> { var result: Value? }

    /// Returns when all earlier writes are durable, those that were allowed to be unconfirmed too.
    public func sync() async throws { try await database.waitUntilDurable() }

    // MARK: Alarm

    /// The time of the alarm that is set, in milliseconds since 1970. While its handler runs there is none, unless the handler has
    /// set one.
    public func getAlarm() async throws -> Int64? { try alarms.visibleTime() }

    /// Sets the alarm, in the place of an earlier one. Part of the turn's transaction.
    ///
    /// - Parameter time: Milliseconds since 1970; one that has passed is as soon as possible.
    /// - Throws: for a class without an `alarm` handler.
    public func setAlarm(_ time: Int64) async throws { try alarms.set(time) }

    /// Removes the alarm, and the retries of one that has failed. A handler that runs goes on.
    public func deleteAlarm() async throws { try alarms.delete() }

    /// Nothing of what was written in the open turn stays, and the alarm goes: the object is about to be reset.
    package func abandonAlarm(_ failure: CallFailure) { database.dropTurn { try alarms.delete() } }
}

/// A transaction that goes over suspensions.
public final class ObjectTransaction {
    private enum State { case open, rolledBack, over }

    private let number: Int
    private let database: ObjectDatabase
    private var state = State.open

    init(_ number: Int, _ database: ObjectDatabase) {
        self.number = number
        self.database = database
    }

    /// Takes back what was written since its beginning. What is written afterwards is not part of it.
    public func rollback() throws {
        switch state {
        case .rolledBack: break
        case .over:
            throw DurableObjectError(
                "Cannot call rollback() on transaction that has already committed: did you move `txn` outside of the closure?")
        case .open:
            state = .rolledBack
            database.schema += 1
            try database.run("ROLLBACK TO edge_\(number)")
        }
    }

    func end(keeping isKept: Bool) throws {
        let wasOpen = state == .open
        state = .over
        try database.endLongTransaction(number, keeping: isKept || !wasOpen)
    }
}
