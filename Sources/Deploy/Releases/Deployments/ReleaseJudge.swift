internal import Host

/// Compares what a candidate did with what the active release did at the same time: spec deploys.md, C3. Pure.
///
/// A difference counts when it matters (the absolute bounds) and can hardly be chance (a one-sided test of two proportions, with
/// the correction for small numbers, without which one error among fifty requests would end a deployment). The 99th percentile is
/// tested in the same way: by how many requests of both took longer than the bound.
package struct ReleaseJudge: Equatable, Sendable {
    package enum Metric: String, CaseIterable, Sendable {
        case crashes, failedStarts = "failed_starts", errorBurst = "error_burst", health
        case errorRate = "error_rate", latency, cpu, memory, queueRetries = "queue_retries", callErrors = "call_errors"

        /// One check is enough.
        var isTripWire: Bool {
            switch self {
            case .crashes, .failedStarts, .errorBurst, .health: true
            // What a typed call throws may be what its caller wants to hear: only more of it than before tells anything.
            case .errorRate, .latency, .cpu, .memory, .queueRetries, .callErrors: false
            }
        }
    }

    /// Something that is wrong with the candidate.
    struct Finding: Equatable, Sendable {
        let metric: Metric
        /// `nil`: all of them together.
        let worker: String?
        let text: String
        /// What took the time that it is about.
        var things = Things.requests
    }

    /// What has times.
    enum Things: String, Sendable {
        case requests, calls

        func times(_ reading: MeterReading) -> LatencyDistribution {
            switch self {
            case .requests: reading.latencies
            case .calls: reading.callLatencies
            }
        }
    }

    /// What only tells, and never ends a deployment.
    package var dryRun: Set<Metric> = []

    package init(dryRun: Set<Metric> = []) { self.dryRun = dryRun }

    // Spec: C3.
    static let requestsMin: Int64 = 50
    static let latencySamplesMin: Int64 = 100
    static let burstRequestsMin: Int64 = 20
    static let burstRate = 0.5
    static let exitsMin = 3
    static let rateMin = 0.01
    static let rateRise = 0.01
    /// One chance in a hundred.
    static let significance = 2.33
    /// One chance in ten thousand: each worker is looked at, a dozen times and more, and what is counted are the few requests
    /// beyond a bound that is drawn from the same numbers, which makes an excess likelier than the test has it.
    static let latencySignificance = 3.72
    /// For what bears out a suspicion: one chance in ten.
    static let confirmation = 1.28
    static let latencyFactor = 1.5
    static let latencyRise = 20_000.0
    static let cpuFactor = 2.0
    static let cpuRise = 1000.0
    static let memoryShareMax = 0.9

    /// - Parameters:
    ///   - candidate: the window that is judged.
    ///   - active: the same window.
    ///   - previousBaseline: what the previous release did before; given where the candidate has all the requests.
    package func check(candidate: SlotSample, active: SlotSample, previousBaseline: SlotSample? = nil) -> Verdict {
        let baseline = previousBaseline ?? active
        let found = findings(candidate, baseline).filter { !dryRun.contains($0.metric) }
        let trips = found.filter(\.metric.isTripWire)
        if !trips.isEmpty { return .trip(Self.sentence(trips)) }
        if !found.isEmpty { return .fail(Self.sentence(found)) }
        if let reason = scarcity(candidate, baseline) { return .inconclusive(reason) }
        return .pass
    }

    /// What the metrics that only tell have to say.
    package func remarks(candidate: SlotSample, active: SlotSample, previousBaseline: SlotSample? = nil) -> [String] {
        findings(candidate, previousBaseline ?? active).filter { dryRun.contains($0.metric) }.map { "(dry run) " + $0.text }
    }

    static func sentence(_ findings: [Finding]) -> String { findings.map(\.text).joined(separator: "; ") }

    private func scarcity(_ candidate: SlotSample, _ baseline: SlotSample) -> String? {
        let (new, old) = (candidate.requestCount, baseline.requestCount)
        guard new < Self.requestsMin || old < Self.requestsMin else { return nil }
        return
            "too few requests to judge by: \(new) of the new release and \(old) of the previous one, \(Self.requestsMin) are "
            + "needed of each"
    }

    // MARK: What is wrong

    func findings(_ candidate: SlotSample, _ baseline: SlotSample) -> [Finding] {
        var found = trips(candidate, baseline)
        if let text = errorRate(candidate, baseline, Self.requestsMin, Self.significance) {
            found.append(Finding(metric: .errorRate, worker: nil, text: text))
        }
        for (worker, new) in candidate.workers.sorted(by: { $0.key < $1.key }) {
            let old = baseline.workers[worker]
            func add(_ metric: Metric, _ text: String?) {
                if let text { found.append(Finding(metric: metric, worker: worker, text: text)) }
            }
            // What isolates use is told of versions: of one that both have, it is nobody's.
            if new.version != old?.version { add(.memory, memory(worker, new)) }
            guard let old else { continue }
            for things in [Things.requests, .calls] {
                guard let text = latency(worker, things, new, old) else { continue }
                found.append(Finding(metric: .latency, worker: worker, text: text, things: things))
            }
            add(.callErrors, callErrors(worker, new, old, Self.requestsMin, Self.significance))
            add(.queueRetries, queueRetries(worker, new, old, Self.requestsMin, Self.significance))
            if new.version != old.version { add(.cpu, cpu(worker, new, old)) }
        }
        return found
    }

    func trips(_ candidate: SlotSample, _ baseline: SlotSample) -> [Finding] {
        var found: [Finding] = []
        for (worker, new) in candidate.workers.sorted(by: { $0.key < $1.key })
        where new.version != baseline.workers[worker]?.version {
            func add(_ metric: Metric, _ text: String) { found.append(Finding(metric: metric, worker: worker, text: text)) }
            if new.recentExitCount >= Self.exitsMin {
                add(.crashes, "\(new.recentExitCount) isolates of \(worker) ended by themselves within a minute")
            }
            if new[.failedStarts] > 0 { add(.failedStarts, "\(new[.failedStarts]) isolates of \(worker) failed to start") }
            if new.silentIsolateCount > 0, new.silentIsolateCount * 2 >= new.isolateCount {
                add(
                    .health, "\(new.silentIsolateCount) of \(new.isolateCount) isolates of \(worker) don't answer health events"
                )
            }
        }
        let rate = Rate(candidate)
        if rate.of >= Self.burstRequestsMin, rate.value > Self.burstRate {
            found.append(Finding(metric: .errorBurst, worker: nil, text: "error rate \(rate.text("requests"))"))
        }
        return found
    }

    private func errorRate(
        _ candidate: SlotSample, _ baseline: SlotSample, _ samplesMin: Int64, _ significance: Double
    ) -> String? {
        let (new, old) = (Rate(candidate), Rate(baseline))
        guard new.isWorse(than: old, samplesMin, significance) else { return nil }
        return "error rate \(new.text("requests")) against \(old.text("")) of the previous release"
    }

    private func queueRetries(
        _ worker: String, _ new: MeterReading, _ old: MeterReading, _ samplesMin: Int64, _ significance: Double
    ) -> String? {
        let new = Rate(new[.messageRetries], of: new[.messages])
        let old = Rate(old[.messageRetries], of: old[.messages])
        guard new.isWorse(than: old, samplesMin, significance) else { return nil }
        return "queue retries of \(worker) \(new.text("messages")) against \(old.text("")) of the previous release"
    }

    private func callErrors(
        _ worker: String, _ new: MeterReading, _ old: MeterReading, _ samplesMin: Int64, _ significance: Double
    ) -> String? {
        let new = Rate(new[.callErrors], of: new[.calls])
        let old = Rate(old[.callErrors], of: old[.calls])
        guard new.isWorse(than: old, samplesMin, significance) else { return nil }
        return "errors of calls of \(worker) \(new.text("calls")) against \(old.text("")) of the previous release"
    }

    private func latency(_ worker: String, _ things: Things, _ new: MeterReading, _ old: MeterReading) -> String? {
        let (new, old) = (things.times(new), things.times(old))
        guard new.count >= Self.latencySamplesMin, old.count >= Self.latencySamplesMin,
            let p99 = new.percentile(0.99), let before = old.percentile(0.99)
        else { return nil }
        let bound = Self.latencyBound(before)
        guard p99 > bound, Rate(above: bound, new).zScore(against: Rate(above: bound, old)) > Self.latencySignificance else {
            return nil
        }
        return "p99 of \(worker) \(Self.time(p99)) (\(new.count) \(things)) against \(Self.time(before)) "
            + "(\(old.count)) of the previous release"
    }

    private static func latencyBound(_ before: Double) -> Double { max(before * latencyFactor, before + latencyRise) }

    private func cpu(_ worker: String, _ new: MeterReading, _ old: MeterReading) -> String? {
        guard new[.events] >= Self.latencySamplesMin, old[.events] >= Self.latencySamplesMin else { return nil }
        let (each, before) = (
            Double(new[.cpuMicroseconds]) / Double(new[.events]), Double(old[.cpuMicroseconds]) / Double(old[.events])
        )
        guard each > before * Self.cpuFactor, each > before + Self.cpuRise else { return nil }
        return "CPU time of \(worker) \(Self.time(each)) per event (\(new[.events]) events) against \(Self.time(before)) "
            + "(\(old[.events])) of the previous release"
    }

    private func memory(_ worker: String, _ new: MeterReading) -> String? {
        guard new.memoryShare > Self.memoryShareMax else { return nil }
        return "an isolate of \(worker) uses \(Self.percent(new.memoryShare)) of its memory"
    }

    // MARK: What bears out a suspicion

    /// Whether what came after a first suspicion says the same: of many checks, one is bad by chance, and stays so as long as what
    /// it saw is in the window.
    ///
    /// - Parameters:
    ///   - candidate: since the first check that failed.
    ///   - window: what the last check saw of the baseline.
    func confirms(_ finding: Finding, candidate: SlotSample, baseline: SlotSample, window: SlotSample) -> Bool {
        switch finding.metric {
        case .crashes, .failedStarts, .errorBurst, .health, .cpu, .memory: return true
        case .errorRate: return errorRate(candidate, baseline, 1, Self.confirmation) != nil
        case .queueRetries:
            guard let worker = finding.worker, let new = candidate.workers[worker], let old = baseline.workers[worker] else {
                return false
            }
            return queueRetries(worker, new, old, 1, Self.confirmation) != nil
        case .callErrors:
            guard let worker = finding.worker, let new = candidate.workers[worker], let old = baseline.workers[worker] else {
                return false
            }
            return callErrors(worker, new, old, 1, Self.confirmation) != nil
        case .latency:
            guard let worker = finding.worker, let new = candidate.workers[worker], let old = baseline.workers[worker],
                let before = window.workers[worker].map(finding.things.times)?.percentile(0.99)
            else { return false }
            let bound = Self.latencyBound(before)
            let rate = Rate(above: bound, finding.things.times(new))
            return rate.value > 0.01
                && rate.zScore(against: Rate(above: bound, finding.things.times(old))) > Self.confirmation
        }
    }

    // MARK: Words and numbers

    static func percent(_ value: Double) -> String { "\(tenths(value * 100)) %" }

    /// With one digit behind the point.
    private static func tenths(_ value: Double) -> String {
        let tenths = Int64((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// - Parameter microseconds: of a duration.
    static func time(_ microseconds: Double) -> String {
        switch microseconds {
        case ..<1000: "\(Int64(microseconds.rounded())) µs"
        case ..<100_000: "\(tenths(microseconds / 1000)) ms"
        case ..<1_000_000: "\(Int64((microseconds / 1000).rounded())) ms"
        default: "\(tenths(microseconds / 1_000_000)) s"
        }
    }

    /// So many of so many.
    struct Rate {
        let count: Int64
        let of: Int64

        init(_ count: Int64, of: Int64) {
            self.count = min(count, of)
            self.of = of
        }

        /// Of errors.
        init(_ sample: SlotSample) { self.init(sample.errorCount, of: sample.requestCount) }

        /// Of requests that took longer, in microseconds.
        init(above bound: Double, _ latencies: LatencyDistribution) {
            self.init(latencies.count(above: bound), of: latencies.count)
        }

        var value: Double { of > 0 ? Double(count) / Double(of) : 0 }

        func text(_ things: String) -> String {
            "\(ReleaseJudge.percent(value)) (\(count) of \(of)\(things.isEmpty ? "" : " " + things))"
        }

        func isWorse(than other: Rate, _ samplesMin: Int64, _ significance: Double) -> Bool {
            of >= samplesMin && other.of >= samplesMin && value > other.value + ReleaseJudge.rateRise
                && value > ReleaseJudge.rateMin && zScore(against: other) > significance
        }

        /// How many standard deviations it is above `other`, were both the same.
        func zScore(against other: Rate) -> Double {
            guard of > 0, other.of > 0 else { return 0 }
            let pooled = Double(count + other.count) / Double(of + other.of)
            let inverses = 1 / Double(of) + 1 / Double(other.of)
            let deviation = (pooled * (1 - pooled) * inverses).squareRoot()
            guard deviation > 0 else { return 0 }
            return (value - other.value - inverses / 2) / deviation
        }
    }
}
