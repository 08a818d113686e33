internal import Host
internal import System

/// A worker as the API shows it.
package struct ScriptState: Sendable {
    package var script: ScriptRecord
    /// The version that is meant: the newest, or the one that was just made.
    package var version: ScriptVersion
    /// `nil`: none of its versions serves.
    package var live: ReleaseStore.LiveScript?
    /// All of the tenant's.
    package var triggers: [ScriptTrigger] = []
    /// The last migration of its durable object classes that was applied.
    package var migrationTag: String?
}

/// A version to be made.
package struct VersionDraft: Sendable {
    /// What is made, beside its code.
    package struct Content: Sendable {
        package var snapshot: VersionSnapshot
        /// Secrets with new values.
        package var secrets: [(name: String, value: String)]

        package init(_ snapshot: VersionSnapshot, secrets: [(name: String, value: String)] = []) {
            self.snapshot = snapshot
            self.secrets = secrets
        }
    }

    package enum Rollout: Sendable {
        /// All requests go to it.
        case deployed
        /// It waits for a deployment.
        case undeployed
    }

    package var author: ScriptAuthor
    package var annotations: [String: String]
    /// `nil`: the code of the version before.
    package var artifact: ArtifactStore.Hold?
    package var rollout: Rollout
    /// Whether it changes the worker that serves: then the newest version must be the one that does.
    package var editsDeployed = false
    /// Migrations of durable object classes that come with it.
    package var migrations: ClassMigrationUpload?
    /// What becomes of the settings of the worker itself; gives `nil` when they stay.
    package var settings: (@Sendable (String) -> String?)?
    /// Called when it is this change's turn, with the newest version that there is.
    package var make: @Sendable (ScriptVersion?) async throws -> Content

    package init(
        _ author: ScriptAuthor, annotations: [String: String], artifact: ArtifactStore.Hold? = nil, _ rollout: Rollout,
        make: @escaping @Sendable (ScriptVersion?) async throws -> Content
    ) {
        self.author = author
        self.annotations = annotations
        self.artifact = artifact
        self.rollout = rollout
        self.make = make
    }
}

/// What the API does to workers.
extension ReleaseRunner {
    // MARK: Looking

    /// All workers, by name.
    package func scripts() async throws -> [ScriptState] {
        guard let stored else { throw ReleaseError.notReady }
        var states: [ScriptState] = []
        for script in stored.scripts.values.sorted(by: { $0.worker < $1.worker }) where !script.isDeleted {
            if let state = try await state(of: script, stored) { states.append(state) }
        }
        return states
    }

    /// - Throws: `ScriptError.unknownWorker`.
    package func script(_ worker: String) async throws -> ScriptState {
        guard let stored else { throw ReleaseError.notReady }
        guard let script = stored.scripts[worker], !script.isDeleted, let state = try await state(of: script, stored) else {
            throw ScriptError.unknownWorker
        }
        return state
    }

    private func state(of script: ScriptRecord, _ stored: ReleaseStore.Stored) async throws -> ScriptState? {
        let newest = try await read { try $0.newestVersion(of: script.worker) }
        return newest.map {
            ScriptState(
                script: script, version: $0, live: stored.live[script.worker], triggers: stored.triggers,
                migrationTag: stored.objects.tag(of: script.worker))
        }
    }

    /// Asks the store, off this actor.
    package func read<Value: Sendable>(_ body: @escaping @Sendable (ReleaseStore) throws -> Value) async throws -> Value {
        let store = store
        return try await artifacts.disk.run { () throws -> Value in try body(store) }
    }

    package nonisolated var artifactStore: ArtifactStore { artifacts }

    /// What holds for all of the tenant's workers.
    package func accountSetting(_ name: String) -> String? { stored?.account[name] }

    // MARK: Versions

    /// Makes a version, and deploys it if that is asked for. Durable, and in service, when it returns.
    ///
    /// - Throws: why it can't be, `ReleaseError.failedToStart` among others. Nothing was made then.
    package func make(_ draft: VersionDraft, of worker: String) async throws -> ScriptState {
        try await begin()
        defer { end() }
        var plan = try makePlan()
        let now = clock.wallTime()
        let known = plan.stored.scripts[worker]
        let isNew = known?.isDeleted ?? true
        if isNew, draft.rollout == .undeployed || draft.artifact == nil { throw ScriptError.unknownWorker }
        if draft.migrations != nil, draft.rollout == .undeployed { throw ScriptError.migrationsNeedDeployment }
        let base = isNew ? nil : try await read { try $0.newestVersion(of: worker) }
        if draft.editsDeployed {
            guard let base else { throw ScriptError.noVersions }
            guard plan.stored.live[worker]?.versions.contains(where: { $0.id == base.id }) == true else {
                throw ScriptError.newestNotDeployed
            }
        }
        guard let artifact = draft.artifact?.hash ?? base?.artifact else { throw ScriptError.noVersions }
        var script = known ?? ScriptRecord(worker: worker, at: now)
        script.isDeleted = false
        script.modifiedAt = now
        if let settings = draft.settings?(script.settings) { script.settings = settings }
        var content = try await draft.make(base)
        let items = try draft.migrations.map { try $0.item(of: worker, in: plan.stored.objects) }
        content.snapshot.migrationTag = items?.tags.last ?? plan.stored.objects.tag(of: worker)
        let sealed = try await seal(content.secrets, of: worker)
        content.snapshot.secrets.removeAll { secret in sealed.contains { $0.name == secret.name } }
        content.snapshot.secrets += sealed
        content.snapshot.secrets.sort { $0.name < $1.name }
        let version = ScriptVersion(
            id: RandomID.uuid(), worker: worker, number: script.nextNumber, artifact: artifact, snapshot: content.snapshot,
            fingerprint: "", annotations: draft.annotations, author: draft.author, createdAt: now)
        script.nextNumber += 1
        plan.put(script)
        plan.change.versions = [version]
        if let alias = draft.annotations["workers/alias"] {
            plan.change.aliases = [VersionAlias(worker: worker, name: alias, version: version.id)]
        }
        do {
            switch draft.rollout {
            case .deployed:
                let all = [(version: version, basisPoints: TrafficSplit.pointCount)]
                _ = plan.deploy(worker, all, draft.annotations.filter { $0.key != "workers/tag" }, by: draft.author, at: now)
                try plan.migrate(items.map { [$0] } ?? [])
                try await bring(plan)
            case .undeployed:
                try plan.checkObjectBindings(of: version)
                try await tryOut(&plan, version)
                try await record(plan)
            }
        } catch {
            await unseal(sealed, of: worker)
            throw error
        }
        guard let made = try await read({ try $0.version(version.id, of: worker) }) else { throw ScriptError.noVersions }
        return ScriptState(
            script: script, version: made, live: stored?.live[worker], triggers: stored?.triggers ?? [],
            migrationTag: stored?.objects.tag(of: worker))
    }

    private func seal(
        _ secrets: [(name: String, value: String)], of worker: String
    ) async throws -> [VersionSnapshot.Secret] {
        guard !secrets.isEmpty else { return [] }
        let (vault, now) = (versionSecrets, clock.wallTime())
        return try await artifacts.disk.run { () throws -> [VersionSnapshot.Secret] in
            try secrets.map { try vault.seal($0.name, $0.value, of: worker, at: now) }
        }
    }

    private func unseal(_ secrets: [VersionSnapshot.Secret], of worker: String) async {
        let vault = versionSecrets
        do {
            try await artifacts.disk.run { () throws -> Void in
                for secret in secrets { try vault.delete(secret, of: worker) }
            }
        } catch { logger.log(.warning, "secrets of a version that isn't there stay: \(error)", [("worker", worker)]) }
    }

    /// Makes a change that has no effect on what serves.
    private func record(_ plan: ReleasePlan) async throws {
        let (change, now) = (plan.change, clock.wallTime())
        try await read { try $0.commit(change, at: now) }
        note(plan.stored)
        await collect(plan)
    }

    /// Starts one isolate of a version that gets no traffic yet, and ends it.
    func tryOut(_ plan: inout ReleasePlan, _ version: ScriptVersion) async throws {
        let started = clock.now()
        let runtime = try await starter.make(
            version, as: plan.worker(version, artifacts), of: plan.description(artifacts), ObjectBinder(objects, plan.stored))
        defer { node.retire(runtime.pool) }
        runtime.pool.start()
        if let reason = await runtime.pool.firstReady() {
            throw ReleaseError.failedToStart(worker: version.worker, reason: reason)
        }
        plan.note(runtime.pool.handlers ?? [], startup: clock.now() - started, of: version.id)
    }

    /// Forgets versions beyond those that can be deployed, and secrets that only they had.
    func collect(_ plan: ReleasePlan) async {
        let (store, secrets) = (store, versionSecrets)
        if plan.change.active != nil {
            let kept = keptReleases
            do {
                try await artifacts.disk.run { () throws -> Void in
                    _ = try store.pruneReleases(keepingNewest: Int(store.configuredMax), and: kept)
                }
            } catch { logger.log(.warning, "old releases stay: \(error)") }
        }
        for version in plan.change.versions where version.number > store.configuredMax {
            let kept = Set(plan.stored.live[version.worker]?.versions.map(\.id) ?? [])
            do {
                try await artifacts.disk.run { () throws -> Void in
                    let gone = try store.prune(version.worker, keeping: kept).flatMap(\.snapshot.secrets)
                    guard !gone.isEmpty else { return }
                    let used = Set(try store.versions(of: version.worker).flatMap { $0.snapshot.secrets.map(\.reference) })
                    for secret in gone where !used.contains(secret.reference) {
                        try secrets.delete(secret, of: version.worker)
                    }
                }
            } catch {
                logger.log(.warning, "old versions stay: \(error)", [("worker", version.worker)])
            }
        }
    }

    // MARK: Deployments

    /// Gives versions their shares of requests.
    ///
    /// - Parameter force: also when that takes back secrets which were changed since.
    package func deploy(
        _ worker: String, _ shares: [ScriptDeployment.Share], _ annotations: [String: String], by author: ScriptAuthor,
        force: Bool
    ) async throws -> ScriptDeployment {
        try await begin()
        defer { end() }
        var plan = try makePlan()
        guard let script = plan.stored.scripts[worker], !script.isDeleted else { throw ScriptError.unknownWorker }
        var versions: [(version: ScriptVersion, basisPoints: Int)] = []
        for share in shares {
            guard let version = try await read({ try $0.version(share.versionID, of: worker) }) else {
                throw ScriptError.unknownVersion(share.versionID)
            }
            guard version.number >= script.nextNumber - ReleaseStore.deployableMax else {
                throw ScriptError.invalid("Version \(version.id) is too old: the latest 100 can be deployed")
            }
            // Behind a migration of classes there is no way back.
            let tag = plan.stored.objects.tag(of: worker)
            guard version.snapshot.migrationTag == tag else { throw ScriptError.behindMigration(version.id, tag) }
            versions.append((version, share.basisPoints))
        }
        var annotations = annotations
        let served = plan.stored.live[worker]?.versions.last
        if let target = versions.map(\.version).last, versions.count == 1, let served, target.number < served.number {
            guard force || target.snapshot.secrets == served.snapshot.secrets else { throw ScriptError.secretsChanged }
            annotations["workers/triggered_by"] = "rollback"
        }
        let deployment = plan.deploy(worker, versions, annotations, by: author, at: clock.wallTime())
        try await bring(plan)
        return deployment
    }

    package func delete(deployment id: String, of worker: String) async throws {
        try await begin()
        defer { end() }
        let state = try await script(worker)
        guard try await read({ try $0.deployments(of: worker) }).contains(where: { $0.id == id }) else {
            throw ScriptError.unknownDeployment
        }
        guard state.live?.deployment.id != id else {
            throw ScriptError(400, 10021, "The active deployment can't be deleted: deploy another version first")
        }
        try await read { try $0.delete(deployment: id, of: worker) }
    }

    // MARK: The worker itself

    /// Changes what holds for all versions of a worker, at once. What it serves stays the same but for its default host.
    package func change(_ worker: String, _ body: @Sendable (inout ScriptRecord) throws -> Void) async throws -> ScriptRecord {
        try await begin()
        defer { end() }
        var plan = try makePlan()
        guard var script = plan.stored.scripts[worker], !script.isDeleted else { throw ScriptError.unknownWorker }
        let before = script
        try body(&script)
        script.modifiedAt = clock.wallTime()
        plan.put(script)
        if before.hasDefaultHost != script.hasDefaultHost { try await bring(plan) } else { try await record(plan) }
        return script
    }

    /// Changes routes, domains and crons, all of them or none.
    package func changeTriggers<Result: Sendable>(
        _ body: @Sendable (inout [ScriptTrigger], _ isWorker: (String) -> Bool) throws -> Result
    ) async throws -> Result {
        try await begin()
        defer { end() }
        var plan = try makePlan()
        var triggers = plan.stored.triggers
        let scripts = plan.stored.scripts
        let result = try body(&triggers) { scripts[$0].map { !$0.isDeleted } ?? false }
        guard triggers != plan.stored.triggers else { return result }
        plan.setTriggers(triggers)
        try await bring(plan)
        return result
    }

    package func triggers() throws -> [ScriptTrigger] {
        guard let stored else { throw ReleaseError.notReady }
        return stored.triggers
    }

    package func setAccount(_ name: String, _ value: String) async throws {
        try await begin()
        defer { end() }
        var plan = try makePlan()
        plan.stored.account[name] = value
        plan.change.account = [name: value]
        try await bring(plan)
    }

    /// Removes a worker with its versions, deployments and triggers.
    ///
    /// - Parameter force: also when others bind to it.
    package func delete(_ worker: String, force: Bool) async throws {
        try await begin()
        defer { end() }
        var plan = try makePlan()
        guard var script = plan.stored.scripts[worker], !script.isDeleted else { throw ScriptError.unknownWorker }
        let users = plan.stored.live.filter { name, live in
            name != worker && live.versions.contains { $0.snapshot.calls(worker) }
        }.keys.sorted()
        guard force || users.isEmpty else {
            throw ScriptError(
                400, 10064, "Other Workers bind to this one (\(users.joined(separator: ", "))): delete it with force=true")
        }
        let versions = try await read { try $0.versions(of: worker) }
        script.isDeleted = true
        script.nextNumber = 1
        script.settings = "{}"
        plan.put(script)
        plan.withdraw(worker)
        var objects = plan.stored.objects
        objects.remove(worker)
        plan.setObjects(objects, removing: .delete)
        plan.change.forgotten = [worker]
        try await bring(plan)
        let secrets = versions.flatMap(\.snapshot.secrets)
        await unseal(secrets, of: worker)
    }
}

extension VersionSnapshot {
    /// Whether it has a binding to `worker`, or to one of its classes.
    fileprivate func calls(_ worker: String) -> Bool {
        bindings.contains { binding in
            if case .object(_, worker) = binding.target { return true }
            if case .entrypoint(worker, _, _) = binding.target { return true }
            return binding.target == .service(worker: worker)
        }
    }
}
