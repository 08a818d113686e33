/// What a room keeps, in the object's own database. Calls are synchronous, as the database is in the object's process; all writes of
/// one event are one transaction, and nothing that follows them leaves the object before they are durable.
package protocol RoomStorage: AnyObject {
    // The document. `snapshot` is (0, "") in the beginning.
    func snapshot() throws -> (revision: Int, text: String)
    func save(snapshot: (revision: Int, text: String)) throws
    /// In the order of revisions, without a gap.
    func entries(after revision: Int) throws -> [LogEntry]
    /// Keeps the entry, and its sequence as the client's last one.
    func append(_ entry: LogEntry) throws
    /// The revision before the first entry that is kept; `nil` when there is none.
    func oldestRevision() throws -> Int?
    /// Drops old entries, none behind the snapshot. What is known of clients outlives their entries.
    func dropEntries(keeping count: Int, byteCount: Int, at now: Int64) throws
    func lastSubmission(author: String, client: String) throws -> (sequence: Int, revision: Int)?

    // The room and its people.
    func settings() throws -> RoomSettings?
    func save(_ settings: RoomSettings) throws
    func standing(of user: String) throws -> Standing?
    func save(_ standing: Standing, of user: String) throws
    func user(named name: String) throws -> String?
    func remember(name: String, of user: String) throws

    // The conversation.
    /// Keeps a message and gives it the next number; the older one when the author has used its id before.
    func append(_ draft: ChatDraft, keeping count: Int) throws -> (message: ChatMessage, isNew: Bool)
    /// The newest before a number, oldest first.
    func messages(before number: Int64?, limit: Int) throws -> [ChatMessage]

    // Live data.
    func topic(_ name: String) throws -> TopicValue?
    /// Keeps the value under the next version; `nil` when there would be too many topics.
    func save(topic name: String, data: String, at now: Int64, topicsMax: Int) throws -> TopicValue?
}
