// AnalyticsService counts what happens: it takes domain events from the queue, each exactly once whatever
// the queue repeats, and tells sums. It knows nothing of content or users beyond their ids.
import Platform
import Workers

@main final class Analytics: ServiceWorker, QueueHandler, ScheduledHandler {
    let service: Service

    init(env: Env) throws {
        service = try Service { routes in
            routes.get("/api/v1/analytics/summary") { try await Summary.show($0) }
        }
    }

    func queue(_ batch: MessageBatch, env: Env, context: ExecutionContext) async throws {
        try await Intake(try env.database).take(batch, context)
    }

    func scheduled(_ event: ScheduledEvent, env: Env, context: ExecutionContext) async throws {
        try await RollUp(try env.database).run(at: event.scheduledTime, context)
    }
}
