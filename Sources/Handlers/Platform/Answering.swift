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
        return APIError.methodNotAllowed(allowed).response(requestID: requestID)
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
