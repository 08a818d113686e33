package import SQLite

/// The operations that a test can make fail, and what it makes them fail with.
package struct D1Faults: Sendable {
    package enum Operation: Sendable, CaseIterable {
        case open, begin, commit, checkpoint
        /// Taking up the log, making that durable, listing its commits.
        case archive, archiveSync, archiveList
        /// Merging the oldest segment into the base, and letting the segment go.
        case merge, mergeEnd
        /// Building a state of the past; making it the newest.
        case image, restore
    }

    /// Asked before each operation; the error stands for the operation's own.
    package let failure: @Sendable (Operation) -> SQLiteError?

    package init(_ failure: @escaping @Sendable (Operation) -> SQLiteError?) { self.failure = failure }

    /// Nothing fails that doesn't fail by itself.
    package static let none = D1Faults { _ in nil }
}
