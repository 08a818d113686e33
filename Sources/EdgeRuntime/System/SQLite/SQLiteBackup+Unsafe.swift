internal import CSQLite

extension SQLiteConnection {
    /// Copies the committed state of this database into `target`, whose content is replaced.
    ///
    /// Writers of other connections may go on; the copy then starts over by itself
    /// (https://www.sqlite.org/c3ref/backup_finish.html).
    /// - Parameters:
    ///   - pagesPerStep: After how many pages `mayContinue` is asked.
    ///   - mayContinue: `false` gives up, which throws `.abort`.
    package func backUp(
        to target: SQLiteConnection, pagesPerStep: Int32 = 1024, mayContinue: () -> Bool = { true }
    ) throws(SQLiteError) {
        // SAFETY: both connections stay open, and the backup is finished on every path.
        guard let backup = unsafe sqlite3_backup_init(target.handle, "main", handle, "main") else {
            throw unsafe target.lastError(sqlite3_errcode(target.handle))
        }
        var code = SQLITE_OK
        repeat {
            guard mayContinue() else {
                unsafe sqlite3_backup_finish(backup)
                throw SQLiteError(.abort, message: "backup given up")
            }
            code = unsafe sqlite3_backup_step(backup, pagesPerStep)
        } while code == SQLITE_OK
        let finished = unsafe sqlite3_backup_finish(backup)
        guard code == SQLITE_DONE else {
            throw unsafe SQLiteError(extendedCode: code, message: String(cString: sqlite3_errstr(code)))
        }
        guard finished == SQLITE_OK else { throw target.lastError(finished) }
    }
}
