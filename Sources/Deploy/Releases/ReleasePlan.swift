internal import HTTP
internal import Configuration
internal import Host
internal import OpenSSL
internal import System

/// What is to serve next, and the rows that will say so.
struct ReleasePlan: Sendable {
    /// As they will be.
    var stored: ReleaseStore.Stored
    var change = ReleaseStore.Change()
    /// What the configuration says: files, queue consumers, and what holds for the whole tenant.
    var configured: ReleaseDescription
    var name: String
    /// What it was read from; empty: nothing that is kept.
    var bundle = ""
    /// Whether the configuration asks for it, and not the API, which leaves the rest as it was deployed.
    var isConfigured = false
    /// Of what isn't recorded yet.
    var holds: [ArtifactStore.Hold] = []

    init(_ stored: ReleaseStore.Stored, _ configured: ReleaseDescription, name: String) {
        self.stored = stored
        self.configured = configured
        self.name = name
    }

    /// Versions that must start, or nothing of the plan happens. Others that don't are left out of service.
    func mustStart(_ version: ScriptVersion) -> Bool {
        version.author.source == ScriptAuthor.configuration.source
            || change.deployments.contains { $0.shares.contains { $0.versionID == version.id } }
    }

    // MARK: Changing it

    mutating func put(_ script: ScriptRecord) {
        stored.scripts[script.worker] = script
        change.scripts.removeAll { $0.worker == script.worker }
        change.scripts.append(script)
    }

    mutating func deploy(
        _ worker: String, _ shares: [(version: ScriptVersion, basisPoints: Int)], _ annotations: [String: String],
        by author: ScriptAuthor, at time: UnixTime
    ) -> ScriptDeployment {
        noteActive()
        var annotations = annotations
        annotations[Self.releaseAnnotation] = "\(stored.generation)"
        let deployment = ScriptDeployment(
            id: RandomID.uuid(), worker: worker, createdAt: time,
            shares: shares.map { .init(versionID: $0.version.id, basisPoints: $0.basisPoints) }, annotations: annotations,
            author: author)
        change.deployments.append(deployment)
        stored.live[worker] = .init(
            deployment: deployment, versions: shares.map(\.version).sorted { $0.number < $1.number })
        noteActive()
        return deployment
    }

    mutating func withdraw(_ worker: String) {
        stored.live[worker] = nil
        setTriggers(stored.triggers.filter { $0.worker != worker })
        noteActive()
    }

    mutating func setTriggers(_ triggers: [ScriptTrigger]) {
        stored.triggers = triggers
        change.triggers = triggers
    }

    /// The release that a deployment came with: the generation of the row that says what is active.
    private static let releaseAnnotation = "edge/release"

    private mutating func noteActive() {
        if change.active == nil { stored.generation += 1 }
        change.active = stored.live.mapValues(\.deployment.id)
    }

    /// What the first isolate of a version told.
    mutating func note(_ handlers: [String], startup: Duration, of id: String) {
        func fill(_ version: inout ScriptVersion) {
            guard version.id == id else { return }
            version.handlers = handlers
            version.startupMilliseconds = startup.wholeNanoseconds / 1_000_000
        }
        for index in change.versions.indices { fill(&change.versions[index]) }
        for (worker, live) in stored.live {
            for index in live.versions.indices { fill(&stored.live[worker, default: live].versions[index]) }
        }
    }

    // MARK: What follows from it

    /// The release with the primary version of each worker.
    func description(_ artifacts: ArtifactStore) -> ReleaseDescription {
        var description = configured
        description.name = name
        description.number = stored.generation
        if description.previews == .subdomain { description.previews = .domain("\(subdomain).localhost".lowercased()) }
        var workers = configured.workers.filter { $0.executable == nil || stored.live[$0.name] != nil }
        for index in workers.indices {
            guard let version = stored.live[workers[index].name]?.primary else { continue }
            workers[index] = worker(version, artifacts)
        }
        let known = Set(workers.map(\.name))
        for (name, live) in stored.live.sorted(by: { $0.key < $1.key }) where !known.contains(name) {
            guard let version = live.primary else { continue }
            workers.append(worker(version, artifacts))
        }
        description.workers = workers
        description.bypasses = stored.triggers.compactMap { trigger in
            guard trigger.kind == .route, trigger.worker == nil else { return nil }
            return try? RoutePattern(trigger.value, for: "nothing")
        }
        return description
    }

    /// A version of a worker, with what brings it events.
    func worker(_ version: ScriptVersion, _ artifacts: ArtifactStore) -> WorkerDescription {
        let name = version.worker
        var worker = WorkerDescription(name, version.snapshot, executable: artifacts.path(version.artifact))
        let configured = configured.workers.first { $0.name == name }
        worker.assets = configured?.assets
        worker.consumers = configured?.consumers ?? []
        for trigger in stored.triggers where trigger.worker == name {
            // All were read before they were recorded.
            switch trigger.kind {
            case .route: if let pattern = try? RoutePattern(trigger.value, for: name) { worker.routes.append(pattern) }
            case .domain: if let domain = try? CustomDomain(trigger.value, for: name) { worker.domains.append(domain) }
            case .cron: if let cron = try? CronExpression(trigger.value) { worker.crons.append(cron) }
            }
        }
        if configured == nil, stored.scripts[name]?.hasDefaultHost == true {
            worker.routes += defaultHosts(name).compactMap { try? RoutePattern("\($0)/*", for: name) }
        }
        return worker
    }

    /// The names that a worker of the API answers to by itself.
    private func defaultHosts(_ worker: String) -> [String] {
        ["localhost", "workers.dev"].map { "\(worker).\(subdomain).\($0)".lowercased() }
    }

    private var subdomain: String { stored.account[Self.subdomainSetting] ?? configured.tenant }

    static let subdomainSetting = "subdomain"
}

extension TrafficSplit {
    /// - Parameter workers: of each, the deployed versions, the oldest first.
    static func make(
        _ description: ReleaseDescription, _ workers: [(live: ReleaseStore.LiveScript, runtimes: [String: WorkerRuntime])],
        sites: [String: AssetSite]
    ) -> TrafficSplit {
        let meter = ReleaseMeter(workers.flatMap { Array($0.runtimes.values) })
        func release(_ choose: (ReleaseStore.LiveScript) -> String?) -> ReleaseRuntime {
            ReleaseRuntime(
                name: description.name, number: description.number, tenant: description.tenant,
                workers: workers.compactMap { worker in choose(worker.live).flatMap { worker.runtimes[$0] } }, sites: sites,
                announcement: description.announcement, meter: meter)
        }
        let primary = release { $0.primary?.id }
        let split = workers.filter { $0.live.versions.count > 1 }
        let prefix = description.tenant + description.environment
        let pointOfKey: @Sendable (String) -> Int = { key in
            let digest = Digest.hash(prefix + key, with: .sha256)
            return Int(digest.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) } % UInt64(pointCount))
        }
        if split.isEmpty { return TrafficSplit(primary, affinity: description.affinity, pointOfKey: pointOfKey) }
        let ends = Set(split.flatMap { $0.live.ends.map(\.end) } + [pointCount]).filter { $0 > 0 }.sorted()
        var parts: [Part] = []
        for end in ends {
            let first = parts.last?.end ?? 0
            parts.append(Part(end: end, release: release { live in live.ends.first { first < $0.end }?.id }))
        }
        let versions = split.map { worker in (worker.live.deployment.worker, worker.runtimes) }
        return TrafficSplit(
            primary: primary, parts: parts, versions: Dictionary(versions) { first, _ in first },
            affinity: description.affinity, pointOfKey: pointOfKey)
    }
}

extension ReleaseStore.LiveScript {
    /// Where each version's share ends, on the line of all requests.
    fileprivate var ends: [(id: String, end: Int)] {
        var end = 0
        return versions.map { version in
            end += deployment.shares.first { $0.versionID == version.id }?.basisPoints ?? 0
            return (version.id, end)
        }
    }
}
