package import StoresQueues

/// What the control plane asks about a tenant's queues that the queues' own store doesn't know.
extension ReleaseRunner {
    /// The tenant's queues.
    package nonisolated var queueStore: any QueueStore { stores.queues }

    package enum QueueProducer: Equatable, Sendable {
        case worker(String)
        case bucket(String)
    }

    /// Who sends to the tenant's queues, by queue: workers of the active release, and buckets with rules.
    package func queueProducers() async throws -> [String: [QueueProducer]] {
        var producers: [String: [QueueProducer]] = [:]
        for worker in active?.description.workers.sorted(by: { $0.name < $1.name }) ?? [] {
            var queues: Set<String> = []
            for case .queue(let queue, _) in worker.bindings.map(\.binding) { queues.insert(queue) }
            for queue in queues { producers[queue, default: []].append(.worker(worker.name)) }
        }
        for (queue, buckets) in try await stores.notifiedQueues() {
            producers[queue, default: []] += buckets.map { .bucket($0) }
        }
        return producers
    }

    package enum QueueHandler: Sendable {
        case present
        case missing
        /// There is no such worker.
        case noWorker
    }

    /// Whether a worker of the active release could consume a queue.
    package func queueHandler(of worker: String) -> QueueHandler {
        guard let runtime = active?.release.workers[worker] else { return .noWorker }
        return runtime.pool.handlers?.contains("queue") ?? false ? .present : .missing
    }

    package enum RenameRefusal: Error, Sendable {
        /// A release is being brought into service.
        case busy
        /// It is named in the configuration of the worker.
        case usedByWorker(String)
        /// The bucket has rules that name it.
        case usedByBucket(String)
    }

    /// Gives a queue another name and other settings, at once. What the active release or a bucket's rules call by its name
    /// keeps it: they would go on sending to a queue that isn't there any more.
    ///
    /// - Throws: `RenameRefusal`, `QueueError`.
    package func renameQueue(
        _ name: String, to newName: String, _ change: QueueSettingsChange
    ) async throws -> QueueRecord {
        do { try await begin() } catch { throw RenameRefusal.busy }
        defer { end() }
        for worker in active?.description.workers ?? [] where worker.names(queue: name) {
            throw RenameRefusal.usedByWorker(worker.name)
        }
        if let bucket = try await stores.notifiedQueues()[name]?.first { throw RenameRefusal.usedByBucket(bucket) }
        return try await stores.queues.renameQueue(name, to: newName, change)
    }
}

extension WorkerDescription {
    fileprivate func names(queue name: String) -> Bool {
        let isProducer = bindings.contains { item in
            if case .queue(name, _) = item.binding { true } else { false }
        }
        return isProducer || consumers.contains { $0.queue == name || $0.deadLetterQueue == name }
    }
}
