internal import Interfaces

/// Every limit of a database, with its reason. Durations are measured with the node's clock.
package struct D1Limits: Sendable {
    package init() {}

    /// What holds unless a store is given others.
    package static let standard = D1Limits()

    // MARK: Documented (spec: d1, section 8)

    /// The product's largest database.
    package var databaseBytesMax: Int64 = 10_000_000_000
    /// Of one tenant, and what they take together.
    package var databasesMax = 50_000
    package var tenantBytesMax: Int64 = 250_000_000_000
    /// One statement, or one line of `exec`.
    package var statementBytesMax = 100_000
    package var parametersMax = 100
    package var columnsMax = 100
    /// One text, blob or row.
    package var valueBytesMax = 2_000_000
    package var likePatternBytesMax = 50
    package var expressionDepthMax = 100
    package var compoundSelectTermsMax = 5
    package var functionArgumentsMax = 127
    package var triggerDepthMax = 10
    package var instructionsMax = 25_000
    /// One call, from its first statement to its last row.
    package var queryDuration: Duration = .seconds(30)

    // MARK: Ours

    /// A migration file or an import.
    package var scriptDuration: Duration = .seconds(600)
    /// An import: its file, the longest statement in it (a value in hexadecimal), and its time.
    package var importBytesMax = 5_000_000_000
    package var importStatementBytesMax = 16 << 20
    package var importDuration: Duration = .seconds(3600)
    /// A call that waited longer is answered as overload: its caller has given up by then.
    package var waitingDuration: Duration = .seconds(30)
    /// Calls waiting for one database: some seconds of work.
    package var waitingCallsMax = 2048
    /// What they may hold in memory.
    package var waitingBytesMax = 64 << 20
    /// One answer, which is in memory as a whole.
    package var replyBytesMax = 32 << 20
    /// What all answers of a tenant may hold until isolates have read them.
    package var heldReplyBytesMax = 128 << 20
    /// Requests on their way in, each counted with the most it may become.
    package var incomingBytesMax = 4 * D1Request.bytesMax
    /// What one call may write, its temporary files included: sorts and such of more than memory holds.
    package var writtenBytesMax: Int64 = 2 << 30
    /// What all calls of a tenant that run at the moment may have written.
    package var writtenBytesMaxInAll = 8 << 30
    /// Text of the caller's that an error repeats.
    package static let echoedBytesMax = 1024
    /// Calls that share one commit: keeps the delay of the first one short.
    package var groupCallsMax = 256
    /// Threads that read one database; more than cores are useful only beside long queries.
    package var readersMax = 4
    /// Prepared statements that each connection keeps.
    package var preparedStatementsMax = 128
    /// Databases of one tenant that are open at a time: each costs up to five threads and some files.
    package var openDatabasesMax = 64
    /// How far back a database can go; zero keeps no history. A node takes it from `retention.time_travel`.
    package var timeTravel: Duration = .zero
    /// What the history may take on the disk besides its base: so many times the database, and at least so much. What is
    /// older goes, however young it is.
    package var archiveSizes: Int64 = 4
    package var archiveBytesMin: Int64 = 256 << 20
    /// Restores of one database in `restoresPeriod` (spec: d1, section 8).
    package var restoresMax = 10
    package var restoresPeriod: Duration = .seconds(600)
    /// Frames (pages) of log after which it is copied into the file: 4 MiB.
    package var checkpointFrames = 1000
    /// Frames from which on a checkpoint makes the log start over if no reader is in the way: 64 MiB.
    package var logFramesMax = 16_000
}
