internal import Synchronization
package import System

/// How much a store may hold at once of what its callers make it hold: bytes of bodies, open files.
///
/// A share is taken before what it stands for exists, and goes back when nobody holds it any more. Who finds too
/// little left waits for his turn, in the order of arrival, and is refused when too many wait or the turn doesn't
/// come in time. Any thread may call it.
package final class Budget: Sendable {
    /// Nothing was taken: ask again later.
    package struct Refused: Error {}

    private struct Waiter {
        let number: UInt64
        let amount: Int
        let continuation: CheckedContinuation<Bool, Never>
    }
    private struct State {
        var left: Int
        var waiters: [Waiter] = []
        var lastNumber: UInt64 = 0
    }

    package let total: Int
    private let waitersMax: Int
    private let waitingDuration: Duration
    private let clock: any NodeClock
    private let state: Mutex<State>

    /// - Parameters:
    ///   - total: What all shares together may come to.
    ///   - waitersMax: More than these are refused at once.
    ///   - waitingDuration: How long each of them may wait. Shares are held by callers who may be slow, or never
    ///     end.
    package init(
        _ total: Int, waitersMax: Int = 2048, waitingDuration: Duration = .seconds(10), clock: any NodeClock
    ) {
        self.total = total
        self.waitersMax = waitersMax
        self.waitingDuration = waitingDuration
        self.clock = clock
        state = Mutex(State(left: total))
    }

    /// What is not taken.
    package var left: Int { state.withLock { $0.left } }
    package var waiterCount: Int { state.withLock { $0.waiters.count } }

    /// A share, if it can be had now and nobody waits for one. An amount above the total means all of it.
    package func tryAcquire(_ amount: Int) -> Share? {
        let amount = min(amount, total)
        return state.withLock { state in
            guard state.waiters.isEmpty, state.left >= amount else { return nil }
            state.left -= amount
            return Share(of: self, amount)
        }
    }

    /// As above, and waits for it.
    package func acquire(_ amount: Int) async throws(Refused) -> Share {
        if let share = tryAcquire(amount) { return share }
        let amount = min(amount, total)
        let number = state.withLock { state in
            state.lastNumber += 1
            return state.lastNumber
        }
        let timer = clock.schedule(at: clock.now() + waitingDuration) { [weak self] in self?.giveUp(number) }
        defer { timer.cancel() }
        let isGranted = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let waiter = Waiter(number: number, amount: amount, continuation: continuation)
                if let answer = enqueue(waiter) { continuation.resume(returning: answer) }
                // The handler may have looked for the waiter before it was there.
                if Task.isCancelled { giveUp(number) }
            }
        } onCancel: {
            giveUp(number)
        }
        guard isGranted else { throw Refused() }
        return Share(of: self, amount)
    }

    /// `nil`: it waits.
    private func enqueue(_ waiter: Waiter) -> Bool? {
        state.withLock { state in
            if state.waiters.isEmpty, state.left >= waiter.amount {
                state.left -= waiter.amount
                return true
            }
            guard state.waiters.count < waitersMax else { return false }
            state.waiters.append(waiter)
            return nil
        }
    }

    private func giveUp(_ number: UInt64) {
        let (waiter, granted) = state.withLock { state -> (Waiter?, [Waiter]) in
            guard let index = state.waiters.firstIndex(where: { $0.number == number }) else { return (nil, []) }
            let waiter = state.waiters.remove(at: index)
            // The first in the row may have been what the others waited for.
            return (waiter, Self.grant(&state))
        }
        waiter?.continuation.resume(returning: false)
        for waiter in granted { waiter.continuation.resume(returning: true) }
    }

    private func giveBack(_ amount: Int) {
        let granted = state.withLock { state in
            state.left += amount
            return Self.grant(&state)
        }
        for waiter in granted { waiter.continuation.resume(returning: true) }
    }

    private static func grant(_ state: inout State) -> [Waiter] {
        var granted: [Waiter] = []
        while let first = state.waiters.first, first.amount <= state.left {
            state.left -= first.amount
            granted.append(state.waiters.removeFirst())
        }
        return granted
    }

    /// A part of the budget that somebody holds. It goes back when the last reference does.
    package final class Share: Sendable {
        private let budget: Budget
        private let held: Mutex<Int>

        fileprivate init(of budget: Budget, _ amount: Int) {
            self.budget = budget
            held = Mutex(amount)
        }

        package var amount: Int { held.withLock { $0 } }

        /// Gives back what is more than `amount`.
        package func shrink(to amount: Int) {
            let surplus = held.withLock { held in
                defer { held = min(held, max(0, amount)) }
                return held - min(held, max(0, amount))
            }
            if surplus > 0 { budget.giveBack(surplus) }
        }

        /// Takes what is missing to `amount`, if it can be had now; changes nothing otherwise.
        package func grow(to amount: Int) -> Bool {
            held.withLock { held in
                guard amount > held else { return true }
                let missing = amount - held
                let isTaken = budget.state.withLock { state in
                    guard state.waiters.isEmpty, state.left >= missing else { return false }
                    state.left -= missing
                    return true
                }
                if isTaken { held = amount }
                return isTaken
            }
        }

        deinit { shrink(to: 0) }
    }
}
