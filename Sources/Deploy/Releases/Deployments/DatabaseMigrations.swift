package import Configuration
package import Observability
package import StoresD1
package import System

/// The migrations of a tenant's databases, as its deployments run them: spec deploys part D.
///
/// What was applied is in the databases themselves, in the transaction that applied it. So there is nothing here to be brought
/// in line after a crash: all that is asked again finds what is done already.
package struct DatabaseMigrations: DeploymentMigrations {
    private let databases: TenantDatabases
    private let clock: any NodeClock
    private let logger: Logger
    private var store: EmbeddedD1Store { databases.store }

    /// - Parameter databases: Of the tenant. Those that `withStoresClosed` replaces are served by another one of these.
    package init(_ databases: TenantDatabases, clock: any NodeClock, logger: Logger) {
        self.databases = databases
        self.clock = clock
        self.logger = logger
    }

    /// Deletes copies that were never finished; for a node's start.
    static func removeUnfinished(in directory: String) throws(SystemError) {
        for name in FileTree.list(directory) where !name.hasSuffix(".sqlite") { try FileTree.remove("\(directory)/\(name)") }
    }

    // MARK: What is pending

    /// A file that isn't applied yet, with what the linter says.
    private struct Pending {
        let set: MigrationSet
        let file: D1Migration
        let kind: D1MigrationKind
        var findings: [D1MigrationFinding]

        var step: MigrationStep {
            MigrationStep(
                database: set.database, file: file.name, kind: kind == .expand ? .expand : .contract,
                checksum: file.digest ?? "", isBreaking: findings.contains(where: \.isBreaking))
        }
    }

    /// What is wrong is told at once, but no more lines than somebody reads.
    private static let reasonsMax = 100

    package func pending(
        _ sets: [MigrationSet], _ options: DeploymentOptions
    ) async throws(DeploymentFailure) -> [MigrationStep] {
        var reasons: [String] = []
        var steps: [MigrationStep] = []
        for set in sets {
            reasons += MigrationNumbers.problems(D1Migration.paired(set.migrations).map(\.name)).map {
                "database \"\(set.database)\": \($0)"
            }
            let (pending, changed) = try await pending(of: set)
            reasons += changed
            for item in pending {
                reasons += item.findings.filter { $0.severity == .error && !($0.isBreaking && options.allowsBreaking) }
                    .map { "database \"\(set.database)\": \($0)" }
                if item.kind == .contract, !options.contracts { continue }
                steps.append(item.step)
            }
        }
        guard reasons.isEmpty else {
            let more = reasons.count - Self.reasonsMax
            throw DeploymentFailure(reasons.prefix(Self.reasonsMax) + (more > 0 ? ["and \(more) more"] : []))
        }
        return steps
    }

    /// - Returns: what isn't applied, in order, and what is wrong with what is.
    private func pending(of set: MigrationSet) async throws(DeploymentFailure) -> (pending: [Pending], changed: [String]) {
        let files = D1Migration.paired(set.migrations).sorted(by: D1Migration.precedes)
        var recorded: [String: String?] = [:]
        var schema: [String] = []
        // A database that isn't there is made when it is migrated, and not by being asked for.
        if let resource = try await find(set.database) {
            let migrator = D1Migrator(store: store, database: resource, table: set.table)
            (recorded, schema) = try await asked(set.database) { () throws(D1Failure) in
                (try await migrator.recorded(), try await migrator.schema())
            }
        }
        var linter = D1MigrationLinter(schema: schema)
        var pending: [Pending] = []
        var changed: [String] = []
        for file in files {
            guard let digest = recorded[file.name] else {
                let kind = file.kind
                // A contract runs last, when the deployment is over.
                let findings = linter.check(file, isLater: kind == .contract)
                pending.append(Pending(set: set, file: file, kind: kind, findings: findings))
                continue
            }
            if let digest, let now = file.digest, digest != now {
                changed.append(
                    "database \"\(set.database)\": \(D1MigrationFailure.changed(file.name, applied: digest, now: now))")
            }
        }
        return (pending, changed)
    }

    // MARK: Notes

    package func notes(_ sets: [MigrationSet], _ steps: [MigrationStep]) async throws(DeploymentFailure) -> [String] {
        var notes: [String] = []
        for set in sets {
            let resource = try await find(set.database)
            for item in try await pending(of: set).pending {
                let place = "database \"\(set.database)\": \(item.file.name)"
                guard steps.contains(item.step) else {
                    if item.kind == .contract {
                        notes.append("\(place) takes away what older code uses: it waits for a deployment with --contract")
                    }
                    continue
                }
                notes += item.findings.map { "database \"\(set.database)\": \($0)" }
                guard let resource else { continue }
                let migrator = D1Migrator(store: store, database: resource, table: set.table)
                for table in D1MigrationScope.tablesGoneOver(by: item.file.text) {
                    let count: Int64?
                    do throws(D1Failure) { count = try await migrator.rowCount(of: table) } catch {
                        // A note is no reason to refuse a deployment.
                        notes.append("\(place) goes over all rows of \(table), which could not be counted: \(error)")
                        continue
                    }
                    guard let count, count >= Self.rowsWorthSaying else { continue }
                    notes.append(
                        "\(place) goes over \(count) rows of \(table): about \(max(1, count / Self.rowsPerSecond)) s, in which "
                            + "writes wait up to 5 s and are then told to try again")
                }
            }
        }
        return notes
    }

    private static let rowsWorthSaying: Int64 = 10_000
    /// What a small machine does, the log's sync included.
    private static let rowsPerSecond: Int64 = 100_000

    // MARK: Backups

    package func backUp(
        _ steps: [MigrationStep], _ backup: DeploySettings.Backup
    ) async throws(DeploymentFailure) -> [DatabaseBackup] {
        var backups: [DatabaseBackup] = []
        for database in steps.databases {
            let resource = try await made(database)
            do throws(DeploymentFailure) {
                backups.append(try await self.backUp(database, resource, backup))
            } catch {
                await discard(backups)
                throw error
            }
        }
        return backups
    }

    private func backUp(
        _ database: String, _ resource: String, _ backup: DeploySettings.Backup
    ) async throws(DeploymentFailure) -> DatabaseBackup {
        if backup == .bookmark {
            do throws(D1Failure) {
                let bookmark = try await store.checkup(resource)
                return DatabaseBackup(database: database, bookmark: bookmark, copy: nil)
            } catch .noHistory {
                // A bookmark alone leads nowhere then: a copy does.
            } catch { throw DeploymentFailure("database \"\(database)\": no backup can be taken: \(error)") }
        }
        do {
            try FileTree.makeDirectory(store.backupDirectory, mode: 0o700)
            let temporary = "\(store.backupDirectory)/\(EmbeddedD1Store.fileStem(of: resource))"
            let taken = try await store.backUp(resource, to: temporary)
            let path = "\(temporary).\(clock.wallTime().milliseconds).\(taken.bookmark).sqlite"
            try FileTree.rename(temporary, to: path)
            logger.log(
                .info, "database backed up",
                [("database", database), ("bytes", "\(taken.byteCount)"), ("bookmark", taken.bookmark)])
            return DatabaseBackup(database: database, bookmark: taken.bookmark, copy: path)
        } catch { throw DeploymentFailure("database \"\(database)\": no backup can be taken: \(error)") }
    }

    package func discard(_ backups: [DatabaseBackup]) async {
        for copy in backups.compactMap(\.copy) { remove(copy) }
    }

    package func discardBackups(olderThan age: Duration) async {
        let horizon = clock.wallTime() + (.zero - age)
        for name in FileTree.list(store.backupDirectory) {
            let parts = name.split(separator: ".")
            guard parts.count == 4, let time = Int64(parts[1]), UnixTime(milliseconds: time) < horizon else { continue }
            remove("\(store.backupDirectory)/\(name)")
        }
    }

    private func remove(_ path: String) {
        for suffix in ["", "-wal", "-shm"] where FileTree.exists(path + suffix) {
            do throws(SystemError) { try FileTree.remove(path + suffix) } catch {
                logger.log(.warning, "a backup could not be deleted", [("path", path), ("error", "\(error)")])
            }
        }
    }

    // MARK: Running

    package func migrate(
        _ sets: [MigrationSet], _ steps: [MigrationStep], _ settings: DeploySettings, _ options: DeploymentOptions
    ) async throws(DeploymentFailure) {
        let due = steps.filter { $0.kind == .expand }
        guard settings.freeze || due.contains(where: \.isBreaking) else {
            return try await run(sets, due, lockTimeout: settings.lockTimeout)
        }
        // Those that somebody has frozen already stay so.
        var frozen: [String] = []
        let result: Result<Void, DeploymentFailure>
        do throws(DeploymentFailure) {
            for database in due.databases {
                let resource = try await made(database)
                if try await asked(database, { () throws(D1Failure) in try await store.freeze(resource) }) {
                    frozen.append(resource)
                }
            }
            result = .success(try await run(sets, due, lockTimeout: settings.lockTimeout))
        } catch { result = .failure(error) }
        for resource in frozen { store.unfreeze(resource) }
        try result.get()
    }

    package func contract(_ sets: [MigrationSet], _ steps: [MigrationStep]) async throws(DeploymentFailure) {
        try await run(sets, steps.filter { $0.kind == .contract }, lockTimeout: .seconds(5))
    }

    package func rehearse(_ sets: [MigrationSet], _ steps: [MigrationStep]) async throws(DeploymentFailure) {
        for (database, run) in try runs(sets, steps.filter { $0.kind == .expand }, lockTimeout: .seconds(5)) {
            let resource = try await made(database)
            do throws(D1MigrationFailure) {
                let done = try await store.rehearse(resource, run)
                logger.log(
                    .info, "migrations rehearsed on a copy",
                    [("database", database), ("files", "\(done.applied.count)"), ("ms", "\(done.duration.wholeMilliseconds)")])
            } catch { throw DeploymentFailure("database \"\(database)\": \(error)") }
        }
    }

    private func run(
        _ sets: [MigrationSet], _ steps: [MigrationStep], lockTimeout: Duration
    ) async throws(DeploymentFailure) {
        // All of them before the first: what was planned is not what the files say.
        let runs = try runs(sets, steps, lockTimeout: lockTimeout)
        for (database, run) in runs {
            let resource = try await made(database)
            do throws(D1MigrationFailure) {
                let done = try await store.migrate(resource, run)
                for file in done.applied {
                    logger.log(.info, "migration applied", [("database", database), ("file", file)])
                }
            } catch { throw DeploymentFailure("database \"\(database)\": \(error)") }
        }
    }

    private func runs(
        _ sets: [MigrationSet], _ steps: [MigrationStep], lockTimeout: Duration
    ) throws(DeploymentFailure) -> [(database: String, run: D1MigrationRun)] {
        var runs: [(database: String, run: D1MigrationRun)] = []
        for database in steps.databases {
            guard let set = sets.first(where: { $0.database == database }) else {
                throw DeploymentFailure("database \"\(database)\" has no migrations in this release")
            }
            let files = D1Migration.paired(set.migrations)
            var due: [D1Migration] = []
            for step in steps where step.database == database {
                guard let file = files.first(where: { $0.name == step.file }) else {
                    throw DeploymentFailure("database \"\(database)\": \(step.file) is not among the files of this release")
                }
                guard file.digest == step.checksum else {
                    throw DeploymentFailure(
                        "database \"\(database)\": \(step.file) is not what was planned (checksum \(step.checksum) then, "
                            + "\(file.digest ?? "none") now)")
                }
                due.append(file)
            }
            due.sort(by: D1Migration.precedes)
            runs.append((database, D1MigrationRun(due, table: set.table, lockTimeout: lockTimeout)))
        }
        return runs
    }

    // MARK: Holding writes

    package func freeze(_ steps: [MigrationStep]) async throws(DeploymentFailure) {
        for database in steps.databases {
            do throws(DeploymentFailure) {
                let resource = try await made(database)
                try await asked(database) { () throws(D1Failure) in _ = try await store.freeze(resource) }
            } catch {
                await unfreeze(steps)
                throw error
            }
        }
    }

    package func unfreeze(_ steps: [MigrationStep]) async {
        for database in steps.databases {
            if let resource = try? await find(database) { store.unfreeze(resource) }
        }
    }

    // MARK: Going back

    package func commits(since backups: [DatabaseBackup]) async throws(DeploymentFailure) -> [(database: String, count: Int)] {
        var counts: [(database: String, count: Int)] = []
        for backup in backups {
            let resource = try await made(backup.database)
            let count = try await asked(backup.database) { () throws(D1Failure) in
                try await store.foreignCommitCount(of: resource, since: backup.bookmark)
            }
            counts.append((backup.database, count))
        }
        return counts
    }

    package func restore(_ backups: [DatabaseBackup]) async throws(DeploymentFailure) {
        for backup in backups.reversed() {
            let resource = try await made(backup.database)
            try await asked(backup.database) { () throws(D1Failure) in
                do throws(D1Failure) {
                    _ = try await store.restoreEvenFrozen(resource, to: .bookmark(backup.bookmark))
                } catch {
                    // The history may be shorter than the backups are kept.
                    guard let copy = backup.copy, error != .tooManyRestores else { throw error }
                    try await store.restore(resource, copy: copy)
                }
            }
            logger.log(.warning, "database restored", [("database", backup.database), ("bookmark", backup.bookmark)])
        }
    }

    package func restoreUntouched(_ backups: [DatabaseBackup]) async throws(DeploymentFailure) -> [String] {
        var restored: [String] = []
        for backup in backups.reversed() {
            let resource = try await made(backup.database)
            do throws(D1Failure) {
                guard try await store.restoreIfUntouched(resource, to: backup.bookmark) else { continue }
            } catch .noHistory {
                // Nobody can tell what was written since.
                continue
            } catch { throw DeploymentFailure("database \"\(backup.database)\": \(error)") }
            logger.log(.info, "database restored", [("database", backup.database), ("bookmark", backup.bookmark)])
            restored.append(backup.database)
        }
        return restored
    }

    // MARK: Databases

    private func find(_ database: String) async throws(DeploymentFailure) -> String? {
        do throws(D1CatalogError) { return try await databases.find(database).resource } catch {
            if case .notFound = error { return nil }
            throw DeploymentFailure("database \"\(database)\": \(error)")
        }
    }

    /// What it is called in the store; it is made when there is none.
    private func made(_ database: String) async throws(DeploymentFailure) -> String {
        do throws(D1CatalogError) { return try await databases.resource(of: database) } catch {
            throw DeploymentFailure("database \"\(database)\": \(error)")
        }
    }

    private func asked<Value>(
        _ database: String, _ body: () async throws(D1Failure) -> Value
    ) async throws(DeploymentFailure) -> Value {
        do throws(D1Failure) { return try await body() } catch { throw DeploymentFailure("database \"\(database)\": \(error)") }
    }
}

extension MigrationSet {
    /// The files, with their checksums.
    package var migrations: [D1Migration] { files.map { D1Migration(file: $0.name, text: $0.text) } }
}

extension [MigrationStep] {
    /// Each once, in the order of the steps.
    fileprivate var databases: [String] {
        var seen: Set<String> = []
        return map(\.database).filter { seen.insert($0).inserted }
    }
}

/// The numbers that files of migrations begin with: `0001_users.sql`, `0002_content/migration.sql`, … (config.md).
enum MigrationNumbers {
    static func problems(_ names: [String]) -> [String] {
        var problems: [String] = []
        var numbered: [(number: Int, name: String)] = []
        for name in names {
            if let number = Int(name.prefix { $0.isASCII && $0.isNumber }) {
                numbered.append((number, name))
            } else {
                problems.append("\(name) doesn't begin with a number, such as 0001_")
            }
        }
        numbered.sort { ($0.number, $0.name) < ($1.number, $1.name) }
        for (before, file) in zip(numbered, numbered.dropFirst()) {
            if file.number == before.number {
                problems.append("\(before.name) and \(file.name) have the same number")
            } else if file.number != before.number + 1 {
                problems.append("number \(before.number + 1) is missing before \(file.name)")
            }
        }
        return problems
    }
}
