import Platform
import Workers

/// `GET /api/v1/analytics/summary?days=30` → 200 with sums over the last UTC days, today included:
/// of the whole platform, and of what the asking user did.
enum Summary {
    private struct Content: Encodable {
        struct Day: Encodable {
            var day: String
            var type: String
            var events: Int64
        }
        struct Mine: Encodable {
            var totalEvents: Int64
            var byType: [String: Int64]
        }
        var days: Int
        var from: String
        var to: String
        var totalEvents: Int64
        var byType: [String: Int64]
        var daily: [Day]
        var mine: Mine
        var lastEventAt: String?
        var generatedAt: String
    }

    static func show(_ exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        var validation = Validation()
        let days = validation.number("days", exchange.request.query("days"), in: 1...90, default: 30)
        try validation.finish()

        let now = exchange.context.now
        let start = Timestamp.startOfDay(now) - Int64(days - 1) * Timestamp.dayMilliseconds
        let from = Timestamp.day(of: start)
        let database = try exchange.database
        let results = try await database.batch([
            database.prepare(
                "SELECT day, type, events, last_event_at FROM analytics_counts WHERE day >= ?1 ORDER BY day, type"
            ).bind(from),
            database.prepare(
                """
                SELECT type, count(*) AS events FROM analytics_events
                WHERE actor_id = ?1 AND occurred_at >= ?2 GROUP BY type
                """
            ).bind(identity.userID, start),
        ])
        var byType: [String: Int64] = [:]
        var daily: [Content.Day] = []
        var last: Int64?
        for row in results[0].results {
            let (day, type, events) = try Self.count(row)
            byType[type, default: 0] += events
            daily.append(Content.Day(day: day, type: type, events: events))
            if let time = row["last_event_at"]?.integer { last = max(last ?? time, time) }
        }
        var mine: [String: Int64] = [:]
        for row in results[1].results {
            if let type = row["type"]?.text, let events = row["events"]?.integer { mine[type] = events }
        }
        return try .json(
            Content(
                days: days, from: from, to: Timestamp.day(of: now), totalEvents: byType.values.reduce(0, +),
                byType: byType, daily: daily,
                mine: .init(totalEvents: mine.values.reduce(0, +), byType: mine),
                lastEventAt: last.map(Timestamp.text), generatedAt: Timestamp.text(now)))
    }

    private static func count(_ row: D1Row) throws -> (day: String, type: String, events: Int64) {
        guard let day = row["day"]?.text, let type = row["type"]?.text, let events = row["events"]?.integer
        else {
            throw APIError.internalError
        }
        return (day, type, events)
    }
}
