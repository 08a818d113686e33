// UserService shows users their own profile and lets them change it. It creates no accounts and touches no
// password.
import Platform
import Workers

@main final class Users: FetchHandler {
    private let service: Service

    init(env: Env) throws {
        service = try Service(database: "DB") { routes in
            routes.get("/api/v1/users/me") { try await Profile.show($0) }
            routes.patch("/api/v1/users/me") { try await Profile.change($0) }
        }
    }

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        try await service.fetch(request, env: env, context: context)
    }
}
