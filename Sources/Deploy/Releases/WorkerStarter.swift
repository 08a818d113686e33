internal import Host
internal import Interfaces
internal import Isolates
internal import Stores
internal import System

/// Makes what a version of a worker runs in: its bindings opened, its pool of isolates ready to be started.
struct WorkerStarter: Sendable {
    let node: Node
    let stores: TenantStores
    let artifacts: ArtifactStore
    let secrets: VersionSecrets
    let identity: TenantIdentity?

    /// - Parameters:
    ///   - worker: the version with its routes.
    ///   - description: what holds for the whole tenant.
    /// - Throws: `ReleaseError`, or what a store says that can't open what is bound.
    func make(
        _ version: ScriptVersion, as worker: WorkerDescription, of description: ReleaseDescription, _ objects: ObjectBinder
    ) async throws -> WorkerRuntime {
        let values = try await values(of: version)
        let bound = try await bind(worker, description, objects)
        let configuration = IsolateConfiguration(
            tenant: description.tenant, worker: worker.name, version: version.id, versionTag: worker.tag,
            versionTime: version.createdAt.milliseconds, environment: description.environment, bindings: bound.bindings,
            variables: worker.variables, secrets: values,
            cpuLimitNanoseconds: UInt64(clamping: worker.limits.cpu.wholeNanoseconds),
            subrequestsMax: UInt32(clamping: worker.limits.subrequestsMax))
        let pool = node.makePool(
            configuration: configuration, image: try await image(version, worker), limits: worker.limits, size: worker.size,
            identity: identity)
        let node = node
        return WorkerRuntime(
            configuration: configuration, bindings: bound.targets, limits: worker.limits, pool: pool,
            origin: worker.origin, requestLimits: bound.requestLimits,
            cache: WorkerCache(
                store: stores.cache, service: stores.cacheService, front: worker.frontCache,
                homeZone: worker.homeZone),
            onUnreachable: { node.release($0) })
    }

    private func values(of version: ScriptVersion) async throws -> [(name: String, value: String)] {
        let secrets = secrets
        return try await artifacts.disk.run { () throws -> [(name: String, value: String)] in
            try version.snapshot.secrets.map { secret in
                guard let value = try secrets.value(secret, of: version.worker) else {
                    throw ReleaseError.missingSecrets([secret.name], worker: version.worker)
                }
                return (secret.name, value)
            }
        }
    }

    /// The version's executable, if it still is what was stored.
    func image(_ version: ScriptVersion, _ worker: WorkerDescription) async throws -> IsolateImage {
        let artifacts = artifacts
        return try await artifacts.disk.run { () throws -> IsolateImage in
            let path = artifacts.path(version.artifact)
            guard try artifacts.verify(version.artifact) else {
                throw ReleaseError.damagedArtifact(worker: worker.name, path: path)
            }
            do {
                return try IsolateImage(path: path, libraryDirectories: IsolateImage.toolchainLibraryDirectories())
            } catch SpawnError.notExecutable(_, let reason) {
                throw ReleaseError.badExecutable(worker: worker.name, path: path, reason: reason)
            }
        }
    }

    private struct Bound {
        var bindings: [IsolateConfiguration.Binding] = []
        var targets: [BindingTarget] = []
        var requestLimits: [any RequestLimit] = []

        mutating func add(
            _ name: String, _ kind: IsolateConfiguration.BindingKind, _ target: BindingTarget, key: [UInt8] = []
        ) {
            bindings.append(.init(name, kind, key: key))
            targets.append(target)
        }
    }

    private func bind(
        _ worker: WorkerDescription, _ description: ReleaseDescription, _ objects: ObjectBinder
    ) async throws -> Bound {
        var bound = Bound()
        let simulation = stores.simulation(description.simulation)
        for (name, binding) in worker.bindings {
            let title = "\(worker.name)/\(name)"
            switch binding {
            case .kv(let namespace): bound.add(name, .kv, .store(try stores.kvService(namespace, for: title, simulation)))
            case .kvNamespace(let id):
                bound.add(name, .kv, .store(try await stores.kvService(id: id, for: title, simulation)))
            case .d1(let database): bound.add(name, .d1, .store(try await stores.d1Service(database, for: title, simulation)))
            case .r2(let bucket): bound.add(name, .r2, .store(try await stores.r2Service(bucket, for: title, simulation)))
            case .queue(let queue, let delay):
                let service = try await stores.queueService(queue, delaySeconds: delay, for: title, simulation)
                bound.add(name, .queue, .store(service))
            case .service(let target): bound.add(name, .service, .service(target))
            case .entrypoint(let target, let entrypoint, let props):
                bound.add(
                    name, .service, .entrypoint(ServiceEntrypoint(worker: target, name: entrypoint, props: props)))
            case .assets: bound.add(name, .assets, .assets)
            case .rateLimit(let limit):
                let service = try stores.rateLimitService(limit)
                bound.add(name, .rateLimit, .store(service))
                if limit.subject == .requests { bound.requestLimits.append(WorkerRequestLimit(service: service)) }
            case .versionMetadata: bound.add(name, .versionMetadata, .values)
            case .analytics(let dataset): bound.add(name, .analytics, .store(stores.analyticsService(dataset)))
            case .object(let className, let owner):
                let namespace = try objects.namespace(
                    of: .init(worker: owner ?? worker.name, name: className), for: worker.name)
                bound.add(name, .durableObject, .object(namespace), key: namespace.key)
            }
        }
        // Last: what another limit refuses is not a request of the day.
        if let most = worker.requestsPerDayMax {
            bound.requestLimits.append(DailyRequestLimit(requests: stores.dailyRequests, most: most))
        }
        return bound
    }
}
