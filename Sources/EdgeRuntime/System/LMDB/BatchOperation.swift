/// One of several writes that share a transaction.
protocol BatchOperation: AnyObject, Sendable {
    /// Runs it, remembers the outcome, and says what it threw. A later run replaces the outcome.
    func run(_ transaction: borrowing LMDBWriteTransaction, _ isolation: BatchIsolation) -> (any Error)?
    /// Makes `error` the outcome unless it failed by itself.
    func fail(_ error: LMDBError)
}

enum BatchIsolation {
    case none
    /// In a transaction inside the shared one.
    case nested
}

/// What running all operations of a batch came to.
enum BatchOutcome {
    case ran
    /// Nothing is left to commit.
    case allFailed
    /// One threw after it had written: the transaction holds half of it.
    case harmed
    case mapFull
    case transactionFull
}

struct CommitError: Error {
    let cause: LMDBError
}
