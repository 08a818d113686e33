import Stores
import System
import Testing

@Suite struct `A budget` {
    let clock = VirtualClock()

    @Test func `gives what is left, and gets it back with the last reference`() async throws {
        let budget = Budget(10, clock: clock)
        var first = budget.tryAcquire(6)
        #expect(first != nil && budget.left == 4)
        #expect(budget.tryAcquire(5) == nil)
        first?.shrink(to: 3)
        #expect(budget.left == 7)
        #expect(first?.grow(to: 11) == false && first?.amount == 3)
        #expect(first?.grow(to: 10) == true && budget.left == 0)
        first = nil
        #expect(budget.left == 10)
        // More than all is all.
        let all = try await budget.acquire(1000)
        #expect(all.amount == 10)
    }

    @Test func `serves those who wait, and nobody past them`() async throws {
        let budget = Budget(10, clock: clock)
        var held = budget.tryAcquire(10)
        let waiters = [8, 1, 1].map { amount in Task { try await budget.acquire(amount).amount } }
        while budget.waiterCount < 3 { await Task.yield() }
        // A little is left now, but not for who comes later.
        held?.shrink(to: 9)
        #expect(budget.tryAcquire(1) == nil)
        held = nil
        var amounts: [Int] = []
        for waiter in waiters { amounts.append(try await waiter.value) }
        #expect(amounts == [8, 1, 1] && budget.left == 10)
    }

    @Test func `refuses who waits too long, is one too many, or is cancelled`() async throws {
        let budget = Budget(1, waitersMax: 2, waitingDuration: .seconds(5), clock: clock)
        let held = budget.tryAcquire(1)
        let late = Task { try await budget.acquire(1) }
        let cancelled = Task { try await budget.acquire(1) }
        while budget.waiterCount < 2 { await Task.yield() }
        await #expect(throws: Budget.Refused.self) { _ = try await budget.acquire(1) }
        cancelled.cancel()
        await #expect(throws: Budget.Refused.self) { _ = try await cancelled.value }
        #expect(budget.waiterCount == 1)
        clock.advance(by: .seconds(5))
        await #expect(throws: Budget.Refused.self) { _ = try await late.value }
        #expect(budget.waiterCount == 0)
        withExtendedLifetime(held) {}
    }
}

@Suite struct `Threads for waiting calls` {
    @Test func `run what comes after their end on the caller's`() async {
        let threads = IOThreads(count: 1, name: "test")
        #expect(await threads.run { 1 } == 1)
        threads.close()
        #expect(await threads.run { 2 } == 2)
    }

    @Test func `keep no place for work that is done while more always waits`() async {
        let threads = IOThreads(count: 1, name: "test")
        let places = await withCheckedContinuation { (continuation: CheckedContinuation<Int, Never>) in
            // Each of two makes its successor before it ends, so the queue is never empty.
            @Sendable func step(_ left: Int) {
                guard left > 0 else { return continuation.resume(returning: threads.queuePlaceCount) }
                threads.submit { step(left - 2) }
            }
            @Sendable func sibling(_ left: Int) {
                guard left > 0 else { return }
                threads.submit { sibling(left - 2) }
            }
            threads.submit {
                threads.submit { step(20_000) }
                threads.submit { sibling(30_001) }
            }
        }
        #expect(places < 5000)
        threads.close()
    }
}
