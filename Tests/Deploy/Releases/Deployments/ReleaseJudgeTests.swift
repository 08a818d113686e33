import Configuration
import Foundation
import Host
import System
import Testing

@testable import Releases

/// A seeded generator, so that a run that fails can be run again (SplitMix64).
private struct Seeded: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }

    /// In (0, 1).
    mutating func uniform() -> Double { (Double(next() >> 11) + 0.5) / 9_007_199_254_740_992 }
    mutating func normal() -> Double { (-2 * log(uniform())).squareRoot() * cos(2 * .pi * uniform()) }
}

/// How a release answers.
private struct Behaviour {
    var errors = 0.0
    /// Milliseconds.
    var time: @Sendable (inout Seeded) -> Double = { 20 * exp($0.normal() * 0.5) }

    static func slower(_ factor: Double, than other: Behaviour = Behaviour()) -> Behaviour {
        Behaviour(errors: other.errors) { other.time(&$0) * factor }
    }
    static let memoryless = Behaviour { 50 * -log($0.uniform()) }
    /// Whose 99th percentile is thirty times its median.
    static let heavyTailed = Behaviour { 20 * exp($0.normal() * 1.5) }
    static let pareto = Behaviour { 10 / pow($0.uniform(), 1 / 1.2) }
}

/// What a slot did until now.
private struct Slot {
    var reading = MeterReading()
    let behaviour: Behaviour

    init(_ behaviour: Behaviour, version: String) {
        self.behaviour = behaviour
        reading.version = version
        reading.isolateCount = 2
    }

    mutating func serve(_ count: Int, _ random: inout Seeded) {
        for _ in 0..<count {
            reading[.started] += 1
            reading[.finished] += 1
            reading[.handled] += 1
            if random.uniform() < behaviour.errors { reading[.handlerErrors] += 1 }
            reading.latencies.record(microseconds: Int64(behaviour.time(&random) * 1000))
        }
    }

    var sample: SlotSample { SlotSample(["api": reading]) }
}

/// One step of a canary, with `rate` requests per check of both slots.
private func canary(
    _ candidate: Behaviour, against active: Behaviour = Behaviour(), rate: (candidate: Int, active: Int) = (100, 300),
    checks: Int = 12, noTraffic: DeploySettings.NoTraffic = .pause, percent: Int = 25, seed: UInt64
) -> (ruling: JudgeSeries.Ruling, checks: Int) {
    var random = Seeded(seed)
    var (new, old) = (Slot(candidate, version: "b"), Slot(active, version: "a"))
    let bake = JudgeSeries.interval * checks
    var series = JudgeSeries(
        ReleaseJudge(), .shifting(percent: percent), duration: bake, noTraffic: noTraffic, passedSmokeTests: true,
        candidate: new.sample,
        active: old.sample)
    for check in 1...checks * 4 {
        new.serve(rate.candidate, &random)
        old.serve(rate.active, &random)
        let ruling = series.check(candidate: new.sample, active: old.sample, elapsed: JudgeSeries.interval * check)
        if ruling != .wait { return (ruling, check) }
    }
    return (.wait, checks * 4)
}

@Suite struct `Judge of releases` {
    private func isRollBack(_ ruling: JudgeSeries.Ruling) -> Bool { if case .rollBack = ruling { true } else { false } }

    /// A release that gets calls and no requests.
    private static func calls(_ count: Int64, errors: Int64, microseconds: Int64, version: String) -> SlotSample {
        var reading = MeterReading()
        reading.version = version
        reading[.calls] = count
        reading[.callErrors] = errors
        for _ in 0..<count { reading.callLatencies.record(microseconds: microseconds) }
        return SlotSample(["api (objects)": reading])
    }

    @Test func `judges calls by their own errors and times`() {
        let old = Self.calls(300, errors: 30, microseconds: 5000, version: "a")
        func findings(errors: Int64, microseconds: Int64) -> [ReleaseJudge.Metric] {
            let new = Self.calls(300, errors: errors, microseconds: microseconds, version: "b")
            return ReleaseJudge().findings(new, old).map(\.metric)
        }
        #expect(findings(errors: 30, microseconds: 5000) == [])
        #expect(findings(errors: 36, microseconds: 5000) == [])
        #expect(findings(errors: 250, microseconds: 5000) == [.callErrors])
        #expect(findings(errors: 30, microseconds: 60_000) == [.latency])
        let slow = Self.calls(300, errors: 30, microseconds: 60_000, version: "b")
        for finding in ReleaseJudge().findings(slow, old) {
            #expect(ReleaseJudge().confirms(finding, candidate: slow, baseline: old, window: old))
            #expect(!ReleaseJudge().confirms(finding, candidate: old, baseline: old, window: old))
        }
        var told = ReleaseJudge()
        told.dryRun = [.callErrors]
        let failing = Self.calls(300, errors: 250, microseconds: 5000, version: "b")
        #expect(told.remarks(candidate: failing, active: old).count == 1)
        guard case .inconclusive = told.check(candidate: failing, active: old) else {
            Issue.record("calls are no requests, and what only tells ends nothing")
            return
        }
    }

    @Test(arguments: 1...50 as ClosedRange<UInt64>) func `catches two percent of errors`(seed: UInt64) {
        let outcome = canary(Behaviour(errors: 0.02), rate: (200, 600), seed: seed)
        guard case .rollBack(let reason) = outcome.ruling else {
            Issue.record("\(outcome), seed \(seed)")
            return
        }
        #expect(reason.contains("error rate") && reason.contains(" requests) against 0.0 % (0 of "), "\(reason)")
    }

    @Test(arguments: 1...50 as ClosedRange<UInt64>) func `catches a doubled p99`(seed: UInt64) {
        for behaviour in [Behaviour(), .memoryless] {
            let outcome = canary(.slower(2, than: behaviour), against: behaviour, seed: seed)
            #expect(isRollBack(outcome.ruling), "\(outcome), seed \(seed)")
        }
    }

    @Test(arguments: 1...50 as ClosedRange<UInt64>) func `leaves a healthy release alone`(seed: UInt64) {
        for behaviour in [Behaviour(), Behaviour(errors: 0.001), .memoryless, .heavyTailed] {
            for rate in [(10, 190), (50, 150), (100, 300), (200, 200)] {
                let outcome = canary(behaviour, against: behaviour, rate: rate, seed: seed &* 31)
                #expect(outcome.ruling == .proceed(remark: nil), "\(outcome), \(rate), seed \(seed)")
            }
        }
    }

    /// Where even the old release is ill, or where times have no mean, a step may end in error once in a while, and no oftener.
    @Test func `is hardly ever wrong about releases that are alike and bad`() {
        var (wrong, runs) = (0, 0)
        for seed in 1...60 as ClosedRange<UInt64> {
            for behaviour in [Behaviour(errors: 0.01), Behaviour(errors: 0.05), .pareto] {
                runs += 1
                if isRollBack(canary(behaviour, against: behaviour, seed: seed &* 17).ruling) { wrong += 1 }
            }
        }
        #expect(wrong * 50 <= runs, "\(wrong) of \(runs)")
    }

    @Test(arguments: 1...50 as ClosedRange<UInt64>)
    func `test_probe_9 three times slower is rolled back, five percent slower is not`(seed: UInt64) {
        let slow = canary(.slower(3), seed: seed)
        guard case .rollBack(let reason) = slow.ruling else {
            Issue.record("\(slow), seed \(seed)")
            return
        }
        #expect(reason.contains("p99 of api ") && reason.contains(" requests) against "), "\(reason)")
        #expect(canary(.slower(1.05), seed: seed).ruling == .proceed(remark: nil), "seed \(seed)")
    }

    @Test(arguments: 1...50 as ClosedRange<UInt64>) func `test_probe_8 a fifth of errors ends it within three checks`(
        seed: UInt64
    ) {
        let outcome = canary(Behaviour(errors: 0.2), rate: (100, 300), seed: seed)
        #expect(isRollBack(outcome.ruling) && outcome.checks == 3, "\(outcome), seed \(seed)")
    }

    @Test func `test_probe_10 without traffic it waits three times as long, then does as it is told`() {
        for (policy, percent, wanted) in [
            (DeploySettings.NoTraffic.pause, 5, "pause"), (.pause, 100, "proceed"), (.promote, 5, "proceed"),
            (.rollback, 5, "rollBack"),
        ] {
            let outcome = canary(
                Behaviour(), rate: (1, 1), checks: 12, noTraffic: policy, percent: percent, seed: 1)
            #expect(outcome.checks == 36 && "\(outcome.ruling)".hasPrefix(wanted), "\(policy) \(percent): \(outcome)")
            #expect("\(outcome.ruling)".contains("too few requests to judge by: 12 of the new release and 12"), "\(outcome)")
        }
    }

    @Test func `a blue-green cutover that no smoke test has tried is not promoted blindly`() {
        var series = JudgeSeries(
            ReleaseJudge(), .shifting(percent: 100), duration: .seconds(10), noTraffic: .pause, passedSmokeTests: false,
            candidate: SlotSample(),
            active: SlotSample())
        guard case .pause = series.check(candidate: SlotSample(), active: SlotSample(), elapsed: .seconds(30)) else {
            Issue.record("it went on")
            return
        }
    }

    @Test func `monitoring without traffic comes to its end`() {
        var series = JudgeSeries(
            ReleaseJudge(), .monitoring, duration: .seconds(20), noTraffic: .rollback, passedSmokeTests: false,
            candidate: SlotSample(),
            active: SlotSample())
        #expect(series.check(candidate: SlotSample(), active: SlotSample(), elapsed: .seconds(10)) == .wait)
        guard case .proceed(_?) = series.check(candidate: SlotSample(), active: SlotSample(), elapsed: .seconds(20)) else {
            Issue.record("it did not end")
            return
        }
    }

    /// Probe 28, as far as the judge has part in it: nothing goes to the previous release any more.
    @Test func `test_probe_28 after the switch the previous release's last minutes are compared with`() {
        var random = Seeded(3)
        var (new, old) = (Slot(Behaviour(errors: 0.1), version: "b"), Slot(Behaviour(), version: "a"))
        old.serve(2000, &random)
        var series = JudgeSeries(
            ReleaseJudge(), .monitoring, duration: .seconds(300), noTraffic: .pause, passedSmokeTests: true,
            previousBaseline: old.sample,
            candidate: new.sample, active: old.sample)
        var rulings: [JudgeSeries.Ruling] = []
        for check in 1...3 {
            new.serve(200, &random)
            rulings.append(series.check(candidate: new.sample, active: old.sample, elapsed: .seconds(10 * check)))
        }
        #expect(rulings[0] == .wait && rulings[1] == .wait && isRollBack(rulings[2]), "\(rulings)")
    }

    // MARK: The rules, at their bounds

    private func errors(_ new: (Int64, Int64), _ old: (Int64, Int64)) -> Verdict {
        func sample(_ numbers: (Int64, Int64), _ version: String) -> SlotSample {
            var reading = MeterReading()
            reading.version = version
            reading[.handled] = numbers.1
            reading[.handlerErrors] = numbers.0
            return SlotSample(["api": reading])
        }
        return ReleaseJudge().check(candidate: sample(new, "b"), active: sample(old, "a"))
    }

    @Test func `an error rate must be a point worse, more than one percent, and no chance`() {
        func isFail(_ verdict: Verdict) -> Bool { if case .fail = verdict { true } else { false } }
        #expect(isFail(errors((40, 2000), (2, 2000))))
        #expect(errors((20, 2000), (0, 2000)) == .pass)  // Exactly one percent.
        #expect(errors((58, 2000), (40, 2000)) == .pass)  // Not a point worse.
        #expect(errors((2, 60), (10, 1000)) == .pass)  // It may be chance.
        #expect(errors((1, 60), (0, 500)) == .pass)
        #expect(isFail(errors((15, 60), (10, 1000))))
        guard case .inconclusive = errors((10, 49), (0, 1000)) else {
            Issue.record("49 requests are too few")
            return
        }
        guard case .inconclusive = errors((10, 1000), (0, 49)) else {
            Issue.record("49 requests of the active release are too few")
            return
        }
    }

    @Test func `more than half of twenty requests failing is a trip wire`() {
        #expect(errors((11, 20), (0, 1000)) == .trip("error rate 55.0 % (11 of 20 requests)"))
        guard case .inconclusive = errors((10, 20), (0, 1000)) else {
            Issue.record("half is not more than half")
            return
        }
        guard case .inconclusive = errors((19, 19), (0, 1000)) else {
            Issue.record("19 are too few")
            return
        }
    }

    @Test func `what isolates do trips the wire, of versions that are new`() {
        func check(_ change: (inout MeterReading) -> Void, version: String = "b") -> Verdict {
            var (new, old) = (MeterReading(), MeterReading())
            (new.version, old.version) = (version, "a")
            new.isolateCount = 4
            change(&new)
            return ReleaseJudge().check(candidate: SlotSample(["api": new]), active: SlotSample(["api": old]))
        }
        func isTrip(_ verdict: Verdict) -> Bool { if case .trip = verdict { true } else { false } }
        #expect(isTrip(check { $0[.failedStarts] = 1 }))
        #expect(isTrip(check { $0.recentExitCount = 3 }))
        #expect(!isTrip(check { $0.recentExitCount = 2 }))
        #expect(isTrip(check { $0.silentIsolateCount = 2 }))
        #expect(!isTrip(check { $0.silentIsolateCount = 1 }))
        #expect(!isTrip(check({ $0[.failedStarts] = 1 }, version: "a")))
        #expect(check { $0.memoryShare = 0.95 } == .fail("an isolate of api uses 95.0 % of its memory"))
        var judge = ReleaseJudge()
        judge.dryRun = [.failedStarts]
        var new = MeterReading()
        new.version = "b"
        new[.failedStarts] = 1
        let sample = SlotSample(["api": new])
        #expect(!isTrip(judge.check(candidate: sample, active: SlotSample())))
        #expect(judge.remarks(candidate: sample, active: SlotSample()) == ["(dry run) 1 isolates of api failed to start"])
    }

    @Test func `an outage that begins late is seen in the newest check`() {
        var random = Seeded(5)
        var (new, old) = (Slot(Behaviour(), version: "b"), Slot(Behaviour(), version: "a"))
        var series = JudgeSeries(
            ReleaseJudge(), .shifting(percent: 50), duration: .seconds(600), noTraffic: .pause, passedSmokeTests: true,
            candidate: new.sample,
            active: old.sample)
        for check in 1...12 {
            new.serve(100, &random)
            old.serve(100, &random)
            #expect(series.check(candidate: new.sample, active: old.sample, elapsed: .seconds(10 * check)) == .wait)
        }
        new.reading[.exceptions] += 60
        old.serve(60, &random)
        let ruling = series.check(candidate: new.sample, active: old.sample, elapsed: .seconds(130))
        #expect(isRollBack(ruling), "\(ruling)")
    }

    @Test func `CPU per event and queue retries count as well`() {
        func sample(_ version: String, cpu: Int64, retries: Int64) -> SlotSample {
            var reading = MeterReading()
            reading.version = version
            reading[.handled] = 200
            reading[.events] = 200
            reading[.cpuMicroseconds] = cpu * 200
            reading[.messages] = 1000
            reading[.messageRetries] = retries
            return SlotSample(["api": reading])
        }
        let old = sample("a", cpu: 3000, retries: 10)
        #expect(ReleaseJudge().check(candidate: sample("b", cpu: 5900, retries: 12), active: old) == .pass)
        #expect(
            ReleaseJudge().check(candidate: sample("b", cpu: 6100, retries: 12), active: old)
                == .fail(
                    "CPU time of api 6.1 ms per event (200 events) against 3.0 ms (200) of the previous release"))
        #expect(ReleaseJudge().check(candidate: sample("a", cpu: 6100, retries: 12), active: old) == .pass)
        #expect(
            ReleaseJudge().check(candidate: sample("b", cpu: 3000, retries: 100), active: old)
                == .fail(
                    "queue retries of api 10.0 % (100 of 1000 messages) against 1.0 % (10 of 1000) of the previous release"))
    }

    @Test func `a history goes back ten minutes`() {
        var history = SampleHistory()
        func sample(_ count: Int64) -> SlotSample {
            var reading = MeterReading()
            reading[.handled] = count
            return SlotSample(["api": reading])
        }
        for minute in 1...5 as ClosedRange<Int64> { history.note(sample(minute * 100)) }
        #expect(history.window(until: sample(550)).requestCount == 550)
        for minute in 6...30 as ClosedRange<Int64> { history.note(sample(minute * 100)) }
        #expect(history.window(until: sample(3050)).requestCount == 950)
    }
}

@Suite struct `Distribution of latencies` {
    @Test func `is right to five percent between 0.1 ms and 60 s`() {
        var random = Seeded(7)
        for _ in 0..<2000 {
            let value = exp(log(100.0) + random.uniform() * (log(60_000_000.0) - log(100.0)))
            var distribution = LatencyDistribution()
            distribution.record(microseconds: Int64(value))
            guard let read = distribution.percentile(0.99) else {
                Issue.record("nothing was recorded")
                return
            }
            #expect(abs(read - value) / value < 0.05, "\(value) was read as \(read)")
        }
    }

    @Test func `gives percentiles, sums and differences`() {
        var all = LatencyDistribution()
        #expect(all.percentile(0.5) == nil)
        for value in 1...1000 as ClosedRange<Int64> { all.record(microseconds: value * 100) }
        for (part, wanted) in [(0.5, 50_000.0), (0.99, 99_000), (0.01, 1000)] {
            let read = all.percentile(part) ?? 0
            #expect(abs(read - wanted) / wanted < 0.04, "\(part): \(read)")
        }
        let before = all
        for _ in 0..<10 { all.record(microseconds: 5_000_000) }
        let window = all - before
        #expect(window.count == 10)
        #expect(abs((window.percentile(0.5) ?? 0) - 5_000_000) < 200_000)
        #expect(window.count(above: 1_000_000) == 10 && window.count(above: 6_000_000) == 0)
        #expect(all.count(above: 200_000) == 10)
        var sum = before
        sum += window
        #expect(sum == all)
        #expect((all - all) == LatencyDistribution())
    }
}
