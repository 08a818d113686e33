internal import System
internal import TenantSQL

/// Going back to an earlier state (spec: durable-objects, section 3.5). Each commit has a bookmark, which can be restored as long as the
/// environment keeps it (`durable_objects.time_travel`). Bookmarks are ordered by time, as texts.
extension ObjectStorage {
    /// The bookmark of all that was written until now; durable on return.
    public func getCurrentBookmark() async throws -> String {
        try await history("getCurrentBookmark") { try $0.currentBookmark() }
    }

    /// The bookmark of the state that was the newest at a time.
    ///
    /// - Parameter time: Milliseconds since 1970.
    /// - Throws: for a time that is in the future, or further back than the history.
    public func getBookmarkForTime(_ time: Int64) async throws -> String {
        try await history("getBookmarkForTime") { try $0.bookmark(for: UnixTime(milliseconds: time)) }
    }

    /// Lets the object's next incarnation begin with an earlier state of all its tables, keys, and its alarm. Nothing happens until then:
    /// `state.abort()` begins it at once. A later call takes the place of an earlier one.
    ///
    /// - Returns: the bookmark of the state right before the restore, by which it can be undone.
    /// - Throws: for a bookmark that is not of this object's history.
    public func onNextSessionRestoreBookmark(_ bookmark: String) async throws -> String {
        let (target, undo) = try await history("onNextSessionRestoreBookmark") { try $0.checked(bookmark) }
        try database.armRestore(target)
        try await database.waitUntilDurable()
        return undo.description
    }

    private func history<Result>(_ call: String, _ body: (ObjectHistory) throws -> Result) async throws -> Result {
        guard sql.isAvailable else {
            throw DurableObjectError(
                "This Durable Object is not backed by SQLite storage, so \(call)() is not available: there is no history of it."
            )
        }
        return try await database.withHistory(call, body)
    }
}
