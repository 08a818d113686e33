internal import System

/// Decides from samples of one isolate whether it keeps to its limits. Pure: no clock, no process.
///
/// - Turn: one turn of handler code (an odd number on the status page that doesn't change) used more CPU
///   time than an event may. That is a loop without end; the page names the event.
/// - Events: since the oldest open event of a channel was first seen, the process used more CPU time
///   than all events that were open in the meantime may use together. Then one of them has used too
///   much, even if it yields in between or writes nothing on the page. The oldest is named.
/// - Background: no event is open, and the process uses CPU time all the same.
/// - Memory and threads: as sampled.
///
/// Errors are in the isolate's favour, at most one interval between samples.
package struct Watchdog: Sendable {
    package struct Sample: Sendable, Equatable {
        /// CPU time of the process since its start.
        package var cpuNanoseconds: UInt64
        package var residentBytes: UInt64
        package var threadCount: Int
        package var turn: UInt64
        package var running: EventReference
        /// By channel.
        package var channels: [EventLedger.Reading]

        package init(
            cpuNanoseconds: UInt64, residentBytes: UInt64 = 0, threadCount: Int = 1, turn: UInt64 = 0,
            running: EventReference = EventReference(channel: 0, stream: 0),
            channels: [EventLedger.Reading] = []
        ) {
            self.cpuNanoseconds = cpuNanoseconds
            self.residentBytes = residentBytes
            self.threadCount = threadCount
            self.turn = turn
            self.running = running
            self.channels = channels
        }
    }

    package enum Finding: Equatable, Sendable {
        /// 80 % of a limit, told once per turn or window, and once per isolate for memory.
        case warning(Use)
        case breach(Use)
    }

    /// What is used, of what is allowed.
    package enum Use: Equatable, Sendable {
        case cpu(EventReference?, used: Duration, allowed: Duration)
        case memory(usedBytes: UInt64, allowedBytes: UInt64)
        case threads(used: Int, allowed: Int)
    }

    /// CPU time counted from `start`.
    private struct Window {
        var key: UInt64
        var start: UInt64
        /// Events that were open then, and those that had been opened by then.
        var openAtStart: UInt64
        var openedAtStart: UInt64
        var warned = false
    }

    private let limits: IsolateLimits
    private var turn: Window?
    private var channels: [Window?] = []
    private var background: Window?
    private var warnedOfMemory = false

    package init(limits: IsolateLimits) { self.limits = limits }

    /// The first rule that `sample` breaks; else the first warning that is due.
    package mutating func observe(_ sample: Sample) -> Finding? {
        let findings =
            [
                observeMemory(sample), observeThreads(sample), observeTurn(sample), observeBackground(sample),
            ] + observeChannels(sample)
        var warning: Finding?
        for finding in findings {
            switch finding {
            case .breach?: return finding
            case .warning?: warning = warning ?? finding
            case nil: break
            }
        }
        return warning
    }

    private mutating func observeMemory(_ sample: Sample) -> Finding? {
        let use = Use.memory(usedBytes: sample.residentBytes, allowedBytes: limits.memoryBytes)
        if sample.residentBytes > limits.memoryBytes { return .breach(use) }
        guard !warnedOfMemory, sample.residentBytes > limits.memoryBytes / 5 * 4 else { return nil }
        warnedOfMemory = true
        return .warning(use)
    }

    private func observeThreads(_ sample: Sample) -> Finding? {
        sample.threadCount > limits.threadsMax
            ? .breach(.threads(used: sample.threadCount, allowed: limits.threadsMax)) : nil
    }

    private mutating func observeTurn(_ sample: Sample) -> Finding? {
        guard sample.turn & 1 == 1 else {
            turn = nil
            return nil
        }
        let running = sample.channels.indices.contains(sample.running.channel) ? sample.running : nil
        return judge(
            &turn, key: sample.turn, sample, event: running,
            allowed: eventLimit(sample))
    }

    private mutating func observeChannels(_ sample: Sample) -> [Finding?] {
        if channels.count < sample.channels.count {
            channels += Array(repeating: nil, count: sample.channels.count - channels.count)
        }
        let limit = eventLimit(sample)
        return sample.channels.indices.map { index in
            let oldest = sample.channels[index].oldestStream
            guard oldest != 0 else {
                channels[index] = nil
                return nil
            }
            let events = eventsSince(channels[index], oldest, sample)
            let (allowed, overflow) = limit.multipliedReportingOverflow(by: max(1, events))
            guard !overflow else { return nil }
            return judge(
                &channels[index], key: UInt64(oldest), sample,
                event: EventReference(channel: index, stream: oldest), allowed: allowed)
        }
    }

    /// Events that were open at any time since the window began, those that have ended included.
    private func eventsSince(_ window: Window?, _ oldest: UInt32, _ sample: Sample) -> UInt64 {
        guard let window, window.key == UInt64(oldest) else { return Self.openCount(sample) }
        return window.openAtStart &+ (Self.openedTotal(sample) &- window.openedAtStart)
    }

    private mutating func observeBackground(_ sample: Sample) -> Finding? {
        guard sample.channels.allSatisfy({ $0.openCount == 0 }) else {
            background = nil
            return nil
        }
        return judge(
            &background, key: Self.openedTotal(sample), sample, event: nil,
            allowed: UInt64(clamping: limits.backgroundCPU.wholeNanoseconds))
    }

    /// Starts a window, or compares what the process has used since the window's start.
    private func judge(
        _ window: inout Window?, key: UInt64, _ sample: Sample, event: EventReference?, allowed: UInt64
    ) -> Finding? {
        guard var current = window, current.key == key else {
            window = Window(
                key: key, start: sample.cpuNanoseconds, openAtStart: Self.openCount(sample),
                openedAtStart: Self.openedTotal(sample))
            return nil
        }
        let used = sample.cpuNanoseconds &- min(current.start, sample.cpuNanoseconds)
        let use = Use.cpu(
            event, used: .nanoseconds(Int64(clamping: used)), allowed: .nanoseconds(Int64(clamping: allowed)))
        if used > allowed { return .breach(use) }
        guard !current.warned, used > allowed / 5 * 4 else { return nil }
        current.warned = true
        window = current
        return .warning(use)
    }

    private func eventLimit(_ sample: Sample) -> UInt64 {
        if sample.channels.contains(where: \.isStartingUp) { return UInt64(clamping: limits.startUpCPU.wholeNanoseconds) }
        let isExtended = sample.channels.contains { $0.extendedCount > 0 }
        return UInt64(clamping: (isExtended ? limits.extendedCPU : limits.cpu).wholeNanoseconds)
    }

    private static func openCount(_ sample: Sample) -> UInt64 {
        UInt64(sample.channels.reduce(0) { $0 + $1.openCount })
    }

    private static func openedTotal(_ sample: Sample) -> UInt64 {
        sample.channels.reduce(0) { $0 &+ $1.openedTotal }
    }
}
