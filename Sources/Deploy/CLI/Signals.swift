internal import Glibc
internal import Synchronization
internal import System

/// SIGINT and SIGTERM, so that a node ends in order: the first one begins the end, one more makes it short. SIGHUP tells a
/// node to read its configuration again; to one that has none to read it is the end of its terminal.
final class Signals: Sendable {
    private struct State {
        var waiters: [CheckedContinuation<Void, Never>] = []
        var count = 0
        var exitsAtNext = false
        /// The process ends for another reason.
        var isOver = false
        /// The process that is the node now.
        var successor: Int32?
    }
    private let state = Mutex(State())

    /// Counts them: a handler may do no more than that.
    private let interruptions = EventCounter()
    private let terminations = EventCounter()
    private let hangups = EventCounter()

    /// Threads that are running already may get a signal as well: blocking it in this one would not be enough.
    init() {
        interruptions.countProcessSignal(SIGINT)
        terminations.countProcessSignal(SIGTERM)
        hangups.countProcessSignal(SIGHUP)
        signal(SIGPIPE, SIG_IGN)
        for (counter, number) in [(interruptions, SIGINT), (terminations, SIGTERM)] {
            SystemThread(name: "edge-signals") { [self] in
                while true {
                    for _ in 0..<counter.take() { arrived(number) }
                }
            }.start()
        }
        // Threads made from now on leave signals to the others, so that few system calls are interrupted.
        var set = sigset_t()
        // SAFETY: the functions fill and read the set whose address they are given.
        unsafe sigemptyset(&set)
        unsafe sigaddset(&set, SIGINT)
        unsafe sigaddset(&set, SIGTERM)
        unsafe sigaddset(&set, SIGHUP)
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// As if the signal had come from outside.
    func arrived(_ number: Int32 = SIGTERM) {
        let waiters = state.withLock { state in
            state.count += 1
            if state.exitsAtNext { _exit(130) }
            // A terminal has told both.
            if let successor = state.successor, number != SIGINT { _ = kill(successor, number) }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Calls `changed` on a thread of its own whenever SIGHUP has come, also before now; `nil` takes it as an end. Once.
    func followHangups(_ changed: (@Sendable () -> Void)?) {
        SystemThread(name: "edge-hangups") { [self] in
            while true {
                _ = hangups.take()
                if let changed { changed() } else { arrived(SIGHUP) }
            }
        }.start()
    }

    /// Has `first` return, though no signal has come.
    func end() {
        let waiters = state.withLock { state in
            defer { state.waiters = [] }
            state.isOver = true
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Signals are for another process from now on, and those that have come as well. The second one also ends this one.
    func pass(to process: Int32) {
        let hasCome = state.withLock { state in
            state.successor = process
            return state.count > 0
        }
        if hasCome { _ = kill(process, SIGTERM) }
    }

    /// Returns when the first signal has come.
    func first() async {
        await withCheckedContinuation { continuation in
            let hasCome = state.withLock { state in
                let hasCome = state.count > 0 || state.isOver
                if !hasCome { state.waiters.append(continuation) }
                return hasCome
            }
            if hasCome { continuation.resume() }
        }
    }

    /// From now on a signal ends the process without further ado.
    func exitAtNext() {
        state.withLock { state in
            if state.count > 1 { _exit(130) }
            state.exitsAtNext = true
        }
    }
}
