internal import LMDB

/// Which namespaces a tenant has, and how much is in each. All of it in one database:
///
///     i ID      → the moment of its making (i64, milliseconds), its space and first title (u16 and text each), its title
///     t TITLE   → ID
///     n TITLE   → ID: the title that it was made with
///     s SPACE   → ID
///     u ID, u   → usage of the namespace, and of all together: keys, bytes (i64 each)
///     f SPACE   → nothing: a space whose namespace was deleted. liblmdb's databases are few and never closed: the next
///                 namespace takes it
///     d, r      → what was written, and read, on the present day
///
/// A namespace's entries stand in the database `namespace/SPACE`. The space is the first title, the id, or what a deleted
/// namespace left, and never changes: renaming moves nothing.
struct KVCatalog: Sendable {
    static let titleByteCountMax = 480
    private static let spaceByteCountMax = 128

    let database: LMDBDatabase

    static func databaseName(_ space: String) -> String { "namespace/" + space }
    static let databasePrefix = "namespace/"

    struct Entry: Equatable, Sendable {
        var id: String
        var title: String
        /// The title that it was made with: configurations go on calling it so.
        var firstTitle: String
        var space: String
        /// Milliseconds since 1970.
        var createdAt: Int64
    }

    // MARK: Looking

    func entry(_ id: String, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> Entry? {
        guard Self.isID(id), let bytes = try transaction.value(of: Self.key("i", id), in: database) else { return nil }
        guard let entry = Self.entry(id, bytes) else { throw LMDBError("kv catalog", .corrupted) }
        return entry
    }

    /// The namespace that a configuration means by `name`: the one of this id or title, else the one that was made as `name`
    /// and got another title since.
    func find(_ name: String, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> Entry? {
        if let entry = try entry(name, transaction) { return entry }
        if let entry = try entry(titled: name, transaction) { return entry }
        guard Self.isTitle(name), let id = try transaction.value(of: Self.key("n", name), in: database) else { return nil }
        return try entry(String(decoding: id, as: UTF8.self), transaction)
    }

    func entry(titled title: String, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> Entry? {
        guard Self.isTitle(title), let id = try transaction.value(of: Self.key("t", title), in: database) else { return nil }
        return try entry(String(decoding: id, as: UTF8.self), transaction)
    }

    func owner(ofSpace space: String, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> String? {
        guard space.utf8.count <= Self.titleByteCountMax else { return nil }
        return try transaction.value(of: Self.key("s", space), in: database).map { String(decoding: $0, as: UTF8.self) }
    }

    func all(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> [Entry] {
        try transaction.withCursor(database) { cursor throws(LMDBError) in
            var entries: [Entry] = []
            let mark = Array("i".utf8)
            var found = try cursor.seek(mark)
            while found, cursor.keyStarts(with: mark) {
                let id = String(decoding: cursor.key.dropFirst(), as: UTF8.self)
                guard let entry = Self.entry(id, cursor.value) else { throw LMDBError("kv catalog", .corrupted) }
                entries.append(entry)
                found = try cursor.moveToNext()
            }
            return entries
        }
    }

    // MARK: Changing

    /// Adds a namespace, in a space that nobody has.
    func insert(
        title: String, id: String, createdAt: Int64, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Entry {
        let entry = Entry(
            id: id, title: title, firstTitle: title, space: try takeSpace(title, id, transaction), createdAt: createdAt)
        try put(entry, transaction)
        try transaction.put(Self.key("u", id), Self.encoded(KVUsage()), in: database)
        return entry
    }

    private func takeSpace(
        _ title: String, _ id: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> String {
        let mark = Array("f".utf8)
        let free: String? = try transaction.withCursor(database) { cursor throws(LMDBError) in
            // That of the same name if there is one: who looks into the file finds what he expects.
            if try cursor.seek(Self.key("f", title)), cursor.key == Self.key("f", title) { return title }
            guard try cursor.seek(mark), cursor.keyStarts(with: mark) else { return nil }
            return String(decoding: cursor.key.dropFirst(), as: UTF8.self)
        }
        if let free {
            try transaction.delete(Self.key("f", free), in: database)
            return free
        }
        let isName = title.utf8.count <= Self.spaceByteCountMax && !title.utf8.contains(0)
        guard isName, try owner(ofSpace: title, transaction.reading) == nil else { return id }
        return title
    }

    /// - Parameter old: its title before.
    func rename(
        _ entry: Entry, from old: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        try transaction.delete(Self.key("t", old), in: database)
        try put(entry, transaction)
    }

    /// Forgets a namespace whose entries are gone, and frees its space.
    func remove(_ entry: Entry, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        try transaction.delete(Self.key("i", entry.id), in: database)
        try transaction.delete(Self.key("t", entry.title), in: database)
        let first = Self.key("n", entry.firstTitle)
        // Another may have been made with that title since.
        if try transaction.value(of: first, in: database) == Array(entry.id.utf8) {
            try transaction.delete(first, in: database)
        }
        try transaction.delete(Self.key("s", entry.space), in: database)
        try transaction.delete(Self.key("u", entry.id), in: database)
        try transaction.put(Self.key("f", entry.space), [], in: database)
    }

    /// Writes the entry and all that leads to it.
    func put(_ entry: Entry, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: entry.createdAt)
        for text in [entry.space, entry.firstTitle] {
            bytes.append(littleEndian: UInt16(text.utf8.count))
            bytes += text.utf8
        }
        bytes += entry.title.utf8
        let id = Array(entry.id.utf8)
        try transaction.put(Self.key("i", entry.id), bytes, in: database)
        try transaction.put(Self.key("t", entry.title), id, in: database)
        try transaction.put(Self.key("s", entry.space), id, in: database)
        let first = Self.key("n", entry.firstTitle)
        let isTaken = try transaction.contains(first, in: database)
        if entry.title == entry.firstTitle || !isTaken { try transaction.put(first, id, in: database) }
    }

    private static func entry(_ id: String, _ bytes: [UInt8]) -> Entry? {
        var offset = 8
        func text() -> String? {
            guard offset + 2 <= bytes.count else { return nil }
            let end = offset + 2 + Int(bytes[offset]) + Int(bytes[offset + 1]) << 8
            guard end <= bytes.count else { return nil }
            defer { offset = end }
            return String(decoding: bytes[(offset + 2)..<end], as: UTF8.self)
        }
        guard let space = text(), let firstTitle = text() else { return nil }
        return Entry(
            id: id, title: String(decoding: bytes[offset...], as: UTF8.self), firstTitle: firstTitle, space: space,
            createdAt: bytes.littleEndian(at: 0))
    }

    // MARK: For repair

    func titles(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> [String] {
        try transaction.withCursor(database) { cursor throws(LMDBError) in
            var titles: [String] = []
            let mark = Array("t".utf8)
            var found = try cursor.seek(mark)
            while found, cursor.keyStarts(with: mark) {
                titles.append(String(decoding: cursor.key.dropFirst(), as: UTF8.self))
                found = try cursor.moveToNext()
            }
            return titles
        }
    }

    func removeTitle(_ title: String, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        try transaction.delete(Self.key("t", title), in: database)
    }

    func removeFree(_ space: String, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        try transaction.delete(Self.key("f", space), in: database)
    }

    // MARK: Usage

    /// - Parameter id: `nil`: of all namespaces together.
    func usage(of id: String?, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> KVUsage {
        guard let usage = try usageIfWhole(of: id, transaction) else { throw LMDBError("kv catalog", .corrupted) }
        return usage
    }

    /// `nil`: it can't be read.
    func usageIfWhole(of id: String?, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> KVUsage? {
        guard let bytes = try transaction.value(of: Self.key("u", id ?? ""), in: database) else { return KVUsage() }
        guard bytes.count == 16 else { return nil }
        let (keys, count): (Int64, Int64) = (bytes.littleEndian(at: 0), bytes.littleEndian(at: 8))
        return KVUsage(keyCount: Int(keys), byteCount: Int(count))
    }

    func setUsage(
        _ usage: KVUsage, of id: String?, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        try transaction.put(Self.key("u", id ?? ""), Self.encoded(usage), in: database)
    }

    private static func encoded(_ usage: KVUsage) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: Int64(usage.keyCount))
        bytes.append(littleEndian: Int64(usage.byteCount))
        return bytes
    }

    // MARK: Days

    enum DayRecord: String { case writes = "d", reads = "r" }

    func counts(
        _ record: DayRecord, at second: Int64, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> DayCounts {
        let found = try transaction.value(of: Array(record.rawValue.utf8), in: database).flatMap { DayCounts($0) }
        guard let found, found.day == DayCounts.day(second) else { return DayCounts(second: second) }
        return found
    }

    func setCounts(
        _ record: DayRecord, _ counts: DayCounts, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        try transaction.put(Array(record.rawValue.utf8), counts.encoded, in: database)
    }

    // MARK: Names

    private static func key(_ mark: String, _ rest: String) -> [UInt8] { Array((mark + rest).utf8) }

    static func isTitle(_ title: String) -> Bool { !title.isEmpty && title.utf8.count <= titleByteCountMax }

    /// 32 lowercase hex digits.
    static func isID(_ text: String) -> Bool {
        text.utf8.count == 32
            && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    static func makeID() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<2).map { _ in
            let digits = String(generator.next(), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
