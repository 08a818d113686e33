import Platform
import Workers

/// Brings events from the outbox to the queue: at once after each change, and later what was left behind
/// by an isolate or a node that stopped in between. A consumer may see an event twice, and never misses
/// one.
struct Outbox {
    /// Younger rows belong to requests that are still at work.
    private static let leftBehindMilliseconds: Int64 = 30_000
    private static let sweepMax = 50

    private let database: D1Database
    private let queue: Queue

    init(_ env: Env) throws {
        database = try env.d1("DB")
        queue = try env.queue("EVENTS")
    }

    /// Sends `event`, whose row is in the outbox. It is in the queue, durably, when this returns; if the
    /// queue can't take it now, the row stays and a later change sends it.
    func publish(_ event: DomainEvent, _ context: ExecutionContext) async throws {
        do {
            try await queue.send(event)
        } catch let error as CancellationError {
            throw error
        } catch {
            context.log.warn("event stays in the outbox", ["event": event.id, "error": "\(error)"])
            return
        }
        let database = database
        context.waitUntil {
            try await database.prepare("DELETE FROM content_outbox WHERE event_id = ?1").bind(event.id).run()
        }
        context.waitUntil { try await sweep(context) }
    }

    private func sweep(_ context: ExecutionContext) async throws {
        let rows = try await database.prepare(
            "SELECT event_id, event FROM content_outbox WHERE created_at < ?1 ORDER BY created_at LIMIT ?2"
        ).bind(context.now - Self.leftBehindMilliseconds, Self.sweepMax).all().results
        for row in rows {
            guard let id = row["event_id"]?.text, let event = row["event"]?.text else { continue }
            try await queue.send(try decodingJSON(DomainEvent.self, from: Array(event.utf8)))
            try await database.prepare("DELETE FROM content_outbox WHERE event_id = ?1").bind(id).run()
        }
    }
}
