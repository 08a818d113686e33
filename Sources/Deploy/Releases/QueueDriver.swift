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
    private let store: EmbeddedQueueStore
    private let logger: Logger
    private let bells = QueueBells()
    private var loops: [String: Task<Void, Never>] = [:]
    private var targets: [String: Target] = [:]
    private var schedulers: [String: ConsumerScheduler] = [:]
    private var batches: [UInt64: Task<Void, Never>] = [:]
    private var nextBatch: UInt64 = 0

    /// Batches of one queue at once that a tenant may have.
    private static let tenantCap = 32

    private struct Target {
        let consumer: WorkerDescription.Consumer
        let settings: QueueConsumerSettings
        let worker: WorkerRuntime
        let release: ReleaseRuntime
    }

    init(node: Node, store: EmbeddedQueueStore, logger: Logger) {
        self.node = node
        self.store = store
        self.logger = logger
        let bells = bells
        store.onReady { bells.ring($0) }
    }

    /// Batches that start from now on go to `release`, whose queues are open.
    func install(_ description: ReleaseDescription, _ release: ReleaseRuntime) {
        var fresh: [String: Target] = [:]
        for worker in description.workers {
            guard let runtime = release.workers[worker.name] else { continue }
            for consumer in worker.consumers {
                let settings = QueueConsumerSettings(
                    batchSizeMax: consumer.batchSize, batchTimeout: consumer.batchTimeout,
                    retriesMax: consumer.retriesMax, retryDelaySeconds: consumer.retryDelaySeconds,
                    deadLetterQueue: consumer.deadLetterQueue, concurrencyMax: consumer.concurrencyMax)
                fresh[consumer.queue] = Target(
                    consumer: consumer, settings: settings, worker: runtime, release: release)
            }
        }
        for (queue, loop) in loops where fresh[queue] == nil {
            loop.cancel()
            loops[queue] = nil
            schedulers[queue] = nil
        }
        for (queue, target) in fresh {
            let isUnchanged = targets[queue]?.consumer == target.consumer
            if !isUnchanged { schedulers[queue] = ConsumerScheduler(target.settings, tenantCap: Self.tenantCap) }
        }
        targets = fresh
        // Owned by this actor: cancelled above and by stop.
        for queue in fresh.keys where loops[queue] == nil { loops[queue] = Task { await self.run(queue) } }
        // A loop that waits does so by the settings of the previous release, which it also keeps alive.
        for queue in fresh.keys { bells.ring(queue) }
    }

    /// No new batches; returns when those on their way are settled.
    func stop() async {
        for loop in loops.values { loop.cancel() }
        loops = [:]
        targets = [:]
        for batch in batches.values { await batch.value }
    }

    private func run(_ queue: String) async {
        var bell = bells.makeBell(queue).makeAsyncIterator()
        while !Task.isCancelled {
            guard let target = targets[queue], var scheduler = schedulers[queue] else { return }
            do throws(QueueError) {
                let now = node.clock.wallTime()
                let readiness = try store.readiness(of: queue, countMax: scheduler.readyCountMax)
                let action = scheduler.next(readiness, now: now)
                schedulers[queue] = scheduler
                switch action {
                case .lease(let countMax):
                    let request = QueueLeaseRequest(queue, consumer: target.settings, countMax: countMax)
                    guard let lease = try await store.lease(request) else { continue }
                    schedulers[queue]?.batchStarted()
                    start(lease, to: target)
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

    private func start(_ lease: QueueLease, to target: Target) {
        nextBatch += 1
        let number = nextBatch
        batches[number] = Task {
            await self.deliver(lease, to: target)
            self.batches[number] = nil
        }
    }

    private func deliver(_ lease: QueueLease, to target: Target) async {
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
            await settle(lease, reply.decisions, target)
        } catch Node.EventError.refused(let reason) {
            // The batch never reached the handler: that costs no attempt.
            logger.log(.warning, "a batch found no isolate: \(reason)", fields(lease, target))
            do { try await store.release(lease) } catch { logger.log(.error, "a lease stays until restart: \(error)") }
            do { try await node.clock.sleep(for: .seconds(1)) } catch {}
        } catch {
            logger.log(.error, "a batch failed: \(error)", fields(lease, target))
            await settle(lease, lease.messages.map { _ in .retry(delaySeconds: nil) }, target)
        }
        ended(lease.queue, outcome)
    }

    private func settle(_ lease: QueueLease, _ decisions: [QueueBatchReply.Decision], _ target: Target) async {
        do throws(QueueError) {
            let settlement = try await store.settle(lease, decisions, consumer: target.settings)
            if settlement.deadLetteredCount + settlement.droppedCount > 0 {
                logger.log(
                    .warning, "messages failed for the last time",
                    fields(lease, target) + [
                        ("deadLettered", "\(settlement.deadLetteredCount)"), ("dropped", "\(settlement.droppedCount)"),
                    ])
            }
        } catch {
            // The lease lapses or is returned at the next start: delivered again, never lost.
            logger.log(.error, "a batch could not be settled: \(error)", fields(lease, target))
        }
    }

    private func ended(_ queue: String, _ outcome: ConsumerScheduler.Outcome) {
        guard var scheduler = schedulers[queue] else { return }
        do throws(QueueError) {
            let readiness = try store.readiness(of: queue, countMax: scheduler.readyCountMax)
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
