import Platform
import Testing

@Suite struct `A circuit breaker` {
    private func opened(at now: Int64) -> Breaker {
        let breaker = Breaker(callsMin: 4, periodMilliseconds: 10_000, openMilliseconds: 5_000)
        for _ in 0..<4 {
            #expect(breaker.mayCall(now: now))
            breaker.report(.failure, now: now)
        }
        return breaker
    }

    @Test func `opens when half of enough calls fail`() {
        let breaker = Breaker(callsMin: 4, periodMilliseconds: 10_000, openMilliseconds: 5_000)
        for outcome in [CircuitBreaker.Outcome.failure, .failure, .success] {
            breaker.report(outcome, now: 1000)
        }
        #expect(breaker.state == .closed)
        breaker.report(.success, now: 1000)
        #expect(breaker.state == .open(until: 6000))
        #expect(!breaker.mayCall(now: 5999))
    }

    @Test func `stays closed while most calls succeed`() {
        let breaker = Breaker(callsMin: 4, periodMilliseconds: 10_000, openMilliseconds: 5_000)
        for index in 0..<100 { breaker.report(index % 3 == 2 ? .failure : .success, now: Int64(index)) }
        #expect(breaker.state == .closed)
    }

    @Test func `forgets failures of an earlier period`() {
        let breaker = Breaker(callsMin: 4, periodMilliseconds: 10_000, openMilliseconds: 5_000)
        for _ in 0..<3 { breaker.report(.failure, now: 20_000) }
        breaker.report(.failure, now: 30_000)
        #expect(breaker.state == .closed)
    }

    @Test func `lets one probe through and closes when it succeeds`() {
        let breaker = opened(at: 1000)
        #expect(breaker.mayCall(now: 6000))
        #expect(breaker.state == .probing(since: 6000))
        #expect(!breaker.mayCall(now: 6001))
        breaker.report(.success, now: 6100)
        #expect(breaker.state == .closed)
        #expect(breaker.mayCall(now: 6100))
    }

    @Test func `opens again when the probe fails`() {
        let breaker = opened(at: 1000)
        #expect(breaker.mayCall(now: 6000))
        breaker.report(.failure, now: 6100)
        #expect(breaker.state == .open(until: 11_100))
    }

    @Test func `gives up a probe that never reports`() {
        let breaker = opened(at: 1000)
        #expect(breaker.mayCall(now: 6000))
        #expect(!breaker.mayCall(now: 10_999))
        #expect(breaker.mayCall(now: 11_000))
    }

    @Test func `ignores late reports while it is open`() {
        let breaker = opened(at: 1000)
        breaker.report(.success, now: 1001)
        #expect(breaker.state == .open(until: 6000))
    }
}

@Suite struct `A retry budget` {
    @Test func `is a tenth of the calls`() {
        let budget = Budget(retriesMax: 2)
        #expect(budget.spend() && budget.spend() && !budget.spend())
        for _ in 0..<9 { budget.earn() }
        #expect(!budget.spend())
        budget.earn()
        #expect(budget.spend() && !budget.spend())
        for _ in 0..<1000 { budget.earn() }
        #expect(budget.spend() && budget.spend() && !budget.spend())
    }
}

// `#expect` can't hold a call that mutates a value; a method of an object it can.

private final class Breaker {
    private var breaker: CircuitBreaker
    init(callsMin: Int, periodMilliseconds: Int64, openMilliseconds: Int64) {
        breaker = CircuitBreaker(
            callsMin: callsMin, periodMilliseconds: periodMilliseconds, openMilliseconds: openMilliseconds)
    }
    var state: CircuitBreaker.State { breaker.state }
    func mayCall(now: Int64) -> Bool { breaker.mayCall(now: now) }
    func report(_ outcome: CircuitBreaker.Outcome, now: Int64) { breaker.report(outcome, now: now) }
}

private final class Budget {
    private var budget: RetryBudget
    init(retriesMax: Int) { budget = RetryBudget(retriesMax: retriesMax) }
    func earn() { budget.earn() }
    func spend() -> Bool { budget.spend() }
}
