internal import Configuration
internal import System

/// What each state does, up to the switch.
extension DeploymentMachine {
    /// Carries the deployment in progress to its end, or to where another one may begin.
    func drive(_ run: Run) async {
        let number = run.record.number
        let beats = Task { while await beat(number) {} }
        defer { beats.cancel() }
        while !isDead, present === run, let slots = slotsIfAttached {
            do throws(DeploymentFailure) {
                try await act(run, slots)
            } catch {
                if isDead || present !== run { break }
                await fail(run, slots, error)
            }
        }
        ring()
    }

    private func beat(_ number: Int64) async -> Bool {
        do { try await clock.sleep(for: DeploymentRules.heartbeat) } catch { return false }
        guard !isDead, present?.record.number == number else { return false }
        let (store, boot, time) = (store, boot, clock.wallTime())
        do { try await disk.run { () throws -> Void in try store.beat(boot, at: time) } } catch {
            logger.log(.error, "the lock of a deployment can't be renewed: \(error)")
        }
        return true
    }

    /// Does what the state asks for and goes into the next one.
    private func act(_ run: Run, _ slots: any DeploymentSlots) async throws(DeploymentFailure) {
        try obey(run)
        let limit = DeploymentRules(run.record.state).limit
        switch run.record.state {
        case .created: await enter(.validated, run)
        case .validated:
            try checkStages(run)
            let (candidate, isReturn) = (run.candidate, run.isReturn)
            try await limited(run, limit, "validation") { () async throws(DeploymentFailure) in
                try await slots.check(candidate, isReturn: isReturn)
            }
            await enter(run.isReturn ? (run.record.options.restoresData ? .migrated : .starting) : .prechecked, run)
        case .prechecked: try await precheck(run, slots, limit)
        case .backedUp: try await backUp(run, limit)
        case .migrated: try await migrate(run)
        case .starting:
            let candidate = run.candidate
            try await limited(run, limit, "the start of its isolates", lingers: true) { () async throws(DeploymentFailure) in
                try await slots.stage(candidate)
            }
            await enter(.healthy, run)
        case .healthy:
            try await limited(run, limit, "the proof of its health") { [self] () async throws(DeploymentFailure) in
                try await proveHealth(slots)
            }
            try await warmUp(run, slots, limit)
            if run.isReturn { return try await activate(run, slots) }
            let active = run.record.previous
            await enter(.smokeTested, run, percent: 0) {
                $0.routing = .init(active: active, candidate: run.record.release, percent: 0)
            }
        case .smokeTested: try await smokeTest(run, slots, limit)
        case .prepared: try await awaitSwitch(run, slots)
        case .shifting: try await shift(run, slots)
        case .active: try await settle(run, slots)
        case .monitoring: try await monitor(run, slots)
        case .draining, .retired, .rolledBack, .refused:
            // Past the lock.
            present = nil
        }
    }

    /// Does what somebody asked for that holds in any state.
    func obey(_ run: Run) throws(DeploymentFailure) {
        try checkLease(run)
        switch run.request {
        // It has switched, and goes back from the state that can.
        case .abort where run.record.state == .active: break
        case .abort(let author):
            run.request = nil
            throw DeploymentFailure("aborted by \(author.name)")
        case .promote:
            run.request = nil
            run.isPromoting = true
        case .switchOver:
            run.request = nil
            run.isSwitching = true
        case .resume: run.request = nil
        case nil: break
        }
    }

    /// What is asked for and this node doesn't have isn't passed over.
    private func checkStages(_ run: Run) throws(DeploymentFailure) {
        guard let input = run.input, !run.isReturn else { return }
        var reasons: [String] = []
        if run.environment.migrations == nil, !input.description.migrations.isEmpty {
            reasons.append("the configuration has migrations, which this node can't run as part of a deployment")
        }
        if run.environment.smokeTests == nil, !input.smokeTests.isEmpty {
            reasons.append("the configuration has smoke tests, which this node can't run")
        }
        if input.settings.smoke == .required, input.smokeTests.isEmpty {
            reasons.append("deploy.smoke is \"required\", and no worker has smoke tests: add some, or set it to \"optional\"")
        }
        if run.environment.hooks == nil, !input.hooks.isEmpty {
            reasons.append("the configuration has hooks, which this node can't call")
        }
        guard reasons.isEmpty else { throw DeploymentFailure(reasons) }
    }

    func hook(_ point: Hook.Point, _ run: Run) async throws(DeploymentFailure) {
        let hooks = (run.input?.hooks ?? []).filter { $0.point == point }
        guard !hooks.isEmpty, let caller = run.environment.hooks else { return }
        let record = run.record
        try await limited(run, nil, "hook \(point.rawValue)") { () async throws(DeploymentFailure) in
            try await caller.call(point, hooks, record)
        }
        await tell(run, .note, "hook \(point.rawValue): yes")
    }

    // MARK: Before the start

    private func precheck(_ run: Run, _ slots: any DeploymentSlots, _ limit: Duration?) async throws(DeploymentFailure) {
        let (candidate, options) = (run.candidate, run.record.options)
        let sets = run.input?.description.migrations ?? []
        let migrations = run.environment.migrations
        let steps = try await limited(run, limit, "the checks of the node") {
            () async throws(DeploymentFailure) -> [MigrationStep] in
            try await slots.precheck(candidate, isForced: options.isForced)
            guard let migrations, !sets.isEmpty else { return [] }
            return try await migrations.pending(sets, options)
        }
        if steps.contains(where: \.isBreaking), run.steps != [100] {
            throw DeploymentFailure(
                "a breaking migration is pending, and code from before can't live with it: deploy it at once, with --steps 100")
        }
        if let migrations, !steps.isEmpty {
            for line in try await migrations.notes(sets, steps) { await tell(run, .note, line) }
        }
        try await hook(.confirmRollout, run)
        try await hook(.preRollout, run)
        await enter(.backedUp, run) { $0.steps = steps }
    }

    private func backUp(_ run: Run, _ limit: Duration?) async throws(DeploymentFailure) {
        var backups: [DatabaseBackup] = []
        let steps = run.journaled.steps.filter { $0.kind == .expand }
        if let migrations = run.environment.migrations, let settings = run.input?.settings, !steps.isEmpty {
            backups = try await limited(run, limit, "the backup") { () async throws(DeploymentFailure) -> [DatabaseBackup] in
                try await migrations.backUp(steps, settings.backup)
            }
        }
        let taken = backups
        await enter(.migrated, run) { $0.backups = taken }
    }

    private func migrate(_ run: Run) async throws(DeploymentFailure) {
        if let migrations = run.environment.migrations {
            if run.isReturn {
                let backups = run.journaled.backups
                if !backups.isEmpty { try await migrations.restore(backups) }
            } else if let input = run.input {
                let steps = run.journaled.steps.filter { $0.kind == .expand }
                let breaking = steps.filter(\.isBreaking)
                if !breaking.isEmpty {
                    try await migrations.freeze(breaking)
                    run.isFrozen = true
                }
                if !steps.isEmpty {
                    // Not to be interrupted: it ends by itself, and is all of a database or nothing.
                    try await migrations.migrate(input.description.migrations, steps, input.settings, run.record.options)
                    for step in steps { await tell(run, .note, "migrated \(step.database): \(step.file)") }
                }
            }
        }
        await enter(.starting, run)
    }

    // MARK: Proving the candidate

    private func proveHealth(_ slots: any DeploymentSlots) async throws(DeploymentFailure) {
        var problem: String?
        var count = 0
        // Ended by the state's limit.
        for attempt in 0..<1000 {
            if isDead { return }
            if attempt > 0 { try? await clock.sleep(for: DeploymentRules.healthInterval) }
            problem = await slots.candidateProblem()
            count = problem == nil ? count + 1 : 0
            if count == DeploymentRules.healthCheckCount { return }
            guard await slots.hasCandidate else { break }
        }
        throw DeploymentFailure(problem ?? "its isolates are gone")
    }

    private func smokeTest(_ run: Run, _ slots: any DeploymentSlots, _ limit: Duration?) async throws(DeploymentFailure) {
        await slots.route(0)
        await keepReport(run.record, slots)
        let tests = run.input?.smokeTests ?? []
        if !tests.isEmpty, let runner = run.environment.smokeTests {
            let release = run.record.release
            let results = try await limited(run, limit, "the smoke tests") {
                () async throws(DeploymentFailure) -> [SmokeResult] in
                await runner.run(tests, release: release)
            }
            for result in results {
                await tell(
                    run, result.failure == nil ? .note : .failure,
                    "smoke test \(result.worker) \(result.request): \(result.failure ?? "passed") "
                        + "(\(result.duration.wholeMilliseconds) ms)")
            }
            let failures = results.compactMap { result in
                result.failure.map { "smoke test \(result.worker) \(result.request): \($0)" }
            }
            guard failures.isEmpty, results.count == tests.count else {
                throw DeploymentFailure(failures.isEmpty ? ["not all smoke tests were run"] : failures)
            }
            run.isTested = true
        }
        if run.isCoordinated { return try await prepare(run) }
        if run.record.options.pauseAt == 0, !run.isPromoting, !run.hasPaused {
            try await pause(run, Self.pausedAsAsked(0))
        }
        try await raise(run, slots, to: run.steps.first ?? 100)
    }

    private func raise(_ run: Run, _ slots: any DeploymentSlots, to percent: Int) async throws(DeploymentFailure) {
        try await hook(.confirmTrafficIncrease, run)
        // What the release before did while it had requests.
        if let baseline = await slots.baseline() { run.baseline = baseline }
        let record = run.record
        await enter(.shifting, run, percent: percent) {
            $0.routing = .init(active: record.previous, candidate: record.release, percent: percent)
        }
    }

    static func pausedAsAsked(_ percent: Int) -> String { "paused at \(percent) %, as asked for" }

    /// Waits for somebody to say how it goes on.
    private func pause(_ run: Run, _ reason: String) async throws(DeploymentFailure) {
        if run.record.pause == nil {
            var entry = JournalEntry(run.record)
            entry.record.pause = reason
            entry.events = [(.warning, reason)]
            await commit([entry])
            note(entry, run)
        }
        var word = ""
        while word.isEmpty {
            await sleep(until: nil)
            if isDead || present !== run { throw DeploymentFailure("superseded") }
            switch run.request {
            case .abort(let author):
                run.request = nil
                throw DeploymentFailure("aborted by \(author.name)")
            case .resume(let author):
                word = "resumed by \(author.name)"
            case .promote(let author):
                run.isPromoting = true
                word = "promoted by \(author.name)"
            case .switchOver, nil: continue
            }
        }
        run.request = nil
        var entry = JournalEntry(run.record)
        entry.record.pause = nil
        entry.events = [(.note, word)]
        await commit([entry])
        note(entry, run)
        run.hasPaused = true
    }

    // MARK: Moving requests

    private func shift(_ run: Run, _ slots: any DeploymentSlots) async throws(DeploymentFailure) {
        if await !slots.hasCandidate {
            // The node has died meanwhile: until the candidate is healthy again, all requests go to the release before.
            let candidate = run.candidate
            try await limited(run, DeploymentRules.restoreLimit, "starting it again", lingers: true) {
                [self] () async throws(DeploymentFailure) in
                try await slots.stage(candidate)
                try await proveHealth(slots)
            }
        }
        await slots.route(run.record.percent)
        if let reason = run.record.pause {
            try await pause(run, reason)
        } else if !run.isPromoting {
            if run.record.options.pauseAt == run.record.percent, !run.hasPaused {
                try await pause(run, Self.pausedAsAsked(run.record.percent))
            }
            try await watch(run, slots, .shifting(percent: run.record.percent), for: run.bake)
        }
        try obey(run)
        if !run.isPromoting, let next = run.steps.first(where: { $0 > run.record.percent }) {
            return try await raise(run, slots, to: next)
        }
        try await activate(run, slots)
    }

    /// Looks at how the releases do, for `duration` or longer.
    func watch(
        _ run: Run, _ slots: any DeploymentSlots, _ phase: JudgeSeries.Phase, for duration: Duration
    ) async throws(DeploymentFailure) {
        guard duration > .zero else { return }
        let (release, previous) = (run.record.release, run.record.previous)
        let first = await slots.samples(of: release, previous)
        var metrics = MetricSeries(run.input?.settings.metrics ?? [])
        var judge = run.environment.judge
        judge.dryRun.formUnion((run.input?.settings.dryRun ?? []).compactMap(ReleaseJudge.Metric.init(rawValue:)))
        let isAlone = phase == .monitoring || phase == .shifting(percent: 100)
        var series = JudgeSeries(
            judge, phase, duration: duration, noTraffic: run.input?.settings.noTraffic ?? .promote,
            passedSmokeTests: run.isTested, previousBaseline: isAlone ? run.baseline : nil, candidate: first.new,
            active: first.old)
        let start = clock.now()
        let interval = min(duration, JudgeSeries.interval)
        while true {
            await sleep(until: clock.now() + interval)
            if isDead || present !== run { throw DeploymentFailure("superseded") }
            try obey(run)
            if run.isPromoting { return }
            let now = await slots.samples(of: release, previous)
            let ruling = series.check(candidate: now.new, active: now.old, elapsed: clock.now() - start)
            if case .fail(let reason)? = series.verdict { await tell(run, .warning, "a check failed: \(reason)") }
            for remark in series.takeRemarks() { await tell(run, .warning, remark) }
            try await check(&metrics, run)
            switch ruling {
            case .wait: continue
            case .proceed(let remark):
                if let remark { await tell(run, .warning, "goes on although \(remark)") }
                return
            case .pause(let reason): return try await pause(run, "paused at \(run.record.percent) %: \(reason)")
            case .rollBack(let reason): throw DeploymentFailure(reason)
            }
        }
    }
}

extension ScriptAuthor {
    /// For people.
    var name: String { email.isEmpty ? source : email }
}
