internal import System

/// What becomes of a deployment: the switch and the watch behind it, the way back, and the end of the release before.
extension DeploymentMachine {
    // MARK: The switch and after it

    func activate(_ run: Run, _ slots: any DeploymentSlots) async throws(DeploymentFailure) {
        if !run.isReturn, !run.isCoordinated { try await hook(.confirmPromotion, run) }
        if strikes(run.record.state, .done) { return }
        var entry = JournalEntry(run.record)
        entry.record.state = .active
        entry.record.percent = 100
        entry.record.pause = nil
        entry.events = [(.entered, Self.text(of: entry.record))]
        entry.routing = .init(active: run.record.release, candidate: nil, percent: 100)
        entry.coordination = freshLease(run, .switch)
        let fault = fault
        var delay = Duration.seconds(1)
        while true {
            do {
                try await slots.promote(entry, at: run.record) { _ = fault(.active, .committed) }
                break
            } catch let error as DeploymentFailure {
                throw error
            } catch {
                logger.log(.error, "the deployment stands still: it can't be made active: \(error)")
                await sleep(until: clock.now() + delay)
                try obey(run)
                delay = min(delay * 2, DeploymentRules.retryMax)
            }
        }
        if strikes(.active, .committed) { return }
        note(entry, run)
        for other in finishing.values where other !== run { other.isHastened = true }
    }

    func settle(_ run: Run, _ slots: any DeploymentSlots) async throws(DeploymentFailure) {
        await unfreeze(run)
        if !run.isReturn {
            do throws(DeploymentFailure) { try await hook(.postRollout, run) } catch {
                await tell(run, .warning, "the deployment goes on, although its hook says no: \(error)")
            }
        }
        await keepReport(run.record, slots)
        await enter(.monitoring, run)
    }

    func monitor(_ run: Run, _ slots: any DeploymentSlots) async throws(DeploymentFailure) {
        if let previous = run.record.previous, run.monitor > .zero, !run.isBound {
            if await !slots.isWarm(previous) { await warmUp(previous, run, slots) }
            try await watch(run, slots, .monitoring, for: run.monitor)
        }
        try await awaitConfirmation(run)
        await enter(.draining, run) {
            $0.record.pause = nil
            $0.lock = .release
        }
        if isDead { return }
        finishing[run.record.number] = run
        present = nil
        await slots.setLock(nil)
        // Owned by `finishing`: ends with the node or when the release before is gone.
        Task { await self.finish(run) }
    }

    private func warmUp(_ previous: Int64, _ run: Run, _ slots: any DeploymentSlots) async {
        do {
            guard let found = try await read({ try $0.release(previous) }) else { return }
            var input: DeploymentInput?
            if !found.record.bundle.isEmpty { input = try await readInput(found.record, run.environment) }
            try await slots.warmUp(CandidateRelease(record: found.record, content: found.content, input: input))
        } catch { await tell(run, .warning, "the release before isn't kept warm: \(error)") }
    }

    private func unfreeze(_ run: Run) async {
        guard run.isFrozen, let migrations = run.environment.migrations else { return }
        run.isFrozen = false
        await migrations.unfreeze(run.journaled.steps.filter(\.isBreaking))
    }

    func keepReport(_ record: DeploymentRecord, _ slots: any DeploymentSlots) async {
        guard let report = await slots.report(record) else { return }
        let (store, number) = (store, record.number)
        do { try await disk.run { () throws -> Void in try store.setReport(report, of: number) } } catch {
            logger.log(.error, "the report of a deployment can't be kept: \(error)")
        }
    }

    // MARK: The way back

    func fail(_ run: Run, _ slots: any DeploymentSlots, _ failure: DeploymentFailure) async {
        let state = run.record.state
        guard let end = DeploymentRules(state).failure else {
            await tell(run, .failure, "\(failure)")
            await sleep(until: clock.now() + .seconds(1))
            return
        }
        if state == .monitoring {
            // From here on nobody may be told that this node keeps the release.
            if run.isCoordinated { run.hasLapsed = true }
            return await goBack(run, slots, failure)
        }
        let previous = run.record.previous
        if strikes(state, .done) { return }
        var entry = JournalEntry(run.record)
        entry.record.state = end
        entry.record.percent = 0
        entry.record.pause = nil
        entry.record.reason = "\(failure)"
        entry.record.finishedAt = clock.wallTime()
        entry.events = [(.failure, "\(failure)"), (.entered, Self.text(of: entry.record))]
        entry.routing = .init(active: previous, candidate: nil, percent: 0)
        entry.lock = .release
        await commit([entry])
        if isDead || strikes(end, .committed) { return }
        note(entry, run)
        // What the candidate did is told by it alone.
        await keepReport(entry.record, slots)
        await slots.discardCandidate()
        await run.lingering?.value
        await slots.discardCandidate()
        if !run.isReturn, let migrations = run.environment.migrations, run.journaled.steps.contains(where: \.isBreaking) {
            await restoreUntouched(run, migrations)
        }
        await unfreeze(run)
        if present === run { present = nil }
        await slots.setLock(nil)
        ring()
        if end == .rolledBack { await tellOfRollback(run) }
    }

    /// Code from before can't live with a breaking migration: databases that nobody wrote to go back.
    private func restoreUntouched(_ run: Run, _ migrations: any DeploymentMigrations) async {
        do throws(DeploymentFailure) {
            let restored = try await migrations.restoreUntouched(run.journaled.backups)
            for database in restored { await tell(run, .note, "\(database) is as it was before the migration") }
            for backup in run.journaled.backups where !restored.contains(backup.database) {
                await tell(run, .warning, "\(backup.database) has writes since its migration, and keeps it")
            }
        } catch { await tell(run, .failure, "databases keep their migrations: \(error)") }
    }

    private func goBack(_ run: Run, _ slots: any DeploymentSlots, _ failure: DeploymentFailure) async {
        guard let previous = run.record.previous else {
            await tell(run, .failure, "\(failure); there is no release to go back to")
            run.isUnwatched = true
            return
        }
        if await !slots.isWarm(previous) { await warmUp(previous, run, slots) }
        guard await slots.isWarm(previous) else {
            await tell(run, .failure, "\(failure); the release before can't be started")
            run.isUnwatched = true
            return
        }
        if strikes(.monitoring, .done) { return }
        var entry = JournalEntry(run.record)
        entry.record.state = .rolledBack
        entry.record.percent = 0
        entry.record.pause = nil
        entry.record.reason = "after it was active: \(failure)"
        entry.record.finishedAt = clock.wallTime()
        entry.events = [(.failure, "\(failure)"), (.entered, Self.text(of: entry.record))]
        entry.routing = .init(active: previous, candidate: nil, percent: 0)
        entry.lock = .release
        do { try await slots.goBack(to: previous, [entry], at: run.record) } catch {
            logger.log(.error, "the way back can't be written down: \(error)")
            await sleep(until: clock.now() + .seconds(1))
            return
        }
        if strikes(.rolledBack, .committed) { return }
        await keepReport(entry.record, slots)
        note(entry, run)
        await slots.retire(run.record.release)
        if present === run { present = nil }
        await slots.setLock(nil)
        ring()
        await tellOfRollback(run)
    }

    private func tellOfRollback(_ run: Run) async {
        do throws(DeploymentFailure) { try await hook(.rollback, run) } catch {
            await tell(run, .warning, "hook rollback: \(error)")
        }
    }

    // MARK: The end of the release before

    /// From draining on: nothing of it keeps another deployment waiting.
    func finish(_ run: Run) async {
        guard let slots = slotsIfAttached else { return }
        if run.record.state == .draining {
            let start = clock.now()
            if let previous = run.record.previous {
                let report = await slots.drain(previous)
                await keepReport(run.record, slots)
                await tell(
                    run, report.cut > 0 ? .warning : .note,
                    "drained: \(report.finished) finished, \(report.cut) cut, the longest after "
                        + "\(report.longest.wholeMilliseconds) ms")
            }
            while !run.isHastened, !isDead, run.record.previous != nil, clock.now() < start + run.keepWarm {
                try? await clock.sleep(for: .seconds(1))
            }
            if isDead { return }
            await enter(.retired, run)
        }
        var delay = Duration.seconds(1)
        while !isDead {
            do throws(DeploymentFailure) {
                try await retire(run, slots)
                break
            } catch {
                await tell(run, .warning, "is tried again: \(error)")
                try? await clock.sleep(for: delay)
                delay = min(delay * 2, .seconds(600))
            }
        }
        _ = strikes(.retired, .done)
        finishing[run.record.number] = nil
        ring()
    }

    private func retire(_ run: Run, _ slots: any DeploymentSlots) async throws(DeploymentFailure) {
        if let previous = run.record.previous { await slots.retire(previous) }
        let steps = try await dueContracts(run)
        if !steps.isEmpty, let migrations = run.environment.migrations, let input = run.input {
            try await migrations.contract(input.description.migrations, steps)
            var entry = JournalEntry(run.record)
            entry.contracted = steps
            entry.events = steps.map { (.note, "contracted \($0.database): \($0.file)") }
            await commit([entry])
            note(entry, run)
        }
        if let migrations = run.environment.migrations, let settings = run.input?.settings {
            await migrations.discardBackups(olderThan: settings.keepBackups)
        }
        await slots.collect(keeping: run.input?.settings.keepReleases ?? Int(ReleaseStore.deployableMax))
        await run.environment.collectBundles?()
    }

    /// Contract migrations take away what code from before uses: they run only while the release that asked for them serves, not
    /// when somebody has gone back meanwhile. They are pending then for the next deployment that asks.
    private func dueContracts(_ run: Run) async throws(DeploymentFailure) -> [MigrationStep] {
        let steps = run.pendingContracts
        guard !steps.isEmpty else { return [] }
        let active: Int64?
        do { active = try await read { try $0.routing()?.active } } catch { throw DeploymentFailure("\(error)") }
        if active == run.record.release { return steps }
        for step in steps {
            await tell(
                run, .warning, "\(step.database): \(step.file) stays pending: release \(run.record.release) serves no more")
        }
        return []
    }
}

extension DeploymentMachine.Run {
    /// Contract migrations that were asked for and haven't run.
    var pendingContracts: [MigrationStep] {
        guard record.options.contracts, journaled.contracted.isEmpty else { return [] }
        return journaled.steps.filter { $0.kind == .contract }
    }
}
