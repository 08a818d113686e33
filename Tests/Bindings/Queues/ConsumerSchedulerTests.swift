import StoresQueues
import System
import Testing

@Suite struct `Consumer scheduler` {
    private func readiness(_ count: Int, since oldest: Int64 = 0, next: Int64? = nil) -> QueueReadiness {
        QueueReadiness(
            isPaused: false, readyCount: count, oldestReady: count > 0 ? UnixTime(milliseconds: oldest) : nil,
            nextReady: next.map { UnixTime(milliseconds: $0) })
    }

    private func time(_ milliseconds: Int64) -> UnixTime { UnixTime(milliseconds: milliseconds) }

    @Test func `waits for a full batch or for the time-out of its first message`() {
        var scheduler = ConsumerScheduler(QueueConsumerSettings(), tenantCap: 1)
        #expect(scheduler.next(readiness(0), now: time(0)) == .wait(until: nil))
        #expect(scheduler.next(readiness(0, next: 700), now: time(0)) == .wait(until: time(700)))
        #expect(scheduler.next(readiness(9), now: time(4999)) == .wait(until: time(5000)))
        #expect(scheduler.next(readiness(9, next: 4999), now: time(1)) == .wait(until: time(4999)))
        #expect(scheduler.next(readiness(9), now: time(5000)) == .lease(countMax: 10))
        #expect(scheduler.next(readiness(10), now: time(0)) == .lease(countMax: 10))
    }

    @Test func `delivers at once with a time-out of zero`() {
        var scheduler = ConsumerScheduler(QueueConsumerSettings(batchTimeout: .zero), tenantCap: 1)
        #expect(scheduler.next(readiness(1, since: 50), now: time(50)) == .lease(countMax: 10))
    }

    @Test func `begins with one batch and adds one per interval while the backlog stays`() {
        var scheduler = ConsumerScheduler(QueueConsumerSettings(), tenantCap: 3)
        #expect(scheduler.next(readiness(11), now: time(0)) == .lease(countMax: 10))
        scheduler.batchStarted()
        #expect(scheduler.next(readiness(11), now: time(0)) == .wait(until: time(1000)))
        #expect(scheduler.next(readiness(11), now: time(999)) == .wait(until: time(1000)))
        #expect(scheduler.next(readiness(11), now: time(1000)) == .lease(countMax: 10))
        scheduler.batchStarted()
        #expect(scheduler.next(readiness(11), now: time(1000)) == .wait(until: time(2000)))
        #expect(scheduler.next(readiness(11), now: time(2000)) == .lease(countMax: 10))
        scheduler.batchStarted()
        #expect(scheduler.next(readiness(11), now: time(9000)) == .wait(until: nil))
        #expect(scheduler.concurrency == 3)
    }

    @Test func `adds none when the rest fits into the next batch`() {
        var scheduler = ConsumerScheduler(QueueConsumerSettings(), tenantCap: 3)
        scheduler.batchStarted()
        #expect(scheduler.next(readiness(10), now: time(0)) == .wait(until: nil))
        #expect(scheduler.next(readiness(10), now: time(5000)) == .wait(until: nil))
    }

    @Test func `counts batches of earlier settings, and forgets those that never left`() {
        let settings = QueueConsumerSettings(batchSizeMax: 1, batchTimeout: .zero, concurrencyMax: 1)
        var scheduler = ConsumerScheduler(settings, tenantCap: 32, inFlightCount: 1)
        let now = UnixTime(milliseconds: 1000)
        let ready = QueueReadiness(isPaused: false, readyCount: 2, oldestReady: now, nextReady: nil)
        #expect(scheduler.next(ready, now: now) == .wait(until: nil))
        scheduler.batchEnded(.succeeded, ready)
        #expect(scheduler.next(ready, now: now) == .lease(countMax: 1))
        scheduler.batchStarted()
        #expect(scheduler.next(ready, now: now) == .wait(until: nil))
        scheduler.batchWithdrawn()
        #expect(scheduler.next(ready, now: now) == .lease(countMax: 1))
    }

    @Test func `is serial with a concurrency of one`() {
        var scheduler = ConsumerScheduler(QueueConsumerSettings(concurrencyMax: 1), tenantCap: 100)
        scheduler.batchStarted()
        #expect(scheduler.next(readiness(11), now: time(100_000)) == .wait(until: nil))
        scheduler.batchEnded(.succeeded, readiness(11))
        #expect(scheduler.next(readiness(11), now: time(100_000)) == .lease(countMax: 10))
    }

    @Test func `halves after a failure, and grows again only after a success`() {
        var scheduler = ConsumerScheduler(QueueConsumerSettings(), tenantCap: 250)
        var now: Int64 = 0
        scheduler.batchStarted()
        while scheduler.concurrency < 8 {
            if case .lease = scheduler.next(readiness(11), now: time(now)) { scheduler.batchStarted() }
            now += 500
        }
        #expect(scheduler.inFlightCount == 8)
        scheduler.batchEnded(.failed, readiness(11))
        #expect(scheduler.concurrency == 4)
        for _ in 0..<3 { scheduler.batchEnded(.failed, readiness(11)) }
        #expect(scheduler.concurrency == 1)
        #expect(scheduler.next(readiness(11), now: time(now + 60_000)) == .wait(until: nil))
        for _ in 0..<3 { scheduler.batchEnded(.succeeded, readiness(11)) }
        #expect(scheduler.next(readiness(11), now: time(now + 60_000)) == .wait(until: time(now + 61_000)))
        scheduler.batchEnded(.succeeded, readiness(0))
        #expect(scheduler.concurrency == 1)
    }

    @Test func `keeps its bounds under random events`() {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let cap = Int.random(in: 1...6, using: &generator)
            var scheduler = ConsumerScheduler(QueueConsumerSettings(), tenantCap: cap)
            var now: Int64 = 0
            for _ in 0..<100 {
                now += Int64.random(in: 0...1500, using: &generator)
                let ready = readiness(Int.random(in: 0...11, using: &generator), since: max(0, now - 3000))
                switch scheduler.next(ready, now: time(now)) {
                case .lease(let countMax):
                    #expect(countMax == 10 && ready.readyCount > 0, "seed \(seed)")
                    scheduler.batchStarted()
                case .wait(let until): #expect(until.map { $0 > time(now) } ?? true, "seed \(seed)")
                }
                if scheduler.inFlightCount > 0, Bool.random(using: &generator) {
                    scheduler.batchEnded(Bool.random(using: &generator) ? .succeeded : .failed, ready)
                }
                #expect((1...cap).contains(scheduler.concurrency), "seed \(seed)")
                #expect(scheduler.inFlightCount <= cap, "seed \(seed)")
            }
        }
    }
}
