internal import Interfaces
internal import SQLite

/// Which keys of an object's storage, and in which order (spec: durable-objects, section 3.2). Keys are ordered by their bytes.
public struct ObjectListOptions: Sendable {
    /// The first key that may be there.
    public var start: String?
    /// The key before the first one; not together with `start`.
    public var startAfter: String?
    /// The key behind the last one.
    public var end: String?
    public var prefix: String?
    /// Turns the order of the result around. What the bounds mean stays.
    public var reverse: Bool
    /// At most so many; more than 0.
    public var limit: Int?

    public init(
        start: String? = nil, startAfter: String? = nil, end: String? = nil, prefix: String? = nil, reverse: Bool = false,
        limit: Int? = nil
    ) {
        self.start = start
        self.startAfter = startAfter
        self.end = end
        self.prefix = prefix
        self.reverse = reverse
        self.limit = limit
    }
}

/// Keys and values in the object's file.
struct KeyValueTable {
    let database: ObjectDatabase
    let limits: Limits

    /// Keys of one call (spec: section 3.1).
    static let keysMax = 128

    /// What a class's objects may keep under one key.
    enum Limits {
        case sql, keysAndValues

        /// Key and value together.
        static let bytesMax = 2_000_000
        static let keyBytesMax = 2048
        /// What the encoding adds is not the value's.
        static let valueBytesMax = 131_072 + 34

        func check(_ key: String, _ value: [UInt8]) throws {
            switch self {
            case .sql:
                guard key.utf8.count + value.count <= Self.bytesMax else {
                    throw DurableObjectError("string or blob too big: SQLITE_TOOBIG")
                }
            case .keysAndValues:
                try check(key)
                guard value.count <= Self.valueBytesMax else {
                    throw DurableObjectError(
                        "Values cannot be larger than 131072 bytes. A value of size \(value.count) was provided.")
                }
            }
        }

        func check(_ key: String) throws {
            guard self == .keysAndValues, key.utf8.count > Self.keyBytesMax else { return }
            throw DurableObjectError(
                "Keys cannot be larger than \(Self.keyBytesMax) bytes. A key of size \(key.utf8.count) was provided.")
        }
    }

    func get(_ key: String) throws -> [UInt8]? {
        try limits.check(key)
        return try read("SELECT value FROM _cf_KV WHERE key = ?1", [key]) { $0.blob(0) }.first
    }

    func put(_ key: String, _ value: [UInt8], confirmed: Bool = true) throws {
        try limits.check(key, value)
        try database.beginWriting(confirmed: confirmed)
        try trusted {
            let statement = try database.prepareOwn("INSERT OR REPLACE INTO _cf_KV (key, value) VALUES (?1, ?2)")
            defer { database.keepOwn(statement) }
            try statement.bind(key, at: 1)
            try statement.bind(value, at: 2)
            while try statement.step() {}
        }
    }

    /// - Returns: whether there was one.
    func delete(_ key: String, confirmed: Bool = true) throws -> Bool {
        try limits.check(key)
        try database.beginWriting(confirmed: confirmed)
        return try trusted {
            let before = database.sqlite.totalChanges
            let statement = try database.prepareOwn("DELETE FROM _cf_KV WHERE key = ?1")
            defer { database.keepOwn(statement) }
            try statement.bind(key, at: 1)
            while try statement.step() {}
            return database.sqlite.totalChanges != before
        }
    }

    func list(_ options: ObjectListOptions) throws -> [(key: String, value: [UInt8])] {
        if options.start != nil, options.startAfter != nil {
            throw DurableObjectError("list() cannot be called with both start and startAfter values.")
        }
        if let limit = options.limit, limit <= 0 { throw DurableObjectError("List limit must be positive.") }
        var conditions: [String] = []
        var values: [String] = []
        func add(_ comparison: String, _ value: String?) {
            guard let value else { return }
            values.append(value)
            conditions.append("key \(comparison) ?\(values.count)")
        }
        add(">=", options.start)
        add(">", options.startAfter)
        add("<", options.end)
        if let prefix = options.prefix, !prefix.isEmpty {
            add(">=", prefix)
            values.append(prefix)
            // Text is compared by its bytes, so all keys with a prefix stand together.
            conditions.append(
                "substr(CAST(key AS BLOB), 1, length(CAST(?\(values.count) AS BLOB))) = CAST(?\(values.count) AS BLOB)")
            if let behind = Self.behind(prefix) { add("<", behind) }
        }
        let sql =
            "SELECT key, value FROM _cf_KV" + (conditions.isEmpty ? "" : " WHERE " + conditions.joined(separator: " AND "))
            + " ORDER BY key\(options.reverse ? " DESC" : "")" + (options.limit.map { " LIMIT \($0)" } ?? "")
        return try read(sql, values) { ($0.text(0) ?? "", $0.blob(1)) }
    }

    /// The smallest text that no key with the prefix reaches, where its last character has a next one.
    private static func behind(_ prefix: String) -> String? {
        guard let last = prefix.unicodeScalars.last, let next = Unicode.Scalar(last.value + 1) else { return nil }
        var scalars = String.UnicodeScalarView(prefix.unicodeScalars.dropLast())
        scalars.append(next)
        return String(scalars)
    }

    private func read<Row>(_ sql: String, _ values: [String], _ row: (SQLiteStatement) -> Row) throws -> [Row] {
        try database.check()
        return try trusted {
            let statement = try database.prepareOwn(sql)
            defer { database.keepOwn(statement) }
            for (index, value) in values.enumerated() { try statement.bind(value, at: index + 1) }
            var rows: [Row] = []
            while try statement.step() { rows.append(row(statement)) }
            return rows
        }
    }

    private func trusted<Result>(_ body: () throws -> Result) throws -> Result {
        do { return try database.trusted(body) } catch let error as SQLiteError { throw database.failed(error) }
    }
}
