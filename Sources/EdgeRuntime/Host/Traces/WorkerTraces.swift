internal import Synchronization

/// Who wants to know of a worker's events, whichever version handles them. Safe on any thread.
///
/// As long as nobody does, an event pays for it with one look at a number.
package final class WorkerTraces: Sendable {
    private let sinkCount = Atomic<Int>(0)
    private let sinks = Mutex<[any TraceSink]>([])
    /// What the open events have gathered.
    private let gatheredBytes = Atomic<Int>(0)

    /// What all open events of a worker may gather together: 64 events with as many logs as one may have. Beyond, logs are cut.
    static let gatheredBytesMax = 16 << 20

    package init() {}

    var isWatched: Bool { sinkCount.load(ordering: .relaxed) > 0 }

    package func add(_ sink: any TraceSink) {
        sinks.withLock { sinks in
            sinks.append(sink)
            sinkCount.store(sinks.count, ordering: .relaxed)
        }
    }

    package func remove(_ sink: any TraceSink) {
        sinks.withLock { sinks in
            sinks.removeAll { $0 === sink }
            sinkCount.store(sinks.count, ordering: .relaxed)
        }
    }

    /// Those that look at the next event.
    func sample() -> [any TraceSink] { sinks.withLock { $0 }.filter { $0.takesSample() } }

    /// - Returns: false when the worker's events have gathered as much as they may.
    func take(_ byteCount: Int) -> Bool {
        guard gatheredBytes.wrappingAdd(byteCount, ordering: .relaxed).newValue <= Self.gatheredBytesMax else {
            give(byteCount)
            return false
        }
        return true
    }

    func give(_ byteCount: Int) { gatheredBytes.wrappingSubtract(byteCount, ordering: .relaxed) }
}

/// The traces of all workers of a node. They are kept by name, so that a tail outlives the version that it began with.
package final class TraceDirectory: Sendable {
    private struct Key: Hashable {
        let tenant: String
        let worker: String
    }
    private let workers = Mutex<[Key: WorkerTraces]>([:])

    package init() {}

    package func traces(of worker: String, tenant: String) -> WorkerTraces {
        workers.withLock { workers in
            let key = Key(tenant: tenant, worker: worker)
            if let known = workers[key] { return known }
            let fresh = WorkerTraces()
            workers[key] = fresh
            return fresh
        }
    }
}
