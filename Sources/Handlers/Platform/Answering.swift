package import Workers

/// Runs a handler and turns what it throws into the API's error form. What isn't an `APIError` is logged
/// and told to nobody else; a cancelled task stays cancelled.
package func answering(
    _ request: Request, _ context: ExecutionContext, requestID: String,
    _ body: () async throws -> Response
) async throws -> Response {
    do {
        let response = try await body()
        // The router's own answer to a known path with another method.
        guard response.status == 405, let allowed = response.headers["allow"] else { return response }
        var refusal = APIError(405, "method_not_allowed", "this path takes \(allowed)")
            .response(requestID: requestID)
        refusal.headers = refusal.headers.changing { $0["allow"] = allowed }
        return refusal
    } catch let error as APIError {
        return error.response(requestID: requestID)
    } catch let error as CancellationError {
        throw error
    } catch let error as BodyTooLarge {
        return APIError.tooLarge(limit: error.limit).response(requestID: requestID)
    } catch {
        context.log.error(
            "request failed",
            ["requestId": requestID, "method": request.method.rawValue, "error": "\(error)"])
        return APIError.internalError.response(requestID: requestID)
    }
}

/// The common frame of a service: its routes, `GET /health`, and the API's error form around them.
package struct Service {
    private let router: Router

    /// - Parameter database: The D1 binding that `/health` asks.
    package init(database: String, _ build: (inout RouteBuilder) -> Void) throws {
        router = try Router { routes in
            build(&routes)
            routes.get("/health") { exchange in
                _ = try await exchange.env.d1(database).prepare("SELECT 1 AS one").first()
                return .json(text: #"{"status":"ok"}"#)
            }
            routes.notFound { _ in throw APIError.notFound("this path") }
        }
    }

    package func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        let requestID = RequestID.of(request)
        return try await answering(request, context, requestID: requestID) {
            try await router.respond(to: request, env: env, context: context)
        }
    }
}
