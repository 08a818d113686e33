internal import SQLite
internal import TenantSQL

/// How the log goes into the file, and what is kept of it before that.
extension ObjectDatabase {
    /// Copies the log into the file, once the history has it. What can't be copied now is copied the next time.
    func checkpoint(_ kind: SQLiteCheckpoint) {
        // While a statement of the connection reads, SQLite copies nothing.
        guard sql?.hasOpenCursors != true else { return }
        framesCopied = sqlite.walFrameCount
        guard let history else { return _ = try? sqlite.checkpoint(kind) }
        var isTaken = false
        do {
            if history.needsWholeFile { return try beginHistory(history) }
            try log?.synchronize()
            let archive = try history.takeUp()
            isTaken = true
            try sqlite.checkpoint(kind)
            try archive.prune(most: 2)
        } catch {
            turns.warn("the history of a durable object: \(error)")
            // A disk that refuses to take it must not make the log grow without end.
            guard !isTaken, !history.needsWholeFile, framesCopied >= framesMax, (try? history.forget()) != nil else { return }
            try? beginHistory(history)
        }
    }

    /// Copies all of the log into the file, from which the history begins then.
    private func beginHistory(_ history: ObjectHistory) throws {
        try sqlite.checkpoint(.truncate)
        framesCopied = 0
        try history.begin()
    }

    /// When a commit was made is known at once: afterwards only the log's order is.
    func noteCommit() {
        guard let history, let connection else { return }
        history.note(frames: connection.walFrameCount, digest: log?.digest(ofFrame: connection.walFrameCount))
    }

    func openHistory() throws {
        guard let history else { return }
        try trusted { try history.load(sqlite) }
        guard history.armed != nil else {
            do { if history.needsWholeFile { try beginHistory(history) } else { try history.prune() } } catch {
                turns.warn("the history of a durable object: \(error)")
            }
            return
        }
        let wanted = history.armed.map { "\($0)" } ?? ""
        do {
            // An earlier process may have written what is not on the disk yet.
            try log?.synchronize()
            try trusted { try history.restore(into: sqlite) }
        } catch {
            // It must not be closed for ever: the next opening finds what there is.
            try run("DELETE FROM _cf_METADATA WHERE key = \(ObjectHistory.armedRow)")
            try log?.synchronize()
            throw DurableObjectError(
                "The Durable Object could not be restored to bookmark \(wanted), and stays as it is: \(error)",
                isObjectReset: true)
        }
        // It has been restored; what the disk refuses now ends the opening.
        noteCommit()
        try log?.synchronize()
    }

    /// Runs `body` when all that was written is in the log, and on the disk.
    ///
    /// - Parameter call: What the tenant has called.
    func withHistory<Result>(_ call: String, _ body: (ObjectHistory) throws -> Result) async throws -> Result {
        guard let history else {
            throw DurableObjectError(
                "\(call)(): this environment keeps no history of durable objects (durable_objects.time_travel)")
        }
        guard !isInLongTransaction else { throw DurableObjectError("Cannot call \(call)() within a transaction") }
        try await waitUntilDurable()
        try check()
        do {
            try log?.synchronize()
            return try body(history)
        } catch { throw DurableObjectError("\(error)") }
    }

    /// Lets the next opening begin with an earlier state. Part of the turn's transaction.
    func armRestore(_ bookmark: HistoryBookmark) throws(DurableObjectError) {
        try beginWriting()
        try run("INSERT OR REPLACE INTO _cf_METADATA (key, value) VALUES (\(ObjectHistory.armedRow), '\(bookmark)')")
        history?.noteArmed(bookmark)
        alarms?.restoreIsArmed()
    }
}
