internal import Observability
internal import System

/// The supervisor's thread: waits in the kernel for requests, ends of processes, their standard error,
/// and the tick.
struct SupervisorLoop: ~Copyable {
    private let mailbox: SupervisorMailbox
    private let logger: Logger
    private let callbacks: Supervisor.Callbacks
    private let launcher: Launcher
    private var epoll: Epoll
    private var pacer: TickPacer
    private var isolates: [UInt64: SupervisedIsolate] = [:]
    private var isStopping = false

    /// Tokens: an isolate's number times four, plus what became ready. Isolates are numbered from 1.
    private enum Token {
        static let wakeup: UInt64 = 0
        static let tick: UInt64 = 1
        static let process: UInt64 = 0
        static let output: UInt64 = 1
    }

    init(
        mailbox: SupervisorMailbox, logger: Logger, pace: Supervisor.Pace, callbacks: Supervisor.Callbacks
    ) throws(SpawnError) {
        let launcher = try Launcher()
        do {
            let epoll = try Epoll(eventsMax: 64)
            let pacer = try TickPacer(pace: pace, bell: mailbox.bell)
            try epoll.register(mailbox.bell.wakeup.rawValue, .read, token: Token.wakeup)
            try epoll.register(pacer.timer, .read, token: Token.tick)
            self.epoll = epoll
            self.pacer = pacer
        } catch { throw .system(error) }
        if launcher.processes.extent == .everybodys {
            logger.log(
                .notice,
                "isolates can see the names of other processes: the node may not mount a /proc for them")
        }
        self.launcher = launcher
        self.mailbox = mailbox
        self.logger = logger
        self.callbacks = callbacks
    }

    /// Runs until the supervisor stops and its last isolate has been reaped.
    mutating func run() {
        while true {
            var events: [Epoll.Event] = []
            epoll.wait(milliseconds: -1) { events.append($0) }
            for event in events { handle(event) }
            serveRequests()
            if isStopping, isolates.isEmpty { break }
        }
        mailbox.finish()
    }

    private mutating func handle(_ event: Epoll.Event) {
        switch event.token {
        case Token.wakeup:
            mailbox.bell.wakeup.clear()
            pacer.wake()
        case Token.tick:
            tick()
        default:
            guard let isolate = isolates[event.token / 4] else { return }
            if event.token % 4 == Token.output { readOutput(isolate) } else { reap(isolate) }
        }
    }

    // MARK: Requests

    private mutating func serveRequests() {
        let requests = mailbox.take()
        for spawn in requests.spawns {
            if requests.isStopping {
                spawn.reply(.failure(.stopped))
            } else {
                self.spawn(spawn)
            }
        }
        for (id, reason) in requests.kills {
            isolates[id.number]?.kill(.killed(reason))
        }
        if requests.isStopping, !isStopping {
            isStopping = true
            for isolate in isolates.values { isolate.kill(.killed(.nodeStopping)) }
        }
        pacer.setPopulated(!isolates.isEmpty)
    }

    private mutating func spawn(_ request: SupervisorMailbox.Spawn) {
        do throws(SpawnError) {
            guard request.id.number > 0, isolates[request.id.number] == nil else {
                throw .invalidSpecification("isolate \(request.id) runs already")
            }
            let launched = try launcher.launch(request.specification)
            let isolate = try SupervisedIsolate(
                id: request.id, launched: launched, limits: request.specification.limits,
                channelCount: request.specification.channelCount, bell: mailbox.bell,
                processes: launcher.processes.seenByNode)
            do {
                try epoll.register(
                    isolate.processDescriptor, .read, token: isolate.id.number * 4 + Token.process)
                try epoll.register(
                    isolate.outputDescriptor, .read, token: isolate.id.number * 4 + Token.output)
            } catch {
                isolate.abandon()
                throw .system(error)
            }
            isolates[isolate.id.number] = isolate
            request.reply(.success(isolate.spawned))
        } catch { request.reply(.failure(error)) }
    }

    // MARK: Ends and output

    private mutating func reap(_ isolate: SupervisedIsolate) {
        guard let exit = isolate.reap() else { return }
        isolates[isolate.id.number] = nil
        epoll.deregister(isolate.processDescriptor)
        if !isolate.isOutputPaused { epoll.deregister(isolate.outputDescriptor) }
        for line in isolate.lastOutput { callbacks.onNotice(isolate.id, .output(line)) }
        callbacks.onExit(isolate.id, exit)
    }

    private mutating func readOutput(_ isolate: SupervisedIsolate) {
        let (lines, state) = isolate.readOutput()
        for line in lines { callbacks.onNotice(isolate.id, .output(line)) }
        guard state == .stop else { return }
        epoll.deregister(isolate.outputDescriptor)
        isolate.isOutputPaused = true
    }

    // MARK: The tick

    private mutating func tick() {
        let (lookAtAll, elapsed) = pacer.tick()
        var isActive = false
        for isolate in isolates.values {
            let isBusy = isolate.noteActivity()
            isActive = isActive || isBusy
            if isBusy || lookAtAll { watch(isolate) }
            resumeOutput(isolate, elapsedMilliseconds: elapsed)
        }
        pacer.noteActivity(isActive)
    }

    private func watch(_ isolate: SupervisedIsolate) {
        switch isolate.watch() {
        case .warning(let use)?: callbacks.onNotice(isolate.id, .nearLimit(use))
        case .breach(let use)?: isolate.kill(use.exitReason)
        case nil: break
        }
    }

    private mutating func resumeOutput(_ isolate: SupervisedIsolate, elapsedMilliseconds: Int) {
        guard isolate.refillOutput(milliseconds: elapsedMilliseconds) else { return }
        do {
            try epoll.register(isolate.outputDescriptor, .read, token: isolate.id.number * 4 + Token.output)
            isolate.isOutputPaused = false
            callbacks.onNotice(
                isolate.id, .output("[standard error is written faster than it may be; some of it is lost]"))
        } catch {
            logger.log(.error, "the output of isolate \(isolate.id) can't be watched any more: \(error)")
        }
    }
}

extension Watchdog.Use {
    var exitReason: IsolateExit.Reason {
        switch self {
        case .cpu(let event, let used, let allowed): .exceededCPU(event: event, used: used, allowed: allowed)
        case .memory(let used, let allowed): .exceededMemory(usedBytes: used, allowedBytes: allowed)
        case .threads(let used, let allowed): .exceededThreads(used: used, allowed: allowed)
        }
    }
}
