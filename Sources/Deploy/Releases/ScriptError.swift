/// Why something can't be done to a worker over the API, with the status and the number that its clients know (spec:
/// control-plane, section 9).
package struct ScriptError: Error, Equatable, Sendable, CustomStringConvertible {
    package let status: Int
    package let code: Int
    package let message: String

    package init(_ status: Int, _ code: Int, _ message: String) {
        self.status = status
        self.code = code
        self.message = message
    }

    package var description: String { message }

    package static let unknownWorker = ScriptError(404, 10007, "This Worker does not exist on your account.")
    package static func invalid(_ message: String) -> ScriptError { ScriptError(400, 10021, message) }
    package static func unknownVersion(_ id: String) -> ScriptError {
        ScriptError(404, 100146, "Version \(id.prefix(64)) could not be found")
    }
    package static let unknownDeployment = ScriptError(404, 10336, "Deployment not found")
    package static let noVersions = ScriptError(400, 10222, "This Worker has no versions")
    package static let newestNotDeployed = ScriptError(
        400, 10215,
        "Secret edit failed. You attempted to modify a secret, but the latest version of your Worker isn't currently deployed. "
            + "Deploy it first, or upload a version with the secret")
    package static let migrationsNeedDeployment = ScriptError(
        400, 10211,
        "migrations must be fully applied by running \"wrangler deploy\": a version that waits for its deployment can't carry them"
    )
    package static func behindMigration(_ version: String, _ tag: String?) -> ScriptError {
        ScriptError(
            400, 10211,
            "Version \(version) can't be deployed: since it was made, the migration '\(tag ?? "")' of the Worker's Durable Object classes has "
                + "been applied, and no deployment goes back behind that")
    }
    package static let secretsChanged = ScriptError(
        400, 10220, "The secrets of this Worker have changed since this version was deployed. Deploy it with force=true")
}
