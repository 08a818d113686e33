package import Workers

/// Calls one service through its binding, with a circuit breaker, a retry budget and a time limit.
///
/// One per service and isolate, touched by the isolate's thread alone; what it learned is shared by all
/// requests there.
package final class ServiceClient {
    /// As the health report and errors name it.
    package let name: String
    package let binding: String
    private var breaker: CircuitBreaker
    private var budget: RetryBudget
    private let timeLimit: Duration

    package init(
        _ name: String, binding: String, timeLimit: Duration = .seconds(30),
        breaker: CircuitBreaker = CircuitBreaker(),
        budget: RetryBudget = RetryBudget()
    ) {
        self.name = name
        self.binding = binding
        self.timeLimit = timeLimit
        self.breaker = breaker
        self.budget = budget
    }

    /// Sends `request`; the response's body isn't touched, so that it can be handed on without passing
    /// through here.
    ///
    /// A GET or HEAD that failed before it was answered is tried once more while the budget lasts.
    /// Requests with a body have no time limit of ours: how long an upload takes is the client's business,
    /// and the node watches its progress.
    ///
    /// - Throws: 503 while the breaker is open or when the service failed, 504 when it didn't answer in
    ///   time.
    package func send(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        let service = try env.service(binding)
        let isRepeatable = request.body == nil && (request.method == .get || request.method == .head)
        budget.earn()
        var triesLeft = isRepeatable ? 2 : 1
        while true {
            triesLeft -= 1
            guard breaker.mayCall(now: context.now) else { throw APIError.unavailable(name) }
            do {
                let response = try await attempt(request, service, context)
                breaker.report(Self.isOverload(response.status) ? .failure : .success, now: context.now)
                return response
            } catch let error as CancellationError {
                // The client left, which says nothing about the service: nothing is reported. A probe that was cut
                // off so is given up by the breaker itself.
                throw error
            } catch let error as APIError {
                breaker.report(.failure, now: context.now)
                throw error
            } catch {
                breaker.report(.failure, now: context.now)
                guard triesLeft > 0, budget.spend() else {
                    context.log.error("call failed", ["service": name, "error": "\(error)"])
                    throw APIError.unavailable(name)
                }
            }
        }
    }

    private func attempt(
        _ request: Request, _ service: ServiceBinding, _ context: ExecutionContext
    ) async throws -> Response {
        guard request.body == nil else { return try await service.fetch(request) }
        let response = try await withTimeLimit(timeLimit, context) { try await service.fetch(request) }
        guard let response else { throw APIError.timedOut(name) }
        return response
    }

    /// Answers that say "not now" rather than "not this".
    private static func isOverload(_ status: Int) -> Bool { status == 502 || status == 503 || status == 504 }
}
