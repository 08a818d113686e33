internal import HTTP
internal import Host
internal import Observability
package import Releases
package import System

/// What the operations on releases work on, beside a tenant's own deployments.
package struct ReleaseServices: Sendable {
    /// Of the node.
    package let environment: String
    package let bundles: BundleStore
    package let leases: ArtifactLeases
    /// Who must have signed what is deployed.
    package let keys: DeployKeys
    /// The encrypted secrets of a tenant; `nil` in dev, where they come from files.
    package let secrets: @Sendable (String) throws -> SecretStore?

    package init(
        environment: String, bundles: BundleStore, keys: DeployKeys = .none, clock: any NodeClock,
        secrets: @escaping @Sendable (String) throws -> SecretStore?
    ) {
        self.environment = environment
        self.bundles = bundles
        self.secrets = secrets
        self.keys = keys
        leases = ArtifactLeases(clock: clock)
    }
}

/// What the API's clients read of what went wrong with a release: the status first, then the code.
enum ReleaseFailure {
    /// Another deployment is in progress.
    static let locked = 11409
    /// It can't be done in the state that the deployment is in.
    static let notNow = 11408
    static let secretsChanged = 10220
    /// What is to be deployed has mistakes: a line of the message for each.
    static let refused = 11400
    static let badBundle = 11401
    static let otherContent = 11402
    static let missingArtifacts = 11403
    static let unknown = 11404

    static func of(_ error: DeploymentError) -> APIError {
        switch error {
        case .locked: APIError(409, locked, "\(error)")
        case .notNow: APIError(409, notNow, "\(error)")
        // As the product has it for single workers.
        case .secretsChanged: APIError(400, secretsChanged, "\(error)")
        case .failed: APIError(400, refused, "\(error)")
        case .unknownDeployment, .unknownRelease: APIError(404, unknown, "\(error)")
        }
    }

    static func of(_ error: BundleError) -> APIError {
        switch error {
        case .unknown: APIError(404, unknown, "\(error)")
        case .missingArtifacts: APIError(400, missingArtifacts, "\(error)")
        case .tooLarge, .tooManyFiles: APIError(413, 10027, "\(error)")
        case .badPath, .twice, .noShape, .badProducts, .migrationsOutside, .otherHash, .changing:
            APIError(400, badBundle, "\(error)")
        }
    }
}

extension APIServices {
    /// - Throws: 503 on a node that keeps no releases.
    func releaseServices() throws(APIError) -> ReleaseServices {
        guard let releases else { throw APIError(503, 10013, "This node keeps no releases") }
        return releases
    }

    /// Who asks for a deployment: where the token has no address, by its name.
    func deployer(_ call: APICall) -> ScriptAuthor {
        let author = WorkerOperations.author(call, self)
        return ScriptAuthor(id: author.id, email: tokens.email(of: author.id) ?? call.principal.name, source: author.source)
    }

    /// Runs `body` with the account's deployments, and gives what it throws the numbers that clients know.
    func onDeployments<Result>(
        _ call: APICall, _ body: (any DeploymentControl) async throws -> Result
    ) async throws -> Result {
        let runner = try accounts.runner(call)
        do { return try await body(runner.deployments) } catch let error as DeploymentError {
            throw ReleaseFailure.of(error)
        } catch let error as DeploymentFailure {
            throw APIError(400, ReleaseFailure.refused, "\(error)")
        } catch let error as BundleError {
            throw ReleaseFailure.of(error)
        } catch let error as ArchiveError {
            throw APIError(400, ReleaseFailure.badBundle, "\(error)")
        } catch let error as MultipartError {
            throw APIError(400, ReleaseFailure.badBundle, "\(error)")
        } catch ReleaseError.notReady {
            throw APIError(503, 10013, "The account's workers are being started: try again", retryAfterSeconds: 1)
        }
    }
}
