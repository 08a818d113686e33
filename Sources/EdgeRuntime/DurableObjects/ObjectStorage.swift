internal import Interfaces
internal import SQLite
internal import System

/// The durable memory of one object. What is written between two suspensions of its code is one atomic transaction; nothing
/// leaves the object before it is on the disk.
public final class ObjectStorage {
    public let sql: SQLStorage
    public let kv: KeyValueStorage
    let database: ObjectDatabase
    private let table: KeyValueTable
    private let gate: InputGate

    private static let alarmRow = 1

    /// Opens the object's file.
    package init(path: String, gate: InputGate, turns: any ObjectTurns) throws {
        database = try ObjectDatabase(path: path, turns: turns)
        table = KeyValueTable(database: database)
        sql = SQLStorage(database)
        kv = KeyValueStorage(table)
        self.gate = gate
    }

    // MARK: Keys and values

    public func get<Value: Decodable>(
        _ key: String, as type: Value.Type = Value.self
    ) async throws -> Value? {
        try kv.get(key, as: type)
    }

    /// Those that are there, in the order of their keys' bytes.
    public func get<Value: Decodable>(
        _ keys: [String], as type: Value.Type = Value.self
    ) async throws -> [(key: String, value: Value)] {
        try checkCount(keys.count)
        let distinct = Set(keys.map { Array($0.utf8) }).sorted { $0.lexicographicallyPrecedes($1) }
        return try distinct.compactMap { bytes in
            let key = String(decoding: bytes, as: UTF8.self)
            return try kv.get(key, as: type).map { (key, $0) }
        }
    }

    public func put(
        _ key: String, _ value: some Encodable
    ) async throws {
        try kv.put(key, value)
    }

    /// All of them or none.
    public func put(
        _ entries: [(key: String, value: any Encodable)]
    ) async throws {
        try checkCount(entries.count)
        var encoded: [(key: String, value: [UInt8])] = []
        for entry in entries {
            let value = entry.value
            encoded.append((entry.key, try Self.encoded(value)))
        }
        try transactionSync { for (key, value) in encoded { try table.put(key, value) } }
    }

    private static func encoded(_ value: some Encodable) throws -> [UInt8] { try BinaryValueEncoder.encode(value) }

    /// - Returns: whether there was one.
    @discardableResult
    public func delete(
        _ key: String
    ) async throws -> Bool {
        try kv.delete(key)
    }

    /// - Returns: how many there were.
    @discardableResult
    public func delete(
        _ keys: [String]
    ) async throws -> Int {
        try checkCount(keys.count)
        return try transactionSync { try keys.count { try kv.delete($0) } }
    }

    public func list<Value: Decodable>(
        _ options: ObjectListOptions = ObjectListOptions(), as type: Value.Type = Value.self
    ) async throws -> [(key: String, value: Value)] {
        try kv.list(options, as: type)
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
        try transactionSync {
            // Rows first: what refers to another table must be gone when that one goes.
            try database.run("PRAGMA defer_foreign_keys = ON")
            for kind in ["view", "trigger"] { for name in try names(kind) { try drop(kind, name) } }
            let virtual = try names("table", "AND sql LIKE 'CREATE VIRTUAL TABLE%'")
            for name in virtual { try drop("table", name) }
            let tables = try names("table")
            for name in tables { try database.run("DELETE FROM \(Self.quoted(name))") }
            for name in tables { try drop("table", name) }
            try database.run("DELETE FROM _cf_KV; DELETE FROM _cf_METADATA; PRAGMA defer_foreign_keys = OFF")
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
        let savepoint = try database.beginSavepoint()
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
    public func transaction<Result>(_ body: (ObjectTransaction) async throws -> Result) async throws -> Result {
        try await gate.criticalSection {
            let transaction = ObjectTransaction(try database.beginLongTransaction(), database)
            do {
                let result = try await body(transaction)
                try transaction.end(keeping: true)
                return result
            } catch {
                try transaction.end(keeping: false)
                throw error
            }
        }
    }

    /// Returns when all earlier writes are durable, those that were allowed to be unconfirmed too.
    public func sync() async throws { try await gate.locked { try await database.waitUntilDurable() } }

    // MARK: Alarm

    /// The time of the alarm that is set, in milliseconds since 1970.
    public func getAlarm() async throws -> Int64? { try alarm() }

    package func alarm() throws -> Int64? {
        try database.check()
        do {
            return try database.trusted {
                let statement = try database.sqlite.prepare("SELECT value FROM _cf_METADATA WHERE key = \(Self.alarmRow)")
                return try statement.step() ? statement.integer(0) : nil
            }
        } catch let error as SQLiteError { throw database.failed(error) }
    }

    /// Sets the alarm, in the place of an earlier one. Part of the turn's transaction.
    ///
    /// - Parameter time: Milliseconds since 1970; one that has passed is as soon as possible.
    public func setAlarm(_ time: Int64) async throws {
        guard time > 0 else { throw DurableObjectError("setAlarm() cannot be called with an alarm time <= 0") }
        try database.beginWriting()
        try database.run("INSERT OR REPLACE INTO _cf_METADATA (key, value) VALUES (\(Self.alarmRow), \(time))")
    }

    public func deleteAlarm() async throws {
        try database.beginWriting()
        try database.run("DELETE FROM _cf_METADATA WHERE key = \(Self.alarmRow)")
    }
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
            try database.run("ROLLBACK TO edge_\(number)")
        }
    }

    func end(keeping isKept: Bool) throws {
        let wasOpen = state == .open
        state = .over
        try database.endLongTransaction(number, keeping: isKept || !wasOpen)
    }
}
