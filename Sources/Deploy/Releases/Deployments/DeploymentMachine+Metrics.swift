internal import Configuration

/// Numbers of the operator's own, looked at as often as the judge looks at its. Pure, but for the queries.
struct MetricSeries: Sendable {
    private struct State: Sendable {
        var failureCount = 0
        var errorCount = 0
        var isTold = false
    }
    let metrics: [DeployMetric]
    private var states: [State]

    /// Spec C3, and for a source that is broken spec B.
    static let failuresInRow = 3
    static let errorsInRow = 4

    enum Outcome: Equatable, Sendable {
        case fine
        /// Said once, of a metric that only tells.
        case remark(String)
        case warning(String)
        case rollBack(String)
    }

    init(_ metrics: [DeployMetric]) {
        self.metrics = metrics
        states = Array(repeating: State(), count: metrics.count)
    }

    /// - Parameter value: `nil`: the query had no row.
    mutating func note(_ value: Double?, of index: Int) -> Outcome {
        let metric = metrics[index]
        states[index].errorCount = 0
        guard let value, value > metric.max else {
            states[index].failureCount = 0
            return .fine
        }
        let text = "metric \"\(metric.name)\" is \(value), and may be \(metric.max)"
        guard !metric.isDryRun else {
            defer { states[index].isTold = true }
            return states[index].isTold ? .fine : .remark("(dry run) " + text)
        }
        states[index].failureCount += 1
        guard states[index].failureCount >= Self.failuresInRow else { return .warning("a check failed: \(text)") }
        return .rollBack("\(states[index].failureCount) checks in a row failed: \(text)")
    }

    mutating func note(error: String, of index: Int) -> Outcome {
        let metric = metrics[index]
        states[index].errorCount += 1
        let text = "metric \"\(metric.name)\" can't be had: \(error)"
        if metric.isDryRun {
            defer { states[index].isTold = true }
            return states[index].isTold ? .fine : .remark("(dry run) " + text)
        }
        return states[index].errorCount >= Self.errorsInRow ? .rollBack(text) : .warning(text)
    }
}

extension DeploymentMachine {
    /// Requests that the environment wants a candidate to have answered before anybody else's.
    func warmUp(
        _ run: Run, _ slots: any DeploymentSlots, _ limit: Duration?
    ) async throws(DeploymentFailure) {
        let requests = run.input?.settings.warmup ?? []
        guard !requests.isEmpty, !run.isReturn else { return }
        guard let runner = run.environment.smokeTests else {
            throw DeploymentFailure("the environment has warm-up requests, which this node can't send")
        }
        // Only who asks for the release by its number gets there.
        await slots.route(0)
        let release = run.record.release
        let results = try await limited(run, limit, "the warm-up") { () async throws(DeploymentFailure) -> [SmokeResult] in
            await runner.run(requests.map { ($0.worker, $0.request) }, release: release)
        }
        for result in results {
            await tell(
                run, result.failure == nil ? .note : .failure,
                "warm-up \(result.worker) \(result.request): \(result.failure ?? "done") (\(result.duration.wholeMilliseconds) ms)"
            )
        }
        let failures = results.compactMap { result in
            result.failure.map { "warm-up \(result.worker) \(result.request): \($0)" }
        }
        guard failures.isEmpty, results.count == requests.count else {
            throw DeploymentFailure(failures.isEmpty ? ["not all warm-up requests were sent"] : failures)
        }
    }

    /// - Throws: why the release is to go.
    func check(_ series: inout MetricSeries, _ run: Run) async throws(DeploymentFailure) {
        for (index, metric) in series.metrics.enumerated() {
            let outcome: MetricSeries.Outcome
            do throws(DeploymentFailure) {
                guard let query = run.environment.query else { throw DeploymentFailure("this node has no data points") }
                let text = metric.query.replacing("{release}", with: "\(run.record.release)").replacing(
                    "{previous}", with: "\(run.record.previous ?? 0)")
                outcome = series.note(try await query(text), of: index)
            } catch { outcome = series.note(error: "\(error)", of: index) }
            switch outcome {
            case .fine: continue
            case .remark(let text), .warning(let text): await tell(run, .warning, text)
            case .rollBack(let reason): throw DeploymentFailure(reason)
            }
        }
    }
}
