import Platform
import Workers

/// Takes events into D1. One delivery is one transaction: rows whose id is known already are ignored, and
/// only the rows that this delivery brought first are added to the counts. So a batch that comes again
/// changes nothing.
struct Intake {
    private let database: D1Database

    init(_ database: D1Database) { self.database = database }

    func take(_ batch: MessageBatch, _ context: ExecutionContext) async throws {
        let now = context.now
        let delivery = Identifier(now: now).text
        var statements: [D1PreparedStatement] = []
        let insert = database.prepare(
            """
            INSERT INTO analytics_events
                (id, type, actor_id, subject_id, data, occurred_at, received_at, delivery_id)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING
            """)
        for message in batch.messages {
            do {
                let event = try message.json(as: DomainEvent.self)
                if let flaw = event.flaw { throw ConfigurationFlaw(flaw) }
                statements.append(
                    insert.bind(
                        event.id, event.type, event.actorId, event.subjectId, try JSONText.of(event.data),
                        event.occurredAt, now, delivery))
            } catch {
                // Not ours to lose: after its retries it lies in the dead-letter queue, where somebody can
                // look at it.
                context.log.error("event cannot be read", ["message": message.id, "error": "\(error)"])
                message.retry(delaySeconds: 60)
            }
        }
        guard !statements.isEmpty else { return }
        statements.append(
            database.prepare(
                """
                INSERT INTO analytics_counts (day, type, events, last_event_at)
                SELECT strftime('%Y-%m-%d', occurred_at / 1000, 'unixepoch'), type, count(*), max(occurred_at)
                FROM analytics_events WHERE delivery_id = ?1 GROUP BY 1, 2
                ON CONFLICT (day, type) DO UPDATE SET events = events + excluded.events,
                    last_event_at = max(last_event_at, excluded.last_event_at)
                """
            ).bind(delivery))
        _ = try await database.batch(statements)
    }
}

/// The nightly roll-up: final figures per day, and an end for old raw events.
struct RollUp {
    /// Days that are computed anew each night: events may arrive late, and a night may have been missed.
    private static let days: Int64 = 7
    private static let rawEventsKeptDays: Int64 = 90

    private let database: D1Database

    init(_ database: D1Database) { self.database = database }

    /// - Parameter time: The scheduled time: a repeated tick computes the same.
    func run(at time: Int64, _ context: ExecutionContext) async throws {
        let today = Timestamp.startOfDay(time)
        let results = try await database.batch([
            database.prepare(
                """
                INSERT INTO analytics_daily (day, type, events, actors, subjects, rolled_up_at)
                SELECT strftime('%Y-%m-%d', occurred_at / 1000, 'unixepoch'), type, count(*),
                    count(DISTINCT actor_id), count(DISTINCT subject_id), ?3
                FROM analytics_events WHERE occurred_at >= ?1 AND occurred_at < ?2 GROUP BY 1, 2
                ON CONFLICT (day, type) DO UPDATE SET events = excluded.events, actors = excluded.actors,
                    subjects = excluded.subjects, rolled_up_at = excluded.rolled_up_at
                """
            ).bind(today - Self.days * Timestamp.dayMilliseconds, today, context.now),
            database.prepare("DELETE FROM analytics_events WHERE occurred_at < ?1")
                .bind(today - Self.rawEventsKeptDays * Timestamp.dayMilliseconds),
        ])
        context.log.info(
            "rolled up",
            [
                "before": Timestamp.day(of: today), "rows": "\(results[0].meta.changes)",
                "deleted": "\(results[1].meta.changes)",
            ])
    }
}
