package import Host
internal import System

/// Versions that run because somebody looks at them under a name of their own, and not because they are in service.
struct RunningPreviews {
    private struct Entry {
        let runtime: WorkerRuntime
        var lastUse: Instant
        /// Made for the release that served then.
        var target: (release: ReleaseRuntime, target: RouteTarget)?
    }
    private var entries: [String: Entry] = [:]
    /// Versions that are being made ready, for all who wait for the same one.
    var starting: [String: Task<WorkerRuntime, any Error>] = [:]

    /// At once, of one tenant; the one that was looked at longest ago makes room.
    private static let countMax = 16
    /// An isolate that nobody calls ends earlier, by the pool's own rules; this ends the pool.
    static let idleMax = Duration.seconds(300)

    mutating func use(_ key: String, at now: Instant) -> WorkerRuntime? {
        entries[key]?.lastUse = now
        return entries[key]?.runtime
    }

    /// What `make` made for this release, once.
    mutating func target(_ key: String, beside release: ReleaseRuntime, _ make: () -> RouteTarget) -> RouteTarget {
        if let (known, target) = entries[key]?.target, known === release { return target }
        let target = make()
        entries[key]?.target = (release, target)
        return target
    }

    mutating func add(_ key: String, _ runtime: WorkerRuntime, at now: Instant) {
        if entries.count >= Self.countMax, let oldest = entries.min(by: { $0.value.lastUse < $1.value.lastUse }) {
            entries[oldest.key] = nil
        }
        entries[key] = Entry(runtime: runtime, lastUse: now)
    }

    /// Lets go of those that nobody has looked at for a while: their isolates end behind their last event.
    ///
    /// - Returns: whether any are left.
    mutating func dropIdle(at now: Instant) -> Bool {
        entries = entries.filter { now - $0.value.lastUse < Self.idleMax }
        return !entries.isEmpty
    }

    /// For the end of the tenant's service.
    mutating func takeAll() -> [WorkerRuntime] {
        defer { entries = [:] }
        for task in starting.values { task.cancel() }
        return entries.values.map(\.runtime)
    }
}

/// `NAME-WORKER.preview.DOMAIN`: NAME is the first eight digits of a version's id, or an alias. What it calls is the release in
/// service, with that one version in it, and its stores are the real ones.
extension ReleaseRunner: PreviewResolver {
    package func previewTarget(_ name: String) async -> Result<RouteTarget, PreviewFailure>? {
        do {
            guard let version = try await previewedVersion(name) else { return nil }
            let runtime = try await previewRuntime(of: version)
            guard let current else { return nil }
            let target = previews.target(previewKey(version), beside: current.split.primary) {
                let zone = current.description.workers.first { $0.name == version.worker }?.homeZone ?? ""
                return RouteTarget(release: current.split.primary.preview(of: runtime), worker: runtime, zone: zone)
            }
            return .success(target)
        } catch {
            logger.log(.warning, "a version can't be shown: \(error)", [("preview", name)])
            return .failure(PreviewFailure("\(error)"))
        }
    }

    /// The hosts under which a version can be looked at: by its id, and by its alias if it has one. Empty where there are none.
    package func previewHosts(of version: ScriptVersion, _ script: ScriptRecord) -> [String] {
        guard case .domain(let domain)? = current?.description.previews, script.hasPreviews,
            store.environment == "dev" || stored?.objects.namespaces(of: script.worker).isEmpty != false
        else { return [] }
        let names = [String(version.id.prefix(8))] + (version.annotations["workers/alias"].map { [$0] } ?? [])
        return names.map { "\($0)-\(version.worker).preview.\(domain)" }
    }

    /// Both halves of the name may have dashes: all ways to part it are tried, with the longest worker first.
    private func previewedVersion(_ name: String) async throws -> ScriptVersion? {
        guard let stored else { return nil }
        let isDev = store.environment == "dev"
        let owners = stored.scripts.values.filter { script in
            // A version with classes could be looked at, and its objects would be those of another version.
            !script.isDeleted && script.hasPreviews && (isDev || stored.objects.namespaces(of: script.worker).isEmpty)
                && name.hasSuffix("-" + script.worker.lowercased())
        }.map(\.worker).sorted { $0.utf8.count > $1.utf8.count }
        for worker in owners {
            let half = String(name.dropLast(worker.utf8.count + 1))
            if let version = try await read({ try $0.version(named: half, of: worker) }) { return version }
        }
        return nil
    }

    private func previewRuntime(of version: ScriptVersion) async throws -> WorkerRuntime {
        guard let current else { throw ReleaseError.notReady }
        let key = previewKey(version)
        if let serving = current.runtimes[key] { return serving }
        if let running = previews.use(key, at: clock.now()) { return running }
        if let starting = previews.starting[key] { return try await starting.value }
        let plan = try makePlan()
        var worker = plan.worker(version, artifacts)
        worker.size = PoolSize(min: 0, max: worker.size.max, idleTimeout: min(worker.size.idleTimeout, .seconds(60)))
        let (starter, description, binder) = (starter, current.description, ObjectBinder(objects, plan.stored))
        let task = Task { try await starter.make(version, as: worker, of: description, binder) }
        previews.starting[key] = task
        defer { previews.starting[key] = nil }
        let runtime = try await task.value
        // The tenant's stores may have been closed meanwhile.
        guard self.current != nil, !task.isCancelled else {
            node.retire(runtime.pool)
            throw ReleaseError.notReady
        }
        let wasEmpty = !previews.dropIdle(at: clock.now())
        previews.add(key, runtime, at: clock.now())
        if wasEmpty { schedulePreviewEnd() }
        return runtime
    }

    /// As running versions are known: what wraps a version's stores is made with it.
    private func previewKey(_ version: ScriptVersion) -> String {
        version.id + (current?.description.simulation.map { " \($0)" } ?? "")
    }

    private func schedulePreviewEnd() {
        _ = clock.schedule(at: clock.now() + .seconds(60)) { [weak self] in
            guard let self else { return }
            Task { await self.dropIdlePreviews() }
        }
    }

    private func dropIdlePreviews() {
        if previews.dropIdle(at: clock.now()) { schedulePreviewEnd() }
    }
}
