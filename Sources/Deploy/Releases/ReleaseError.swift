package import Configuration

/// Why a release did not come into service.
package enum ReleaseError: Error, Sendable, CustomStringConvertible {
    case busy
    case retired
    /// A deployment is in progress.
    case deploying(String)
    case notReady
    case damagedArtifact(worker: String, path: String)
    case missingSecrets([String], worker: String)
    case variableNamedLikeSecret(String, worker: String)
    case badExecutable(worker: String, path: String, reason: String)
    case failedToStart(worker: String, reason: String)
    case missingHandler(String, worker: String, reason: String)
    case migrationFailed(database: String, file: String, reason: String)
    case migrationChanged(database: String, file: String)
    case queueNotOpened(String, reason: String)
    case consumersNotSet(reason: String)
    case databasesRefused([String], reason: String)
    case missingBundle(String, release: Int64)
    /// Each with the words that the product's clients know.
    case classMigrations([ClassMigrationRefusal])
    case objectsNotKept(String)

    package var isDeploying: Bool {
        if case .deploying = self { true } else { false }
    }

    package var description: String {
        switch self {
        case .retired: "the tenant has been removed"
        case .deploying(let reason): "\(reason): wait for its end, or stop it with \"edge deploy abort\""
        case .busy: "too many changes wait to be brought into service; wait for them"
        case .notReady: "the tenant's workers are not in service yet"
        case .damagedArtifact(let worker, let path):
            "the executable of worker \"\(worker)\", \(path), is missing or is not what was stored: upload it again, or restore it"
        case .missingSecrets(let names, let worker):
            "worker \"\(worker)\" needs the secret\(names.count == 1 ? "" : "s") \(names.joined(separator: ", ")): "
                + "set with `edge secret put NAME`, or in .dev.vars for `edge dev`"
        case .variableNamedLikeSecret(let name, let worker):
            "worker \"\(worker)\" has a variable \(name), and there is a secret of this name: rename one, or delete the "
                + "secret with `edge secret delete \(name)`"
        case .badExecutable(let worker, let path, let reason):
            "the executable of worker \"\(worker)\", \(path), cannot be used: \(reason)"
        case .failedToStart(let worker, let reason): "worker \"\(worker)\" does not start: \(reason)"
        case .missingHandler(let handler, let worker, let reason):
            "worker \"\(worker)\" does not handle \(handler) events, but \(reason)"
        case .migrationFailed(let database, let file, let reason):
            "migration \(file) of database \"\(database)\" failed: \(reason)"
        case .migrationChanged(let database, let file):
            "migration \(file) of database \"\(database)\" has been applied, and its text is another one now: put the old "
                + "text back, and make the change in a new file"
        case .consumersNotSet(let reason): "the release can't consume its queues: \(reason)"
        case .databasesRefused(let names, let reason):
            "the databases \(names.joined(separator: ", ")) can't be had beside those that are there: \(reason)"
        case .missingBundle(let hash, let release):
            "what release \(release) was made from, bundles/\(hash) of the state directory, is not there: restore it"
        case .classMigrations(let refusals): refusals.map(\.description).joined(separator: "\n")
        case .objectsNotKept(let reason): "the durable objects of the release can't be kept: \(reason)"
        case .queueNotOpened(let queue, let reason): "the queue \"\(queue)\" can't be opened: \(reason)"
        }
    }
}

/// Where secrets come from: `.dev.vars`, or the encrypted store.
package protocol SecretSource: Sendable {
    func secret(_ name: String, of worker: String) throws -> String?
}
