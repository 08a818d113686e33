internal import Glibc
internal import Host
internal import Isolates
internal import Observability
internal import System

/// Blue and green. What serves and what is staged share the workers whose versions are the same; those that differ run side by
/// side until one of them is let go.
extension ReleaseRunner: DeploymentSlots {
    /// The release that the journal says is active; `nil` before the first. For those who start a node.
    package func recordedRelease() async throws -> ReleaseRecord? {
        try await read { store in try store.routing()?.active.flatMap { try store.release($0)?.record } }
    }

    // MARK: Changes that no deployment makes

    /// What the journal says of a change that takes effect at once: a release, and a deployment that has come to its end.
    func journal(of plan: ReleasePlan, at now: UnixTime) async throws -> [JournalEntry] {
        let present = try await read { store in
            let routing = try store.routing()
            let bundle = try routing?.active.flatMap { try store.release($0)?.record.bundle }
            return (routing, try store.nextDeployment(), try store.nextRelease(), bundle ?? "")
        }
        guard plan.change.active != nil || plan.change.triggers != nil || present.0?.active == nil else { return [] }
        let last = plan.change.deployments.last
        let author = last?.author ?? .configuration
        let trigger: DeploymentRecord.Trigger =
            switch last?.annotations["workers/triggered_by"] {
            case "secret": .secret
            case "rollback": .rollback
            case "promotion": .promotion
            default: plan.isConfigured ? .configuration : .deploy
            }
        let content = ReleaseContent(plan.stored)
        let message = last?.annotations["workers/message"] ?? ""
        let release = ReleaseRecord(
            number: present.2, bundle: plan.isConfigured ? plan.bundle : present.3, versions: content.versions, createdAt: now,
            author: author,
            message: message,
            tag: "", revision: "")
        var record = DeploymentRecord(
            number: present.1, release: release.number, previous: present.0?.active, trigger: trigger, author: author,
            options: DeploymentOptions(), createdAt: now, state: .retired)
        record.percent = 100
        record.finishedAt = now
        var entry = JournalEntry(record)
        entry.release = (release, content)
        entry.events = [(.entered, "release \(release.number) is active at once")]
        entry.routing = .init(active: release.number, candidate: nil, percent: 100)
        return [entry]
    }

    // MARK: The lock

    func lock(_ reason: String) async throws(DeploymentFailure) {
        do { try await begin() } catch { throw DeploymentFailure("\(error)") }
        refuseChanges(reason)
        end()
    }

    func setLock(_ reason: String?) { refuseChanges(reason) }

    // MARK: Composing

    func record(_ composition: ReleaseComposition, _ entries: [JournalEntry]) async throws {
        var change = composition.change
        change.journal = entries
        let (whole, now) = (change, clock.wallTime())
        try await read { try $0.commit(whole, at: now) }
        guard var rows = stored else { return }
        for item in composition.change.namespaces { rows.objectKeys[item.namespace.id] = item.key }
        for script in composition.change.scripts { rows.scripts[script.worker] = script }
        note(rows)
    }

    func compose(_ input: DeploymentInput, isDryRun: Bool) async throws(DeploymentFailure) -> ReleaseComposition {
        guard let rows = stored else { throw DeploymentFailure("\(ReleaseError.notReady)") }
        do {
            let plan = try await plan(input.description, on: rows, isDryRun ? .rehearse : .insist)
            var composition = ReleaseComposition(content: ReleaseContent(plan.stored))
            composition.holds = plan.holds
            composition.change.versions = plan.change.versions
            composition.change.namespaces = plan.change.namespaces
            composition.classMigrations = plan.stored.objects.changes(since: rows.objects)
            for script in plan.change.scripts where script.nextNumber != (rows.scripts[script.worker]?.nextNumber ?? 1) {
                // Of the rest nothing counts before the release is active.
                var known = rows.scripts[script.worker] ?? script
                if rows.scripts[script.worker] == nil { known.isDeleted = true }
                known.nextNumber = script.nextNumber
                composition.change.scripts.append(known)
            }
            composition.isUnchanged =
                plan.change.versions.isEmpty && plan.change.deployments.isEmpty && plan.change.active == nil
                && plan.change.triggers == nil && plan.change.objects == nil
            let names = Set(rows.live.keys).union(plan.stored.live.keys)
            composition.workers = names.sorted().map { name in
                let (old, new) = (rows.live[name], plan.stored.live[name])
                return (name, old == nil ? .added : new == nil ? .removed : old == new ? .unchanged : .changed)
            }
            func lines(_ triggers: [ScriptTrigger]) -> [String] { triggers.map { "\($0.kind.rawValue) \($0.value)" } }
            let (old, new) = (lines(rows.triggers), lines(plan.stored.triggers))
            composition.triggers =
                Set(new).subtracting(old).sorted().map { "+ \($0)" } + Set(old).subtracting(new).sorted().map { "- \($0)" }
            return composition
        } catch { throw Self.failure(error) }
    }

    private static func failure(_ error: any Error) -> DeploymentFailure {
        error as? DeploymentFailure ?? DeploymentFailure("\(error)")
    }

    /// What the rows become when `candidate` is the active release.
    private func plan(
        _ candidate: CandidateRelease, _ configured: ReleaseDescription, by author: ScriptAuthor,
        _ trigger: DeploymentRecord.Trigger, removing removal: ReleaseStore.NamespaceRemoval = .delete
    ) async throws -> ReleasePlan {
        guard let stored else { throw ReleaseError.notReady }
        var plan = ReleasePlan(stored, configured, name: "\(configured.environment)-\(candidate.record.number)")
        let now = clock.wallTime()
        for (worker, wanted) in candidate.content.workers.sorted(by: { $0.key < $1.key }) {
            if plan.stored.live[worker]?.deployment.shares != wanted.shares {
                var versions: [(version: ScriptVersion, basisPoints: Int)] = []
                for share in wanted.shares {
                    guard let version = try await read({ try $0.version(share.versionID, of: worker) }) else {
                        throw DeploymentFailure(
                            "release \(candidate.record.number) has version \(share.versionID) of worker \"\(worker)\", which is gone"
                        )
                    }
                    versions.append((version, share.basisPoints))
                }
                var annotations = ["workers/triggered_by": trigger == .configuration ? "deployment" : trigger.rawValue]
                if !candidate.record.message.isEmpty { annotations["workers/message"] = candidate.record.message }
                _ = plan.deploy(worker, versions, annotations, by: author, at: now)
            }
            var script = plan.stored.scripts[worker] ?? ScriptRecord(worker: worker, at: now)
            let before = script
            script.isDeleted = false
            script.configuredVersion = wanted.configuredVersion
            script.configuredTriggers = wanted.configuredTriggers
            if script != before || plan.stored.scripts[worker] == nil {
                script.modifiedAt = now
                plan.put(script)
            }
        }
        for worker in plan.stored.live.keys.sorted() where candidate.content.workers[worker] == nil {
            if var script = plan.stored.scripts[worker], script.configuredVersion != nil {
                script.configuredVersion = nil
                script.configuredTriggers = nil
                script.isDeleted = true
                plan.put(script)
            }
            plan.withdraw(worker)
        }
        let objects = candidate.content.objects ?? ObjectCatalog()
        for namespace in objects.namespaces where plan.stored.objectKeys[namespace.id] == nil {
            throw DeploymentFailure(
                "release \(candidate.record.number) has the class \(namespace.class.name) of worker \"\(namespace.class.worker)\", whose "
                    + "objects are gone")
        }
        plan.setObjects(objects, removing: removal)
        let triggers = candidate.content.scriptTriggers
        if triggers != plan.stored.triggers { plan.setTriggers(triggers) }
        return plan
    }

    private func description(of candidate: CandidateRelease) throws -> ReleaseDescription {
        if let input = candidate.input { return input.description }
        if let warm = warm[candidate.record.number] { return warm.configured }
        guard let configured else { throw ReleaseError.notReady }
        return configured
    }

    // MARK: Checking

    func check(_ candidate: CandidateRelease, isReturn: Bool) async throws(DeploymentFailure) {
        do {
            let configured = try description(of: candidate)
            let plan = try await plan(candidate, configured, by: candidate.record.author, .deploy)
            let description = plan.description(artifacts)
            try await routing.check(description)
            if isReturn {
                try checkClasses(candidate)
                try await checkBindings(plan)
            }
            try plan.checkObjectBindings()
            try await stores.checkDatabases(of: description)
            let artifacts = artifacts
            for live in plan.stored.live.values.sorted(by: { $0.deployment.worker < $1.deployment.worker }) {
                for version in live.versions {
                    let isSound = try await artifacts.disk.run { () throws -> Bool in try artifacts.verify(version.artifact) }
                    guard isSound else {
                        throw ReleaseError.damagedArtifact(worker: version.worker, path: artifacts.path(version.artifact))
                    }
                }
            }
        } catch { throw Self.failure(error) }
    }

    /// There is no way back behind a migration of classes: code from before doesn't know what it made, and what it deleted is gone.
    private func checkClasses(_ candidate: CandidateRelease) throws(DeploymentFailure) {
        guard let stored, let found = stored.objects.difference(from: candidate.content.objects ?? ObjectCatalog()) else {
            return
        }
        let then = found.other.map { "it had \"\($0)\"" } ?? "it had none"
        throw DeploymentFailure(
            "release \(candidate.record.number) can't serve again: since then worker \"\(found.worker)\" has applied the migration "
                + "\"\(found.tag ?? "")\" of its durable object classes (\(then)), and no rollback goes behind that")
    }

    /// What a release binds that served before may be gone by now: it isn't to be made anew, empty.
    private func checkBindings(_ plan: ReleasePlan) async throws {
        let namespaces = try await stores.kv.namespaces()
        let titles = Set(namespaces.map(\.title)), ids = Set(namespaces.map(\.id))
        let buckets = Set(try await stores.bucketNames())
        let queues = Set(try stores.queues.queues().map(\.name))
        var reasons: [String] = []
        for (worker, live) in plan.stored.live.sorted(by: { $0.key < $1.key }) {
            for version in live.versions {
                for binding in version.snapshot.bindings {
                    var missing: String?
                    switch binding.target {
                    case .kv(let title) where !titles.contains(title): missing = "KV namespace \"\(title)\""
                    case .kvNamespace(let id) where !ids.contains(id): missing = "KV namespace \(id)"
                    case .r2(let bucket) where !buckets.contains(bucket): missing = "bucket \"\(bucket)\""
                    case .queue(let queue, _) where !queues.contains(queue): missing = "queue \"\(queue)\""
                    case .d1(let database):
                        do throws(D1CatalogFailure) { try await findDatabase(database) } catch {
                            missing = "database \"\(database)\""
                        }
                    default: break
                    }
                    if let missing {
                        reasons.append(
                            "worker \"\(worker)\" binds the \(missing) as \(binding.name), which does not exist any more")
                    }
                }
            }
        }
        guard reasons.isEmpty else { throw DeploymentFailure(reasons) }
    }

    private struct D1CatalogFailure: Error {}

    private func findDatabase(_ name: String) async throws(D1CatalogFailure) {
        do { _ = try await stores.databases.find(name) } catch { throw D1CatalogFailure() }
    }

    func precheck(_ candidate: CandidateRelease, isForced: Bool) async throws(DeploymentFailure) {
        var reasons: [String] = []
        if !isForced {
            if let current, let (name, failure) = Self.problem(of: current) {
                reasons.append(
                    "worker \"\(name)\" of the release that serves isn't healthy (\(failure)), so nobody can tell whether the new "
                        + "one does better: --force deploys all the same")
            }
        }
        let needed = await bytesOfArtifacts(candidate)
        let free = DiskSpace.freeBytes(at: artifacts.path(""))
        if let free, free < 2 * needed {
            reasons.append(
                "the state directory has \(free) bytes left; the release's executables take \(needed), twice that is needed")
        }
        guard reasons.isEmpty else { throw DeploymentFailure(reasons) }
    }

    private func bytesOfArtifacts(_ candidate: CandidateRelease) async -> Int64 {
        var hashes: Set<String> = []
        for (worker, item) in candidate.content.workers {
            for share in item.shares {
                if let version = try? await read({ try $0.version(share.versionID, of: worker) }) {
                    hashes.insert(version.artifact)
                }
            }
        }
        return hashes.reduce(0) { sum, hash in sum + ((try? artifacts.open(hash).byteCount).map(Int64.init) ?? 0) }
    }

    // MARK: Staging

    var hasCandidate: Bool { candidate != nil }

    func stage(_ release: CandidateRelease) async throws(DeploymentFailure) {
        if candidate?.release.record.number == release.record.number { return }
        let count = cancelCount
        do {
            let staged = try await start(release)
            guard count == cancelCount else {
                letGo(staged.running)
                throw DeploymentFailure("its start was called off")
            }
            candidate = staged
        } catch { throw Self.failure(error) }
    }

    func warmUp(_ release: CandidateRelease) async throws(DeploymentFailure) {
        do { warm[release.record.number] = try await start(release).running } catch { throw Self.failure(error) }
    }

    private func start(_ release: CandidateRelease) async throws -> Staged {
        if let running = warm[release.record.number] { return Staged(running: running, handlers: [], release: release) }
        let configured = try description(of: release)
        var plan = try await plan(release, configured, by: release.record.author, .deploy)
        let description = plan.description(artifacts)
        let prepared = try await prepare(&plan, description)
        do {
            guard prepared.failed.isEmpty else {
                throw DeploymentFailure(prepared.failed.sorted().map { "worker \"\($0)\" does not start" })
            }
            try check(plan, prepared)
        } catch {
            forget(prepared)
            throw error
        }
        let now = clock.now()
        let handlers = prepared.fresh.map { fresh in
            (version: fresh.version.id, handlers: fresh.runtime.pool.handlers ?? [], startup: now - fresh.started)
        }
        return Staged(
            running: running(plan, description, prepared, release: release.record.number), handlers: handlers, release: release)
    }

    func candidateProblem() -> String? {
        guard let candidate else { return "its isolates are gone" }
        return Self.problem(of: candidate.running).map { "worker \"\($0.worker)\" is not healthy: \($0.failure)" }
    }

    /// A worker that should have isolates and has none.
    private static func problem(of running: Running) -> (worker: String, failure: String)? {
        for worker in running.description.workers where worker.size.min > 0 {
            guard let pool = running.split.primary.workers[worker.name]?.pool, pool.readyCount == 0,
                let failure = pool.lastFailure
            else { continue }
            return (worker.name, failure)
        }
        return nil
    }

    func route(_ percent: Int) async {
        guard let current, let candidate else { return }
        let next = candidate.running
        serveObjects(current.objects.sharing(with: next.objects, percent: percent))
        await routing.install(
            current.description, current.split, previews: self, beside: (next.description, next.split, percent))
        await deliver(
            current.description,
            current.split.adding(candidate: next.split, percent: percent, affinity: next.description.affinity))
    }

    private func deliver(_ description: ReleaseDescription, _ split: TrafficSplit) async {
        await queues.install(
            QueueDriver.workers(of: split, on: node), from: stores.consumedQueues(stores.simulation(description.simulation)))
    }

    func discardCandidate() async {
        cancelCount += 1
        for pool in starting { node.retire(pool) }
        starting = []
        guard let discarded = candidate else { return }
        candidate = nil
        if let current {
            serveObjects(Array(current.objects.entries.values))
            await routing.install(current.description, current.split, previews: self)
            await deliver(current.description, current.split)
        }
        letGo(discarded.running)
    }

    // MARK: Switching

    func promote(
        _ entry: JournalEntry, at deployment: DeploymentRecord, committed: @escaping @Sendable () -> Void
    ) async throws {
        guard let candidate else { throw DeploymentFailure("its isolates are gone") }
        try await activate(
            candidate.running, candidate.release, [entry], deployment, handlers: candidate.handlers, committed)
    }

    func goBack(to release: Int64, _ entries: [JournalEntry], at deployment: DeploymentRecord) async throws {
        guard let running = warm[release], let found = try await read({ try $0.release(release) }) else {
            throw DeploymentFailure("release \(release) is not warm any more")
        }
        let candidate = CandidateRelease(record: found.record, content: found.content, input: nil)
        try await activate(running, candidate, entries, deployment, handlers: [], removing: .suspend) {}
    }

    private func activate(
        _ next: Running, _ release: CandidateRelease, _ entries: [JournalEntry], _ deployment: DeploymentRecord,
        handlers: [(version: String, handlers: [String], startup: Duration)],
        removing removal: ReleaseStore.NamespaceRemoval = .delete, _ committed: @Sendable () -> Void
    ) async throws {
        var plan = try await plan(release, next.configured, by: deployment.author, deployment.trigger, removing: removal)
        for version in handlers { plan.note(version.handlers, startup: version.startup, of: version.version) }
        try await stores.openQueues(of: next.description)
        plan.change.journal = entries
        let (change, now) = (plan.change, clock.wallTime())
        try await read { try $0.commit(change, at: now) }
        committed()
        note(plan.stored)
        configure(next.configured)
        if let current, let number = current.release { warm[number] = current }
        if candidate?.release.record.number == release.record.number { candidate = nil }
        warm[release.record.number] = nil
        drains[release.record.number]?.cancel()
        let replaced = current
        await switchTo(next)
        if let replaced, replaced.release == nil { letGo(replaced) }
    }

    func isWarm(_ release: Int64) -> Bool { warm[release] != nil }

    func retire(_ release: Int64) {
        guard let running = warm.removeValue(forKey: release) else { return }
        letGo(running)
    }

    func drain(_ release: Int64) async -> DrainReport {
        guard let running = warm[release] else { return DrainReport() }
        // Ended early when the release serves again.
        let task = Task { await self.drain(running) }
        drains[release] = task
        defer { drains[release] = nil }
        return await task.value
    }

    // MARK: Numbers

    func running(_ release: Int64?) -> Running? {
        guard let release else { return nil }
        return [current, candidate?.running].compactMap { $0 }.first { $0.release == release } ?? warm[release]
    }

    func samples(of new: Int64, _ old: Int64?) -> (new: SlotSample, old: SlotSample) {
        (
            running(new)?.split.primary.meter.sample() ?? SlotSample(),
            running(old)?.split.primary.meter.sample() ?? SlotSample()
        )
    }

    func baseline() -> SlotSample? {
        guard let current, !current.split.primary.workers.isEmpty else { return nil }
        return history.window(until: current.split.primary.meter.sample())
    }

    /// Notes how the active release does, once a minute, until the runner is gone.
    func keepHistory() {
        history = SampleHistory()
        historyKeeper?.cancel()
        // Owned by the runner: cancelled by the next release and by stop.
        historyKeeper = Task { [weak self, clock] in
            while true {
                do { try await clock.sleep(for: SampleHistory.interval) } catch { return }
                guard let self else { return }
                await self.noteSample()
            }
        }
    }

    private func noteSample() {
        if let current { history.note(current.split.primary.meter.sample()) }
    }

    func slots() async -> (active: Int64?, candidate: Int64?, warm: [Int64]) {
        let active = try? await read { try $0.routing()?.active }
        return (current?.release ?? active, candidate?.release.record.number, warm.keys.sorted())
    }

    /// Those that a slot has.
    var keptReleases: Set<Int64> {
        Set(warm.keys).union([current?.release, candidate?.release.record.number].compactMap { $0 })
    }

    func collect(keeping count: Int) async {
        guard let stored else { return }
        let (store, secrets, numbers, live) = (store, versionSecrets, keptReleases, stored.live)
        let workers = stored.scripts.keys.sorted()
        do {
            try await artifacts.disk.run { () throws -> Void in
                _ = try store.pruneReleases(keepingNewest: min(count, Int(store.configuredMax)), and: numbers)
                for worker in workers {
                    let versions = Set(live[worker]?.versions.map(\.id) ?? [])
                    let gone = try store.prune(worker, keeping: versions).flatMap(\.snapshot.secrets)
                    guard !gone.isEmpty else { continue }
                    let used = Set(try store.versions(of: worker).flatMap { $0.snapshot.secrets.map(\.reference) })
                    for secret in gone where !used.contains(secret.reference) { try secrets.delete(secret, of: worker) }
                }
            }
        } catch { logger.log(.warning, "old releases stay: \(error)") }
    }
}

/// What is left of a file system.
private enum DiskSpace {
    static func freeBytes(at path: String) -> Int64? {
        var info = statvfs()
        // SAFETY: statvfs fills the struct whose address it is given.
        guard unsafe statvfs(path, &info) == 0 else { return nil }
        return Int64(clamping: UInt64(info.f_bavail).multipliedReportingOverflow(by: UInt64(info.f_frsize)).partialValue)
    }
}
