internal import System

/// What others ask for.
extension DeploymentMachine: DeploymentControl {
    // MARK: Beginning

    package func plan(_ bundle: ReleaseBundle, _ options: DeploymentOptions) async throws(DeploymentError) -> DeploymentPlan {
        let slots = try slotsToUse()
        let environment = makeEnvironment()
        var input = try await read(bundle, environment)
        input.description.forcesClassMigrations = options.forcesClassMigrations == true
        try Self.check(options, input)
        let composition = try await compose(input, slots, isDryRun: true)
        try Self.check(composition, options, input)
        return DeploymentPlan(
            workers: composition.workers, migrations: try await pending(input, options, environment),
            steps: options.steps ?? input.settings.steps, triggers: composition.triggers,
            classMigrations: composition.classMigrations)
    }

    package func deploy(
        _ bundle: ReleaseBundle, _ options: DeploymentOptions, _ trigger: DeploymentRecord.Trigger, by author: ScriptAuthor
    ) async throws(DeploymentError) -> DeploymentRecord? {
        guard !options.isDryRun else {
            _ = try await plan(bundle, options)
            return nil
        }
        let slots = try slotsToUse()
        try await claim()
        defer { unclaim() }
        let environment = makeEnvironment()
        var input = try await read(bundle, environment)
        input.description.forcesClassMigrations = options.forcesClassMigrations == true
        try Self.check(options, input)
        do throws(DeploymentFailure) { try await slots.lock("a deployment is being prepared") } catch { throw .failed(error) }
        do throws(DeploymentError) {
            let composition = try await compose(input, slots, isDryRun: false)
            try Self.check(composition, options, input)
            let active = try await activeRelease()
            if composition.isUnchanged, active?.bundle == bundle.hash, try await pending(input, options, environment).isEmpty {
                await slots.setLock(nil)
                return nil
            }
            let now = clock.wallTime()
            let numbers = try await read { (deployment: try $0.nextDeployment(), release: try $0.nextRelease()) }
            let release = ReleaseRecord(
                number: numbers.release, bundle: bundle.hash, versions: composition.content.versions, createdAt: now,
                author: author, message: options.message, tag: options.tag, revision: options.revision)
            let record = DeploymentRecord(
                number: numbers.deployment, release: release.number, previous: active?.number, trigger: trigger,
                author: author, options: options, createdAt: now, state: .created)
            var entry = JournalEntry(record)
            entry.release = (release, composition.content)
            entry.lock = .take(owner: boot)
            entry.events = [(.entered, Self.text(of: record))]
            try await self.record(composition, [entry], slots)
            let run = Run(JournaledDeployment(record: record), release, composition.content, input, environment)
            await begin(run, slots)
            return record
        } catch {
            await slots.setLock(nil)
            throw error
        }
    }

    private func record(
        _ composition: ReleaseComposition, _ entries: [JournalEntry], _ slots: any DeploymentSlots
    ) async throws(DeploymentError) {
        do { try await slots.record(composition, entries) } catch let error as DeploymentError {
            throw error
        } catch { throw .failed(DeploymentFailure("\(error)")) }
    }

    /// The deployment is in the journal: it goes on by itself.
    private func begin(_ run: Run, _ slots: any DeploymentSlots) async {
        present = run
        ring()
        await slots.setLock(Self.reason(run.record))
        if strikes(run.record.state, .committed) { return }
        start(run)
    }

    /// The node or the tenant goes: whatever is in progress stays as its rows say.
    func stop() {
        isDead = true
        detach()
        rouse()
        ring()
    }

    private static func reason(_ record: DeploymentRecord) -> String { "deployment \(record.number) is in progress" }

    package func rollBack(
        to release: Int64?, _ options: DeploymentOptions, by author: ScriptAuthor
    ) async throws(DeploymentError) -> DeploymentRecord {
        let slots = try slotsToUse()
        // One that is only watched gives way.
        var watched = present.flatMap { $0.record.state == .monitoring ? $0 : nil }
        try await claim(over: watched?.record.number)
        defer { unclaim() }
        if let run = watched {
            // Nothing more comes of it from now on, unless it has just gone on.
            if present === run { present = nil }
            rouse()
            await run.task?.value
            if run.record.state != .monitoring { watched = nil }
        }
        do throws(DeploymentError) { return try await rollBack(to: release, options, by: author, over: watched, slots) } catch {
            if let watched { start(watched) } else { await slots.setLock(nil) }
            throw error
        }
    }

    private func rollBack(
        to release: Int64?, _ options: DeploymentOptions, by author: ScriptAuthor, over watched: Run?,
        _ slots: any DeploymentSlots
    ) async throws(DeploymentError) -> DeploymentRecord {
        let (target, active) = try await target(release)
        let environment = makeEnvironment()
        do throws(DeploymentFailure) { if watched == nil { try await slots.lock("a rollback is being prepared") } } catch {
            throw .failed(error)
        }
        let backups = options.restoresData ? try await backups(since: target.record.number) : []
        var input: DeploymentInput?
        if !target.record.bundle.isEmpty {
            do throws(DeploymentFailure) { input = try await readInput(target.record, environment) } catch {
                // What runs needs no file of the bundle but its assets, which it has.
                guard await slots.isWarm(target.record.number) else { throw .failed(error) }
            }
        }
        let candidate = CandidateRelease(record: target.record, content: target.content, input: input)
        do throws(DeploymentFailure) { try await slots.check(candidate, isReturn: true) } catch { throw .failed(error) }
        var record = DeploymentRecord(
            number: try await read { try $0.nextDeployment() }, release: target.record.number, previous: active,
            trigger: .rollback, author: author, options: options, createdAt: clock.wallTime(), state: .created)
        var entries = watched.map { [Self.superseded($0.record, by: record.number, at: clock.wallTime())] } ?? []
        let isInstant = await slots.isWarm(target.record.number) && !options.restoresData
        if isInstant { record.state = .active; record.percent = 100 }
        var entry = JournalEntry(record)
        entry.lock = .take(owner: boot)
        entry.backups = backups
        entry.events = [(.entered, Self.text(of: record))]
        if isInstant { entry.routing = .init(active: record.release, candidate: nil, percent: 100) }
        entries.append(entry)
        if isInstant {
            do { try await slots.goBack(to: record.release, entries, at: record) } catch let error as DeploymentError {
                throw error
            } catch { throw .failed(DeploymentFailure("\(error)")) }
        } else {
            try await self.record(ReleaseComposition(content: target.content), entries, slots)
        }
        if let watched, let old = entries.first { note(old, watched) }
        for other in finishing.values { other.isHastened = true }
        let run = Run(
            JournaledDeployment(record: record, backups: backups), target.record, target.content, input, environment)
        await begin(run, slots)
        return record
    }

    private static func superseded(_ record: DeploymentRecord, by number: Int64, at time: UnixTime) -> JournalEntry {
        var entry = JournalEntry(record)
        entry.record.state = .rolledBack
        entry.record.percent = 0
        entry.record.pause = nil
        entry.record.reason = "after it was active: rolled back by deployment \(number)"
        entry.record.finishedAt = time
        entry.events = [(.entered, text(of: entry.record))]
        entry.lock = .release
        return entry
    }

    /// Where a rollback leads, and what serves now.
    private func target(
        _ asked: Int64?
    ) async throws(DeploymentError) -> (target: (record: ReleaseRecord, content: ReleaseContent), active: Int64?) {
        let (active, last) = try await read { (try $0.routing()?.active, try $0.lastActivation()) }
        guard let number = asked ?? last?.record.previous else {
            throw .notNow("there is no release to go back to: none was active before")
        }
        guard number != active else { throw .notNow("release \(number) is the one that serves") }
        guard let found = try await read({ try $0.release(number) }) else { throw .unknownRelease(number) }
        let gone = try await read { try $0.contracted(since: number) }
        guard gone.isEmpty else {
            throw .failed(
                DeploymentFailure(
                    gone.map {
                        "release \(number) can't live with what migration \($0.file) took from database \"\($0.database)\" since"
                    }))
        }
        return (found, active)
    }

    /// Of each database, the oldest that was taken since `release` was active.
    private func backups(since release: Int64) async throws(DeploymentError) -> [DatabaseBackup] {
        let all = try await read { try $0.backups(since: release) }
        var seen: Set<String> = []
        let oldest = all.filter { seen.insert($0.database).inserted }
        guard !oldest.isEmpty else {
            throw .failed(DeploymentFailure("no deployment since release \(release) noted where its databases were"))
        }
        return oldest
    }

    package func lostCommits(
        rollingBackTo release: Int64?
    ) async throws(DeploymentError) -> [(database: String, count: Int)] {
        let (target, _) = try await target(release)
        let backups = try await backups(since: target.record.number)
        guard let migrations = makeEnvironment().migrations else {
            throw .failed(DeploymentFailure("this node can't restore databases"))
        }
        do throws(DeploymentFailure) { return try await migrations.commits(since: backups) } catch { throw .failed(error) }
    }

    // MARK: Parts of it

    private func slotsToUse() throws(DeploymentError) -> any DeploymentSlots {
        guard let slots = slotsIfAttached, !isDead else { throw .notNow("the node, or the tenant, comes to its end") }
        return slots
    }

    private func read(
        _ bundle: ReleaseBundle, _ environment: DeploymentEnvironment
    ) async throws(DeploymentError) -> DeploymentInput {
        guard let read = environment.read else { throw .failed(DeploymentFailure("this node takes no bundles")) }
        do throws(DeploymentFailure) { return try await read(bundle) } catch { throw .failed(error) }
    }

    func readInput(
        _ release: ReleaseRecord, _ environment: DeploymentEnvironment
    ) async throws(DeploymentFailure) -> DeploymentInput {
        guard let read = environment.read, let bundle = environment.findBundle?(release.bundle) else {
            throw DeploymentFailure("the bundle of release \(release.number), \(release.bundle), is not there any more")
        }
        return try await read(bundle)
    }

    private func compose(
        _ input: DeploymentInput, _ slots: any DeploymentSlots, isDryRun: Bool
    ) async throws(DeploymentError) -> ReleaseComposition {
        do throws(DeploymentFailure) { return try await slots.compose(input, isDryRun: isDryRun) } catch {
            throw .failed(error)
        }
    }

    private func pending(
        _ input: DeploymentInput, _ options: DeploymentOptions, _ environment: DeploymentEnvironment
    ) async throws(DeploymentError) -> [MigrationStep] {
        guard let migrations = environment.migrations, !input.description.migrations.isEmpty else { return [] }
        do throws(DeploymentFailure) {
            let steps = try await migrations.pending(input.description.migrations, options)
            return steps.filter { $0.kind == .expand || options.contracts }
        } catch { throw .failed(error) }
    }

    /// `nil` before the first one.
    package func activeRelease() async throws(DeploymentError) -> ReleaseRecord? {
        try await read { store in try store.routing()?.active.flatMap { try store.release($0)?.record } }
    }

    private static func check(_ options: DeploymentOptions, _ input: DeploymentInput) throws(DeploymentError) {
        var reasons: [String] = []
        let steps = options.steps ?? input.settings.steps
        if steps.isEmpty || steps.last != 100 || steps.contains(where: { !(1...100).contains($0) })
            || zip(steps, steps.dropFirst()).contains(where: { $0 >= $1 })
        {
            reasons.append("steps are percentages from 1 to 100 that rise, and the last is 100: \(steps)")
        }
        for (name, value) in [("bake", options.bakeSeconds), ("monitor", options.monitorSeconds)] {
            if let value, !(0...86_400).contains(value) { reasons.append("\(name) is 0 to 86400 seconds, not \(value)") }
        }
        if let pause = options.pauseAt, pause != 0, !steps.contains(pause) {
            reasons.append(
                "the deployment can't pause at \(pause) %: its steps are \(steps.map(String.init).joined(separator: ", "))")
        }
        guard reasons.isEmpty else { throw .failed(DeploymentFailure(reasons)) }
    }

    /// Versions from before a migration of classes can't have a share of the objects.
    private static func check(
        _ composition: ReleaseComposition, _ options: DeploymentOptions, _ input: DeploymentInput
    ) throws(DeploymentError) {
        guard !composition.classMigrations.isEmpty, options.steps ?? input.settings.steps != [100] else { return }
        throw .failed(
            DeploymentFailure(
                "migrations of durable object classes are pending (\(composition.classMigrations.joined(separator: ", "))), and code from "
                    + "before doesn't know these classes: deploy them at once, with --steps 100"))
    }

    // MARK: Looking

    package func deployments(max: Int) async throws(DeploymentError) -> [DeploymentRecord] {
        try await read { try $0.deploymentRecords(max: max) }
    }

    package func deployment(_ number: Int64) async throws(DeploymentError) -> DeploymentRecord {
        guard let found = try await read({ try $0.journaledDeployment(number) }) else { throw .unknownDeployment(number) }
        return found.record
    }

    package func events(of deployment: Int64, after sequence: Int64) async throws(DeploymentError) -> [DeploymentEvent] {
        _ = try await self.deployment(deployment)
        return try await read { try $0.deploymentEvents(of: deployment, after: sequence) }
    }

    /// How long `wait` waits at most.
    private static let waitMax = Duration.seconds(10)

    package func wait(for deployment: Int64, after sequence: Int64) async {
        let deadline = clock.now() + Self.waitMax
        while clock.now() < deadline {
            let count = ringCount
            guard let events = try? await read({ try $0.deploymentEvents(of: deployment, after: sequence) }), events.isEmpty
            else {
                return
            }
            // What was written meanwhile has rung.
            guard count == ringCount else { continue }
            await nextChange(until: min(deadline, clock.now() + .milliseconds(500)))
        }
    }

    package func report(of deployment: Int64) async throws(DeploymentError) -> String? {
        _ = try await self.deployment(deployment)
        return try await read { try $0.report(of: deployment) }
    }

    package func releases(max: Int) async throws(DeploymentError) -> [ReleaseRecord] {
        try await read { try $0.releaseRecords(max: max) }
    }

    package func release(_ number: Int64) async throws(DeploymentError) -> ReleaseRecord {
        guard let found = try await read({ try $0.release(number) }) else { throw .unknownRelease(number) }
        return found.record
    }

    package func slots() async -> (active: Int64?, candidate: Int64?, warm: [Int64]) {
        await slotsIfAttached?.slots() ?? (nil, nil, [])
    }

    // MARK: Steering

    package func abort(_ deployment: Int64, by author: ScriptAuthor) async throws(DeploymentError) {
        let run = try await inProgress(deployment)
        guard run.record.state != .active else { throw .notNow("deployment \(deployment) is just becoming active") }
        run.request = .abort(author)
        run.interrupt?(DeploymentFailure("aborted by \(author.name)"))
        rouse()
        // What is acknowledged is durable.
        while present === run, !isDead { await nextChange(until: nil) }
    }

    package func resume(_ deployment: Int64, by author: ScriptAuthor) async throws(DeploymentError) {
        let run = try await inProgress(deployment)
        guard run.record.pause != nil else {
            throw .notNow("deployment \(deployment) is not paused: it is \(run.record.state)")
        }
        run.request = .resume(author)
        rouse()
        while present === run, run.record.pause != nil, !isDead { await nextChange(until: nil) }
    }

    package func promote(_ deployment: Int64, by author: ScriptAuthor) async throws(DeploymentError) {
        let run = try await inProgress(deployment)
        guard !run.record.state.isPastSwitch else { throw .notNow("deployment \(deployment) is \(run.record.state) already") }
        guard [.smokeTested, .shifting].contains(run.record.state) else {
            throw .notNow(
                "deployment \(deployment) is \(run.record.state): it can be promoted once its release has proved itself")
        }
        run.request = .promote(author)
        rouse()
        while present === run, !run.record.state.isPastSwitch, !isDead { await nextChange(until: nil) }
        let record = try await self.deployment(deployment)
        guard record.state.isPastSwitch else {
            throw .notNow("deployment \(deployment) is \(record.state): \(record.reason ?? "")")
        }
    }

    private func inProgress(_ number: Int64) async throws(DeploymentError) -> Run {
        if let present, present.record.number == number { return present }
        let record = try await deployment(number)
        throw .notNow(
            record.state.isPastSwitch
                ? "deployment \(number) is active: \"edge rollback\" goes back" : "deployment \(number) is \(record.state)")
    }
}
