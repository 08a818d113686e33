import Collaboration
import DurableObjects
import Platform
import Workers

/// Notifications on their way to the queue: kept in the object with what they are about, so that neither is there without the other.
/// They are sent at once; an alarm sends what a crash or a full queue left behind.
final class NotificationOutbox {
    private static let batchMax = 100
    private static let retryTime: Int64 = 30_000

    private let state: DurableObjectState
    private let env: Env
    private var isDraining = false
    private var hasNews = false

    init(_ state: DurableObjectState, _ env: Env) {
        self.state = state
        self.env = env
    }

    /// Keeps a notification; `send` must follow in the same turn.
    func add(_ notification: RoomNotification) throws {
        try state.storage.sql.exec(
            "INSERT OR IGNORE INTO outbox (id, body) VALUES (?1, ?2)", .text(notification.id),
            .text(try JSONText.of(notification)))
        hasNews = true
    }

    /// Begins to send what was added, and sets the alarm with it.
    func send() async throws {
        guard hasNews else { return }
        hasNews = false
        try await state.storage.setAlarm(state.now + Self.retryTime)
        state.waitUntil { [weak self] in try await self?.drain() }
    }

    /// Sends what waits. A second copy of what was sent before a crash is no harm: inboxes know ids.
    func drain() async throws {
        guard !isDraining else { return }
        isDraining = true
        defer { isDraining = false }
        let queue = try env.queue("NOTIFICATIONS")
        while true {
            let rows = try state.storage.sql.exec(
                "SELECT id, body FROM outbox ORDER BY id LIMIT ?1", .integer(Int64(Self.batchMax))
            )
            .toArray()
            guard !rows.isEmpty else { break }
            try await queue.sendBatch(try rows.map { QueueMessageToSend(try notification($0)) })
            for row in rows { try state.storage.sql.exec("DELETE FROM outbox WHERE id = ?1", row[0]) }
        }
        try await state.storage.deleteAlarm()
    }

    private func notification(_ row: SQLRow) throws -> RoomNotification {
        try decodingJSON(RoomNotification.self, from: Array((row[1].text ?? "").utf8))
    }
}
