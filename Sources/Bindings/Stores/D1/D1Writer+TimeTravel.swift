internal import SQLite
internal import System
internal import TenantSQL

/// Going back: what runs on the writer's thread between two groups of calls.
extension D1Writer {
    /// What can be had, and the state at `point` (`nil`: now).
    func timeTravelInfo(_ point: D1PointInTime?) throws -> D1TimeTravelInfo {
        let archive = try upToDateArchive()
        if let point { try checkNotAhead(point) }
        let state = try archive.state(at: point ?? .bookmark(position.bookmark.description))
        return D1TimeTravelInfo(
            bookmark: point == nil ? position.bookmark.description : state.commit.bookmark.description,
            time: state.commit.time, earliestBookmark: archive.floor.bookmark.description,
            earliestTime: archive.floor.time, archiveByteCount: archive.byteCount)
    }

    /// Makes the state at `point` the newest one, in one commit: readers go on with the state before until then, and a
    /// process that ends in the middle has changed nothing. What runs is cancelled.
    func restore(_ point: D1PointInTime) throws -> D1Restored {
        let archive = try upToDateArchive()
        try checkNotAhead(point)
        let previous = position.bookmark
        let image = archive.restorePath
        defer { removeImage(image) }
        try archive.build(try archive.state(at: point), at: image)
        return try restore(image: image, from: previous)
    }

    /// As `restore`, from a database file that needs no history.
    func restore(copy path: String) throws -> D1Restored { try restore(image: path, from: position.bookmark) }

    private func restore(image: String, from previous: D1Bookmark) throws -> D1Restored {
        surroundings.cancellation.cancel()
        try timeline.raiseGeneration()
        if let fault = surroundings.faults.failure(.restore) { throw fault }
        do throws(SQLiteError) {
            let source = try SQLiteConnection(path: image, .readWrite)
            try source.backUp(to: connection.sqlite)
            // The library tells of a commit when the next statement ends.
            connection.knownSize = nil
            try connection.sqlite.execute("SELECT 1")
        } catch {
            reopen()
            throw error
        }
        position.lastRowID = 0
        advancePosition()
        // Statements and full text indexes remember what was.
        checkpointWhenDue()
        reopen()
        return D1Restored(
            bookmark: position.bookmark.description, previousBookmark: previous.description)
    }

    /// How many commits there were since the state of `bookmark` beside those of migrations that `migrate` made.
    func foreignCommitCount(since bookmark: D1Bookmark) throws -> Int {
        let archive = try upToDateArchive()
        try checkNotAhead(.bookmark(bookmark.description))
        // Of another database, or another life of this one: then nothing can be counted.
        _ = try archive.state(at: .bookmark(bookmark.description))
        let own = try runBookmarks().filter { $0 > bookmark || $0.isSamePlace(as: bookmark) }
        return max(0, try archive.commitCount(after: bookmark) - own.count)
    }

    /// The states before the commits that `migrate` made: each is followed by one of those.
    private func runBookmarks() throws -> [D1Bookmark] {
        connection.authorizer.isTrusted = true
        defer { connection.authorizer.isTrusted = false }
        let table = D1MigrationTables.runs
        guard try connection.sqlite.number("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '\(table)'") > 0
        else { return [] }
        let statement = try connection.sqlite.prepare("SELECT DISTINCT previous_bookmark FROM \(table)")
        var found: [D1Bookmark] = []
        while try statement.step() {
            if let bookmark = statement.text(0).flatMap({ D1Bookmark($0) }) { found.append(bookmark) }
        }
        return found
    }

    /// Writes the database file of the state at `point` to `path`.
    func branch(at point: D1PointInTime?, to path: String) throws {
        guard let point else { return try copy(to: path) }
        let archive = try upToDateArchive()
        try checkNotAhead(point)
        try archive.build(try archive.state(at: point), at: path)
    }

    /// Writes the database as it is to a file of its own, which needs no history.
    private func copy(to path: String) throws(SQLiteError) {
        do throws(SystemError) { try FileSystem.remove(path, surroundings.faults) } catch {
            throw SQLiteError(.cannotOpen, message: "\(error)")
        }
        try connection.sqlite.backUp(to: try SQLiteConnection(path: path, .create))
        do throws(SystemError) { try PositionedFile.openToWrite(path, .keeping, surroundings.faults).synchronize() } catch {
            throw SQLiteError(.inputOutput, message: "\(error)")
        }
    }

    /// What is wrong with the archive; also when it leads to another database than the one that is there.
    func archiveProblems() throws -> [String] {
        guard archive != nil else { return [] }
        let archive = try upToDateArchive()
        let problems = try archive.problems()
        guard problems.isEmpty else { return problems }
        let image = archive.restorePath
        let present = image + ".present"
        defer {
            removeImage(image)
            removeImage(present)
        }
        try archive.build(try archive.state(at: .bookmark(position.bookmark.description)), at: image)
        do throws(SQLiteError) { try copy(to: present) } catch {
            guard error.isDamage else { throw error }
            return ["\(surroundings.path): can't be read as a whole: \(error)"]
        }
        return try HistoryArchive.difference(image, present).map {
            ["\(surroundings.archivePath): leads to another database than the present one, from page \($0) on"]
        } ?? []
    }

    private func removeImage(_ path: String) {
        for suffix in ["", "-wal", "-shm"] { try? FileSystem.remove(path + suffix, surroundings.faults) }
    }

    /// A bookmark of an empty log has no digest that tells it from one that somebody made up.
    private func checkNotAhead(_ point: D1PointInTime) throws(D1Failure) {
        guard case .bookmark(let text) = point, let bookmark = D1Bookmark(text), bookmark.digest == D1Bookmark.zeroDigest,
            isAhead(bookmark)
        else { return }
        throw D1Failure("Invalid bookmark: \(bookmark) is in the future", code: 7400)
    }

    private func upToDateArchive() throws -> HistoryArchive {
        guard let archive else { throw D1Failure.noHistory }
        try takeUp()
        return archive
    }
}
