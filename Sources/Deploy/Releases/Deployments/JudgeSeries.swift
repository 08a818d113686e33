package import Configuration

/// The checks of one step of a deployment, or of the time after the switch, and what follows from them. Pure: whoever drives it
/// takes the samples and says how much time has passed.
///
///     checking ── bake over, last check passed ─────────────▶ proceed
///        │  ▲
///        │  └── a check fails: the bake isn't over before the row is; three in a row, borne out by what came after
///        │      the first ─────────────────────────────────▶ roll back
///        ├── a trip wire ──────────────────────────────────▶ roll back
///        └── bake over three times, still too few requests ─▶ as `no_traffic` says
package struct JudgeSeries: Sendable {
    package enum Phase: Equatable, Sendable {
        /// - Parameter percent: what the candidate gets.
        case shifting(percent: Int)
        case monitoring
    }

    package enum Ruling: Equatable, Sendable {
        /// Check again after `interval`.
        case wait
        /// - Parameter remark: that it was done without enough requests to judge by.
        case proceed(remark: String?)
        case pause(String)
        case rollBack(String)
    }

    package static let interval = Duration.seconds(10)
    static let failuresInRow = 3
    /// Windows reach back this many checks: what began an hour ago says little of now.
    private static let windowChecksMax = 12
    private static let extensionsMax = 3

    private let judge: ReleaseJudge
    private let phase: Phase
    private let duration: Duration
    private let noTraffic: DeploySettings.NoTraffic
    private let passedSmokeTests: Bool
    private let previousBaseline: SlotSample?
    /// The start's, then each check's; the oldest first.
    private var samples: [Sample]
    /// Of the first check of a row that failed.
    private var firstFailure: Sample?
    private var failureCount = 0
    /// What the last check said.
    package private(set) var verdict: Verdict?
    /// Of metrics that only tell: those that were told, and those that are to be.
    private var toldRemarks: Set<String> = []
    private var remarks: [String] = []

    private struct Sample {
        let candidate: SlotSample
        let active: SlotSample
    }

    /// - Parameters:
    ///   - duration: the step's bake, or the time to monitor.
    ///   - previousBaseline: a window of what the previous release did; where the candidate has all the requests.
    ///   - candidate: as of now, as `ReleaseMeter.sample()` has it.
    ///   - active: the same.
    package init(
        _ judge: ReleaseJudge = ReleaseJudge(), _ phase: Phase, duration: Duration, noTraffic: DeploySettings.NoTraffic,
        passedSmokeTests: Bool, previousBaseline: SlotSample? = nil, candidate: SlotSample, active: SlotSample
    ) {
        self.judge = judge
        self.phase = phase
        self.duration = duration
        self.noTraffic = noTraffic
        self.passedSmokeTests = passedSmokeTests
        self.previousBaseline = previousBaseline
        samples = [Sample(candidate: candidate, active: active)]
    }

    /// What the last check saw.
    package var window: (candidate: SlotSample, active: SlotSample) {
        guard let first = samples.first, let last = samples.last else { return (SlotSample(), SlotSample()) }
        return (last.candidate - first.candidate, last.active - first.active)
    }

    /// - Parameters:
    ///   - candidate: All that it did until now.
    ///   - elapsed: Since the series was made.
    package mutating func check(candidate: SlotSample, active: SlotSample, elapsed: Duration) -> Ruling {
        let now = Sample(candidate: candidate, active: active)
        let last = samples.last ?? now
        samples.append(now)
        if samples.count > Self.windowChecksMax + 1 { samples.removeFirst() }
        let window = self.window
        // A burst is seen at once in what is newest, and late in what is long.
        let newest = judge.trips(now.candidate - last.candidate, baseline(now.active - last.active))
            .filter { !judge.dryRun.contains($0.metric) }
        let verdict =
            newest.isEmpty
            ? judge.check(candidate: window.candidate, active: window.active, previousBaseline: previousBaseline)
            : .trip(ReleaseJudge.sentence(newest))
        self.verdict = verdict
        remarks = judge.remarks(candidate: window.candidate, active: window.active, previousBaseline: previousBaseline)
        switch verdict {
        case .trip(let reason): return .rollBack(reason)
        case .fail(let reason):
            failureCount += 1
            let first = firstFailure ?? now
            firstFailure = first
            guard failureCount >= Self.failuresInRow else { return .wait }
            let isLate = elapsed >= duration * Self.extensionsMax
            guard isLate || isBorneOut(window, since: first, now) else { return .wait }
            return .rollBack("\(failureCount) checks in a row failed: \(reason)")
        case .pass:
            endRow()
            return elapsed >= duration ? .proceed(remark: nil) : .wait
        case .inconclusive(let reason):
            endRow()
            return withoutTraffic(reason, elapsed)
        }
    }

    /// What the last check has found of metrics that only tell: each thing once, whatever its numbers.
    package mutating func takeRemarks() -> [String] {
        remarks.filter { remark in toldRemarks.insert(String(remark.prefix { !$0.isNumber })).inserted }
    }

    private mutating func endRow() {
        failureCount = 0
        firstFailure = nil
    }

    private func baseline(_ active: SlotSample) -> SlotSample { previousBaseline ?? active }

    private func isBorneOut(_ window: (candidate: SlotSample, active: SlotSample), since first: Sample, _ now: Sample) -> Bool {
        let old = baseline(window.active)
        return judge.findings(window.candidate, old).contains { finding in
            !judge.dryRun.contains(finding.metric)
                && judge.confirms(
                    finding, candidate: now.candidate - first.candidate, baseline: baseline(now.active - first.active),
                    window: old)
        }
    }

    private func withoutTraffic(_ reason: String, _ elapsed: Duration) -> Ruling {
        switch phase {
        case .monitoring:
            // It serves already, and nothing speaks against it.
            return elapsed >= duration ? .proceed(remark: reason) : .wait
        case .shifting(let percent):
            guard elapsed >= duration * Self.extensionsMax else { return .wait }
            switch noTraffic {
            case .promote: return .proceed(remark: reason)
            case .rollback: return .rollBack(reason)
            // There is no larger share to be careful with.
            case .pause where percent == 100 && passedSmokeTests: return .proceed(remark: reason)
            case .pause: return .pause(reason)
            }
        }
    }
}

/// The last minutes of a release, so that a later one can be compared with what it did before it was replaced. Pure.
package struct SampleHistory: Sendable {
    /// One for each minute.
    private var samples: [SlotSample] = []
    package static let interval = Duration.seconds(60)
    /// Spec: C3.
    private static let minutes = 10

    package init() {}

    /// To be called every `interval` while the release is the active one.
    package mutating func note(_ sample: SlotSample) {
        samples.append(sample)
        if samples.count > Self.minutes { samples.removeFirst() }
    }

    /// What it did in the last ten minutes; of a younger one, all that it did.
    package func window(until now: SlotSample) -> SlotSample {
        guard samples.count == Self.minutes, let first = samples.first else { return now }
        return now - first
    }
}
