internal import Host
internal import Interfaces
internal import Observability
internal import StoresQueues
internal import Synchronization
internal import System
internal import Wire

/// Delivers queues to the workers that the store says consume them. Each consumed queue has one loop, which asks a
/// `ConsumerScheduler` what to do; batches on their way are tasks of their own and end on the release that they started in.
actor QueueDriver {
    /// Gives a worker a batch. Throws `Refused` when the batch never reached the worker.
    typealias Deliver = @Sendable (QueueBatchMessage) async throws -> QueueBatchReply

    struct Refused: Error { let reason: String }

    private let store: any QueueStore
    /// What batches come from.
    private var served: any QueueStore
    private let clock: any NodeClock
    private let logger: Logger
    private let bells = QueueBells()
    private let changes = QueueBells()
    private static let anyConsumer = "consumers"
    /// Looks at the consumers whenever one of them changes.
    private var watch: Task<Void, Never>?
    /// Those of the release that serves, by name.
    private var workers: [String: Deliver] = [:]
    private var loops: [String: Task<Void, Never>] = [:]
    private var targets: [String: Target] = [:]
    private var schedulers: [String: ConsumerScheduler] = [:]
    private var batches: [UInt64: Task<Void, Never>] = [:]
    private var nextBatch: UInt64 = 0
    /// Batches by their queue, from before they are leased until they are settled, whichever settings and release they
    /// belong to: what `max_concurrency` bounds.
    private var inFlight: [String: Int] = [:]
    /// Batches that were delivered and wait for the store to take their settlement.
    private var settling: Set<UInt64> = []
    private var isStopping = false

    /// Batches of one queue at once that a tenant may have.
    static let tenantCap = 32

    private struct Target {
        let worker: String
        let settings: QueueConsumerSettings
        let deliver: Deliver
        /// What the batches come from and are settled with.
        let store: any QueueStore
    }

    init(store: any QueueStore, clock: any NodeClock, logger: Logger) {
        self.store = store
        served = store
        self.clock = clock
        self.logger = logger
        let bells = bells
        store.onReady { bells.ring($0) }
        let changes = changes
        store.onConsumerChange { changes.ring(Self.anyConsumer) }
    }

    /// How workers get their batches, each of which is given to one release as a request is.
    static func workers(of split: TrafficSplit, on node: Node) -> [String: Deliver] {
        split.primary.workers.mapValues { primary in
            { batch in
                let release = split.draw()
                let worker = release.workers[primary.name] ?? primary
                var encoder = WireEncoder(capacity: 4096)
                batch.encode(into: &encoder)
                let count = batch.items.count
                let meter = release.meter
                do {
                    let reply = try await node.send(.queue, encoder.bytes, to: worker, of: release) {
                        decoder throws(WireError) in
                        let reply = try QueueBatchReply(decoding: &decoder)
                        guard reply.decisions.count == count else {
                            throw .invalidValue("number of decisions", offset: decoder.offset)
                        }
                        return reply
                    }
                    let retried = reply.decisions.count { if case .retry = $0 { true } else { false } }
                    meter.noteMessages(count, retried: retried, worker: worker.name)
                    return reply
                } catch Node.EventError.refused(let reason) {
                    throw Refused(reason: reason)
                } catch {
                    meter.noteMessages(count, retried: count, worker: worker.name)
                    throw error
                }
            }
        }
    }

    /// Batches that start from now on go to these workers, whose queues are open.
    ///
    /// - Parameter served: What they come from, where that isn't the store itself but something around it.
    func install(_ workers: [String: Deliver], from served: (any QueueStore)? = nil) {
        self.served = served ?? store
        isStopping = false
        self.workers = workers
        if watch == nil {
            // Owned by this actor: cancelled by stop.
            let bell = changes.makeBell(Self.anyConsumer)
            watch = Task { for await _ in bell { self.reload() } }
        }
        reload()
    }

    /// Takes up what the store says of consumers.
    private func reload() {
        if isStopping { return }
        var fresh: [String: Target] = [:]
        do throws(QueueError) {
            for queue in try store.queues() {
                guard let consumer = queue.consumer, case .worker(let script) = consumer.kind, let deliver = workers[script]
                else { continue }
                fresh[queue.name] = Target(worker: script, settings: consumer.settings, deliver: deliver, store: served)
            }
        } catch {
            // What was known before goes on being delivered.
            logger.log(.error, "the consumers of queues can't be read: \(error)")
            for (queue, target) in targets {
                guard let deliver = workers[target.worker] else { continue }
                fresh[queue] = Target(worker: target.worker, settings: target.settings, deliver: deliver, store: served)
            }
        }
        for (queue, loop) in loops where fresh[queue] == nil {
            loop.cancel()
            loops[queue] = nil
            schedulers[queue] = nil
        }
        for (queue, target) in fresh {
            let isUnchanged = targets[queue].map { $0.settings == target.settings && $0.worker == target.worker } ?? false
            if !isUnchanged {
                schedulers[queue] = ConsumerScheduler(
                    target.settings, tenantCap: Self.tenantCap, inFlightCount: inFlight[queue] ?? 0)
            }
        }
        targets = fresh
        // Owned by this actor: cancelled above and by stop.
        for queue in fresh.keys where loops[queue] == nil { loops[queue] = Task { await self.run(queue) } }
        // A loop that waits does so by the settings of the previous release, which it also keeps alive.
        for queue in fresh.keys { bells.ring(queue) }
    }

    /// No new batches; returns when those on their way are settled.
    func stop() async {
        isStopping = true
        watch?.cancel()
        watch = nil
        let ending = Array(loops.values)
        for loop in ending { loop.cancel() }
        loops = [:]
        targets = [:]
        // One may be in the middle of a lease, which then makes a batch.
        for loop in ending { await loop.value }
        // What the store refuses until now is returned when it is opened again.
        for number in settling { batches[number]?.cancel() }
        while let batch = batches.first?.value { await batch.value }
    }

    private func run(_ queue: String) async {
        var bell = bells.makeBell(queue).makeAsyncIterator()
        while !Task.isCancelled {
            guard let target = targets[queue], var scheduler = schedulers[queue] else { return }
            do throws(QueueError) {
                let now = clock.wallTime()
                let readiness = try target.store.readiness(of: queue, countMax: scheduler.readyCountMax)
                let action = scheduler.next(readiness, now: now)
                schedulers[queue] = scheduler
                switch action {
                case .lease(let countMax):
                    let request = QueueLeaseRequest(queue, consumer: target.settings, countMax: countMax)
                    // Counted from here: meanwhile, the settings may be replaced.
                    schedulers[queue]?.batchStarted()
                    inFlight[queue, default: 0] += 1
                    let lease: QueueLease?
                    do throws(QueueError) { lease = try await target.store.lease(request) } catch {
                        withdrawn(queue)
                        throw error
                    }
                    guard let lease else {
                        withdrawn(queue)
                        continue
                    }
                    start(lease, to: Task.isCancelled ? nil : targets[queue], instead: target)
                case .wait(let time):
                    let timer = time.map { schedule(queue, at: $0) }
                    _ = await bell.next()
                    timer?.cancel()
                }
            } catch {
                logger.log(.error, "a queue can't be read: \(error)", [("queue", queue)])
                do { try await clock.sleep(for: .seconds(1)) } catch { return }
            }
        }
    }

    private func schedule(_ queue: String, at time: UnixTime) -> ClockTimer {
        let wait = Duration.milliseconds(max(1, time.milliseconds - clock.wallTime().milliseconds))
        let bells = bells
        return clock.schedule(at: clock.now() + wait) { bells.ring(queue) }
    }

    // MARK: One batch

    /// - Parameter target: `nil` when nobody consumes the queue any more: the messages go back unseen.
    private func start(_ lease: QueueLease, to target: Target?, instead last: Target) {
        nextBatch += 1
        let number = nextBatch
        batches[number] = Task {
            if let target {
                await self.deliver(lease, number, to: target)
            } else {
                await self.release(lease, number, last)
                self.withdrawn(lease.queue)
                // Whoever consumes the queue by now may have waited for the place.
                self.bells.ring(lease.queue)
            }
            self.batches[number] = nil
        }
    }

    /// A batch that never was.
    private func withdrawn(_ queue: String) {
        finish(queue)
        if let scheduler = schedulers[queue], scheduler.inFlightCount > 0 { schedulers[queue]?.batchWithdrawn() }
    }

    private func finish(_ queue: String) {
        let left = (inFlight[queue] ?? 1) - 1
        inFlight[queue] = left > 0 ? left : nil
    }

    private func deliver(_ lease: QueueLease, _ number: UInt64, to target: Target) async {
        var outcome = ConsumerScheduler.Outcome.failed
        do {
            let reply = try await target.deliver(lease.batch)
            if reply.succeeded { outcome = .succeeded }
            await settle(lease, number, reply.decisions, target)
        } catch let refused as Refused {
            // The batch never reached the handler: that costs no attempt.
            logger.log(.warning, "a batch found no isolate: \(refused.reason)", fields(lease, target))
            await release(lease, number, target)
            do { try await clock.sleep(for: .seconds(1)) } catch {}
        } catch {
            logger.log(.error, "a batch failed: \(error)", fields(lease, target))
            await settle(lease, number, lease.messages.map { _ in .retry(delaySeconds: nil) }, target)
        }
        ended(lease.queue, target, outcome)
    }

    private func release(_ lease: QueueLease, _ number: UInt64, _ target: Target) async {
        let fields = fields(lease, target)
        beginSettling(number)
        defer { settling.remove(number) }
        do throws(QueueError) {
            try await target.store.releasePatiently(lease, clock: clock) { [logger] error in
                logger.log(.warning, "a batch could not be given back yet: \(error)", fields)
            }
        } catch {
            logger.log(.error, "a batch could not be given back; the next start does it: \(error)", fields)
        }
    }

    /// From here on, a stop doesn't wait for the store to get well.
    private func beginSettling(_ number: UInt64) {
        settling.insert(number)
        if isStopping { batches[number]?.cancel() }
    }

    private func settle(
        _ lease: QueueLease, _ number: UInt64, _ decisions: [QueueBatchReply.Decision], _ target: Target
    ) async {
        beginSettling(number)
        defer { settling.remove(number) }
        let fields = fields(lease, target)
        do throws(QueueError) {
            let settlement = try await target.store.settlePatiently(
                lease, decisions, consumer: target.settings, clock: clock
            ) { [logger] error in
                logger.log(.warning, "a batch could not be settled yet: \(error)", fields)
            }
            if settlement.deadLetteredCount + settlement.droppedCount > 0 {
                logger.log(
                    .warning, "messages failed for the last time",
                    fields + [
                        ("deadLettered", "\(settlement.deadLetteredCount)"), ("dropped", "\(settlement.droppedCount)"),
                    ])
            }
        } catch {
            // The lease is returned at the next start: delivered again, never lost.
            logger.log(.error, "a batch could not be settled: \(error)", fields)
        }
    }

    private func ended(_ queue: String, _ target: Target, _ outcome: ConsumerScheduler.Outcome) {
        finish(queue)
        guard var scheduler = schedulers[queue] else { return }
        do throws(QueueError) {
            let readiness = try target.store.readiness(of: queue, countMax: scheduler.readyCountMax)
            if scheduler.inFlightCount > 0 { scheduler.batchEnded(outcome, readiness) }
        } catch {
            let unknown = QueueReadiness(isPaused: false, readyCount: 0, oldestReady: nil, nextReady: nil)
            if scheduler.inFlightCount > 0 { scheduler.batchEnded(outcome, unknown) }
        }
        schedulers[queue] = scheduler
        bells.ring(queue)
    }

    private func fields(_ lease: QueueLease, _ target: Target) -> [(name: String, value: String)] {
        [("queue", lease.queue), ("messages", "\(lease.messages.count)"), ("worker", target.worker)]
    }
}

/// Wakes the loop of a queue; any thread rings. Rings that nobody has heard yet count once.
private final class QueueBells: Sendable {
    private let continuations = Mutex<[String: AsyncStream<Void>.Continuation]>([:])

    func makeBell(_ queue: String) -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        continuations.withLock { $0[queue] = continuation }
        return stream
    }

    func ring(_ queue: String) {
        let continuation = continuations.withLock { $0[queue] }
        continuation?.yield()
    }
}
