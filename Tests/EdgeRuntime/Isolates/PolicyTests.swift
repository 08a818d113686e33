import Isolates
import System
import Testing

private func at(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64(seconds * 1e9)) }

@Suite struct `The autoscaler` {
    static let busy = Autoscaler.Observation(cpu: 0.9, requestsPerSecond: 5000, openCount: 50)
    static let calm = Autoscaler.Observation(cpu: 0.5, requestsPerSecond: 1000, openCount: 5)
    static let idle = Autoscaler.Observation(cpu: 0.05, requestsPerSecond: 3, openCount: 1)
    static let silent = Autoscaler.Observation(cpu: 0, requestsPerSecond: 0, openCount: 0)

    /// Observes the same each second from `start` on, and returns the targets.
    static func run(
        _ scaler: inout Autoscaler, _ observation: Autoscaler.Observation, from start: Double, seconds: Int
    ) -> [Int] {
        (0..<seconds).map { scaler.observe(observation, at: at(start + Double($0))) }
    }

    @Test func `doubles under load up to the maximum, with a pause after each step`() {
        var scaler = Autoscaler(rules: .init(minimum: 1, maximum: 6))
        let targets = Self.run(&scaler, Self.busy, from: 0, seconds: 20)
        #expect(targets == [1, 1, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 6, 6, 6, 6])
    }

    @Test func `doubles for slowness as well as for CPU`() {
        var scaler = Autoscaler(rules: .init(minimum: 1, maximum: 8))
        let slow = Autoscaler.Observation(
            cpu: 0.1, p95: .milliseconds(1001), requestsPerSecond: 5, openCount: 9)
        #expect(Self.run(&scaler, slow, from: 0, seconds: 3).last == 2)
        var patient = Autoscaler(rules: .init(minimum: 1, maximum: 8))
        let justInTime = Autoscaler.Observation(
            cpu: 0.8, p95: .seconds(1), requestsPerSecond: 5, openCount: 9)
        #expect(Self.run(&patient, justInTime, from: 0, seconds: 30).last == 1)
    }

    @Test func `halves when idle for long, down to the minimum`() {
        var scaler = Autoscaler(rules: .init(minimum: 2, maximum: 8))
        _ = Self.run(&scaler, Self.busy, from: 0, seconds: 20)
        #expect(scaler.target == 8)
        let targets = Self.run(&scaler, Self.idle, from: 20, seconds: 300)
        #expect(targets.first == 8 && targets.last == 2)
        #expect(Set(targets) == [8, 4, 2])
        #expect(targets[29] == 8)  // Not before half a minute has passed.
    }

    @Test func `keeps what is busy with many requests or would be too busy on half`() {
        for observation in [
            Autoscaler.Observation(cpu: 0.05, requestsPerSecond: 100, openCount: 1), Self.calm,
        ] {
            var scaler = Autoscaler(rules: .init(minimum: 1, maximum: 4))
            _ = Self.run(&scaler, Self.busy, from: 0, seconds: 20)
            #expect(Self.run(&scaler, observation, from: 20, seconds: 300).last == 4)
        }
    }

    @Test func `a short spike changes nothing`() {
        var scaler = Autoscaler(rules: .init(minimum: 1, maximum: 8))
        for second in 0..<100 {
            let observation = second % 2 == 0 ? Self.busy : Self.calm
            #expect(scaler.observe(observation, at: at(Double(second))) == 1)
        }
    }

    @Test func `goes to zero only where that is allowed, and comes back with a request`() {
        var scaler = Autoscaler(rules: .init(minimum: 0, maximum: 4))
        #expect(scaler.target == 0)
        scaler.wakeFromZero(at: at(0))
        #expect(scaler.target == 1)
        let targets = Self.run(&scaler, Self.silent, from: 0, seconds: 62)
        #expect(targets[59] == 1 && targets[60] == 0)
        var kept = Autoscaler(rules: .init(minimum: 1, maximum: 4))
        #expect(Self.run(&kept, Self.silent, from: 0, seconds: 1000).last == 1)
    }

    @Test func `an open event keeps the last one`() {
        var scaler = Autoscaler(rules: .init(minimum: 0, maximum: 4))
        scaler.wakeFromZero(at: at(0))
        let waiting = Autoscaler.Observation(cpu: 0, requestsPerSecond: 0, openCount: 1)
        #expect(Self.run(&scaler, waiting, from: 0, seconds: 1000).last == 1)
    }

    @Test func `stays in range and never moves twice within its pauses`() {
        for seed in UInt64(1)...100 {
            var random = SeededGenerator(seed: seed)
            let rules = Autoscaler.Rules(
                minimum: Int.random(in: 0...3, using: &random),
                maximum: Int.random(in: 3...20, using: &random))
            var scaler = Autoscaler(rules: rules)
            var before = scaler.target
            var now = 0.0
            var changed = -1000.0
            for _ in 0..<500 {
                now += Double.random(in: 0.1...20, using: &random)
                let observation = Autoscaler.Observation(
                    cpu: Double.random(in: 0...1, using: &random),
                    p95: Bool.random(using: &random)
                        ? .milliseconds(Int.random(in: 0...2000, using: &random)) : nil,
                    requestsPerSecond: Double.random(in: 0...200, using: &random),
                    openCount: Int.random(in: 0...3, using: &random))
                let target = scaler.observe(observation, at: at(now))
                #expect(
                    target == 0 || (max(1, rules.minimum)...rules.maximum).contains(target), "seed \(seed)")
                #expect(target > 0 || rules.minimum == 0, "seed \(seed)")
                if target != before {
                    #expect(target == 0 || now - changed >= 5, "seed \(seed)")
                    changed = now
                }
                before = target
            }
        }
    }
}

@Suite struct `Crash-loop backoff` {
    @Test func `lets three failures pass in a minute, then waits longer and longer`() {
        var backoff = CrashLoopBackoff()
        #expect(backoff.noteFailure(at: at(0)) == nil)
        #expect(backoff.noteFailure(at: at(1)) == nil)
        #expect(backoff.mayStart(at: at(1)))
        #expect(backoff.noteFailure(at: at(2)) == .loopBegan(failureCount: 3, delay: .seconds(1)))
        #expect(!backoff.mayStart(at: at(2.9)) && backoff.mayStart(at: at(3)))
        #expect(backoff.noteFailure(at: at(3)) == .loopContinues(delay: .seconds(2)))
        var now = 5.0
        var delays: [Duration] = []
        for _ in 0..<9 {
            guard case .loopContinues(let delay)? = backoff.noteFailure(at: at(now)) else { break }
            delays.append(delay)
            now += Double(delay.components.seconds)
        }
        #expect(delays.map(\.components.seconds) == [4, 8, 16, 32, 64, 128, 256, 300, 300])
    }

    @Test func `failures of one round deepen it once`() {
        var backoff = CrashLoopBackoff()
        for second in 0..<3 { _ = backoff.noteFailure(at: at(Double(second))) }
        #expect(backoff.noteFailure(at: at(2.1)) == nil)
        #expect(backoff.noteFailure(at: at(2.2)) == nil)
        #expect(backoff.startAllowedAt == at(3))
    }

    @Test func `three failures that lie apart are no loop`() {
        var backoff = CrashLoopBackoff()
        for second in stride(from: 0.0, to: 1000, by: 31) {
            #expect(backoff.noteFailure(at: at(second)) == nil)
        }
        #expect(!backoff.isLooping)
    }

    @Test func `health ends it, but only lasting health`() {
        var backoff = CrashLoopBackoff()
        for second in 0..<3 { _ = backoff.noteFailure(at: at(Double(second))) }
        backoff.noteHealth(uptime: .seconds(9))
        #expect(backoff.isLooping)
        backoff.noteHealth(uptime: .seconds(10))
        #expect(!backoff.isLooping && backoff.mayStart(at: at(0)))
    }

    @Test func `isolates that had started well never earn a long pause`() {
        var backoff = CrashLoopBackoff()
        for second in 0..<2 { #expect(backoff.noteFailure(at: at(Double(second)), wasReady: true) == nil) }
        let began = backoff.noteFailure(at: at(2), wasReady: true)
        #expect(began == .loopBegan(failureCount: 3, delay: .seconds(1)))
        for second in stride(from: 3.0, to: 30, by: 1) {
            #expect(backoff.noteFailure(at: at(second), wasReady: true) == .loopContinues(delay: .seconds(1)))
            #expect(backoff.isBrief)
        }
        // Failures to start deepen it, and one start that succeeds takes it back.
        #expect(backoff.noteFailure(at: at(30)) == .loopContinues(delay: .seconds(2)))
        #expect(!backoff.isBrief)
        #expect(backoff.noteFailure(at: at(32)) == .loopContinues(delay: .seconds(4)))
        #expect(backoff.noteFailure(at: at(36), wasReady: true) == .loopContinues(delay: .seconds(1)))
    }

    @Test func `is forgotten after ten quiet minutes`() {
        var backoff = CrashLoopBackoff()
        for second in 0..<3 { _ = backoff.noteFailure(at: at(Double(second))) }
        #expect(backoff.noteFailure(at: at(602)) == nil)
        #expect(!backoff.isLooping)
    }
}

@Suite struct `A health event without an answer` {
    @Test func `is overdue after ten seconds of silence, not before`() {
        let check = HealthCheck(sent: at(5), cpuTime: .seconds(100))
        #expect(!check.isOverdue(at: at(15), cpuTime: .seconds(100)))
        #expect(check.isOverdue(at: at(15.001), cpuTime: .seconds(100)))
    }

    @Test func `is excused by computing, even with an eighth of a core`() {
        let check = HealthCheck(sent: at(0), cpuTime: .zero)
        for second in 0..<100 {
            #expect(!check.isOverdue(at: at(Double(second)), cpuTime: .milliseconds(second * 125)))
        }
        // A little of it now and then is no excuse.
        #expect(check.isOverdue(at: at(13), cpuTime: .milliseconds(300)))
    }

    @Test func `survives readings that go back`() {
        let check = HealthCheck(sent: at(0), cpuTime: .seconds(3))
        #expect(!check.isOverdue(at: at(10), cpuTime: .zero))
    }
}

@Suite struct `The least-loaded choice` {
    @Test func `takes the smallest of few, and never one that is full`() {
        for seed in UInt64(1)...500 {
            var random = SeededGenerator(seed: seed)
            var choice = LeastLoaded(seed: seed)
            let loads = (0..<Int.random(in: 0...16, using: &random)).map { _ -> Int? in
                Int.random(in: 0..<4, using: &random) == 0 ? nil : Int.random(in: 0...9, using: &random)
            }
            let chosen = choice.choose(count: loads.count) { loads[$0] }
            let best = loads.compactMap { $0 }.min()
            #expect(chosen.map { loads[$0] } == best.map { .some($0) }, "seed \(seed)")
        }
    }

    @Test func `spreads equal loads, and keeps many isolates even`() {
        for count in [4, 16, 64] {
            var choice = LeastLoaded(seed: 42)
            var loads = Array(repeating: 0, count: count)
            for _ in 0..<(count * 100) {
                if let chosen = choice.choose(count: count, load: { loads[$0] }) { loads[chosen] += 1 }
            }
            #expect((loads.max() ?? 0) - (loads.min() ?? 0) <= 8, "\(count): \(loads)")
        }
    }

    @Test func `finds the one that is free among many that are full`() {
        var choice = LeastLoaded(seed: 7)
        for free in 0..<100 {
            #expect(choice.choose(count: 100) { $0 == free ? 5 : nil } == free)
        }
        #expect(choice.choose(count: 100) { _ in nil } == nil)
    }
}

@Suite struct `The pool` {
    @Test func `starts its minimum, dispatches when one is ready`() {
        var pool = PoolState(rules: .init(minimum: 2, maximum: 4))
        #expect(pool.admit(at: at(0)) == .wait)
        #expect(pool.decide(at: at(0)) { _ in 0 } == [.spawn, .spawn])
        pool.noteStart(IsolateID(1), at: at(0))
        pool.noteStart(IsolateID(2), at: at(0))
        #expect(pool.decide(at: at(0)) { _ in 0 } == [])
        #expect(pool.admit(at: at(0)) == .wait)
        pool.noteReady(IsolateID(2), at: at(0.01))
        #expect(pool.admit(at: at(0.01)) == .dispatch)
        #expect(pool.waitingCount == 2)
        pool.leaveQueue(count: 2)
        #expect(pool.readyIsolates == [IsolateID(2)])
    }

    @Test func `a request wakes a pool that scaled to zero, and a full queue refuses`() {
        var limits = PoolState.Limits()
        limits.waitingMax = 2
        var pool = PoolState(rules: .init(minimum: 0, maximum: 4), limits: limits)
        #expect(pool.decide(at: at(0)) { _ in 0 } == [])
        #expect(pool.admit(at: at(1)) == .wait)
        #expect(pool.decide(at: at(1)) { _ in 0 } == [.spawn])
        #expect(pool.admit(at: at(1)) == .wait)
        #expect(pool.admit(at: at(1)) == .refuse(.queueFull(waitingMax: 2)))
        #expect(pool.refusedTotal == 1)
    }

    @Test func `replaces one that crashed, and stops after the third`() {
        var pool = PoolState(rules: .init(minimum: 1, maximum: 4))
        for number in UInt64(1)...3 {
            #expect(pool.decide(at: at(Double(number))) { _ in 0 } == [.spawn])
            pool.noteStart(IsolateID(number), at: at(Double(number)))
            let report = pool.noteEnd(IsolateID(number), isFailure: true, at: at(Double(number)))
            #expect((report == nil) == (number < 3))
        }
        #expect(pool.decide(at: at(3.5)) { _ in 0 } == [.decideAgain(at: at(4))])
        #expect(pool.admit(at: at(3.5)) == .refuse(.crashLoop(retryAt: at(4))))
        #expect(pool.decide(at: at(4)) { _ in 0 } == [.spawn])
        pool.noteStart(IsolateID(9), at: at(4))
        pool.noteReady(IsolateID(9), at: at(4))
        pool.noteHealth(IsolateID(9), at: at(20))
        #expect(!pool.isLooping)
    }

    @Test func `lets requests wait out the pause of isolates that had started well`() {
        var pool = PoolState(rules: .init(minimum: 1, maximum: 4))
        for number in UInt64(1)...3 {
            #expect(pool.decide(at: at(Double(number))) { _ in 0 } == [.spawn])
            pool.noteStart(IsolateID(number), at: at(Double(number)))
            pool.noteReady(IsolateID(number), at: at(Double(number)))
            _ = pool.noteEnd(IsolateID(number), isFailure: true, at: at(Double(number)))
        }
        #expect(pool.admit(at: at(3.5)) == .wait)
        #expect(pool.decide(at: at(3.5)) { _ in 0 } == [.decideAgain(at: at(4))])
    }

    @Test func `retires the least busy, and all when it drains`() {
        var pool = PoolState(rules: .init(minimum: 1, maximum: 4))
        let busy = Autoscaler.Observation(cpu: 1, requestsPerSecond: 999, openCount: 9)
        for second in 0..<20 { pool.observe(busy, at: at(Double(second))) }
        #expect(pool.decide(at: at(20)) { _ in 0 }.count == 4)
        for number in UInt64(1)...4 {
            pool.noteStart(IsolateID(number), at: at(20))
            pool.noteReady(IsolateID(number), at: at(20))
        }
        let idle = Autoscaler.Observation(cpu: 0, requestsPerSecond: 1, openCount: 1)
        for second in 20..<100 { pool.observe(idle, at: at(Double(second))) }
        #expect(pool.target == 2)
        let open: [UInt64: Int] = [1: 0, 2: 5, 3: 0, 4: 1]
        #expect(
            pool.decide(at: at(100)) { open[$0.number] ?? 0 } == [
                .retire(IsolateID(3)), .retire(IsolateID(1)),
            ])
        #expect(pool.readyIsolates == [IsolateID(2), IsolateID(4)])
        pool.drain()
        #expect(pool.admit(at: at(100)) == .refuse(.draining))
        #expect(pool.decide(at: at(100)) { _ in 0 } == [.retire(IsolateID(2)), .retire(IsolateID(4))])
        #expect(pool.decide(at: at(100)) { _ in 0 } == [])
        for number in UInt64(1)...4 { _ = pool.noteEnd(IsolateID(number), isFailure: false, at: at(101)) }
        #expect(pool.drainingCount == 0)
    }

    @Test func `keeps its counts through anything that can happen`() {
        for seed in UInt64(1)...200 {
            var random = SeededGenerator(seed: seed)
            var limits = PoolState.Limits()
            limits.waitingMax = 5
            limits.startingMax = 2
            let rules = Autoscaler.Rules(
                minimum: Int.random(in: 0...2, using: &random), maximum: Int.random(in: 2...8, using: &random)
            )
            var pool = PoolState(rules: rules, limits: limits)
            var alive: Set<IsolateID> = []
            var next: UInt64 = 1
            var now = 0.0
            for step in 0..<400 {
                now += Double.random(in: 0...5, using: &random)
                switch Int.random(in: 0..<8, using: &random) {
                case 0: _ = pool.admit(at: at(now))
                case 1: pool.leaveQueue(count: Int.random(in: 0...pool.waitingCount, using: &random))
                case 2: if let id = alive.randomElement(using: &random) { pool.noteReady(id, at: at(now)) }
                case 3:
                    if let id = alive.randomElement(using: &random) {
                        alive.remove(id)
                        _ = pool.noteEnd(id, isFailure: Bool.random(using: &random), at: at(now))
                    }
                case 4: if let id = alive.randomElement(using: &random) { pool.noteHealth(id, at: at(now)) }
                case 5:
                    pool.observe(
                        .init(
                            cpu: Double.random(in: 0...1, using: &random),
                            requestsPerSecond: Double.random(in: 0...150, using: &random), openCount: 1),
                        at: at(now))
                case 6 where step > 350: pool.drain()
                default:
                    for decision in pool.decide(at: at(now), openCount: { _ in 0 }) {
                        switch decision {
                        case .spawn:
                            alive.insert(IsolateID(next))
                            pool.noteStart(IsolateID(next), at: at(now))
                            next += 1
                        case .retire(let id):
                            #expect(alive.contains(id), "seed \(seed), step \(step)")
                        case .decideAgain(let later): #expect(later > at(now), "seed \(seed), step \(step)")
                        }
                    }
                }
                let message: Comment = "seed \(seed), step \(step)"
                #expect(pool.startingCount + pool.readyCount + pool.drainingCount == alive.count, message)
                #expect(pool.startingCount <= limits.startingMax, message)
                #expect(pool.startingCount + pool.readyCount <= rules.maximum, message)
                #expect((0...limits.waitingMax).contains(pool.waitingCount), message)
            }
        }
    }
}
