internal import Configuration
internal import Host
internal import HTTP
internal import OpenSSL
internal import Releases
internal import Stores
internal import System

/// Workers over the API (spec: control-plane, sections 5 to 7).
enum WorkerOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        ScriptOperations.all(services) + ScriptSettingsOperations.all(services) + VersionOperations.all(services)
            + DeploymentOperations.all(services) + ScriptSecretOperations.all(services) + TriggerOperations.all(services)
            + RouteOperations.all(services) + DomainOperations.all(services) + WorkerAccountOperations.all(services)
    }

    static let script = "/accounts/{account_id}/workers/scripts/{script_name}"

    /// The worker that the path names.
    static func name(_ call: APICall) throws(ScriptError) -> String {
        let name = call.parameters["script_name"] ?? ""
        let isName =
            (1...63).contains(name.utf8.count) && name.first != "-"
            && name.utf8.allSatisfy { byte in
                switch byte {
                case 0x61...0x7A, 0x30...0x39, UInt8(ascii: "-"), UInt8(ascii: "_"): true
                default: false
                }
            }
        guard isName else {
            throw ScriptError(
                400, 10016,
                "Invalid Worker name \"\(name.prefix(64))\": small letters, digits, - and _, at most 63 of them, not - at its start"
            )
        }
        return name
    }

    /// Who changes something, and by what.
    static func author(_ call: APICall, _ services: APIServices) -> ScriptAuthor {
        let id = call.principal.tokenID
        let isWrangler = call.header("user-agent")?.lowercased().contains("wrangler") ?? false
        return ScriptAuthor(
            id: id, email: services.tokens.email(of: id) ?? "\(id)@edge.invalid", source: isWrangler ? "wrangler" : "api")
    }

    /// Runs `body` with the account's runner, and gives what it throws the numbers that clients know.
    static func on<Result>(
        _ services: APIServices, _ call: APICall, _ body: (ReleaseRunner) async throws -> Result
    ) async throws -> Result {
        let runner = try services.accounts.runner(call)
        do {
            return try await body(runner)
        } catch let error as APIError {
            throw error
        } catch let error as ScriptError {
            throw APIError(error.status, error.code, error.message)
        } catch let error as RoutingConflict {
            throw APIError(409, 10020, "\(error)")
        } catch let error as MultipartError {
            throw APIError(400, 10021, "\(error)")
        } catch ReleaseError.notReady {
            throw APIError(503, 10013, "The account's workers are being started: try again", retryAfterSeconds: 1)
        } catch let error as ReleaseError where error.isDeploying {
            throw APIError(409, 10021, "\(error)")
        } catch ReleaseError.busy {
            throw APIError(429, 971, "Too many changes wait for one another", retryAfterSeconds: 5)
        } catch ReleaseError.classMigrations(let refusals) {
            throw APIError(400, refusals.first?.code ?? 10021, refusals.map(\.description).joined(separator: "\n"))
        } catch let refusal as ClassMigrationRefusal {
            throw APIError(400, refusal.code, refusal.description)
        } catch let error as ReleaseError {
            throw APIError(400, 10021, "\(error)")
        } catch let error as SecretError {
            if case .tooLong = error { throw APIError(400, 10021, "\(error)") }
            throw error
        }
    }

    /// `workers/message` and `workers/tag`, within their limits.
    static func annotations(_ json: JSON?, triggeredBy trigger: String) throws(ScriptError) -> [String: String] {
        var annotations = ["workers/triggered_by": trigger]
        for (name, bytesMax) in [("workers/message", 1000), ("workers/tag", 100), ("workers/alias", 63)] {
            guard let text = json?[name]?.text, !text.isEmpty else { continue }
            guard name == "workers/message" || text.utf8.count <= bytesMax else {
                throw .invalid("annotation \(name) has \(text.utf8.count) bytes, and may have \(bytesMax)")
            }
            annotations[name] = String(decoding: text.utf8.prefix(bytesMax), as: UTF8.self)
        }
        return annotations
    }
}
