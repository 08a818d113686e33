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
        if run.coordination?.word == .switch { await announce(Self.waitsForConfirmation, .note, run, .watched) }
        while isOnProbation(run) {
            if hasLapsed(run) { return try await askOthers(run) }
            await sleep(until: run.lease)
            if isDead || present !== run { throw DeploymentFailure("superseded") }
            try obey(run)
        }
    }

    private func isOnProbation(_ run: Run) -> Bool {
        run.isCoordinated && !run.isReturn && run.coordination?.word != .confirm && !run.isUnwatched
    }

    /// Says what is waited for, and how far it has come.
    private func announce(
        _ pause: String, _ kind: DeploymentEvent.Kind, _ run: Run, _ word: Coordination.Word?
    ) async {
        var entry = JournalEntry(run.record)
        entry.record.pause = pause
        entry.events = [(kind, pause)]
        entry.word = word
        await commit([entry])
        if isDead { return }
        note(entry, run)
        if let word { run.coordination?.word = word }
    }

    // MARK: Without the leader

    private static let askInterval = Duration.seconds(1)
    /// How long nodes that can't be reached are tried: so many leases, but not longer than this.
    private static let askLeases = 10
    private static let askMax = Duration.seconds(3600)

    /// The leader wasn't heard of any more, after it may have been told that this node did well: some nodes may have been told to
    /// keep the release. It does as these do.
    private func askOthers(_ run: Run) async throws(DeploymentFailure) {
        // Before the others are asked, and for ever: whoever counts on it mustn't be wrong.
        run.hasLapsed = true
        await announce("\(Self.unheard(run)); it asks the other nodes whether they keep the release", .warning, run, .ask)
        await reload(run)
        let limit = min(Self.lease(run) * Self.askLeases, Self.askMax)
        let deadline = clock.now() + limit
        while isOnProbation(run) {
            let answers = await askAll(run)
            if isDead || present !== run { throw DeploymentFailure("superseded") }
            try obey(run)
            switch CoordinationPoll.ruling(answers, isLate: clock.now() >= deadline) {
            case .keep(let reason): await announce("it keeps the release: \(reason)", .note, run, .confirm)
            case .goBack(let reason): throw DeploymentFailure("\(Self.unheard(run)); \(reason)")
            case .wait(let reason):
                let pause = "\(Self.unheard(run)); it asks the other nodes whether they keep the release: \(reason)"
                if run.record.pause != pause { await announce(pause, .warning, run, nil) }
                await sleep(until: clock.now() + Self.askInterval)
            }
        }
    }

    /// What the journal says, which may have heard the last word just before it was closed to it.
    private func reload(_ run: Run) async {
        let number = run.record.number
        while !isDead {
            do throws(DeploymentError) {
                guard let told = try await read({ try $0.journaledDeployment(number)?.record.coordination }) else { return }
                run.coordination?.word = told.word
                return
            } catch {
                logger.log(.error, "the deployment stands still: \(error)")
                try? await clock.sleep(for: .seconds(1))
            }
        }
    }

    private func askAll(_ run: Run) async -> [(name: String, answer: CoordinationPoll.Answer)] {
        guard let request = run.record.options.coordination else { return [] }
        guard let peers = request.peers else { return [("the other nodes", .unreached("their addresses weren't told"))] }
        guard let ask = run.environment.askPeer else { return peers.map { ($0.name, .unreached("this node can't ask")) } }
        return await withTaskGroup(of: (String, CoordinationPoll.Answer).self) { group in
            for peer in peers { group.addTask { (peer.name, await ask(peer, request.id)) } }
            var found: [(name: String, answer: CoordinationPoll.Answer)] = []
            for await answer in group { found.append(answer) }
            return found.sorted { $0.name < $1.name }
        }
    }

    // MARK: The lease

    /// - Returns: `nil` for a deployment of one node alone.
    func freshLease(_ run: Run, _ word: Coordination.Word) -> Coordination? {
        guard run.isCoordinated, !run.isReturn else { return nil }
        return Coordination(word: word, until: clock.wallTime() + Self.lease(run))
    }

    private static func lease(_ run: Run) -> Duration {
        .milliseconds(Int64((run.record.options.coordination?.leaseSeconds ?? 0) * 1000))
    }

    /// It is in the journal, or was found there.
    func keep(_ coordination: Coordination, _ run: Run) {
        let left = Duration.milliseconds(coordination.until.milliseconds - clock.wallTime().milliseconds)
        run.coordination = coordination
        run.lease = clock.now() + max(.zero, min(left, Self.lease(run)))
    }

    private func hasLapsed(_ run: Run) -> Bool {
        run.coordination?.word == .ask || run.lease.map { clock.now() >= $0 } ?? false
    }

    private static func unheard(_ run: Run) -> String {
        "whoever leads the nodes wasn't heard of for \(Int(run.record.options.coordination?.leaseSeconds ?? 0)) s"
    }

    /// - Throws: when nothing was heard for as long as the lease says, and that alone decides.
    func checkLease(_ run: Run) throws(DeploymentFailure) {
        let counts =
            run.record.state == .prepared
            ? !run.isSwitching : run.record.state == .monitoring && isOnProbation(run) && !run.isBound
        guard counts, hasLapsed(run), !isHeard(run) else { return }
        run.hasLapsed = true
        throw DeploymentFailure(
            "\(Self.unheard(run)), while "
                + (run.record.state == .prepared ? "it waited for the word to switch" : "it was being watched"))
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
        try await renew(run, hasAllWatched: false)
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
        guard run.record.state == .monitoring, run.isBound else {
            throw .notNow("deployment \(deployment) is \(run.record.state): it can be confirmed once it was watched")
        }
        try await renew(run, hasAllWatched: true)
        rouse()
    }

    package func vote(on id: String) async throws(DeploymentError) -> (vote: Coordination.Vote, node: String)? {
        guard let record = try await read({ try $0.coordinatedDeployment(id) }) else { return nil }
        return (Coordination.Vote(record), record.options.coordination?.node ?? "")
    }

    /// What is acknowledged is durable.
    ///
    /// - Parameter hasAllWatched: The last word; else what was said before holds on.
    private func renew(_ run: Run, hasAllWatched: Bool) async throws(DeploymentError) {
        guard !run.hasLapsed, var lease = freshLease(run, run.coordination?.word ?? .prepare) else { throw Self.isDeaf(run) }
        // First, so that the lease can't lapse while the word is being written down.
        keep(lease, run)
        let (number, until) = (run.record.number, lease.until)
        // The journal has the last say: what it has, others may have been told.
        guard try await read({ try $0.renewCoordination(until: until, hasAllWatched: hasAllWatched, of: number) }) else {
            throw Self.isDeaf(run)
        }
        lease.word = hasAllWatched ? .confirm : run.coordination?.word ?? lease.word
        guard !run.hasLapsed, present === run else { throw Self.isDeaf(run) }
        keep(lease, run)
        ring()
    }

    private static func isDeaf(_ run: Run) -> DeploymentError {
        .notNow(
            "deployment \(run.record.number) is \(run.record.state): "
                + (run.record.reason ?? "its lease has lapsed, and it goes back or does as the other nodes do"))
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
