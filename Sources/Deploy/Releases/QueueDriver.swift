internal import Host
internal import Interfaces
internal import Observability
internal import StoresQueues
internal import Synchronization
internal import System
internal import Wire

/// Delivers queues to the workers that consume them. Each consumed queue has one loop, which asks a `ConsumerScheduler` what
/// to do; batches on their way are tasks of their own and end on the release that they started in.
actor QueueDriver {
    private let node: Node
    private let logger: Logger
    private let bells = QueueBells()
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
    private static let tenantCap = 32

    private struct Target {
        let consumer: WorkerDescription.Consumer
        let settings: QueueConsumerSettings
        let worker: WorkerRuntime
        let release: ReleaseRuntime
        /// What the release's batches come from and are settled with.
        let store: any QueueStore
    }

    init(node: Node, store: any QueueStore, logger: Logger) {
        self.node = node
        self.logger = logger
        let bells = bells
        store.onReady { bells.ring($0) }
    }

    /// Batches that start from now on come from `store` and go to `release`, whose queues are open.
    func install(_ description: ReleaseDescription, _ release: ReleaseRuntime, from store: any QueueStore) {
        isStopping = false
        var fresh: [String: Target] = [:]
        for worker in description.workers {
            guard let runtime = release.workers[worker.name] else { continue }
            for consumer in worker.consumers {
                let settings = QueueConsumerSettings(
                    batchSizeMax: consumer.batchSize, batchTimeout: consumer.batchTimeout,
                    retriesMax: consumer.retriesMax, retryDelaySeconds: consumer.retryDelaySeconds,
                    deadLetterQueue: consumer.deadLetterQueue, concurrencyMax: consumer.concurrencyMax)
                fresh[consumer.queue] = Target(
                    consumer: consumer, settings: settings, worker: runtime, release: release, store: store)
            }
        }
        for (queue, loop) in loops where fresh[queue] == nil {
            loop.cancel()
            loops[queue] = nil
            schedulers[queue] = nil
        }
        for (queue, target) in fresh {
            let isUnchanged = targets[queue]?.consumer == target.consumer
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
                let now = node.clock.wallTime()
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
                do { try await node.clock.sleep(for: .seconds(1)) } catch { return }
            }
        }
    }

    private func schedule(_ queue: String, at time: UnixTime) -> ClockTimer {
        let wait = Duration.milliseconds(max(1, time.milliseconds - node.clock.wallTime().milliseconds))
        let bells = bells
        return node.clock.schedule(at: node.clock.now() + wait) { bells.ring(queue) }
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
        var encoder = WireEncoder(capacity: 4096)
        lease.batch.encode(into: &encoder)
        var outcome = ConsumerScheduler.Outcome.failed
        do {
            let count = lease.messages.count
            let reply = try await node.send(
                .queue, encoder.bytes, to: target.worker, of: target.release
            ) { decoder throws(WireError) in
                let reply = try QueueBatchReply(decoding: &decoder)
                guard reply.decisions.count == count else {
                    throw .invalidValue("number of decisions", offset: decoder.offset)
                }
                return reply
            }
            if reply.succeeded { outcome = .succeeded }
            await settle(lease, number, reply.decisions, target)
        } catch Node.EventError.refused(let reason) {
            // The batch never reached the handler: that costs no attempt.
            logger.log(.warning, "a batch found no isolate: \(reason)", fields(lease, target))
            await release(lease, number, target)
            do { try await node.clock.sleep(for: .seconds(1)) } catch {}
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
            try await target.store.releasePatiently(lease, clock: node.clock) { [logger] error in
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
                lease, decisions, consumer: target.settings, clock: node.clock
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
        [("queue", lease.queue), ("messages", "\(lease.messages.count)"), ("worker", target.worker.name)]
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
