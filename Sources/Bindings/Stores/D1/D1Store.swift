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

    /// Runs SQL texts of any length as one transaction, ignoring rows: migrations, imports.
    ///
    /// - Throws: with `part` naming the text at fault; nothing of any text is kept then.
    func runScript(_ texts: [String], on database: String) async throws(D1Failure)

    /// The newest state. Bookmarks of one database are ordered as texts.
    func bookmark(of database: String) async throws(D1Failure) -> String

    /// Closes the database and removes it with all that belongs to it.
    func delete(_ database: String) async throws(D1Failure)

    /// Finishes what waits, then closes all files. Calls made later fail.
    func close() async
}
