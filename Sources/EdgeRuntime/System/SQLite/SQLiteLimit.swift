/// The run-time limits of a connection (https://www.sqlite.org/c3ref/c_limit_attached.html).
package enum SQLiteLimit: Int32, Sendable {
    case valueBytes = 0
    case statementBytes, columns, expressionDepth, compoundSelectTerms, instructions
    case functionArguments, attachedDatabases, likePatternBytes, parameters, triggerDepth, workerThreads
}

/// What a checkpoint does about readers and writers (https://www.sqlite.org/c3ref/wal_checkpoint_v2.html).
package enum SQLiteCheckpoint: Int32, Sendable {
    /// Copies as many frames as it can without waiting for anyone.
    case passive = 0
    /// Waits for writers, and for readers of old frames; copies all frames.
    case full
    /// As `full`, then waits for all readers, so that the next writer starts the log from its beginning.
    case restart
    /// As `restart`, and cuts the log to zero bytes.
    case truncate
}

/// Counters of one statement (https://www.sqlite.org/c3ref/c_stmtstatus_counter.html).
package enum SQLiteStatementCounter: Int32, Sendable {
    case fullScanSteps = 1
    case sorts, automaticIndexRows, steps, preparedAgain, runs
}

/// A row that changes, as the hooks tell it.
package struct SQLiteChange: Sendable, Equatable {
    package enum Operation: Sendable { case insert, update, delete }
    package let operation: Operation
    package let table: String
    package let rowID: Int64
}
