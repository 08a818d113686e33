internal import Configuration
internal import Host
internal import Isolates
internal import System

/// How a release is made ready beside what serves: what it shares with other slots is taken, the rest starts and proves itself.
extension ReleaseRunner {
    struct Prepared {
        var live: [(live: ReleaseStore.LiveScript, runtimes: [String: WorkerRuntime])] = []
        var runtimes: [String: WorkerRuntime] = [:]
        /// Those that the present release doesn't have, with when they were started.
        var fresh: [(version: ScriptVersion, runtime: WorkerRuntime, started: Instant)] = []
        var sites: [String: AssetSite] = [:]
        /// Kept until the release has them in its own name.
        var assetHolds: [AssetStore.Hold] = []
        /// Isolates for objects, as `ObjectService` has them, and those that no slot has yet.
        var objects: [String: WorkerRuntime] = [:]
        var freshObjects: [WorkerRuntime] = []
        /// Of workers that are left out.
        var failed: Set<String> = []

        func runtimes(of worker: String) -> [WorkerRuntime] {
            live.filter { $0.live.deployment.worker == worker }.flatMap { Array($0.runtimes.values) }
        }
    }

    func prepare(_ plan: inout ReleasePlan, _ description: ReleaseDescription) async throws -> Prepared {
        var prepared = Prepared()
        do {
            for worker in description.workers {
                if let assets = worker.assets {
                    let (site, hold) = try await makeSite(assets, of: worker, tenant: description.tenant)
                    prepared.sites[worker.name] = site
                    prepared.assetHolds.append(hold)
                }
                guard let live = plan.stored.live[worker.name] else { continue }
                var runtimes: [String: WorkerRuntime] = [:]
                for version in live.versions {
                    do {
                        runtimes[version.id] = try await start(version, plan, description, &prepared)
                    } catch  where !plan.mustStart(version) {
                        leaveOut(version, error, &prepared)
                    }
                }
                prepared.live.append((live, runtimes))
            }
            try await waitUntilHealthy(&plan, &prepared)
            try await prepareObjects(&prepared, plan, description)
        } catch {
            forgetStarting(prepared)
            forget(prepared)
            throw error
        }
        forgetStarting(prepared)
        prepared.live.removeAll { prepared.failed.contains($0.live.deployment.worker) }
        return prepared
    }

    /// What was prepared doesn't come into service.
    func forget(_ prepared: Prepared) {
        for fresh in prepared.fresh { node.retire(fresh.runtime.pool) }
        for fresh in prepared.freshObjects { node.retire(fresh.pool) }
    }

    private func forgetStarting(_ prepared: Prepared) {
        starting.removeAll { pool in prepared.fresh.contains { $0.runtime.pool === pool } }
    }

    private func start(
        _ version: ScriptVersion, _ plan: ReleasePlan, _ description: ReleaseDescription, _ prepared: inout Prepared
    ) async throws -> WorkerRuntime {
        let key = runtimeKey(of: version, description)
        if let shared = slots.lazy.compactMap({ $0.runtimes[key] }).first {
            prepared.runtimes[key] = shared
            return shared
        }
        let worker = plan.worker(version, artifacts)
        let runtime = try await starter.make(version, as: worker, of: description, ObjectBinder(objects, plan.stored))
        prepared.runtimes[key] = runtime
        prepared.fresh.append((version, runtime, clock.now()))
        starting.append(runtime.pool)
        runtime.pool.start()
        return runtime
    }

    /// What a running version is known by: what wraps its stores is made with it.
    func runtimeKey(of version: ScriptVersion, _ description: ReleaseDescription) -> String {
        version.id + (description.simulation.map { " \($0)" } ?? "")
    }

    /// One worker that came over the API and can't run any more, because what it needs is gone, keeps no other from serving.
    private func leaveOut(_ version: ScriptVersion, _ error: any Error, _ prepared: inout Prepared) {
        prepared.failed.insert(version.worker)
        logger.log(
            .error, "a worker is left out of service: \(error)", [("worker", version.worker), ("version", version.id)])
    }

    /// On a thread of its own: files are read and compressed, which takes seconds when there are many.
    private func makeSite(
        _ assets: AssetDescription, of worker: WorkerDescription, tenant: String
    ) async throws -> (AssetSite, AssetStore.Hold) {
        let (store, logger) = (self.assets, logger)
        return try await withCheckedThrowingContinuation { continuation in
            SystemThread(name: "edge-assets") {
                continuation.resume(
                    with: Result { try store.makeSite(assets, worker: worker.name, tenant: tenant, logger: logger) })
            }.start()
        }
    }

    /// Each new version must show one isolate that is ready, also when its minimum is zero: a version that can't start must not
    /// get traffic.
    private func waitUntilHealthy(_ plan: inout ReleasePlan, _ prepared: inout Prepared) async throws {
        for (version, runtime, started) in prepared.fresh {
            if let reason = await runtime.pool.firstReady() {
                let error = ReleaseError.failedToStart(worker: version.worker, reason: reason)
                if plan.mustStart(version) { throw error }
                leaveOut(version, error, &prepared)
                prepared.runtimes = prepared.runtimes.filter { $0.value !== runtime }
                node.retire(runtime.pool)
                continue
            }
            plan.note(runtime.pool.handlers ?? [], startup: clock.now() - started, of: version.id)
        }
    }

    /// What brings events to a worker, the code of each of its versions must handle.
    func check(_ plan: ReleasePlan, _ prepared: Prepared) throws {
        for (live, runtimes) in prepared.live {
            let name = live.deployment.worker
            let triggers = Set(plan.stored.triggers.filter { $0.worker == name }.map(\.kind))
            let isConsumer = plan.configured.workers.contains { worker in
                worker.name == name && worker.consumers.contains { $0.delivery == .push }
            }
            for runtime in runtimes.values {
                let handlers = runtime.pool.handlers ?? []
                func require(_ handler: String, _ isNeeded: Bool, _ reason: String) throws {
                    guard !isNeeded || handlers.contains(handler) else {
                        throw ReleaseError.missingHandler(handler, worker: name, reason: reason)
                    }
                }
                try require("fetch", triggers.contains(.route) || triggers.contains(.domain), "it has routes")
                try require("scheduled", triggers.contains(.cron), "it has crons")
                try require("queue", isConsumer, "it consumes a queue")
                for case .entrypoint(let wanted) in runtime.bindings where !wanted.name.isEmpty {
                    for case let known? in prepared.runtimes(of: wanted.worker).map(\.pool.entrypoints)
                    where !known.contains(wanted.name) {
                        throw ReleaseError.missingHandler(
                            wanted.name, worker: wanted.worker, reason: "\"\(name)\" binds it as its entrypoint")
                    }
                }
                let classes = Set((runtime.pool.objectClasses ?? []).map(\.name))
                for namespace in plan.stored.objects.namespaces(of: name) where !classes.contains(namespace.class.name) {
                    let isNew = stored?.objects.namespaces.contains { $0.id == namespace.id } != true
                    let step: ClassMigrationRefusal.Step = namespace.storage == .sqlite ? .newSQLiteClass : .newClass
                    throw ReleaseError.classMigrations([.notExported(namespace.class.name, isNew ? step : nil)])
                }
            }
        }
    }
}
