internal import System

/// What a node does about deployments that one before it, of the same state directory, had begun: spec C5. A node holds its
/// state directory alone: whoever else had the lock is dead.
extension DeploymentMachine {
    /// Ends what can't go on. To be called before anything serves.
    func settle() async throws(DeploymentError) {
        let (boot, now) = (boot, clock.wallTime())
        try await read { store in
            var change = ReleaseStore.Change()
            let active = try store.routing()?.active
            for item in try store.openDeployments() {
                guard case .end(let end) = DeploymentRules(item.record.state).recovery else { continue }
                change.journal.append(Self.interrupted(item.record, end, active, at: now))
            }
            try store.commit(change, at: now)
            try store.takeOver(boot, at: now)
        }
    }

    private static func interrupted(
        _ record: DeploymentRecord, _ end: DeploymentState, _ active: Int64?, at now: UnixTime, _ why: String = ""
    ) -> JournalEntry {
        var entry = JournalEntry(record)
        entry.record.state = end
        entry.record.percent = 0
        entry.record.pause = nil
        entry.record.reason = "interrupted: the node ended while it was \(record.state)\(why)"
        entry.record.finishedAt = now
        entry.events = [(.failure, entry.record.reason ?? ""), (.entered, text(of: entry.record))]
        entry.routing = .init(active: active, candidate: nil, percent: 0)
        entry.lock = .release
        return entry
    }

    /// Goes on with what can. To be called once the active release serves.
    func goOn() async throws(DeploymentError) {
        guard let slots = slotsIfAttached, present == nil else { return }
        let environment = makeEnvironment()
        let items = try await read { try $0.openDeployments() + $0.uncontractedDeployments() }
        let active = try await read { try $0.routing()?.active }
        for item in items {
            guard let found = try await read({ try $0.release(item.record.release) }) else { continue }
            var input: DeploymentInput?
            var problem: String?
            if !found.record.bundle.isEmpty {
                do throws(DeploymentFailure) { input = try await readInput(found.record, environment) } catch {
                    problem = "\(error)"
                }
            }
            let run = Run(item, found.record, found.content, input, environment)
            if let told = item.record.coordination { keep(told, run) }
            switch DeploymentRules(item.record.state).recovery {
            case .end: continue
            case .goOn:
                guard item.record.release == active, item.record.state == .active || item.record.state == .monitoring else {
                    // Another one is active by now, or its previous release went with the node.
                    run.isHastened = true
                    if item.record.state != .retired, item.record.state != .draining {
                        await enter(.draining, run) { $0.lock = .release }
                    }
                    finishing[item.record.number] = run
                    Task { await self.finish(run) }
                    continue
                }
                await goOn(run, from: item.record.state, slots)
            case .resume(let state):
                if problem == nil, item.record.previous != active { problem = "another release became active meanwhile" }
                if problem == nil, input?.settings.resume == false { problem = "deploy.resume is off" }
                if problem == nil, let lease = run.lease, lease <= clock.now() {
                    problem = "whoever leads the nodes wasn't heard of meanwhile"
                }
                if let problem { await end(run, active, problem) } else { await goOn(run, from: state, slots) }
            case .restore:
                if problem == nil, item.record.previous != active { problem = "another release became active meanwhile" }
                if let problem { await end(run, active, problem) } else { await goOn(run, from: item.record.state, slots) }
            }
        }
    }

    private func end(_ run: Run, _ active: Int64?, _ problem: String) async {
        let entry = Self.interrupted(run.record, .rolledBack, active, at: clock.wallTime(), " (\(problem))")
        await commit([entry])
        note(entry, run)
    }

    /// Between a breaking migration and the switch, what serves must not write: that was forgotten with the node.
    private func freezeAgain(_ run: Run, _ state: DeploymentState) async {
        let breaking = run.journaled.steps.filter { $0.kind == .expand && $0.isBreaking }
        guard [.starting, .healthy, .smokeTested, .prepared, .shifting].contains(state), !run.isReturn, !breaking.isEmpty,
            let migrations = run.environment.migrations
        else { return }
        do throws(DeploymentFailure) {
            try await migrations.freeze(breaking)
            run.isFrozen = true
        } catch { await tell(run, .warning, "writes can't be held: \(error)") }
    }

    private func goOn(_ run: Run, from state: DeploymentState, _ slots: any DeploymentSlots) async {
        do throws(DeploymentFailure) { try await slots.lock("deployment \(run.record.number) is in progress") } catch {
            logger.log(.error, "a deployment doesn't go on: \(error)")
            return
        }
        await freezeAgain(run, state)
        // Who has let it go on needn't do so again.
        if let percent = run.record.options.pauseAt, run.record.pause == nil {
            let (number, text) = (run.record.number, Self.pausedAsAsked(percent))
            let events = try? await read { try $0.deploymentEvents(of: number, after: 0) }
            run.hasPaused = events?.contains { $0.text == text } ?? false
        }
        present = run
        await tell(run, .note, "the node ended while it was \(run.record.state); it goes on")
        if state != run.record.state {
            let active = run.record.previous
            await enter(state, run, percent: 0) {
                $0.record.pause = nil
                $0.routing = .init(active: active, candidate: nil, percent: 0)
            }
        }
        start(run)
    }
}
