import Platform
import Workers

/// `GET /api/health` → 200 `{status: "ok", …}` when every service answers, else 503 `{status: "degraded",
/// …}`.
struct HealthReport: Encodable {
    struct Item: Encodable, Sendable {
        var status: String
        var latencyMs: Int64
        var error: String?
    }
    var status: String
    var services: [String: Item]
    var version: String
    var environment: String
    var time: String
    var requestId: String

    private static let timeLimit = Duration.seconds(2)

    /// Asks all services at once; none may take longer than two seconds.
    static func gather(
        _ clients: [ServiceClient], requestID: String, _ env: Env, _ context: ExecutionContext
    ) async throws -> Response {
        let services = try clients.map { (name: $0.name, binding: try env.service($0.binding)) }
        var items: [String: Item] = [:]
        await withTaskGroup(of: (String, Item).self) { group in
            for (name, binding) in services {
                group.addTask { (name, await ask(binding, requestID, context)) }
            }
            for await (name, item) in group { items[name] = item }
        }
        let isHealthy = items.values.allSatisfy { $0.status == "ok" }
        let report = HealthReport(
            status: isHealthy ? "ok" : "degraded", services: items, version: context.metadata.version,
            environment: context.metadata.environment, time: Timestamp.text(context.now), requestId: requestID
        )
        return try .json(report, status: isHealthy ? 200 : 503)
    }

    private static func ask(
        _ service: ServiceBinding, _ requestID: String, _ context: ExecutionContext
    ) async -> Item {
        let start = context.now
        var failure: String?
        do {
            let status = try await withTimeLimit(timeLimit, context) {
                var headers = Headers()
                try headers.set(RequestID.header, requestID)
                let response = try await service.fetch(Request("http://service/health", headers: headers))
                response.body?.cancel()
                return response.status
            }
            if status != 200 { failure = status.map { "answered \($0)" } ?? "no answer in time" }
        } catch {
            // What exactly went wrong is for the log: anybody can read this report.
            context.log.error("health check failed", ["error": "\(error)"])
            failure = "failed"
        }
        return Item(status: failure == nil ? "ok" : "error", latencyMs: context.now - start, error: failure)
    }
}
