internal import CSQLite
internal import Synchronization

/// What the library keeps once for the whole process.
package enum SQLiteProcess {
    private static let hasTemporaryDirectory = Mutex(false)

    /// Where temporary files are made; they lose their names at once. The first caller decides: the library reads the
    /// variable without a lock (https://www.sqlite.org/c3ref/temp_directory.html). When the directory is gone, the
    /// library takes the system's.
    package static func setTemporaryDirectory(_ path: String) {
        hasTemporaryDirectory.withLock { isSet in
            guard !isSet else { return }
            isSet = true
            // SAFETY: the function copies the NUL-terminated text that Swift lends it.
            unsafe edge_sqlite_set_temporary_directory(path)
        }
    }

    /// Has paths with links in them opened as they are, instead of as what they lead to: for a process that may not go through the
    /// directories above its own. Before the first file is opened.
    ///
    /// - Returns: false when the library's way to its files can't be changed.
    package static func leaveLinks() -> Bool {
        // SAFETY: replaces one of the library's own pointers by a function of the same type.
        edge_sqlite_leave_links() == SQLITE_OK
    }

    /// What all connections together may allocate. An allocation above it fails, and with it the statement that
    /// asked, with `.outOfMemory` (https://www.sqlite.org/c3ref/hard_heap_limit64.html).
    package static func setHeapLimit(byteCount: Int64) { _ = sqlite3_hard_heap_limit64(byteCount) }

    /// What is allocated now.
    package static var heapByteCount: Int64 { sqlite3_memory_used() }

    /// The most that was allocated at once since the last call with `resetting`.
    package static func highestHeapByteCount(resetting: Bool = false) -> Int64 {
        sqlite3_memory_highwater(resetting ? 1 : 0)
    }
}
