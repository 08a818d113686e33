import Foundation
import System
import Testing

@testable import Configuration
@testable import Releases

@Suite struct `Deployment machine` {
    private typealias Shape = DeploymentNode.Shape

    private func entered(_ node: DeploymentNode, _ number: Int64) throws -> [DeploymentState] {
        try node.store.deploymentEvents(of: number, after: 0).filter { $0.kind == .entered }.map(\.state)
    }

    /// A node on which release 1 serves.
    private func node(_ shape: Shape = Shape(), at place: String = DeploymentNode.place()) async throws -> DeploymentNode {
        let first = try DeploymentNode(place, Shape(bake: .zero, monitor: .zero, hasTests: true), boot: "first")
        try await first.deploy("one")
        _ = try await first.finish(1)
        let node = try DeploymentNode(place, shape)
        try await node.machine.settle()
        try await node.machine.goOn()
        return node
    }

    // MARK: The way through

    @Test func `goes through all states in their order, and says so`() async throws {
        let node = try await node()
        let record = try #require(try await node.deploy("two"))
        #expect(record.state == .created)
        #expect(record.previous == 1)
        let end = try await node.finish(record.number)
        #expect(end.state == .retired)
        #expect(
            try entered(node, 2) == [
                .created, .validated, .prechecked, .backedUp, .migrated, .starting, .healthy, .smokeTested, .shifting,
                .shifting,
                .active, .monitoring, .draining, .retired,
            ])
        #expect(await node.slots.percents == [0, 10, 100])
        #expect(await node.slots.active == 2)
        try await node.run("the end of release 1") { await node.slots.retired == [1] }
        #expect(try node.store.lock() == nil)
        #expect(try node.store.routing()?.active == 2)
        #expect(try node.store.routing()?.candidate == nil)
        #expect(await node.slots.reason == nil)
    }

    @Test func `a state's table has an end for each failure before the switch, and none that was forgotten`() {
        for state in DeploymentState.allCases {
            let rules = DeploymentRules(state)
            switch state {
            case .created, .validated, .prechecked, .backedUp: #expect(rules.failure == .refused)
            case .migrated, .starting, .healthy, .smokeTested, .prepared, .shifting, .monitoring:
                #expect(rules.failure == .rolledBack)
            case .active, .draining, .retired, .rolledBack, .refused: #expect(rules.failure == nil)
            }
        }
    }

    // MARK: Failures

    @Test(arguments: [
        ("check", DeploymentState.refused), ("precheck", .refused), ("confirm_rollout", .refused), ("pre_rollout", .refused),
        ("backup", .refused), ("migrate", .rolledBack), ("stage", .rolledBack), ("health", .rolledBack),
        ("smoke", .rolledBack), ("confirm_traffic_increase", .rolledBack), ("errors", .rolledBack),
        ("confirm_promotion", .rolledBack),
    ])
    func `a failure before the switch leaves the release before in service`(what: String, end: DeploymentState) async throws {
        var shape = Shape()
        shape.stages.steps = [MigrationStep(database: "d", file: "1.sql", kind: .expand, checksum: "")]
        switch what {
        case "check": shape.slots.checkFailure = "not so"
        case "precheck": shape.slots.precheckFailure = "not so"
        case "backup": shape.stages.backUpFailure = "not so"
        case "migrate": shape.stages.migrateFailure = "not so"
        case "stage": shape.slots.stageFailure = "not so"
        case "health": shape.slots.problem = "not so"
        case "smoke": shape.stages.smokeFailure = "not so"
        case "errors": shape.slots.load.newErrors = 200
        default: shape.stages.refusingHook = Hook.Point(rawValue: what)
        }
        let node = try await node(shape)
        try await node.deploy("two")
        let record = try await node.finish(2)
        #expect(record.state == end)
        #expect(record.percent == 0)
        #expect(record.reason?.isEmpty == false)
        #expect(record.exitCode == (end == .refused ? 2 : 1))
        try await node.run("the slot's end") {
            let isBusy = await node.machine.isBusy
            return await node.slots.candidate == nil && !isBusy
        }
        #expect(await node.slots.active == 1)
        #expect(try node.store.lock() == nil)
        let routing = try node.store.routing()
        #expect(routing?.active == 1)
        #expect(routing?.candidate == nil)
        // Nothing is left in the way of the next one.
        let next = try DeploymentNode(node.directory, boot: "next")
        #expect(try await next.deploy("three")?.previous == 1)
        #expect(try await next.finish(3).state == .retired)
    }

    @Test func `a hook that says no after the switch only warns`() async throws {
        var shape = Shape()
        shape.stages.refusingHook = .postRollout
        let node = try await node(shape)
        try await node.deploy("two")
        #expect(try await node.finish(2).state == .retired)
        #expect(try node.store.deploymentEvents(of: 2, after: 0).contains { $0.kind == .warning })
    }

    @Test func probe_7_a_failed_smoke_test_means_no_traffic() async throws {
        var shape = Shape()
        shape.stages.smokeFailure = "expected 200, got 500"
        let node = try await node(shape)
        try await node.deploy("two")
        let record = try await node.finish(2)
        #expect(record.state == .rolledBack)
        #expect(record.reason?.contains("expected 200, got 500") == true)
        #expect(await node.slots.percents == [0])
        #expect(try node.store.deploymentEvents(of: 2, after: 0).allSatisfy { $0.state != .shifting })
    }

    @Test func `what is asked for and isn't there is refused, not passed over`() async throws {
        let node = try await node(Shape(smoke: .required, hasTests: false))
        try await node.deploy("two")
        let record = try await node.finish(2)
        #expect(record.state == .refused)
        #expect(record.reason?.contains("required") == true)
    }

    @Test func probe_28_errors_after_the_switch_lead_back() async throws {
        var shape = Shape(bake: .zero)
        shape.slots.load.newErrors = 300
        let node = try await node(shape)
        try await node.deploy("two")
        let record = try await node.finish(2)
        #expect(record.state == .rolledBack)
        #expect(record.reason?.contains("after it was active") == true)
        #expect(await node.slots.active == 1)
        #expect(try node.store.routing()?.active == 1)
        #expect(try node.store.lock() == nil)
        #expect(try entered(node, 2).contains(.active))
    }

    // MARK: One at a time

    @Test func probe_12_a_second_deployment_is_told_of_the_first() async throws {
        let node = try await node(Shape(bake: .seconds(3600)))
        try await node.deploy("two")
        try await node.run("a share") { await node.machine.inProgress?.state == .shifting }
        await #expect {
            try await node.deploy("three")
        } throws: { error in
            guard case DeploymentError.locked(let record) = error else { return false }
            return record.number == 2
                && "\(error)"
                    == "deployment 2 (alice@example.com, shifting 10 %) is in progress; wait with --wait or stop it with "
                    + "\"edge deploy abort 2\""
        }
        let lock = try #require(try node.store.lock())
        #expect(lock.deployment == 2)
        #expect(lock.owner == "b")
        // A node that died leaves its lock to the next one.
        let next = try DeploymentNode(node.directory, boot: "c")
        try await next.machine.settle()
        #expect(try next.store.lock()?.owner == "c")
    }

    @Test func `the holder of the lock says that it lives`() async throws {
        let node = try await node(Shape(bake: .seconds(3600)))
        try await node.deploy("two")
        try await node.run("a share") { try node.state(2) == .shifting }
        let first = try #require(try node.store.lock()).heartbeat
        try await node.run("a heartbeat") { try node.store.lock().map { $0.heartbeat > first } ?? false }
    }

    @Test func `changes of workers are refused from the first row until it drains`() async throws {
        let node = try await node(Shape(bake: .zero, monitor: .seconds(3600)))
        try await node.deploy("two")
        #expect(await node.slots.reason != nil)
        try await node.run("monitoring") { try node.state(2) == .monitoring }
        #expect(await node.slots.reason != nil)
    }

    @Test func probe_26_the_same_again_is_no_deployment() async throws {
        let node = try await node()
        #expect(try await node.deploy("one") == nil)
        #expect(try await node.machine.deployments(max: 10).count == 1)
        #expect(await node.slots.reason == nil)
    }

    @Test func probe_24_a_dry_run_writes_nothing() async throws {
        let node = try await node()
        let plan = try await node.machine.plan(ReleaseBundle(hash: "two", directory: "/nowhere"), .init())
        #expect(plan.workers.map(\.change) == [.changed])
        #expect(plan.steps == [10, 100])
        #expect(try await node.machine.deployments(max: 10).count == 1)
        #expect(try await node.machine.releases(max: 10).count == 1)
        #expect(await node.slots.reason == nil)
    }

    @Test func `options that make no sense are refused by name`() async throws {
        let node = try await node()
        for (steps, pause) in [([10, 50], nil), ([50, 10, 100], nil), ([], nil), ([0, 100], nil), ([100], 50)]
            as [([Int], Int?)]
        {
            var options = DeploymentOptions()
            options.steps = steps
            options.pauseAt = pause
            await #expect(throws: DeploymentError.self) { try await node.deploy("two", options) }
        }
        #expect(try await node.machine.deployments(max: 10).count == 1)
    }

    // MARK: Steering

    @Test func probe_25_abort_ends_it_at_once() async throws {
        let node = try await node(Shape(bake: .seconds(3600)))
        try await node.deploy("two")
        try await node.run("a share") { try node.state(2) == .shifting }
        // The virtual clock stands still meanwhile: nothing is waited for.
        try await node.machine.abort(2, by: node.author)
        let record = try await node.machine.deployment(2)
        #expect(record.state == .rolledBack)
        #expect(record.percent == 0)
        #expect(record.reason == "aborted by alice@example.com")
        #expect(await node.slots.candidate == nil)
        await #expect(throws: DeploymentError.self) { try await node.machine.abort(2, by: node.author) }
        await #expect(throws: DeploymentError.unknownDeployment(9)) { try await node.machine.abort(9, by: node.author) }
    }

    @Test func `pauses where it was asked to, and goes on when somebody says so`() async throws {
        let node = try await node(Shape(bake: .zero, monitor: .zero))
        var options = DeploymentOptions()
        options.pauseAt = 10
        try await node.deploy("two", options)
        try await node.run("a pause") { try await node.machine.deployment(2).pause != nil }
        #expect(try await node.machine.deployment(2).exitCode == 3)
        try await node.machine.resume(2, by: node.author)
        #expect(try await node.finish(2).state == .retired)
        await #expect(throws: DeploymentError.self) { try await node.machine.resume(2, by: node.author) }
    }

    @Test func probe_10_no_traffic_pauses_and_promote_finishes() async throws {
        var shape = Shape()
        shape.slots.load.requests = 0
        let node = try await node(shape)
        try await node.deploy("two")
        try await node.run("a pause") { try await node.machine.deployment(2).pause != nil }
        #expect(try await node.machine.deployment(2).percent == 10)
        #expect(try await node.machine.deployment(2).exitCode == 3)
        try await node.machine.promote(2, by: node.author)
        #expect(try await node.machine.deployment(2).state.isPastSwitch)
        #expect(await node.slots.active == 2)
    }

    // MARK: Going back

    @Test func probe_17_a_rollback_to_a_warm_release_is_one_transaction() async throws {
        let node = try await node(Shape(bake: .zero, monitor: .zero))
        try await node.deploy("two")
        try await node.run("the drain") { try node.state(2) == .draining }
        try await node.run("the lock's end") { await !node.machine.isBusy }
        let percents = await node.slots.percents
        // The virtual clock stands still meanwhile.
        let record = try await node.machine.rollBack(to: nil, .init(), by: node.author)
        #expect(record.release == 1)
        #expect(record.trigger == .rollback)
        #expect(record.state == .active)
        #expect(await node.slots.active == 1)
        #expect(await node.slots.percents == percents)
        #expect(try node.store.routing()?.active == 1)
        #expect(try entered(node, 3).first == .active)
        #expect(try await node.finish(3).state == .retired)
        // And back again, to what was active before it.
        #expect(try await node.machine.rollBack(to: nil, .init(), by: node.author).release == 2)
    }

    @Test func `a rollback to a cold release starts it first, and tries nothing`() async throws {
        let node = try await node(Shape(bake: .zero, monitor: .zero))
        try await node.deploy("two")
        _ = try await node.finish(2)
        try await node.run("a cold release") { await node.slots.warm.isEmpty }
        _ = try await node.machine.rollBack(to: 1, .init(), by: node.author)
        #expect(try await node.finish(3).state == .retired)
        #expect(
            try entered(node, 3) == [.created, .validated, .starting, .healthy, .active, .monitoring, .draining, .retired])
        #expect(await node.slots.active == 1)
    }

    @Test func `a rollback takes the place of a deployment that is only watched`() async throws {
        let node = try await node(Shape(bake: .zero, monitor: .seconds(3600)))
        try await node.deploy("two")
        try await node.run("monitoring") { await node.machine.inProgress?.state == .monitoring }
        let record = try await node.machine.rollBack(to: nil, .init(), by: node.author)
        #expect(record.release == 1)
        #expect(try node.state(2) == .rolledBack)
        #expect(await node.slots.active == 1)
        #expect(try await node.finish(3).state == .retired)
        #expect(try node.store.lock() == nil)
    }

    @Test func `there is no way back past a contract migration, nor to what isn't there`() async throws {
        var shape = Shape(bake: .zero, monitor: .zero)
        shape.stages.steps = [MigrationStep(database: "d", file: "9_drop.sql", kind: .contract, checksum: "")]
        let node = try await node(shape)
        var options = DeploymentOptions()
        options.contracts = true
        try await node.deploy("two", options)
        _ = try await node.finish(2)
        try await node.run("the contract") { try node.store.journaledDeployment(2)?.contracted.isEmpty == false }
        await #expect {
            try await node.machine.rollBack(to: 1, .init(), by: node.author)
        } throws: { "\($0)".contains("9_drop.sql") }
        await #expect(throws: DeploymentError.unknownRelease(7)) {
            try await node.machine.rollBack(to: 7, .init(), by: node.author)
        }
        await #expect(throws: DeploymentError.self) { try await node.machine.rollBack(to: 2, .init(), by: node.author) }
    }

    // MARK: Death

    /// All states and moments: a new state can't be forgotten.
    static let deaths: [(DeploymentState, DeploymentFault.Moment)] =
        alone.map { ($0, .committed) } + alone.filter { !$0.isEnd }.map { ($0, .done) }
    /// Those of a node by itself; `prepared` is for `Coordinated deployments`.
    private static let alone = DeploymentState.allCases.filter { $0 != .prepared }

    @Test(arguments: deaths)
    func probe_11_a_node_that_dies_in_a_state_is_as_table_C5_says(state: DeploymentState, moment: DeploymentFault.Moment)
        async throws
    {
        let place = DeploymentNode.place()
        _ = try await node(at: place)
        var shape = Shape()
        switch state {
        case .rolledBack: shape.slots.stageFailure = "not so"
        case .refused: shape.slots.checkFailure = "not so"
        default: break
        }
        let dying = try DeploymentNode(place, shape, boot: "dying", dying: (state, moment))
        try await dying.machine.settle()
        try await dying.machine.goOn()
        try await dying.deploy("two")
        try await dying.run("its death in \(state)") { dying.fault.hasStruck }

        let next = try DeploymentNode(place, boot: "next")
        try await next.machine.settle()
        // What serves before anything goes on.
        let died = try #require(try next.store.journaledDeployment(2)).record
        let serving: Int64 = DeploymentRules.serving(after: state) == .new ? 2 : 1
        #expect(try next.store.routing()?.active == serving)
        #expect(await next.slots.active == serving)
        switch state {
        case .created, .validated, .prechecked, .backedUp:
            #expect(died.state == .refused)
            #expect(died.reason?.contains("interrupted") == true)
        case .migrated:
            #expect(died.state == .rolledBack)
            #expect(died.reason?.contains("interrupted") == true)
        case .refused, .rolledBack, .retired, .starting, .healthy, .smokeTested, .prepared, .shifting, .active, .monitoring,
            .draining:
            #expect(died.state == state)
        }
        try await next.machine.goOn()
        let end = try await next.finish(2)
        switch state {
        case .created, .validated, .prechecked, .backedUp, .refused: #expect(end.state == .refused)
        case .migrated, .rolledBack: #expect(end.state == .rolledBack)
        case .starting, .healthy, .smokeTested, .prepared, .shifting, .active, .monitoring, .draining, .retired:
            #expect(end.state == .retired)
        }
        try await next.run("quiet") {
            let isFinishing = await next.machine.isFinishing
            return await !next.machine.isBusy && !isFinishing
        }
        #expect(try next.store.lock() == nil)
        // A following deployment succeeds.
        #expect(try await next.deploy("three")?.number == 3)
        #expect(try await next.finish(3).state == .retired)
        #expect(try next.store.routing()?.active == (try next.store.journaledDeployment(3)?.record.release))
    }

    @Test func `a share is only given back when the candidate is healthy again, and its bake begins anew`() async throws {
        let place = DeploymentNode.place()
        _ = try await node(at: place)
        let dying = try DeploymentNode(place, boot: "dying", dying: (.shifting, .committed))
        try await dying.machine.settle()
        try await dying.deploy("two")
        try await dying.run("its death") { dying.fault.hasStruck }
        var shape = Shape()
        shape.slots.problem = "sick"
        let next = try DeploymentNode(place, shape, boot: "next")
        try await next.machine.settle()
        try await next.machine.goOn()
        let record = try await next.finish(2)
        #expect(record.state == .rolledBack)
        #expect(await next.slots.percents.isEmpty)
    }

    @Test func `without resume a deployment that was interrupted is rolled back`() async throws {
        let place = DeploymentNode.place()
        _ = try await node(at: place)
        let dying = try DeploymentNode(place, boot: "dying", dying: (.healthy, .committed))
        try await dying.machine.settle()
        try await dying.deploy("two")
        try await dying.run("its death") { dying.fault.hasStruck }
        let next = try DeploymentNode(place, Shape(resumes: false), boot: "next")
        try await next.machine.settle()
        try await next.machine.goOn()
        let record = try await next.finish(2)
        #expect(record.state == .rolledBack)
        #expect(record.reason?.contains("resume is off") == true)
        #expect(try next.store.lock() == nil)
    }

    @Test func `a pause lasts over the death of the node`() async throws {
        let place = DeploymentNode.place()
        let first = try await node(Shape(bake: .zero), at: place)
        var options = DeploymentOptions()
        options.pauseAt = 10
        try await first.deploy("two", options)
        try await first.run("a pause") { try await first.machine.deployment(2).pause != nil }
        await first.machine.stop()
        let next = try DeploymentNode(place, boot: "next")
        try await next.machine.settle()
        try await next.machine.goOn()
        try await next.run("the share") { await next.slots.percents == [10] }
        #expect(try await next.machine.deployment(2).pause != nil)
        try await next.machine.promote(2, by: next.author)
        #expect(await next.slots.active == 2)
    }

    @Test func `who has resumed a deployment needn't do so again after the death of the node`() async throws {
        let place = DeploymentNode.place()
        var shape = Shape(bake: .seconds(600))
        shape.noTraffic = .promote
        let first = try await node(shape, at: place)
        var options = DeploymentOptions()
        options.pauseAt = 10
        try await first.deploy("two", options)
        try await first.run("a pause") { try await first.machine.deployment(2).pause != nil }
        try await first.machine.resume(2, by: first.author)
        #expect(try first.store.journaledDeployment(2)?.record.pause == nil)
        #expect(try first.state(2) == .shifting)
        await first.machine.stop()
        let next = try DeploymentNode(place, Shape(bake: .zero, monitor: .zero), boot: "next")
        try await next.machine.settle()
        try await next.machine.goOn()
        #expect(try await next.finish(2).state == .retired)
    }

    @Test func `a promotion that is answered has been written down`() async throws {
        let place = DeploymentNode.place()
        let first = try await node(Shape(bake: .seconds(600)), at: place)
        try await first.deploy("two")
        try await first.run("its share") { try first.state(2) == .shifting }
        try await first.machine.promote(2, by: first.author)
        // As another process reads it that starts now.
        #expect(
            try ReleaseStore(database: place + "/control.sqlite", tenant: "t", environment: "staging").routing()?.active == 2)
        await first.machine.stop()
    }

    // MARK: What the environment adds

    @Test func `warm-up requests come before anything else, and may end it`() async throws {
        let request = SmokeTest(
            method: "GET", path: "/warm", headers: [:], body: nil, status: 200, deadline: .seconds(1), contains: nil)
        var shape = Shape(bake: .zero, monitor: .zero)
        shape.warmup = [WarmupRequest(worker: "w", request: request)]
        let node = try await node(shape)
        try await node.deploy("two")
        #expect(try await node.finish(2).state == .retired)
        let told = try node.store.deploymentEvents(of: 2, after: 0).first { $0.text.contains("warm-up w GET /warm") }
        #expect(told?.state == .healthy)
        shape.stages.smokeFailure = "expected 200, got 500"
        let failing = try await self.node(shape)
        try await failing.deploy("two")
        #expect(try await failing.finish(2).state == .rolledBack)
        #expect(try failing.store.deploymentEvents(of: 2, after: 0).allSatisfy { $0.state != .smokeTested })
    }

    @Test func `a number of one's own ends a deployment in its third check`() async throws {
        var shape = Shape()
        shape.metrics = [DeployMetric(name: "lost carts", query: "SELECT 7", max: 5, isDryRun: false)]
        shape.metricValue = 7
        let node = try await node(shape)
        try await node.deploy("two")
        let record = try await node.finish(2)
        #expect(record.state == .rolledBack)
        #expect(record.reason?.contains("metric \"lost carts\" is 7.0, and may be 5.0") == true)
        shape.metrics[0].isDryRun = true
        let telling = try await self.node(shape)
        try await telling.deploy("two")
        #expect(try await telling.finish(2).state == .retired)
        #expect(try telling.store.deploymentEvents(of: 2, after: 0).contains { $0.text.hasPrefix("(dry run) metric") })
    }

    @Test func `what the judge only tells ends nothing`() async throws {
        var shape = Shape()
        shape.slots.load.newErrors = 200
        shape.dryRun = ["error_rate", "error_burst"]
        let node = try await node(shape)
        try await node.deploy("two")
        #expect(try await node.finish(2).state == .retired)
        let remarks = try node.store.deploymentEvents(of: 2, after: 0).filter { $0.text.hasPrefix("(dry run) error rate") }
        // One for each time that it was watched: not one for each check.
        #expect(!remarks.isEmpty && remarks.count <= 3)
    }

    @Test func `a source of numbers that is broken ends a deployment in its fourth check`() {
        var series = MetricSeries([
            DeployMetric(name: "a", query: "", max: 1, isDryRun: false),
            DeployMetric(name: "b", query: "", max: 1, isDryRun: true),
        ])
        for _ in 0..<3 { #expect(series.note(error: "gone", of: 0) == .warning("metric \"a\" can't be had: gone")) }
        #expect(series.note(1, of: 0) == .fine)
        for _ in 0..<3 { _ = series.note(error: "gone", of: 0) }
        #expect(series.note(error: "gone", of: 0) == .rollBack("metric \"a\" can't be had: gone"))
        #expect(series.note(2, of: 1) == .remark("(dry run) metric \"b\" is 2.0, and may be 1.0"))
        #expect(series.note(2, of: 1) == .fine)
        #expect(series.note(nil, of: 1) == .fine)
    }

    // MARK: What is kept

    @Test func `forgets old releases, but none that a slot or the lock needs`() async throws {
        let node = try await node(Shape(bake: .zero, monitor: .zero))
        for number in 2...5 {
            try await node.deploy("\(number)")
            _ = try await node.finish(Int64(number))
        }
        _ = try node.store.pruneReleases(keepingNewest: 2, and: [2])
        #expect(try await node.machine.releases(max: 10).map(\.number) == [5, 4, 2])
        #expect(try await node.machine.deployments(max: 10).map(\.number) == [5, 4, 2])
        #expect(try node.store.deploymentEvents(of: 3, after: 0).isEmpty)
        #expect(try node.store.bundlesInUse() == ["5", "4", "2"])
    }

    @Test func `whoever waits for news is woken by them`() async throws {
        let node = try await node(Shape(bake: .seconds(3600)))
        try await node.deploy("two")
        try await node.run("a share") { try node.state(2) == .shifting }
        let last = try #require(try node.store.deploymentEvents(of: 2, after: 0).last).sequence
        let machine = node.machine
        let waiter = Task { await machine.wait(for: 2, after: last) }
        try await node.machine.abort(2, by: node.author)
        await waiter.value
        #expect(try node.store.deploymentEvents(of: 2, after: last).isEmpty == false)
    }
}
