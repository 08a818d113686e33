internal import Interfaces
@_spi(ExperimentalScheduling) internal import _Concurrency

/// Whether what is woken has to look at its object's gate.
enum GatePass {
    case none
    /// It runs when its turn comes, whatever the gate says.
    case behindOthers
    /// It runs next.
    case first
}

/// Decides when code of an object may run (spec: durable-objects, section 2).
///
/// The code of an object is jobs on the isolate's loop, and each job says in whose name it runs. So the gate stands where the loop
/// takes its next job: whatever a task has awaited, a call, a timer, a helper thread, its own child, it goes on when the
/// gate lets it, and code that never suspends is never interrupted. Closed means: while storage is being waited for, nothing runs;
/// while a critical section runs, only what it has started. What has to wait keeps its order. The loop's thread alone.
final class InputGate {
    static let depthMax = 64

    private let loop: EventLoop
    /// Those that run, the outermost first.
    private(set) var sections: [GateSection] = []
    /// Storage operations that are being waited for.
    private var lockCount = 0
    private var held: [QueuedJob] = []
    /// Critical sections that wait for the one that runs.
    private var starts: [() -> Void] = []
    /// The object is gone: its code may end.
    private var isBroken = false

    init(loop: EventLoop) { self.loop = loop }

    var isIdle: Bool { sections.isEmpty && lockCount == 0 && held.isEmpty }

    /// Whether the running code is inside of the innermost section.
    var isAtInnermost: Bool { loop.currentSection?.nearestAlive === sections.last }

    @inline(__always)
    func admits(_ job: QueuedJob) -> Bool {
        if job.passesGate || isBroken { return true }
        guard lockCount == 0 else { return false }
        return sections.isEmpty || job.section?.nearestAlive === sections.last
    }

    func hold(_ job: QueuedJob) { held.append(job) }

    // MARK: Closing

    func lock() { lockCount += 1 }

    func unlock() {
        lockCount -= 1
        letGo()
    }

    func push(_ section: GateSection) { sections.append(section) }

    func startLater(_ body: @escaping () -> Void) { starts.append(body) }

    /// The section is over, and with it any that is still inside of it.
    func pop(_ section: GateSection) {
        guard let index = sections.firstIndex(where: { $0 === section }) else { return }
        for ended in sections[index...] { ended.isAlive = false }
        sections.removeSubrange(index...)
        // What waited inside and is not done goes first.
        let inside = held.filter { $0.section != nil && $0.section?.nearestAlive === sections.last }
        held = inside + held.filter { $0.section == nil || $0.section?.nearestAlive !== sections.last }
        if starts.isEmpty { letGo() } else { starts.removeFirst()() }
    }

    func breakOpen(_ failure: any Error) {
        isBroken = true
        starts = []
        for section in sections.reversed() {
            section.task?.cancel()
            section.end(.failure(failure))
        }
        letGo()
    }

    /// Those that may run now go in front of what the loop has to do otherwise: they came before it.
    private func letGo() {
        guard lockCount == 0 || isBroken, !held.isEmpty else { return }
        var ready: [QueuedJob] = []
        var rest: [QueuedJob] = []
        for job in held { if admits(job) { ready.append(job) } else { rest.append(job) } }
        held = rest
        loop.prepend(ready)
    }
}

/// A critical section: the executor of what runs in it.
final class GateSection: TaskExecutor, SchedulingExecutor, @unchecked Sendable {  // Owner: the loop's thread.
    private let invocation: Invocation
    private let parent: GateSection?
    var isAlive = true
    /// As `Invocation.pendingCount`.
    var pendingCount = 0
    var lastRan: UInt64 = 0
    var task: Task<Void, Never>?
    /// Told once when it is over, or the object is.
    var whenOver: ((Result<Void, any Error>) -> Void)?

    init(_ invocation: Invocation, inside parent: GateSection?) {
        self.invocation = invocation
        self.parent = parent
    }

    func end(_ result: Result<Void, any Error>) {
        guard let whenOver else { return }
        self.whenOver = nil
        task = nil
        whenOver(result)
    }

    /// The section that its jobs belong to, once it is over itself.
    var nearestAlive: GateSection? { isAlive ? self : parent?.nearestAlive }

    func enqueue(_ job: consuming ExecutorJob) { invocation.loop.enqueue(queued(UnownedJob(job))) }

    func enqueue<C: Clock>(_ job: consuming ExecutorJob, after delay: C.Duration, tolerance: C.Duration?, clock: C) {
        invocation.loop.enqueue(queued(UnownedJob(job)), after: delay)
    }

    func enqueue<C: Clock>(_ job: consuming ExecutorJob, at instant: C.Instant, tolerance: C.Duration?, clock: C) {
        invocation.loop.enqueue(queued(UnownedJob(job)), after: clock.now.duration(to: instant))
    }

    private func queued(_ job: UnownedJob) -> QueuedJob {
        QueuedJob(job: job, invocation: invocation, home: .section, section: self)
    }
}
