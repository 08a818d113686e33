internal import Observability
internal import Stores
internal import System

/// What an engine was given by its store.
struct D1Surroundings: Sendable {
    /// The database file; log and timeline stand beside it.
    let path: String
    let limits: D1Limits
    let clock: any NodeClock
    let logger: Logger
    /// What `served_by_region` says.
    let region: String
    let faults: D1Faults
    /// What the answers of all databases hold until they are read.
    let answers: Budget
    /// What calls that run have written.
    let writes: Budget
    let damage: D1DamageReport
    /// What all databases of the tenant take.
    let usage: D1Usage
    /// Ends what runs, before a restore.
    let cancellation = D1Cancellation()

    var timelinePath: String { path + ".timeline" }
    var logPath: String { path + "-wal" }
    var archivePath: String { path + ".archive" }
}

/// Where a database is: what the writer has made durable last.
struct D1Position: Sendable {
    var bookmark: D1Bookmark
    var lastRowID: Int64
    var byteCount: Int64
}
