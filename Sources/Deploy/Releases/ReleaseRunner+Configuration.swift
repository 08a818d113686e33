internal import Configuration
internal import Glibc
internal import HTTP
internal import Host
internal import OpenSSL
internal import System

/// What a configuration brings, beside what is recorded.
extension ReleaseRunner {
    /// What is to serve when the configuration says `description`.
    ///
    /// What it says of a worker's versions, and what it says of its triggers, counts where it is not what it said the time
    /// before; else what the API made of the worker since then stays. Workers that it doesn't have any more go.
    ///
    /// - Parameter mode: `.insist`: it counts wherever it isn't what serves. `.rehearse`: as that, and nothing is written.
    ///   `.recorded`: it is what serves, and secrets that were changed since count for nothing yet.
    func plan(
        _ description: ReleaseDescription, on rows: ReleaseStore.Stored, _ mode: ConfigurationMode = .follow
    ) async throws -> ReleasePlan {
        var plan = ReleasePlan(rows, description, name: description.name)
        let now = clock.wallTime()
        var migrations: [ClassMigrationBatch.Item] = []
        for worker in description.workers {
            guard let executable = worker.executable else { continue }
            if mode == .recorded, plan.stored.live[worker.name] != nil { continue }
            let hold = try await add(executable, of: worker)
            plan.holds.append(hold)
            let values = try secretValues(worker)
            var script = plan.stored.scripts[worker.name] ?? ScriptRecord(worker: worker.name, at: now)
            let before = script
            let fingerprint = worker.fingerprint(artifact: hold.hash, secrets: values)
            let isOther = mode != .follow && !plan.serves(fingerprint, of: worker.name)
            if script.configuredVersion != fingerprint || isOther {
                script.configuredVersion = fingerprint
                script.isDeleted = false
                try await deployConfigured(worker, hold, values, &script, &plan, mode, at: now)
                do throws(ClassMigrationRefusal) {
                    migrations.append(
                        try ClassMigrationBatch.pending(
                            worker.migrations, of: worker.name, in: rows.objects,
                            description.forcesClassMigrations ? .unknownTags : .none))
                } catch { throw ReleaseError.classMigrations([error]) }
            }
            let differs = mode != .follow && !Self.hasTriggers(of: worker, plan.stored.triggers)
            if script.configuredTriggers != worker.triggersFingerprint || before.isDeleted && !script.isDeleted || differs {
                script.configuredTriggers = worker.triggersFingerprint
                plan.setTriggers(Self.triggers(of: worker, among: plan.stored.triggers, at: now))
            }
            if script != before || plan.stored.scripts[worker.name] == nil {
                script.modifiedAt = now
                plan.put(script)
            }
        }
        let names = Set(description.workers.filter { $0.executable != nil }.map(\.name))
        for var script in plan.stored.scripts.values where script.configuredVersion != nil && !names.contains(script.worker) {
            script.configuredVersion = nil
            script.configuredTriggers = nil
            script.isDeleted = true
            plan.put(script)
            plan.withdraw(script.worker)
        }
        try plan.migrate(migrations)
        return plan
    }

    private func secretValues(_ worker: WorkerDescription) throws -> [(name: String, value: String)] {
        var values: [(name: String, value: String)] = []
        var missing: [String] = []
        for name in worker.secrets {
            if let value = try secrets.secret(name, of: worker.name) {
                values.append((name, value))
            } else {
                missing.append(name)
            }
        }
        guard missing.isEmpty else { throw ReleaseError.missingSecrets(missing, worker: worker.name) }
        for variable in worker.variables where try secrets.secret(variable.name, of: worker.name) != nil {
            throw ReleaseError.variableNamedLikeSecret(variable.name, worker: worker.name)
        }
        return values
    }

    private func add(_ executable: String, of worker: WorkerDescription) async throws -> ArtifactStore.Hold {
        let artifacts = artifacts
        do throws(SystemError) {
            return try await artifacts.disk.run { () throws(SystemError) -> ArtifactStore.Hold in
                try artifacts.add(executable)
            }
        } catch {
            let reason = error.errno == ENOENT ? "it does not exist; was it built?" : "\(error)"
            throw ReleaseError.badExecutable(worker: worker.name, path: executable, reason: reason)
        }
    }

    /// The version that the configuration means: one that it made before, or a new one.
    private func deployConfigured(
        _ worker: WorkerDescription, _ hold: ArtifactStore.Hold, _ values: [(name: String, value: String)],
        _ script: inout ScriptRecord, _ plan: inout ReleasePlan, _ mode: ConfigurationMode, at now: UnixTime
    ) async throws {
        let (store, secrets) = (store, versionSecrets)
        let (fingerprint, number) = (script.configuredVersion ?? "", script.nextNumber)
        let (version, isNew) = try await artifacts.disk.run { () throws -> (ScriptVersion, Bool) in
            if let known = try store.version(fingerprint: fingerprint, of: worker.name) { return (known, false) }
            let sealed = try values.map { value in
                mode == .rehearse
                    ? VersionSnapshot.Secret(name: value.name, reference: "")
                    : try secrets.seal(value.name, value.value, of: worker.name, at: now)
            }
            var annotations = ["workers/triggered_by": "upload"]
            if !worker.tag.isEmpty { annotations["workers/tag"] = worker.tag }
            let version = ScriptVersion(
                id: RandomID.uuid(), worker: worker.name, number: number, artifact: hold.hash,
                snapshot: VersionSnapshot(worker, secrets: sealed), fingerprint: fingerprint, annotations: annotations,
                author: .configuration, createdAt: now)
            return (version, true)
        }
        if isNew {
            plan.change.versions.append(version)
            script.nextNumber += 1
        }
        _ = plan.deploy(
            worker.name, [(version, TrafficSplit.pointCount)], ["workers/triggered_by": "deployment"], by: .configuration,
            at: now)
    }

    /// Says what the configuration has deployed, and where that took the place of what the API had.
    func logDeployments(of plan: ReleasePlan, over rows: ReleaseStore.Stored) {
        for deployment in plan.change.deployments {
            let source = rows.live[deployment.worker]?.deployment.author.source
            logger.log(
                source ?? ScriptAuthor.configuration.source == ScriptAuthor.configuration.source ? .info : .notice,
                "the configuration deploys a version",
                [
                    ("worker", deployment.worker), ("version", deployment.shares.first?.versionID ?? "-"),
                    ("instead", source ?? "-"),
                ])
        }
        for worker in rows.live.keys.sorted() where plan.stored.live[worker] == nil {
            logger.log(.notice, "the configuration has the worker no more", [("worker", worker)])
        }
    }

    /// Whether the worker's triggers are what its configuration says.
    private static func hasTriggers(of worker: WorkerDescription, _ all: [ScriptTrigger]) -> Bool {
        func text(_ kind: ScriptTrigger.Kind, _ value: String) -> String { "\(kind) \(value)" }
        let wanted =
            worker.routes.map { text(.route, $0.text) } + worker.domains.map { text(.domain, $0.host) }
            + worker.crons.map { text(.cron, $0.text) }
        return Set(wanted) == Set(all.filter { $0.worker == worker.name }.map { text($0.kind, $0.value) })
    }

    /// All triggers, with those of `worker` as the configuration has them. What it claims nobody else keeps.
    private static func triggers(
        of worker: WorkerDescription, among all: [ScriptTrigger], at now: UnixTime
    ) -> [ScriptTrigger] {
        let wanted: [(ScriptTrigger.Kind, String)] =
            worker.routes.map { (.route, $0.text) } + worker.domains.map { (.domain, $0.host) }
            + worker.crons.map { (.cron, $0.text) }
        var triggers = all.filter { trigger in
            trigger.worker != worker.name
                && !wanted.contains { $0.0 != .cron && $0.0 == trigger.kind && $0.1 == trigger.value }
        }
        for (kind, value) in wanted {
            let known = all.first { $0.worker == worker.name && $0.kind == kind && $0.value == value }
            triggers.append(known ?? ScriptTrigger(id: RandomID.hex(), kind: kind, worker: worker.name, value: value, at: now))
        }
        return triggers
    }
}

/// How much what a configuration says counts.
package enum ConfigurationMode: Sendable { case follow, insist, rehearse, recorded }

extension ReleasePlan {
    /// Whether all requests for the worker go to the version with this fingerprint.
    fileprivate func serves(_ fingerprint: String, of worker: String) -> Bool {
        guard let live = stored.live[worker] else { return false }
        return live.versions.count == 1 && live.versions[0].fingerprint == fingerprint
    }
}

extension WorkerDescription {
    /// What brings it events, to be compared.
    fileprivate var triggersFingerprint: String {
        let lines = routes.map { "route \($0.text)" } + domains.map { "domain \($0.host)" } + crons.map { "cron \($0.text)" }
        return Hexadecimal.text(Digest.hash(lines.joined(separator: "\n"), with: .sha256))
    }
}
