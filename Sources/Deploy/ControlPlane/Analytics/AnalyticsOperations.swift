internal import Host
internal import Releases
internal import Stores

/// Queries about a tenant's data points (https://developers.cloudflare.com/analytics/analytics-engine/sql-api/). The answer has
/// the form that the query asks for, without an envelope.
enum AnalyticsOperations {
    private static let textBytesMax = 64 << 10

    static func all(_ services: APIServices) -> [APIOperation] {
        let accounts = services.accounts
        let path = "/accounts/{account_id}/analytics_engine/sql"
        let about = "The rows as JSON, or as the query's FORMAT says."
        return [
            APIOperation(
                "POST", path, id: "analytics_engine.sql.query", "Answers a query about data points",
                .account(.analytics, .read), body: .stream(about: "The query, as it is."), result: .raw(about: about),
                isIdempotent: true
            ) { call in try await answer(try await text(call.body), accounts, call) },
            APIOperation(
                "GET", path, id: "analytics_engine.sql.get", "Answers a query about data points", .account(.analytics, .read),
                query: [.init("query", .string(), "The query.")], result: .raw(about: about)
            ) { call in
                guard let text = call.queryValue("query"), text.utf8.count <= textBytesMax else { throw noQuery }
                return try await answer(text, accounts, call)
            },
        ]
    }

    private static let noQuery = APIError(400, 10001, "the query must be at most 64 KiB of UTF-8")

    private static func answer(_ text: String, _ accounts: Accounts, _ call: APICall) async throws -> APIReply {
        let runner = try accounts.runner(call)
        do {
            let (contentType, body) = try await runner.queryAnalytics(text)
            return .raw(LocalResponse(status: 200, headers: [("content-type", contentType)], body: .bytes(body)))
        } catch {
            // With the place in the text.
            throw APIError(400, 10001, "\(error)")
        }
    }

    private static func text(_ body: (any BodySource)?) async throws -> String {
        var bytes: [UInt8] = []
        while let piece = try await body?.next() {
            bytes += piece
            guard bytes.count <= textBytesMax else { throw noQuery }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw noQuery }
        return text
    }
}
