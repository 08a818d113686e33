package import Configuration
internal import Assets
internal import Host
internal import Interfaces
internal import StoresSimulation
internal import System

extension ReleaseDescription {
    /// What an effective configuration asks for.
    ///
    /// - Parameters:
    ///   - executable: the file of a product.
    ///   - directory: where a directory is that the configuration names.
    ///   - migrations: the files that are meant, as (name, text).
    /// - Throws: `UnsupportedBinding` for what this node can't serve: it fails here, never at run time.
    package init(
        _ configuration: EffectiveConfiguration, name: String, executable: (String) -> String,
        directory: (String) -> String = { $0 },
        migrations: (D1Migrations) throws -> [(name: String, text: String)]
    ) throws {
        var workers: [WorkerDescription] = []
        var sets: [String: D1Migrations] = [:]
        for worker in configuration.workers where worker.isEnabled {
            var description = WorkerDescription(
                name: worker.name, executable: worker.product.isEmpty ? nil : executable(worker.product))
            description.assets = worker.assets.map { Self.assets($0, of: worker, in: directory) }
            for binding in worker.bindings {
                description.bindings.append((binding.name, try Self.binding(binding, of: worker.name)))
                if case .d1(let database, let migrations?) = binding.target {
                    // Workers that share a database agree on its migrations: that is checked.
                    sets[database] = migrations
                }
            }
            description.setVariables(worker.variables.map { ($0.name, $0.value) })
            description.origin = worker.origin
            description.secrets = worker.secrets.map(\.name)
            description.limits = Host.WorkerLimits(
                cpu: worker.limits.cpu, memoryByteCount: worker.limits.memoryByteCount,
                subrequestsMax: worker.limits.subrequests, concurrency: worker.isolates.concurrency,
                bodyBytesMax: worker.limits.bodyByteCount, wall: worker.limits.wall,
                outbound: OutboundPermission(
                    hosts: worker.outbound.allow.map(\.description),
                    privateAddresses: worker.outbound.isPrivateAllowed))
            description.requestsPerDayMax = worker.limits.profile.table.requestsPerDayMax
            description.size = PoolSize(
                min: worker.isolates.countMin, max: worker.isolates.countMax, idleTimeout: worker.isolates.idleTimeout)
            description.routes = configuration.routes.filter { $0.worker == worker.name }.map(\.pattern)
            description.domains = configuration.customDomains.filter { $0.worker == worker.name }.map(\.domain)
            description.frontCache = FrontCache(worker.cache)
            description.crons = worker.crons
            description.migrations = worker.migrations
            description.consumers = worker.consumers.map { consumer in
                WorkerDescription.Consumer(
                    queue: consumer.queue, batchSize: consumer.batchCountMax, batchTimeout: consumer.batchTimeout,
                    retriesMax: consumer.retriesMax, retryDelaySeconds: consumer.retryDelay.components.seconds,
                    deadLetterQueue: consumer.deadLetterQueue, concurrencyMax: consumer.concurrencyMax,
                    delivery: consumer.kind == .pull ? .pull : .push, visibilityTimeout: consumer.visibilityTimeout)
            }
            workers.append(description)
        }
        self.init(
            name: name, tenant: configuration.tenant, environment: configuration.environment, workers: workers,
            migrations: try sets.sorted { $0.key < $1.key }.map { database, set in
                MigrationSet(database: database, table: set.table, files: try migrations(set))
            },
            queues: configuration.queues.map { queue in
                QueueDescription(
                    name: queue.name, deliveryDelaySeconds: queue.deliveryDelay.components.seconds,
                    retentionSeconds: queue.retention.components.seconds,
                    messagesPerSecondMax: queue.messagesPerSecondMax.map(Int64.init),
                    backlogBytesMax: queue.backlogBytesMax.map(Int64.init))
            })
        analyticsRetention = configuration.retention.analytics
        simulation = configuration.simulate.map(SimulationSettings.init)
        announcement = configuration.kind == .production ? .none : .header
        previews = configuration.hasPreviewURLs ? .domain(configuration.domain) : .none
        shadowPercent = configuration.deploy.shadowPercent
        drain.requests = configuration.deploy.drain
        drain.streams = configuration.deploy.drainStreams
        drain.jobs = configuration.deploy.drainJobs
        objects.hibernateAfter = configuration.durableObjects.hibernateAfter
        objects.evictAfter = configuration.durableObjects.evictAfter
        objects.onDeploy = configuration.durableObjects.onDeploy == .disconnect ? .disconnect : .keep
        objects.drain = configuration.deploy.drain
        objects.objectsPerIsolate = configuration.durableObjects.objectsPerIsolate
        objects.timeTravel = configuration.durableObjects.timeTravel
        objects.isolatesMax = configuration.durableObjects.isolatesMax
        affinity =
            switch configuration.deploy.affinity {
            case .cookie(let name): .cookie(name)
            case .clientAddress: .clientAddress
            case .none: .none
            }
    }

    private static func assets(
        _ settings: AssetSettings, of worker: WorkerConfiguration, in directory: (String) -> String
    ) -> AssetDescription {
        var description = AssetDescription(directory: directory(settings.directory))
        description.html =
            switch settings.html {
            case .autoTrailingSlash: .autoTrailingSlash
            case .forceTrailingSlash: .forceTrailingSlash
            case .dropTrailingSlash: .dropTrailingSlash
            case .none: .none
            }
        description.notFound =
            switch settings.notFound {
            case .none: .none
            case .notFoundPage: .notFoundPage
            case .singlePageApplication: .singlePageApplication
            }
        description.workerFirst =
            switch settings.workerFirst {
            case .never: .never
            case .always: .always
            case .paths(let paths): .paths(paths)
            }
        description.navigationPrefersAssets = CompatibilityDate.Behaviour.navigationPrefersAssets.isActive(
            on: worker.compatibilityDate)
        description.filesMax = worker.limits.profile == .free ? AssetLimits.freeFilesMax : AssetLimits.filesMax
        return description
    }

    private static func binding(
        _ binding: Binding, of worker: String
    ) throws -> WorkerDescription.Binding {
        switch binding.target {
        case .kv(let resource): .kv(namespace: resource)
        case .d1(let resource, _): .d1(database: resource)
        case .r2(let resource): .r2(bucket: resource)
        case .queue(let queue, let delay): .queue(queue, delaySeconds: delay?.components.seconds)
        case .service(let target, nil, nil): .service(worker: target)
        case .service(let target, let entrypoint, let props):
            .entrypoint(worker: target, name: entrypoint == "default" ? "" : entrypoint ?? "", props: props ?? "")
        case .assets: .assets
        case .rateLimit(let limit):
            .rateLimit(
                .init(
                    subject: limit.key == .clientAddress ? .requests : .calls,
                    // What is named begins with a sign that no worker's name has: the two never meet.
                    namespace: limit.namespace.map { "=\($0)" } ?? "\(worker)/\(binding.name)", limit: limit.limit,
                    periodSeconds: limit.periodSeconds))
        case .versionMetadata: .versionMetadata
        case .analytics(let dataset): .analytics(dataset: dataset)
        case .durableObject(let name, let owner): .object(class: name, worker: owner == worker ? nil : owner)
        case .vectorize, .workflow, .ai, .email, .hyperdrive, .dispatch:
            throw UnsupportedBinding(binding: binding.name, kind: binding.kindName, worker: worker, place: "\(binding.place)")
        }
    }
}

extension SimulationSettings {
    fileprivate init(_ settings: SimulateSettings) {
        self.init(seed: settings.seed)
        kvStaleness = settings.kvStaleness
        limitsKVWrites = settings.limitsKVWrites
        d1Lag = settings.d1Lag
        failurePercentage = settings.failurePercentage
        latency = settings.latency
        queueDuplicatePercentage = settings.queueDuplicatePercentage
        reordersQueues = settings.reordersQueues
    }
}

extension WorkerDescription {
    /// Gives the worker these variables, and no others.
    package mutating func setVariables(_ values: [(name: String, value: Variable.Value)]) {
        variables = values.map { variable in
            switch variable.value {
            case .text(let text): (variable.name, .text(text))
            case .json(let text): (variable.name, .json(text))
            }
        }
    }
}

/// A binding of a kind that this version of the node has no engine for.
package struct UnsupportedBinding: Error, Sendable, CustomStringConvertible {
    package let binding: String
    package let kind: String
    package let worker: String
    package let place: String

    package var description: String {
        "\(place): worker \"\(worker)\" binds \"\(binding)\" (\(kind)), which this node can't serve yet; remove the binding"
    }
}
