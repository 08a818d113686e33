// AnalyticsService counts what happens: it takes domain events from the queue, each exactly once whatever
// the queue repeats, and tells sums. It knows nothing of content or users beyond their ids.
import Platform
import Workers
import WorkersCrypto

@main final class Analytics: FetchHandler, QueueHandler, ScheduledHandler {
    private let service: Service

    init(env: Env) throws {
        service = try Service(database: "DB") { routes in
            routes.get("/api/v1/analytics/summary") { try await Summary.show($0) }
        }
    }

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        try await service.fetch(request, env: env, context: context)
    }

    func queue(_ batch: MessageBatch, env: Env, context: ExecutionContext) async throws {
        try await Intake(try env.d1("DB")).take(batch, context)
    }

    func scheduled(_ event: ScheduledEvent, env: Env, context: ExecutionContext) async throws {
        try await RollUp(try env.d1("DB")).run(at: event.scheduledTime, context)
    }
}
