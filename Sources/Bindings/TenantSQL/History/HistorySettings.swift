package import System

/// Where the past of a database is kept, and how much of it.
package struct HistorySettings: Sendable {
    /// The database file; its log stands beside it.
    package var path: String
    /// What the paths of the archive's files begin with.
    package var prefix: String
    /// Whether the directory of these files holds nothing else, and goes with them.
    package var ownsDirectory: Bool
    /// Whether the archive itself notes commits whose frames it doesn't have yet, in a file `pending`.
    package var keepsPending: Bool
    /// How far back one can go.
    package var retention: Duration
    /// What the history may take on the disk besides its base: so many times the database, and at least so much. What is older
    /// goes, however young it is.
    package var sizesMax: Int64
    package var byteCountMin: Int64
    package var faults = DatabaseFaults.none
    package var now: @Sendable () -> UnixTime
    /// Told of what goes wrong and needs nobody's answer.
    package var warn: @Sendable (_ what: String, any Error) -> Void

    package init(
        path: String, prefix: String, ownsDirectory: Bool, keepsPending: Bool, retention: Duration, sizesMax: Int64,
        byteCountMin: Int64, now: @escaping @Sendable () -> UnixTime,
        warn: @escaping @Sendable (_ what: String, any Error) -> Void
    ) {
        self.path = path
        self.prefix = prefix
        self.ownsDirectory = ownsDirectory
        self.keepsPending = keepsPending
        self.retention = retention
        self.sizesMax = sizesMax
        self.byteCountMin = byteCountMin
        self.now = now
        self.warn = warn
    }
}

/// A state of a database in its past.
package enum HistoryPoint: Sendable, Equatable {
    /// The state with that bookmark, or the last one before it.
    case bookmark(String)
    /// The state that was the newest then.
    case time(UnixTime)
}

package enum HistoryError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was asked for can't be had.
    case invalid(String)
    /// What was kept can't be read any more.
    case damaged(String)

    package var description: String {
        switch self {
        case .invalid(let text), .damaged(let text): text
        }
    }
}
