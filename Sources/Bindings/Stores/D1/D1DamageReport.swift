internal import Observability
internal import SQLite
internal import Synchronization

/// Says once that a database's file is damaged: each call that meets it is told, the operator needs to hear it once for
/// each opening of the store. Safe on any thread.
final class D1DamageReport: Sendable {
    private let path: String
    private let logger: Logger
    private let isGiven = Atomic<Bool>(false)

    init(of path: String, to logger: Logger) {
        self.path = path
        self.logger = logger
    }

    func note(_ error: SQLiteError) {
        guard error.isDamage, !isGiven.exchange(true, ordering: .relaxed) else { return }
        logger.log(
            .error, "d1: the database file is damaged or can't be read; its history may have a state from before",
            [("path", path), ("error", "\(error)")])
    }
}
