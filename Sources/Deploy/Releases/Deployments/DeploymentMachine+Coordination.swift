internal import System

/// One of several nodes that switch together: see `Coordination`.
extension DeploymentMachine {
    private static let waitsForSwitch = "prepared: it waits for the word to switch"
    private static let waitsForConfirmation = "it serves, and waits for the word that all nodes do"

    // MARK: States

    /// Says that the release is proven. Who might say no has been asked by now.
    func prepare(_ run: Run) async throws(DeploymentFailure) {
        try await hook(.confirmTrafficIncrease, run)
        try await hook(.confirmPromotion, run)
        // A lease that began before the node died goes on.
        let lease = run.coordination ?? freshLease(run, .prepare)
        await enter(.prepared, run) {
            $0.record.pause = Self.waitsForSwitch
            $0.coordination = lease
        }
    }

    func awaitSwitch(_ run: Run, _ slots: any DeploymentSlots) async throws(DeploymentFailure) {
        while !run.isSwitching {
            await sleep(until: run.lease)
            if isDead || present !== run { throw DeploymentFailure("superseded") }
            try obey(run)
        }
        if let problem = await slots.candidateProblem() { throw DeploymentFailure(problem) }
        if let baseline = await slots.baseline() { run.baseline = baseline }
        try await activate(run, slots)
    }

    /// On probation, after it was watched: until all nodes are known to serve the release.
    func awaitConfirmation(_ run: Run) async throws(DeploymentFailure) {
        guard isOnProbation(run) else { return }
        if run.record.pause == nil {
            var entry = JournalEntry(run.record)
            entry.record.pause = Self.waitsForConfirmation
            entry.events = [(.note, Self.waitsForConfirmation)]
            await commit([entry])
            note(entry, run)
        }
        while isOnProbation(run) {
            await sleep(until: run.lease)
            if isDead || present !== run { throw DeploymentFailure("superseded") }
            try obey(run)
        }
    }

    private func isOnProbation(_ run: Run) -> Bool {
        run.isCoordinated && !run.isReturn && run.coordination?.word != .confirm && !run.isUnwatched
    }

    // MARK: The lease

    /// - Returns: `nil` for a deployment of one node alone.
    func freshLease(_ run: Run, _ word: Coordination.Word) -> Coordination? {
        guard let request = run.record.options.coordination, !run.isReturn else { return nil }
        return Coordination(word: word, until: clock.wallTime() + .milliseconds(Int64(request.leaseSeconds * 1000)))
    }

    /// It is in the journal, or was found there.
    func keep(_ coordination: Coordination, _ run: Run) {
        let left = Duration.milliseconds(coordination.until.milliseconds - clock.wallTime().milliseconds)
        let most = Duration.milliseconds(Int64((run.record.options.coordination?.leaseSeconds ?? 0) * 1000))
        run.coordination = coordination
        run.lease = clock.now() + max(.zero, min(left, most))
    }

    /// - Throws: when nothing was heard for as long as the lease says.
    func checkLease(_ run: Run) throws(DeploymentFailure) {
        let counts = run.record.state == .prepared ? !run.isSwitching : run.record.state == .monitoring && isOnProbation(run)
        guard counts, let lease = run.lease, clock.now() >= lease, !isHeard(run) else { return }
        run.hasLapsed = true
        throw DeploymentFailure(
            "whoever leads the nodes wasn't heard of for \(Int(run.record.options.coordination?.leaseSeconds ?? 0)) s, while "
                + (run.record.state == .prepared
                    ? "it waited for the word to switch" : "it waited to hear that all nodes serve it"))
    }

    /// The word has come, and is only not obeyed yet.
    private func isHeard(_ run: Run) -> Bool {
        if case .switchOver = run.request { return true }
        return false
    }

    // MARK: Words

    package func hold(_ deployment: Int64, _ id: String) async throws(DeploymentError) {
        guard let run = try await participant(deployment, id) else { return }
        guard let coordination = run.coordination, coordination.word != .confirm else { return }
        try await renew(run, nil)
    }

    package func switchOver(_ deployment: Int64, _ id: String, by author: ScriptAuthor) async throws(DeploymentError) {
        guard let run = try await participant(deployment, id), !run.record.state.isPastSwitch else { return }
        guard run.record.state == .prepared, !run.hasLapsed else {
            throw .notNow("deployment \(deployment) is \(run.record.state): it can switch once it is prepared")
        }
        run.request = .switchOver(author)
        rouse()
        while present === run, !run.record.state.isPastSwitch, !isDead { await nextChange(until: nil) }
        let record = try await self.deployment(deployment)
        guard record.state.isPastSwitch else {
            throw .notNow("deployment \(deployment) is \(record.state): \(record.reason ?? "")")
        }
    }

    package func confirm(_ deployment: Int64, _ id: String) async throws(DeploymentError) {
        guard let run = try await participant(deployment, id), run.coordination?.word != .confirm else { return }
        guard run.record.state == .active || run.record.state == .monitoring else {
            throw .notNow("deployment \(deployment) is \(run.record.state): it can be confirmed once it has switched")
        }
        try await renew(run, .confirm)
        rouse()
    }

    /// What is acknowledged is durable.
    ///
    /// - Parameter word: `nil`: what was said before holds on.
    private func renew(_ run: Run, _ word: Coordination.Word?) async throws(DeploymentError) {
        guard !run.hasLapsed, var lease = freshLease(run, run.coordination?.word ?? .prepare) else {
            throw .notNow("deployment \(run.record.number) goes back: its lease has lapsed")
        }
        // First, so that the lease can't lapse while the word is being written down.
        keep(lease, run)
        let (number, until) = (run.record.number, lease.until)
        try await read { try $0.renewCoordination(until: until, word, of: number) }
        lease.word = word ?? run.coordination?.word ?? lease.word
        guard !run.hasLapsed, present === run else {
            throw .notNow("deployment \(number) is \(run.record.state): \(run.record.reason ?? "")")
        }
        keep(lease, run)
        ring()
    }

    /// - Returns: `nil`: all that can be said has been heard.
    private func participant(_ deployment: Int64, _ id: String) async throws(DeploymentError) -> Run? {
        let record = try await self.deployment(deployment)
        guard let request = record.options.coordination else {
            throw .notNow("deployment \(deployment) is none of several nodes")
        }
        guard request.id == id else { throw .notNow("deployment \(deployment) is one of other nodes' (\(request.id))") }
        if let present, present.record.number == deployment { return present }
        guard record.state.isPastSwitch else {
            throw .notNow("deployment \(deployment) is \(record.state): \(record.reason ?? "")")
        }
        guard record.coordination?.word == .confirm || record.state != .monitoring else {
            throw .notNow("deployment \(deployment) isn't going on yet")
        }
        return nil
    }
}
