import Isolates
import System
import Testing

private let milli: UInt64 = 1_000_000

@Suite struct `The watchdog's decisions` {
    static let limits = IsolateLimits(
        cpu: .milliseconds(100), extendedCPU: .milliseconds(1000), backgroundCPU: .milliseconds(50),
        memoryBytes: 1000, threadsMax: 4)

    /// One sample: CPU in ms, turn, and per channel the oldest stream, open, extended, opened in total.
    static func sample(
        _ cpu: UInt64, turn: UInt64 = 0, running: EventReference = EventReference(channel: 0, stream: 1),
        _ channels: (UInt32, Int, Int, UInt64)..., memory: UInt64 = 0, threads: Int = 1
    ) -> Watchdog.Sample {
        Watchdog.Sample(
            cpuNanoseconds: cpu * milli, residentBytes: memory, threadCount: threads, turn: turn,
            running: running,
            channels: channels.map {
                EventLedger.Reading(
                    oldestStream: $0.0, openCount: $0.1, extendedCount: $0.2, openedTotal: $0.3)
            })
    }

    static func cpu(_ channel: Int, _ stream: UInt32, _ used: Int, of allowed: Int) -> Watchdog.Use {
        .cpu(
            EventReference(channel: channel, stream: stream), used: .milliseconds(used),
            allowed: .milliseconds(allowed))
    }

    @Test func `a turn may use its limit and not a millisecond more`() {
        var watchdog = Watchdog(limits: Self.limits)
        // Two events are open, so only the turn's own rule can strike.
        #expect(watchdog.observe(Self.sample(10, turn: 1, (1, 2, 0, 2))) == nil)
        #expect(watchdog.observe(Self.sample(90, turn: 1, (1, 2, 0, 2))) == nil)
        #expect(
            watchdog.observe(Self.sample(110, turn: 1, (1, 2, 0, 2)))
                == .warning(Self.cpu(0, 1, 100, of: 100)))
        #expect(
            watchdog.observe(Self.sample(111, turn: 1, (1, 2, 0, 2))) == .breach(Self.cpu(0, 1, 101, of: 100))
        )
    }

    @Test func `starting up has a limit of its own, however little an event may use`() {
        var watchdog = Watchdog(limits: Self.limits)
        func sample(_ cpu: UInt64) -> Watchdog.Sample {
            Watchdog.Sample(
                cpuNanoseconds: cpu * milli,
                channels: [.init(oldestStream: 1, openCount: 1, isStartingUp: true, openedTotal: 1)])
        }
        #expect(watchdog.observe(sample(1)) == nil)
        #expect(watchdog.observe(sample(800)) == nil)
        #expect(watchdog.observe(sample(1002)) == .breach(Self.cpu(0, 1, 1001, of: 1000)))
    }

    @Test func `a new turn starts from zero, and an even one is none`() {
        var watchdog = Watchdog(limits: Self.limits)
        let open: (UInt32, Int, Int, UInt64) = (1, 100, 0, 100)
        for step in 0..<20 {
            #expect(watchdog.observe(Self.sample(UInt64(step) * 70, turn: UInt64(step) * 2 + 1, open)) == nil)
        }
        #expect(watchdog.observe(Self.sample(1400, turn: 42, open)) == nil)
        #expect(watchdog.observe(Self.sample(2000, turn: 42, open)) == nil)
    }

    @Test func `an event that yields in between is caught by the whole`() {
        var watchdog = Watchdog(limits: Self.limits)
        var findings: [Watchdog.Finding] = []
        for step in 0..<13 {
            let sample = Self.sample(UInt64(step) * 10, turn: UInt64(step) * 2 + 1, (5, 1, 0, 1))
            if let finding = watchdog.observe(sample) { findings.append(finding) }
        }
        #expect(findings.first == .warning(Self.cpu(0, 5, 90, of: 100)))
        #expect(findings.dropFirst().first == .breach(Self.cpu(0, 5, 110, of: 100)))
    }

    @Test func `events that come and go add their limits to what the oldest may see`() {
        var watchdog = Watchdog(limits: Self.limits)
        // One event stays open for long; each millisecond of CPU is another event's. Nobody did wrong.
        for step in 0..<10_000 {
            let sample = Self.sample(
                UInt64(step) * 20, turn: UInt64(step) * 2 + 1, (5, 2, 0, UInt64(step) + 2))
            #expect(watchdog.observe(sample) == nil)
        }
    }

    @Test func `events that have ended still count for the time they were open`() {
        var watchdog = Watchdog(limits: Self.limits)
        _ = watchdog.observe(Self.sample(0, (1, 3, 0, 3)))
        // The two younger ones used 90 ms each and ended.
        #expect(watchdog.observe(Self.sample(190, (1, 1, 0, 3))) == nil)
        #expect(watchdog.observe(Self.sample(301, (1, 1, 0, 3))) == .breach(Self.cpu(0, 1, 301, of: 300)))
    }

    @Test func `when the oldest event ends the count starts again`() {
        var watchdog = Watchdog(limits: Self.limits)
        for step in 0..<50 {
            let stream = UInt32(step * 2 + 1)
            #expect(
                watchdog.observe(Self.sample(UInt64(step) * 90, turn: 0, (stream, 1, 0, UInt64(step) + 1)))
                    == nil)
        }
    }

    @Test func `cron and queue events have the longer limit`() {
        var watchdog = Watchdog(limits: Self.limits)
        _ = watchdog.observe(Self.sample(0, turn: 1, (1, 1, 1, 1)))
        #expect(watchdog.observe(Self.sample(700, turn: 1, (1, 1, 1, 1))) == nil)
        #expect(
            watchdog.observe(Self.sample(1001, turn: 1, (1, 1, 1, 1)))
                == .breach(Self.cpu(0, 1, 1001, of: 1000)))
    }

    @Test func `the second channel's event is named by its channel`() {
        var watchdog = Watchdog(limits: Self.limits)
        _ = watchdog.observe(Self.sample(0, (0, 0, 0, 4), (9, 1, 0, 1)))
        #expect(
            watchdog.observe(Self.sample(101, (0, 0, 0, 4), (9, 1, 0, 1)))
                == .breach(Self.cpu(1, 9, 101, of: 100)))
    }

    @Test func `a page that names a channel that doesn't exist names nothing`() {
        var watchdog = Watchdog(limits: Self.limits)
        let lie = EventReference(channel: 4_000_000_000, stream: 1)
        _ = watchdog.observe(Self.sample(0, turn: 1, running: lie, (1, 9, 0, 9)))
        #expect(
            watchdog.observe(Self.sample(101, turn: 1, running: lie, (1, 9, 0, 9)))
                == .breach(.cpu(nil, used: .milliseconds(101), allowed: .milliseconds(100))))
    }

    @Test func `work without an event has a limit of its own, from the last event on`() {
        var watchdog = Watchdog(limits: Self.limits)
        _ = watchdog.observe(Self.sample(0, (0, 0, 0, 0)))
        #expect(watchdog.observe(Self.sample(40, (0, 0, 0, 0))) == nil)
        #expect(watchdog.observe(Self.sample(80, (0, 0, 0, 3))) == nil)  // Events came and went in between.
        #expect(
            watchdog.observe(Self.sample(131, (0, 0, 0, 3)))
                == .breach(.cpu(nil, used: .milliseconds(51), allowed: .milliseconds(50))))
    }

    @Test func `memory and threads are judged as they are`() {
        var watchdog = Watchdog(limits: Self.limits)
        #expect(watchdog.observe(Self.sample(0, memory: 800)) == nil)
        #expect(
            watchdog.observe(Self.sample(0, memory: 801))
                == .warning(.memory(usedBytes: 801, allowedBytes: 1000)))
        #expect(watchdog.observe(Self.sample(0, memory: 1000)) == nil)  // Warned once.
        #expect(
            watchdog.observe(Self.sample(0, memory: 1001))
                == .breach(.memory(usedBytes: 1001, allowedBytes: 1000)))
        #expect(watchdog.observe(Self.sample(0, threads: 4)) == nil)
        #expect(watchdog.observe(Self.sample(0, threads: 5)) == .breach(.threads(used: 5, allowed: 4)))
    }

    @Test func `a breach goes before a warning`() {
        var watchdog = Watchdog(limits: Self.limits)
        #expect(
            watchdog.observe(Self.sample(0, memory: 900, threads: 9))
                == .breach(.threads(used: 9, allowed: 4)))
    }

    @Test func `never ends an isolate whose events keep their limits`() {
        for seed in UInt64(1)...200 {
            var random = SeededGenerator(seed: seed)
            var watchdog = Watchdog(limits: Self.limits)
            var isolate = HonestIsolate()
            for _ in 0..<300 {
                isolate.step(&random)
                if case .breach(let use)? = watchdog.observe(isolate.sample) {
                    Issue.record("seed \(seed): \(use)")
                    break
                }
            }
        }
    }
}

/// Runs events one after another on one thread, each within 100 ms of CPU time, in turns.
private struct HonestIsolate {
    private var cpu: UInt64 = 0
    private var turn: UInt64 = 0
    private var open: [(channel: Int, stream: UInt32, left: UInt64)] = []
    private var openedTotal: [UInt64] = [0, 0]
    private var nextStream: UInt32 = 1

    mutating func step(_ random: inout SeededGenerator) {
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let channel = Int.random(in: 0...1, using: &random)
            open.append((channel, nextStream, 100 * milli))
            openedTotal[channel] += 1
            nextStream += 2
        }
        guard !open.isEmpty else { return }
        let index = Int.random(in: 0..<open.count, using: &random)
        let used = UInt64.random(in: 0...open[index].left, using: &random)
        open[index].left -= used
        cpu += used
        turn += 2
        if open[index].left == 0 || Bool.random(using: &random) { open.remove(at: index) }
    }

    var sample: Watchdog.Sample {
        Watchdog.Sample(
            cpuNanoseconds: cpu, turn: turn,
            channels: (0...1).map { channel in
                let events = open.filter { $0.channel == channel }
                return EventLedger.Reading(
                    oldestStream: events.first?.stream ?? 0, openCount: events.count,
                    openedTotal: openedTotal[channel])
            })
    }
}

@Suite struct `The event ledger` {
    @Test func `knows the oldest open event and the count, whatever order they end in`() {
        for seed in UInt64(1)...50 {
            var random = SeededGenerator(seed: seed)
            let ledger = EventLedger()
            var open: [(stream: UInt32, isExtended: Bool, entry: EventLedger.Entry)] = []
            var next: UInt32 = 1
            for step in 0..<500 {
                if open.isEmpty || Int.random(in: 0..<100, using: &random) < 52 {
                    let isExtended = Int.random(in: 0..<4, using: &random) == 0
                    open.append(
                        (next, isExtended, ledger.open(stream: next, isExtended ? .extended : .standard)))
                    next += 2
                } else {
                    ledger.close(open.remove(at: Int.random(in: 0..<open.count, using: &random)).entry)
                }
                let expected = EventLedger.Reading(
                    oldestStream: open.first?.stream ?? 0, openCount: open.count,
                    extendedCount: open.count { $0.isExtended }, openedTotal: UInt64((next - 1) / 2))
                #expect(ledger.read() == expected, "seed \(seed), step \(step)")
            }
        }
    }
}

/// SplitMix64: small, and the same everywhere.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
