package import Observability
internal import Synchronization
internal import System

/// Starts isolates, watches them, ends them, and tells of their end. One thread does all of it and lives
/// as long as the node: an isolate dies with the thread that spawned it (PR_SET_PDEATHSIG), so none
/// outlives the node, whatever ends it.
///
/// Callbacks run on that thread and must not block it: while they run nothing is started and nothing is
/// watched.
package final class Supervisor: Sendable {
    /// What the supervisor tells of an isolate that still runs.
    package enum Notice: Sendable, Equatable {
        /// One line of its standard error, at most 4 KiB, free of control characters.
        case output(String)
        /// It uses 80 % of a limit.
        case nearLimit(Watchdog.Use)
    }

    package struct Callbacks: Sendable {
        package var onExit: @Sendable (IsolateID, IsolateExit) -> Void
        package var onNotice: @Sendable (IsolateID, Notice) -> Void

        package init(
            onExit: @escaping @Sendable (IsolateID, IsolateExit) -> Void,
            onNotice: @escaping @Sendable (IsolateID, Notice) -> Void = { _, _ in }
        ) {
            self.onExit = onExit
            self.onNotice = onNotice
        }
    }

    /// How often the watchdog looks.
    package struct Pace: Sendable {
        /// At isolates with open events.
        package var busyMilliseconds: UInt32
        /// At all others, and at all when nothing has been open for a second.
        package var restingMilliseconds: UInt32

        package init(busyMilliseconds: UInt32 = 20, restingMilliseconds: UInt32 = 250) {
            self.busyMilliseconds = busyMilliseconds
            self.restingMilliseconds = restingMilliseconds
        }
    }

    private let mailbox = SupervisorMailbox()
    private let lastID = Atomic<UInt64>(0)

    /// Starts the thread. The system calls' filter is compiled here, once.
    ///
    /// - Throws: When the kernel or libseccomp lacks what every isolate needs.
    package init(logger: Logger, pace: Pace = Pace(), callbacks: Callbacks) async throws(SpawnError) {
        let mailbox = mailbox
        let started = await withCheckedContinuation {
            (continuation: CheckedContinuation<SpawnError?, Never>) in
            SystemThread(name: "edge-isolates") {
                do throws(SpawnError) {
                    var loop = try SupervisorLoop(
                        mailbox: mailbox, logger: logger, pace: pace, callbacks: callbacks)
                    continuation.resume(returning: nil)
                    loop.run()
                } catch { continuation.resume(returning: error) }
            }.start()
        }
        if let started { throw started }
    }

    /// The thread ends, and with it every isolate that `shutDown` has not waited for.
    deinit { mailbox.stop(nil) }

    /// A number for an isolate that is to be started later, so that it can be spoken of before.
    package func reserveID() -> IsolateID { IsolateID(lastID.wrappingAdd(1, ordering: .relaxed).newValue) }

    /// Starts one isolate. When this returns its process runs its own program, locked down; its first
    /// byte on a channel is yet to come. `onExit` follows exactly once, after everything it wrote to
    /// standard error.
    ///
    /// - Parameter id: From `reserveID`, used once; `nil` takes a new one.
    package func spawn(
        _ specification: IsolateSpecification, as id: IsolateID? = nil
    ) async throws(SpawnError) -> SpawnedIsolate {
        let id = id ?? reserveID()
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<SpawnedIsolate, SpawnError>, Never>) in
            mailbox.post(
                SupervisorMailbox.Spawn(id: id, specification: specification) {
                    continuation.resume(returning: $0)
                })
        }
        return try result.get()
    }

    /// Ends an isolate at once. The first reason given counts; does nothing when it has ended. Any
    /// thread; never blocks.
    package func kill(_ id: IsolateID, reason: KillReason) { mailbox.post(kill: id, reason) }

    /// Ends all isolates and returns when each has been reaped and reported. Nothing can be spawned
    /// afterwards.
    package func shutDown() async {
        await withCheckedContinuation { continuation in mailbox.stop { continuation.resume() } }
    }
}

/// What other threads want of the supervisor's.
final class SupervisorMailbox: Sendable {
    struct Spawn: Sendable {
        let id: IsolateID
        let specification: IsolateSpecification
        let reply: @Sendable (Result<SpawnedIsolate, SpawnError>) -> Void
    }

    struct Contents {
        var spawns: [Spawn] = []
        var kills: [(IsolateID, KillReason)] = []
        var isStopping = false
        var isFinished = false
        var stopped: [@Sendable () -> Void] = []
    }

    let bell = WatchdogBell()
    private let contents = Mutex(Contents())

    func post(_ spawn: Spawn) {
        let accepted = contents.withLock { contents -> Bool in
            guard !contents.isStopping else { return false }
            contents.spawns.append(spawn)
            return true
        }
        if accepted { bell.wakeup.signal() } else { spawn.reply(.failure(.stopped)) }
    }

    func post(kill id: IsolateID, _ reason: KillReason) {
        contents.withLock { $0.kills.append((id, reason)) }
        bell.wakeup.signal()
    }

    func stop(_ whenDone: (@Sendable () -> Void)?) {
        let isFinished = contents.withLock { contents -> Bool in
            contents.isStopping = true
            if !contents.isFinished, let whenDone { contents.stopped.append(whenDone) }
            return contents.isFinished
        }
        if isFinished { whenDone?() } else { bell.wakeup.signal() }
    }

    /// Takes the requests; `isStopping` stays.
    func take() -> Contents {
        contents.withLock { contents in
            let taken = contents
            contents.spawns = []
            contents.kills = []
            return taken
        }
    }

    func finish() {
        let stopped = contents.withLock { contents in
            contents.isFinished = true
            defer { contents.stopped = [] }
            return contents.stopped
        }
        for resume in stopped { resume() }
    }
}
