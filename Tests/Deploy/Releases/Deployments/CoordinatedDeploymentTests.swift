import System
import Testing

@testable import Configuration
@testable import Releases

@Suite struct `Coordinated deployments` {
    private typealias Shape = DeploymentNode.Shape
    private static let id = "c0ffee"

    private var options: DeploymentOptions {
        var options = DeploymentOptions()
        options.coordination = .init(id: Self.id, leaseSeconds: 60)
        return options
    }

    /// A node on which release 1 serves.
    private func node(
        _ shape: Shape = Shape(bake: .zero, monitor: .zero), at place: String = DeploymentNode.place(),
        dying: (DeploymentState, DeploymentFault.Moment)? = nil
    ) async throws -> DeploymentNode {
        let first = try DeploymentNode(place, Shape(bake: .zero, monitor: .zero), boot: "first")
        try await first.deploy("one")
        _ = try await first.finish(1)
        let node = try DeploymentNode(place, shape, dying: dying)
        try await node.machine.settle()
        try await node.machine.goOn()
        return node
    }

    private func prepare(_ node: DeploymentNode) async throws {
        try await node.deploy("two", options)
        // Its health is asked for once a second; nothing else waits for the clock until it is prepared.
        try await node.run("prepared") { try node.store.journaledDeployment(2)?.record.pause != nil }
    }

    /// It has said that it did well.
    private func watched(_ node: DeploymentNode) async throws {
        try await node.run("the wait for the others") {
            try node.store.journaledDeployment(2)?.record.coordination?.word == .watched
        }
    }

    @Test func `waits for each word, and keeps the release after the last`() async throws {
        let node = try await node()
        try await prepare(node)
        #expect(try node.state(2) == .prepared)
        #expect(await node.slots.active == 1)
        #expect(await node.slots.percents == [0])
        #expect(try node.store.journaledDeployment(2)?.record.coordination?.word == .prepare)
        try await node.machine.switchOver(2, Self.id, by: node.author)
        #expect(await node.slots.active == 2)
        try await watched(node)
        try await node.machine.confirm(2, Self.id)
        #expect(try await node.finish(2).state == .retired)
        #expect(try node.store.journaledDeployment(2)?.record.coordination?.word == .confirm)
        // Said again, because nobody knew what became of it.
        try await node.machine.switchOver(2, Self.id, by: node.author)
        try await node.machine.confirm(2, Self.id)
    }

    @Test func `a prepared node that hears nothing stays with what served`() async throws {
        let node = try await node()
        try await prepare(node)
        let end = try await node.finish(2)
        #expect(end.state == .rolledBack)
        #expect(end.reason?.contains("60 s") == true)
        #expect(await node.slots.active == 1)
        #expect(try node.store.lock() == nil)
        await #expect(throws: DeploymentError.self) {
            try await node.machine.switchOver(2, Self.id, by: node.author)
        }
    }

    @Test func `a node that has switched and hears no more goes back`() async throws {
        let node = try await node()
        try await prepare(node)
        try await node.machine.switchOver(2, Self.id, by: node.author)
        let end = try await node.finish(2)
        #expect(end.state == .rolledBack)
        #expect(await node.slots.active == 1)
        await #expect(throws: DeploymentError.self) { try await node.machine.confirm(2, Self.id) }
    }

    @Test func `each word renews the lease`() async throws {
        let node = try await node()
        try await prepare(node)
        for _ in 0..<5 {
            node.clock.advance(by: .seconds(50))
            try await node.machine.hold(2, Self.id)
        }
        #expect(try node.state(2) == .prepared)
        try await node.machine.switchOver(2, Self.id, by: node.author)
        for _ in 0..<5 {
            node.clock.advance(by: .seconds(50))
            try await node.machine.hold(2, Self.id)
        }
        #expect(await node.slots.active == 2)
        try await watched(node)
        try await node.machine.confirm(2, Self.id)
        #expect(try await node.finish(2).state == .retired)
    }

    @Test func `isn't told to keep a release that is still being watched`() async throws {
        let node = try await node(Shape(bake: .zero, monitor: .seconds(30)))
        try await prepare(node)
        try await node.machine.switchOver(2, Self.id, by: node.author)
        await #expect(throws: DeploymentError.self) { try await node.machine.confirm(2, Self.id) }
        try await watched(node)
        try await node.machine.confirm(2, Self.id)
        #expect(try await node.finish(2).state == .retired)
    }

    @Test func `is only led by who began it, and all at once`() async throws {
        let node = try await node()
        try await prepare(node)
        await #expect(throws: DeploymentError.self) {
            try await node.machine.switchOver(2, "another", by: node.author)
        }
        await #expect(throws: DeploymentError.self) { try await node.machine.promote(2, by: node.author) }
        await #expect(throws: DeploymentError.self) { try await node.machine.resume(2, by: node.author) }
        await #expect(throws: DeploymentError.self) { try await node.machine.confirm(2, Self.id) }
        await #expect(throws: DeploymentError.self) { try await node.machine.hold(1, Self.id) }
        #expect(try node.state(2) == .prepared)
        try await node.machine.abort(2, by: node.author)
        #expect(try node.state(2) == .rolledBack)
        var steps = options
        steps.steps = [50, 100]
        await #expect(throws: DeploymentError.self) { try await node.deploy("three", steps) }
        var pause = options
        pause.pauseAt = 0
        await #expect(throws: DeploymentError.self) { try await node.deploy("three", pause) }
        var long = options
        long.coordination?.leaseSeconds = 4000
        await #expect(throws: DeploymentError.self) { try await node.deploy("three", long) }
    }

    @Test func `abort takes a node back that has switched`() async throws {
        let node = try await node()
        try await prepare(node)
        try await node.machine.switchOver(2, Self.id, by: node.author)
        try await node.run("the wait for the others") { try node.store.journaledDeployment(2)?.record.pause != nil }
        try await node.machine.abort(2, by: node.author)
        #expect(await node.slots.active == 1)
        #expect(try node.state(2) == .rolledBack)
    }

    @Test func `hooks are asked before it says that it is prepared`() async throws {
        for point in [Hook.Point.confirmTrafficIncrease, .confirmPromotion] {
            var shape = Shape(bake: .zero, monitor: .zero)
            shape.stages.refusingHook = point
            let node = try await node(shape)
            try await node.deploy("two", options)
            #expect(try await node.finish(2).state == .rolledBack)
            let events = try node.store.deploymentEvents(of: 2, after: 0)
            #expect(!events.contains { $0.state == .prepared })
        }
    }

    // MARK: Death

    @Test(arguments: [DeploymentFault.Moment.committed, .done])
    func probe_11_a_node_that_dies_prepared_is_prepared_again(moment: DeploymentFault.Moment) async throws {
        let place = DeploymentNode.place()
        let dying = try await node(at: place, dying: (.prepared, moment))
        try await dying.deploy("two", options)
        if moment == .done {
            try await dying.run("prepared") { try dying.store.journaledDeployment(2)?.record.pause != nil }
            // It is told, and dies of it.
            let machine = dying.machine
            let author = dying.author
            Task { try await machine.switchOver(2, Self.id, by: author) }
        }
        try await dying.run("its death") { dying.fault.hasStruck }
        let next = try DeploymentNode(place, Shape(bake: .zero, monitor: .zero), boot: "next")
        // As late as it was when the other one died: the lease is a time of the calendar.
        next.clock.advance(by: .seconds(dying.clock.wallTime().seconds - next.clock.wallTime().seconds))
        try await next.machine.settle()
        #expect(try next.store.routing()?.active == 1)
        try await next.machine.goOn()
        try await next.run("prepared again") {
            let record = try next.store.journaledDeployment(2)?.record
            return record?.state == .prepared && record?.pause != nil
        }
        try await next.machine.switchOver(2, Self.id, by: next.author)
        try await watched(next)
        try await next.machine.confirm(2, Self.id)
        #expect(try await next.finish(2).state == .retired)
        #expect(await next.slots.active == 2)
    }

    @Test func `a node that comes back after its lease stays with what served`() async throws {
        let place = DeploymentNode.place()
        let dying = try await node(at: place, dying: (.prepared, .committed))
        try await dying.deploy("two", options)
        try await dying.run("its death") { dying.fault.hasStruck }
        let next = try DeploymentNode(place, Shape(bake: .zero, monitor: .zero), boot: "next")
        next.clock.advance(by: .seconds(dying.clock.wallTime().seconds - next.clock.wallTime().seconds + 61))
        try await next.machine.settle()
        try await next.machine.goOn()
        let end = try await next.finish(2)
        #expect(end.state == .rolledBack)
        #expect(end.reason?.contains("wasn't heard of") == true)
        #expect(try next.store.routing()?.active == 1)
    }

    @Test func `a node that dies on probation is on it still`() async throws {
        let place = DeploymentNode.place()
        let dying = try await node(at: place, dying: (.active, .committed))
        try await prepare(dying)
        let (machine, author) = (dying.machine, dying.author)
        Task { try await machine.switchOver(2, Self.id, by: author) }
        try await dying.run("its death") { dying.fault.hasStruck }
        let next = try DeploymentNode(place, Shape(bake: .zero, monitor: .zero), boot: "next")
        next.clock.advance(by: .seconds(dying.clock.wallTime().seconds - next.clock.wallTime().seconds))
        try await next.machine.settle()
        try await next.machine.goOn()
        #expect(try next.store.routing()?.active == 2)
        let end = try await next.finish(2)
        #expect(end.state == .rolledBack)
        #expect(try next.store.routing()?.active == 1)
    }
}
