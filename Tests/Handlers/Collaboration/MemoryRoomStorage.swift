import Collaboration

/// A room's storage in memory: outlives the room, as an object's file does.
final class MemoryRoomStorage: RoomStorage {
    private var stored: (revision: Int, text: String) = (0, "")
    private(set) var log: [LogEntry] = []
    private var clients: [String: (sequence: Int, revision: Int)] = [:]
    private var room: RoomSettings?
    private var standings: [String: Standing] = [:]
    private var names: [String: String] = [:]
    private(set) var chat: [ChatMessage] = []
    private var topics: [String: TopicValue] = [:]
    /// Thrown by the next append.
    var failure: (any Error)?

    func snapshot() -> (revision: Int, text: String) { stored }
    func save(snapshot: (revision: Int, text: String)) { stored = snapshot }
    func entries(after revision: Int) -> [LogEntry] { log.filter { $0.revision > revision } }
    func append(_ entry: LogEntry) throws {
        if let failure {
            self.failure = nil
            throw failure
        }
        log.append(entry)
        clients["\(entry.author) \(entry.client)"] = (entry.sequence, entry.revision)
    }
    func oldestRevision() -> Int? { log.first.map { $0.revision - 1 } }
    func dropEntries(keeping count: Int, byteCount: Int, at now: Int64) {
        log.removeFirst(max(0, min(log.count - count, log.count { $0.revision <= stored.revision })))
    }
    func lastSubmission(author: String, client: String) -> (sequence: Int, revision: Int)? { clients["\(author) \(client)"] }
    func forget(author: String, client: String) { clients["\(author) \(client)"] = nil }

    func settings() -> RoomSettings? { room }
    func save(_ settings: RoomSettings) { room = settings }
    func standing(of user: String) -> Standing? { standings[user] }
    func save(_ standing: Standing, of user: String) { standings[user] = standing }
    func user(named name: String) -> String? { names[name.lowercased()] }
    func remember(name: String, of user: String) { names[name.lowercased()] = user }

    func append(_ draft: ChatDraft, keeping count: Int) -> (message: ChatMessage, isNew: Bool) {
        if let old = chat.first(where: { $0.user == draft.user && $0.id == draft.id }) { return (old, false) }
        let message = ChatMessage(number: (chat.last?.number ?? 0) + 1, draft)
        chat.append(message)
        chat.removeFirst(max(0, chat.count - count))
        return (message, true)
    }
    func messages(before number: Int64?, limit: Int) -> [ChatMessage] {
        Array(chat.filter { $0.number < number ?? .max }.suffix(limit))
    }

    func topic(_ name: String) -> TopicValue? { topics[name] }
    func save(topic name: String, data: String, at now: Int64, topicsMax: Int) -> TopicValue? {
        guard topics[name] != nil || topics.count < topicsMax else { return nil }
        let value = TopicValue(name: name, version: (topics[name]?.version ?? 0) + 1, data: data, at: now)
        topics[name] = value
        return value
    }
}
