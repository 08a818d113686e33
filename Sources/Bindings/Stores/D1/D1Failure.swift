package import SQLite

/// Why a call failed, in the documented words, without the prefix that its kind of call gets.
package struct D1Failure: Error, Equatable, Sendable, CustomStringConvertible {
    package let text: String
    /// Which part of the work it was; `nil` when all of it failed, or there was only one.
    package var part: Part?

    package enum Part: Equatable, Sendable {
        /// A line of an `exec`, counted from 1.
        case line(Int, String)
        /// A text of a script, counted from 0.
        case text(Int)
    }

    /// What REST calls it: 7400 for what the caller asked for and can't be, 7404 for a database that is gone, 7500 for SQL and
    /// all else.
    package let code: Int

    package init(_ text: String, code: Int = 7500) {
        self.text = text
        self.code = code
    }

    package init(_ error: SQLiteError) {
        code = 7500
        text =
            error.message.utf8.count <= D1Limits.echoedBytesMax
            ? error.description
            : SQLiteError(
                extendedCode: error.extendedCode, message: Self.shortened(error.message), offset: error.offset
            ).description
    }

    /// What an error repeats of a caller's text: all of it, or its beginning. A text may have megabytes.
    static func shortened(_ text: String) -> String {
        guard text.utf8.count > D1Limits.echoedBytesMax else { return text }
        var end = text.utf8.index(text.utf8.startIndex, offsetBy: D1Limits.echoedBytesMax)
        // Not inside of a character.
        while end > text.utf8.startIndex, text.utf8[end] & 0xC0 == 0x80 { end = text.utf8.index(before: end) }
        return String(text[..<end]) + "…"
    }

    package var description: String { text }

    // Texts that clients know and retry on (spec: d1, section 7).
    package static let overloadedQueue = D1Failure("D1 DB is overloaded. Too many requests queued.")
    package static let waitedTooLong = D1Failure("D1 DB is overloaded. Requests queued for too long.")
    package static let exceededTime = D1Failure("D1 DB exceeded its CPU time limit and was reset.")
    package static let storageTimeout = D1Failure(
        "D1 DB storage operation exceeded timeout which caused object to be reset.")
    package static let exceededMemory = D1Failure("D1 DB's isolate exceeded its memory limit and was reset.")
    package static let closed = D1Failure("Network connection lost.")
    /// What a write that waited for a migration is told; to be tried again.
    package static let locked = D1Failure(SQLiteError(.busy, message: "database is locked"))
    /// What a write is told while writes are held for a deployment; to be tried again.
    package static let frozen = D1Failure("D1 DB takes no writes while a release is being deployed. Try again in a moment.")
    // Mistakes of the caller.
    package static func noDatabase(_ name: String) -> D1Failure {
        D1Failure("The database \(shortened(name)) could not be found", code: 7404)
    }
    package static let exceededSize = D1Failure("Exceeded maximum DB size")
    package static func tooManyDatabases(_ most: Int) -> D1Failure {
        D1Failure("System limit reached: databases per account (\(most))")
    }
    package static let noStatement = D1Failure("No SQL statements detected.")
    package static let bindingCount = D1Failure("Wrong number of parameter bindings for SQL query.")
    package static let parametersBeforeLast = D1Failure(
        "When executing multiple SQL statements in a single call, only the last statement can have parameters."
    )
    package static let notAuthorized = D1Failure(SQLiteError(.notAuthorized, message: "not authorized"))
    package static let tooBig = D1Failure(SQLiteError(.tooBig, message: "string or blob too big"))
    package static let statementTooLong = D1Failure(SQLiteError(.tooBig, message: "statement too long"))
    package static let foreignKey = D1Failure(
        SQLiteError(extendedCode: 787, message: "FOREIGN KEY constraint failed"))
    package static let transaction = D1Failure(
        "To execute a transaction, please use the state.storage.transaction() or "
            + "state.storage.transactionSync() APIs instead of the SQL BEGIN TRANSACTION or SAVEPOINT statements. "
            + "In D1 these are the statements of one batch(), which run in one transaction.")
}
