/// Decides when the next event of an object may begin, or one that awaited something may go on (spec: durable-objects, section 2).
///
/// Closed while a storage operation is outstanding or a critical section runs. Those that wait go in the order in which they
/// came; when a critical section is over, those that waited inside of it go first. On the loop's thread alone.
package final class InputGate {
    package static let depthMax = 64

    private let parent: InputGate?
    private let depth: Int
    private var lockCount = 0
    private var child: InputGate?
    private var waiters: [CheckedContinuation<Void, any Error>] = []
    private var failure: (any Error)?
    /// One that was let go and has not run yet; until then nobody passes it.
    private var isLettingGo = false

    /// As `ObjectTurns.atEndOfTurn`.
    private let atEndOfTurn: (@escaping () -> Void) -> Void

    package init(atEndOfTurn: @escaping (@escaping () -> Void) -> Void) {
        self.atEndOfTurn = atEndOfTurn
        parent = nil
        depth = 0
    }

    private init(inside parent: InputGate) {
        self.parent = parent
        depth = parent.depth + 1
        atEndOfTurn = parent.atEndOfTurn
    }

    /// The gate of the code that runs: that of its critical section, else the object's.
    @TaskLocal private static var confinement: Confinement?

    private struct Confinement: @unchecked Sendable {  // Leaves the loop's thread never.
        let gate: InputGate
    }

    /// The innermost gate that the running code is behind, when it is one of this object's.
    private var innermost: InputGate {
        guard let gate = Self.confinement?.gate, gate.belongs(to: self), gate.failure == nil, gate.isAlive else { return self }
        return gate
    }

    private func belongs(to root: InputGate) -> Bool { self === root || parent?.belongs(to: root) == true }

    /// Whether its critical section still runs.
    private var isAlive: Bool { parent.map { $0.child === self && $0.isAlive } ?? true }

    private var isOpen: Bool { lockCount == 0 && child == nil }

    // MARK: Passing

    /// Returns when whoever calls may run.
    ///
    /// - Throws: why the object was reset meanwhile.
    package func enter() async throws { try await innermost.pass() }

    private func pass() async throws {
        if let failure { throw failure }
        if isOpen, waiters.isEmpty, !isLettingGo { return }
        var isFirst = false
        repeat {
            try await withCheckedThrowingContinuation {
                waiters.insert($0, at: isFirst ? 0 : waiters.endIndex)
            }
            isLettingGo = false
            if let failure { throw failure }
            // Closed again between its turn and its running: it stays the first one.
            isFirst = true
        } while !isOpen
        // The next one goes when this one has come to where it awaits something, if that hasn't closed the gate.
        atEndOfTurn { [weak self] in self?.letGo() }
    }

    private func letGo() {
        guard isOpen, !isLettingGo, !waiters.isEmpty else { return }
        isLettingGo = true
        waiters.removeFirst().resume()
    }

    // MARK: Closing

    /// Keeps others out while `body` runs, which waits for storage.
    package func locked<Result>(_ body: () async throws -> Result) async throws -> Result {
        let gate = innermost
        gate.lockCount += 1
        defer {
            gate.lockCount -= 1
            gate.letGo()
        }
        return try await body()
    }

    /// Lets nothing else run but what `body` starts, until it is over.
    package func criticalSection<Result>(_ body: () async throws -> Result) async throws -> Result {
        let outer = innermost
        if let failure = outer.failure { throw failure }
        guard outer.depth < Self.depthMax else {
            throw DurableObjectError("blockConcurrencyWhile() calls are nested too deeply.")
        }
        // Two of one event, side by side: one after the other.
        while outer.child != nil { try await outer.pass() }
        let inner = InputGate(inside: outer)
        outer.child = inner
        defer {
            if outer.child === inner { outer.child = nil }
            // Those that waited inside and are not done go first.
            outer.waiters.insert(contentsOf: inner.waiters, at: 0)
            inner.waiters = []
            outer.letGo()
        }
        return try await Self.$confinement.withValue(Confinement(gate: inner)) { try await body() }
    }

    /// The object is gone: all that wait, and all that come, get the reason.
    package func fail(_ error: any Error) {
        guard failure == nil else { return }
        failure = error
        child?.fail(error)
        let ending = waiters
        waiters = []
        for waiter in ending { waiter.resume(throwing: error) }
    }
}
