package import System

/// What of a database's past can be had.
package struct D1TimeTravelInfo: Sendable, Equatable {
    /// The state that was asked for, or the newest.
    package let bookmark: String
    package let time: UnixTime
    /// The oldest state.
    package let earliestBookmark: String
    package let earliestTime: UnixTime
    /// What the archive takes on the disk.
    package let archiveByteCount: Int64
}

/// What a restore did.
package struct D1Restored: Sendable, Equatable {
    /// The state now: a new one, whose content is the old one's.
    package let bookmark: String
    /// The state before: restoring it undoes this restore.
    package let previousBookmark: String
}

extension D1Failure {
    package static let noHistory = D1Failure(
        "this database keeps no history: retention.time_travel is 0 in this environment")
    package static let tooManyRestores = D1Failure("a database can be restored 10 times in 10 minutes; try again later")
}
