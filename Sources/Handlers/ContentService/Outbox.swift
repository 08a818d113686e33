import Platform
import Workers

/// Brings events from the outbox to the queue: right after each change, and each minute what was left behind
/// by a queue, an isolate or a node that failed in between. A consumer may see an event twice, and never
/// misses one.
struct Outbox {
    /// Younger rows belong to requests that are still at work.
    private static let leftBehindMilliseconds: Int64 = 5_000

    private let rows: OutboxRows
    private let queue: Queue

    init(_ env: Env) throws {
        rows = OutboxRows(try env.database)
        queue = try env.queue("EVENTS")
    }

    /// Sends `event`, whose row is in the outbox, whether or not the client waits for its answer. If the queue
    /// can't take it now, the row stays for `sweep`.
    func publish(_ event: DomainEvent, _ context: ExecutionContext) {
        context.waitUntil {
            do {
                try await queue.send(event)
            } catch {
                return context.log.warn("event stays in the outbox", ["event": event.id, "error": "\(error)"])
            }
            try await rows.delete([event.id])
        }
    }

    /// Sends all that was left behind.
    func sweep(_ context: ExecutionContext) async throws {
        var count = 0
        var place: OutboxRows.Place? = .start
        while let from = place {
            let page = try await rows.page(after: from, before: context.now - Self.leftBehindMilliseconds)
            for id in page.unreadable {
                // It stays for somebody to look at; the others don't wait for it.
                context.log.error("event in the outbox cannot be read", ["event": id])
            }
            if !page.events.isEmpty {
                try await queue.sendBatch(page.events.map { QueueMessageToSend($0) })
                try await rows.delete(page.events.map(\.id))
                count += page.events.count
            }
            place = page.next
        }
        if count > 0 { context.log.info("sent events that were left behind", ["events": "\(count)"]) }
    }
}
