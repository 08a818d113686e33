/// Holds back what leaves an object until the writes before it are durable (spec: durable-objects, section 2).
///
/// Commits have numbers. Whoever wants to say something to the outside waits here until the last number that was written is on the
/// disk; code that says nothing is never held. The loop's thread alone.
package final class OutputGate {
    private enum Held {
        case task(Waiter)
        case output(() -> Void)
    }
    private let loop: EventLoop
    /// The commit that must be durable before anything leaves.
    private var required: UInt64 = 0
    private var durable: UInt64 = 0
    private var held: [(number: UInt64, what: Held)] = []
    /// Tasks that were let go and have not run yet; nobody passes them.
    private var wokenCount = 0
    private var failure: (any Error)?

    init(loop: EventLoop) { self.loop = loop }

    /// Whether everything that was to be held back has been written.
    package var isOpen: Bool { required <= durable && held.isEmpty && wokenCount == 0 }

    /// What leaves from now on waits until commit `number` is durable.
    package func require(_ number: UInt64) { required = max(required, number) }

    package func reached(_ number: UInt64) {
        durable = max(durable, number)
        letGo()
    }

    /// Returns when everything that was written before is durable.
    ///
    /// - Throws: why it never will be.
    func pass() async throws {
        if let failure { throw failure }
        guard !isOpen else { return }
        await Waiter.suspend(countedBy: loop) { held.append((required, .task($0))) }
        wokenCount -= 1
        if let failure { throw failure }
        if wokenCount == 0 { letGo() }
    }

    /// Does `body` when everything that was written before is durable: now, soon, or, if the object is reset before, never.
    package func emit(_ body: @escaping () -> Void) {
        guard failure == nil else { return }
        if isOpen { body() } else { held.append((required, .output(body))) }
    }

    private func letGo() {
        while wokenCount == 0 {
            let ready = Array(held.prefix { $0.number <= durable })
            guard !ready.isEmpty else { return }
            held.removeFirst(ready.count)
            // Tasks run later, in this order; what is no task and comes behind one waits for it.
            for (index, item) in ready.enumerated() {
                switch item.what {
                case .output(let body) where wokenCount == 0: body()
                case .output: return held.insert(contentsOf: ready[index...], at: 0)
                case .task(let waiter):
                    wokenCount += 1
                    loop.lettingPass(.behindOthers) { waiter.wake() }
                }
            }
        }
    }

    func fail(_ error: any Error) {
        guard failure == nil else { return }
        failure = error
        let ending = held
        held = []
        for item in ending {
            guard case .task(let waiter) = item.what else { continue }
            wokenCount += 1
            waiter.wake()
        }
    }
}
