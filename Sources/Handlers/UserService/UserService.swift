// UserService shows users their own profile and lets them change it. It creates no accounts and touches no
// password.
import Platform
import Workers

@main final class Users: ServiceWorker {
    let service: Service

    init(env: Env) throws {
        service = try Service { routes in
            routes.get("/api/v1/users/me") { try await Profile.show($0) }
            routes.patch("/api/v1/users/me") { try await Profile.change($0) }
        }
    }
}
