package import SQLite
package import System

/// The operations that a test can make fail, and what it makes them fail with.
package struct DatabaseFaults: Sendable {
    package enum Operation: Sendable, CaseIterable {
        case open, begin, commit, checkpoint
        /// Taking up the log, making that durable, listing its commits.
        case archive, archiveSync, archiveList
        /// Merging the oldest segment into the base, and letting the segment go.
        case merge, mergeEnd
        /// Building a state of the past; making it the newest.
        case image, restore
        /// A deployment's migrations: before their transaction, within it when all have run, and after it.
        case migrationBegin, migrationCommit, migrationEnd
    }

    /// What is done to files beside SQLite: those of the archive, the timeline, whole databases that come and go.
    package enum FileOperation: String, Sendable, CaseIterable {
        case open, read
        /// Half of it is written.
        case write
        case truncate = "ftruncate"
        case synchronize = "fdatasync"
        case rename
        case remove = "unlink"
        case makeDirectory = "mkdir"
        case synchronizeDirectory = "fsync"
    }

    /// Asked before each operation; the error stands for the operation's own.
    package let failure: @Sendable (Operation) -> SQLiteError?
    /// As above, with the file's path: the error's number.
    package let fileFailure: @Sendable (FileOperation, String) -> Int32?

    package init(
        _ failure: @escaping @Sendable (Operation) -> SQLiteError?,
        files fileFailure: @escaping @Sendable (FileOperation, String) -> Int32? = { _, _ in nil }
    ) {
        self.failure = failure
        self.fileFailure = fileFailure
    }

    package func check(_ operation: FileOperation, _ path: String) throws(SystemError) {
        guard let number = fileFailure(operation, path) else { return }
        throw SystemError(operation.rawValue, errno: number, on: path)
    }

    /// Nothing fails that doesn't fail by itself.
    package static let none = DatabaseFaults({ _ in nil })
}
