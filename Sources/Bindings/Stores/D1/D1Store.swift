package import Interfaces
package import Stores

/// The databases of one tenant, by the name of the resource. A database comes to be with its first call.
///
/// Safe on any thread; nothing here blocks the caller's.
package protocol D1Store: Sendable {
    /// What requests on their way in hold in memory.
    var incoming: Budget { get }

    /// Runs one call as one transaction; durable when it returns.
    ///
    /// Not idempotent by itself: after an error that doesn't name the SQL, the transaction may or may not
    /// have happened.
    func run(_ request: D1Request, on database: String) async throws(D1Failure) -> D1Answer

    /// Runs all statements of all texts as one transaction and gives the result of each, in order. Of a text with several
    /// statements, only the last may have parameters.
    func runEach(_ statements: [D1Request.Statement], on database: String) async throws(D1Failure) -> D1Answer

    /// Runs SQL texts of any length as one transaction, ignoring rows: migrations, imports.
    ///
    /// - Throws: with `part` naming the text at fault; nothing of any text is kept then.
    func runScript(_ texts: [String], on database: String) async throws(D1Failure)

    /// The newest state. Bookmarks of one database are ordered as texts.
    func bookmark(of database: String) async throws(D1Failure) -> String

    /// The newest state of `database` with `nil`, or the one at `point`; and how far back it can go.
    ///
    /// - Throws: for a point outside of the history, and where none is kept.
    func timeTravelInfo(
        of database: String, at point: D1PointInTime?
    ) async throws(D1Failure) -> D1TimeTravelInfo

    /// Makes an old state the newest. What runs is cancelled; what comes waits. Later history stays: restoring
    /// `previousBookmark` undoes it.
    ///
    /// - Throws: as `timeTravelInfo`; the database is then as it was.
    func restore(_ database: String, to point: D1PointInTime) async throws(D1Failure) -> D1Restored

    /// Makes a new database `target` with the content that `database` had at `point` (`nil`: has now).
    ///
    /// - Throws: as `timeTravelInfo`, and when there is a database of that name already.
    func branch(_ database: String, at point: D1PointInTime?, to target: String) async throws(D1Failure)

    /// Writes `database` as SQL to the file `path`, which is replaced when the dump is whole. Calls go on meanwhile.
    ///
    /// - Throws: for a full text table whose content was never stored, and for a table that isn't there.
    func export(
        _ database: String, _ options: D1DumpOptions, to path: String
    ) async throws(D1Failure) -> D1Exported

    /// Runs all SQL of the file at `path` as one transaction, whatever its length: all of it or nothing. Writers wait
    /// meanwhile, readers don't.
    ///
    /// - Throws: with the number of the statement at fault.
    func importFile(_ path: String, into database: String) async throws(D1Failure) -> D1Imported

    /// The largest file of an import.
    var importBytesMax: Int { get }

    /// Looks for what is wrong with a database and its history, in sentences; none when all is well. Writers wait while the
    /// history is compared with the database.
    func verify(_ database: String) async throws(D1Failure) -> [String]

    /// Closes the database and removes it with all that belongs to it.
    func delete(_ database: String) async throws(D1Failure)

    /// Finishes what waits, then closes all files. Calls made later fail.
    func close() async
}
