internal import CLinux
internal import Glibc
internal import System

/// One running isolate, as the supervisor's thread knows it. Belongs to that thread.
final class SupervisedIsolate {
    enum OutputState { case goOn, stop }

    let id: IsolateID
    let spawned: SpawnedIsolate
    private let launched: Launcher.Launched
    private let probe: ProcessProbe
    private let limits: IsolateLimits
    private var watchdog: Watchdog
    private var residentBytesMax: UInt64 = 0
    private var hasFailedToAllocate = false
    /// What its end left unread.
    private(set) var lastOutput: [String] = []
    private var lastOpenedTotal: UInt64 = 0
    private let nodeResidentBytesMax = edge_own_resident_bytes_max()

    /// Why it is being killed; the first reason stays.
    private var killed: IsolateExit.Reason?
    private var lines = OutputLines()
    private var budget = OutputBudget()
    private var isOutputAtEnd = false
    /// Whether its output is out of the epoll set, because of its rate or because it has ended.
    var isOutputPaused = false

    var processDescriptor: Int32 { launched.process.descriptor.rawValue }
    var outputDescriptor: Int32 { launched.output.rawValue }

    init(
        id: IsolateID, launched: consuming Launcher.Launched, limits: IsolateLimits, channelCount: Int,
        bell: WatchdogBell, processes: borrowing Descriptor
    ) throws(SpawnError) {
        self.id = id
        self.limits = limits
        watchdog = Watchdog(limits: limits)
        spawned = SpawnedIsolate(
            id: id, processID: launched.process.number, channels: launched.channels,
            statusPage: launched.statusPage,
            ledgers: (0..<channelCount).map { _ in EventLedger(bell: bell) }, usage: IsolateUsage())
        do { probe = try ProcessProbe(processID: launched.process.number, in: processes) } catch {
            Self.end(launched)
            throw .system(error)
        }
        self.launched = launched
    }

    /// Ends and reaps it without a word, for when it could not be put under supervision.
    func abandon() { Self.end(launched) }

    private static func end(_ launched: borrowing Launcher.Launched) {
        _ = edge_pidfd_signal(launched.process.descriptor.rawValue, SIGKILL)
        var status: Int32 = 0
        // SAFETY: fills the integer it is lent. A killed process ends without delay.
        while unsafe waitpid(launched.process.number, &status, 0) < 0, errno == EINTR {}
        for number in launched.channels { close(number) }
    }

    // MARK: Ending

    func kill(_ reason: IsolateExit.Reason) {
        guard killed == nil else { return }
        killed = reason
        _ = edge_pidfd_signal(launched.process.descriptor.rawValue, SIGKILL)
    }

    /// `nil` while it runs.
    func reap() -> IsolateExit? {
        var end = edge_process_end()
        // SAFETY: fills the struct it is lent.
        let result = unsafe edge_process_reap(spawned.processID, &end)
        guard result != 0 else { return nil }
        // The kernel's maximum counts the node's memory from before exec; it tells something only above
        // that.
        if end.resident_bytes_max > nodeResidentBytesMax {
            residentBytesMax = max(residentBytesMax, end.resident_bytes_max)
        }
        lastOutput = takeLastOutput()
        return IsolateExit(
            reason: killed ?? naturalReason(end), cpuTime: .nanoseconds(Int64(clamping: end.cpu_nanoseconds)),
            residentBytesMax: residentBytesMax)
    }

    private func naturalReason(_ end: edge_process_end) -> IsolateExit.Reason {
        guard end.signal != 0 else { return .exited(code: end.code) }
        if end.signal == SIGSYS { return .violatedSandbox }
        // An allocation that RLIMIT_DATA refused ends in a trap, between two looks or before a byte was used.
        if residentBytesMax > limits.memoryBytes || hasFailedToAllocate {
            return .exceededMemory(usedBytes: residentBytesMax, allowedBytes: limits.memoryBytes)
        }
        return .crashed(signal: end.signal)
    }

    // MARK: Watching

    /// Whether an event is open, or one has been opened since the last call.
    func noteActivity() -> Bool {
        var openedTotal: UInt64 = 0
        var isOpen = false
        for ledger in spawned.ledgers {
            let reading = ledger.read()
            openedTotal &+= reading.openedTotal
            isOpen = isOpen || reading.openCount > 0
        }
        defer { lastOpenedTotal = openedTotal }
        return isOpen || openedTotal != lastOpenedTotal
    }

    func watch() -> Watchdog.Finding? {
        guard killed == nil, let sample = takeSample() else { return nil }
        residentBytesMax = max(residentBytesMax, sample.residentBytes)
        spawned.usage.update(sample)
        return watchdog.observe(sample)
    }

    private func takeSample() -> Watchdog.Sample? {
        // Ledgers and turn first: CPU time used after they were read is then in the isolate's disfavour
        // by microseconds, and never the time of an event that had not begun.
        let channels = spawned.ledgers.map { $0.read() }
        let turn = spawned.statusPage.turn
        let running = spawned.statusPage.event
        guard let cpu = probe.cpuNanoseconds(), let (threads, resident) = probe.threadsAndMemory() else {
            return nil
        }
        return Watchdog.Sample(
            cpuNanoseconds: cpu, residentBytes: resident, threadCount: threads, turn: turn, running: running,
            channels: channels)
    }

    // MARK: Output

    /// Reads what its budget allows.
    func readOutput() -> (lines: [String], OutputState) {
        guard budget.bytes > 0 else { return ([], .stop) }
        let chunk = readChunk(upTo: budget.bytes)
        budget.spend(chunk.count)
        if isOutputAtEnd { return (noted(lines.take(chunk[...]) + (lines.takeRest().map { [$0] } ?? [])), .stop) }
        return (noted(lines.take(chunk[...])), .goOn)
    }

    /// Sees the runtime's last words. An isolate that only claims it gets another error's number, and ends all the same.
    private func noted(_ lines: [String]) -> [String] {
        if lines.contains(where: { $0.hasPrefix("Fatal error: failed to allocate ") }) { hasFailedToAllocate = true }
        return lines
    }

    /// What is left when the process is gone: at most what the pipe holds.
    private func takeLastOutput() -> [String] {
        var taken: [String] = []
        var remaining = OutputBudget.burstBytes
        while remaining > 0, !isOutputAtEnd {
            let chunk = readChunk(upTo: remaining)
            guard !chunk.isEmpty else { break }
            remaining -= chunk.count
            taken += lines.take(chunk[...])
        }
        return noted(taken + (lines.takeRest().map { [$0] } ?? []))
    }

    /// Whether reading may go on after a pause.
    func refillOutput(milliseconds: Int) -> Bool {
        budget.refill(milliseconds: milliseconds)
        return isOutputPaused && !isOutputAtEnd && budget.bytes >= OutputBudget.burstBytes / 2
    }

    private func readChunk(upTo count: Int) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: min(count, 16 * 1024))
        // SAFETY: read fills at most the array it is lent.
        let result = unsafe read(launched.output.rawValue, &buffer, buffer.count)
        if result == 0 { isOutputAtEnd = true }
        return result > 0 ? Array(buffer[..<result]) : []
    }
}
