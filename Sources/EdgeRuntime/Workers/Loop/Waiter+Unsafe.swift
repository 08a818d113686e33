/// One suspended task of the loop. Whoever holds it wakes it exactly once; the holders are the fields of an endpoint,
/// which clear the field as they wake.
@safe struct Waiter {
    private let continuation: UnsafeContinuation<Void, Never>
    private let loop: EventLoop?
    /// The event whose code waits, and the critical section.
    private let event: Invocation?
    private let section: GateSection?

    /// Suspends the current task and hands it to `keep`, on the same thread and at once.
    ///
    /// - Parameter loop: knows that something will come for the event; `nil` when only its own code can wake it.
    static func suspend(countedBy loop: EventLoop?, _ keep: (Waiter) -> Void) async {
        // SAFETY: the rule above takes the place of the checks of a checked continuation.
        await unsafe withUnsafeContinuation { continuation in
            loop?.awaitedCount += 1
            let event = loop?.current
            let section = loop?.currentSection
            event?.addPending(1)
            section?.pendingCount += 1
            keep(unsafe Waiter(continuation: continuation, loop: loop, event: event, section: section))
        }
    }

    private init(
        continuation: UnsafeContinuation<Void, Never>, loop: EventLoop?, event: Invocation?, section: GateSection?
    ) {
        unsafe self.continuation = continuation
        self.loop = loop
        self.event = event
        self.section = section
    }

    func wake() {
        guard let loop else { return unsafe continuation.resume() }
        loop.awaitedCount -= 1
        event?.addPending(-1)
        section?.pendingCount -= 1
        // An unstructured task doesn't know whose it is: it goes on in the name in which it waited.
        loop.acting(for: event, section) { unsafe continuation.resume() }
    }
}
