internal import SQLite
internal import System
internal import TenantSQL

/// The past of one object's storage, kept as that of a D1 database is (`HistoryArchive`): beside `ID.sqlite`, in files that begin with
/// `ID.sqlite-history-`.
///
/// Nothing is copied from the log into the object's file before the archive has it. So most objects have no archive at all: all they
/// ever did is in their log, and its base, when it begins, is the file as it was before that log. The times of commits that only the
/// log has are in `ID.sqlite-notes`. Commits are named after their place: generation, segment of the archive, frame. A restore is a
/// commit, too, the first one of the next generation; the object's own file says which generation it is, and which restore it
/// waits for, so that both change with the content or not at all. The loop's thread alone; blocks.
final class ObjectHistory {
    /// Rows of `_cf_METADATA`: the bookmark that the next opening goes back to, and how often that was done.
    static let armedRow = 3
    static let generationRow = 4

    private let path: String
    private let retention: Duration
    private let file: ObjectFileLock
    private let faults: DatabaseFaults
    private let turns: any ObjectTurns
    private var generation: UInt32 = 1
    /// Where the next opening goes back to.
    private(set) var armed: String?
    /// Since when the file is what a new archive begins with.
    private var wholeSince: UnixTime
    /// Of the newest state, once somebody has asked for it.
    private var current: String?
    /// Open from a commit until the connection ends, and where it ends.
    private var notes: PositionedFile?
    private var notesByteCount = 0
    /// The file may have a part of its log: all of that must be copied before an archive can begin.
    private(set) var needsWholeFile: Bool

    /// What the history may take beside its base: so many times the file, and at least so much.
    private static let sizesMax: Int64 = 4
    private static let byteCountMin: Int64 = 64 << 20

    /// Before anybody has read the file.
    ///
    /// - Parameter file: Lets read what SQLite has open: closing another descriptor of it would drop SQLite's locks.
    init(path: String, file: ObjectFileLock, _ past: ObjectStorage.Past, turns: any ObjectTurns) {
        self.path = path
        self.file = file
        retention = past.retention
        faults = past.faults
        self.turns = turns
        // Of a log that was never copied the file has the first page at most, from when the log began.
        let isNew = file.byteCount <= Int64(HistoryArchive.pageByteCount)
        wholeSince = UnixTime(milliseconds: isNew ? 0 : turns.now)
        needsWholeFile = !isNew && !FileSystem.exists(Self.prefix(of: path) + "manifest")
    }

    private static func prefix(of path: String) -> String { path + "-history-" }
    private static func notesPath(of path: String) -> String { path + "-notes" }

    /// No history of the object's is kept: what there was goes.
    static func remove(of path: String) throws {
        // With a look at one name, as this is asked for at each opening.
        guard FileSystem.exists(prefix(of: path) + "manifest") || FileSystem.exists(notesPath(of: path)) else { return }
        try HistoryArchive.remove(prefix(of: path), ownsDirectory: false)
        try FileSystem.remove(notesPath(of: path))
    }

    private var settings: HistorySettings {
        let now = UnixTime(milliseconds: turns.now)
        var settings = HistorySettings(
            path: path, prefix: Self.prefix(of: path), ownsDirectory: false, keepsPending: false, retention: retention,
            sizesMax: Self.sizesMax, byteCountMin: Self.byteCountMin, now: { now }, warn: { _, _ in })
        settings.faults = faults
        return settings
    }

    // MARK: The object's file

    /// Reads what the file says of its history.
    func load(_ sqlite: SQLiteConnection) throws {
        let rows = try sqlite.prepare(
            "SELECT key, value FROM _cf_METADATA WHERE key IN (\(Self.armedRow), \(Self.generationRow))")
        while try rows.step() {
            if rows.integer(0) == Self.armedRow { armed = rows.text(1) } else { generation = UInt32(clamping: rows.integer(1)) }
        }
    }

    /// Begins with the file as it is: all of the log has been copied into it, and the log is empty.
    func begin() throws {
        wholeSince = UnixTime(milliseconds: turns.now)
        try begin(settings)
        needsWholeFile = false
    }

    private func begin(_ settings: HistorySettings) throws {
        try HistoryArchive.begin(
            settings, at: HistoryBookmark(generation: generation, segment: 0, frame: 0), since: wholeSince
        ) { base in try file.copy(to: base) }
    }

    /// Lets all of it go. It begins anew when all of the log is in the file.
    func forget() throws {
        needsWholeFile = true
        current = nil
        notes = nil
        try Self.remove(of: path)
    }

    // MARK: Commits

    /// Notes when a commit was made.
    ///
    /// - Parameters:
    ///   - frames: In the log up to its end.
    ///   - digest: Salt and checksum of the last one; `nil` when it can't be read.
    func note(frames: Int, digest: [UInt8]?) {
        current = nil
        guard let digest else { return }
        let frame = UInt32(clamping: frames)
        let commit = HistoryCommit(
            bookmark: HistoryBookmark(generation: generation, segment: 0, frame: frame, digest: digest),
            time: UnixTime(milliseconds: turns.now), frameCount: frame, pageCount: 0)
        var bytes: [UInt8] = []
        commit.encode(into: &bytes)
        do {
            if notes == nil {
                notes = try PositionedFile.openToWrite(Self.notesPath(of: path), .keeping, faults)
                notesByteCount = notes?.byteCount ?? 0
                notesByteCount -= notesByteCount % HistoryCommit.byteCount
            }
            try notes?.write(bytes[...], at: notesByteCount)
            notesByteCount += bytes.count
        } catch {
            // Without its note it gets the time of the next one that has one, or of the log's last change.
            notes = nil
        }
    }

    /// The object's connection ends.
    func disconnect() { notes = nil }

    /// Takes up what the log holds, all of which must be on the disk; durable on return.
    func takeUp() throws -> HistoryArchive {
        guard !needsWholeFile else { throw HistoryError.damaged("no history of this object can be kept at the moment") }
        let settings = settings
        if !FileSystem.exists(settings.prefix + "manifest") { try begin(settings) }
        guard let archive = try HistoryArchive(settings) else {
            throw HistoryError.damaged("\(settings.prefix)manifest can't be read")
        }
        let noted = Self.notesPath(of: path)
        archive.note(try HistoryCommit.readAll(noted, faults))
        try archive.takeUp(upTo: nil, names: .placed(generation: generation))
        notes = nil
        try FileSystem.remove(noted, faults)
        return archive
    }

    /// Lets go of what is too old, also of an object that nobody writes to: whenever the retention has passed since that was done.
    func prune() throws {
        let settings = settings
        guard let manifest = try PositionedFile.openToRead(settings.prefix + "manifest"),
            manifest.modificationTime + retention < settings.now(), let archive = try HistoryArchive(settings)
        else { return }
        try archive.prune(most: 16)
    }

    // MARK: States

    func currentBookmark() throws -> String {
        if let current { return current }
        let bookmark = try takeUp().newestKept.bookmark.description
        current = bookmark
        return bookmark
    }

    func bookmark(for time: UnixTime) throws -> String {
        guard time >= UnixTime(milliseconds: turns.now) + (.zero - retention) else {
            let days = Double(retention.wholeMilliseconds) / 86_400_000
            throw HistoryError.invalid("Invalid timestamp: the history of this Durable Object goes back \(days) days")
        }
        return try takeUp().state(at: .time(time)).commit.bookmark.description
    }

    /// The state that `bookmark` names, and what will name the one that the next opening finds.
    ///
    /// - Throws: when there is no such state.
    func checked(_ bookmark: String) throws -> (target: HistoryBookmark, undo: HistoryBookmark) {
        let target = try parsed(bookmark)
        _ = try takeUp().state(at: .bookmark(bookmark))
        return (target, .end(ofGeneration: generation))
    }

    private func parsed(_ text: String) throws -> HistoryBookmark {
        guard let bookmark = HistoryBookmark(text) else {
            throw HistoryError.invalid("Invalid bookmark: \(String(text.prefix(100)))")
        }
        guard bookmark.generation <= generation else {
            throw HistoryError.invalid("Invalid bookmark: \(bookmark) is in the future")
        }
        return bookmark
    }

    func noteArmed(_ bookmark: HistoryBookmark?) { armed = bookmark?.description }

    // MARK: Going back

    /// Makes the state that was armed the newest one, in one commit. A process that ends in the middle has changed nothing.
    ///
    /// - Parameter sqlite: The object's file, whose log is all on the disk.
    func restore(into sqlite: SQLiteConnection) throws {
        guard let armed else { return }
        let archive = try takeUp()
        let image = archive.restorePath
        Self.removeImage(image)
        defer { Self.removeImage(image) }
        try archive.build(try archive.state(at: .bookmark(try parsed(armed).description)), at: image)
        let source = try SQLiteConnection(path: image, .readWrite)
        try prepare(source, from: sqlite)
        try source.backUp(to: sqlite)
        // The library tells of a commit when the next statement ends.
        try sqlite.execute("SELECT 1")
        generation += 1
        self.armed = nil
    }

    /// What doesn't go back: the object's name, and the count of restores.
    private func prepare(_ image: SQLiteConnection, from present: SQLiteConnection) throws {
        let name = try present.prepare("SELECT value FROM _cf_METADATA WHERE key = \(ObjectStorage.nameRow)")
        try image.execute(
            """
            PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; \(ObjectDatabase.ownTables)
            DELETE FROM _cf_METADATA WHERE key = \(Self.armedRow);
            INSERT OR REPLACE INTO _cf_METADATA (key, value) VALUES (\(Self.generationRow), \(generation + 1));
            """)
        defer { name.reset() }
        if try name.step(), let text = name.text(0) {
            let insertion = try image.prepare(
                "INSERT OR REPLACE INTO _cf_METADATA (key, value) VALUES (\(ObjectStorage.nameRow), ?1)")
            try insertion.bind(text, at: 1)
            while try insertion.step() {}
        }
        try image.execute("COMMIT")
    }

    private static func removeImage(_ path: String) {
        // What stays is removed with the next one.
        for suffix in ["", "-wal", "-shm", "-journal"] { try? FileSystem.remove(path + suffix) }
    }
}

extension ObjectFileLock {
    /// Makes `target` a copy of the file.
    fileprivate func copy(to target: borrowing PositionedFile) throws(SystemError) {
        try target.truncate(to: 0)
        var done = 0
        while true {
            let piece = try read(at: Int64(done), count: 1 << 20)
            guard !piece.isEmpty else { return }
            try target.write(piece[...], at: done)
            done += piece.count
        }
    }
}
