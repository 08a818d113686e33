import Synchronization
import System
import Testing

@testable import Configuration
@testable import Releases

/// Nodes whose leader is gone.
@Suite struct `Coordinated deployments without a leader` {
    private typealias Shape = DeploymentNode.Shape
    private typealias Answer = CoordinationPoll.Answer
    private static let id = "c0ffee"

    // MARK: What is made of the answers

    @Test(
        arguments: [
            ([], false, "back"), ([.vote(.asking), .vote(.asking)], false, "back"),
            ([.vote(.asking), .stranger], false, "back"),
            // Who keeps it was told so, whatever else is said.
            ([.vote(.kept)], false, "keep"), ([.vote(.back), .vote(.kept)], false, "keep"),
            ([.unreached("x"), .vote(.kept)], true, "keep"),
            ([.vote(.asking), .vote(.back)], false, "back"), ([.unreached("x"), .vote(.back)], false, "back"),
            ([.unreached("x"), .vote(.unswitched)], false, "back"),
            // Who still hears the leader may be told to keep it, however late it is.
            ([.vote(.watching)], true, "wait"), ([.vote(.waiting), .vote(.asking)], true, "wait"),
            ([.vote(.waiting), .unreached("x")], true, "wait"),
            // Who isn't reached may know, for a while.
            ([.unreached("x")], false, "wait"), ([.unreached("x"), .vote(.asking)], false, "wait"),
            ([.unreached("x"), .vote(.asking)], true, "back"), ([.unreached("x"), .stranger], true, "back"),
        ] as [([CoordinationPoll.Answer], Bool, String)])
    func `one that keeps it decides, then one that went back, then all that ask`(
        answers: [CoordinationPoll.Answer], isLate: Bool, expected: String
    ) {
        let named = answers.enumerated().map { (name: "n\($0.offset)", answer: $0.element) }
        let ruling =
            switch CoordinationPoll.ruling(named, isLate: isLate) {
            case .keep: "keep"
            case .goBack: "back"
            case .wait: "wait"
            }
        #expect(ruling == expected)
    }

    @Test func `every state of a deployment has a vote`() {
        func vote(_ state: DeploymentState, _ word: Coordination.Word?) -> Coordination.Vote {
            var record = DeploymentRecord(
                number: 1, release: 1, previous: nil, trigger: .deploy, author: .init(id: "", email: "", source: ""),
                options: .init(), createdAt: UnixTime(milliseconds: 0), state: state)
            record.coordination = word.map { Coordination(word: $0, until: UnixTime(milliseconds: 0)) }
            return Coordination.Vote(record)
        }
        for state in DeploymentState.allCases where !state.isPastSwitch && !state.isEnd {
            #expect(vote(state, .prepare) == .unswitched)
        }
        #expect(vote(.monitoring, .switch) == .watching)
        #expect(vote(.monitoring, .watched) == .waiting)
        #expect(vote(.monitoring, .ask) == .asking)
        #expect(vote(.monitoring, .confirm) == .kept)
        #expect(vote(.draining, .confirm) == .kept)
        #expect(vote(.rolledBack, .ask) == .back)
        #expect(vote(.refused, nil) == .back)
    }

    @Test func `an answer counts when it is the node's that was asked`() {
        let peer = Coordination.Peer(name: "b", url: "http://127.0.0.1:1")
        func answer(_ status: Int, _ text: String) -> Answer { PeerCaller.answer(status, Array(text.utf8), of: peer) }
        func isUnreached(_ answer: Answer) -> Bool {
            if case .unreached = answer { return true }
            return false
        }
        #expect(answer(200, #"{"success":true,"result":{"node":"b","vote":"gone-back"}}"#) == .vote(.back))
        #expect(answer(404, #"{"success":false,"errors":[{"code":11404,"message":""}]}"#) == .stranger)
        // An older node has no such path, a node that starts no answer yet, and another node is none of those.
        #expect(isUnreached(answer(404, #"{"success":false,"errors":[{"code":7003,"message":""}]}"#)))
        #expect(isUnreached(answer(503, #"{"success":false,"errors":[{"code":10013,"message":""}]}"#)))
        #expect(isUnreached(answer(200, #"{"success":true,"result":{"node":"c","vote":"kept"}}"#)))
        #expect(isUnreached(answer(200, #"{"success":true,"result":{"node":"b","vote":"perhaps"}}"#)))
        #expect(isUnreached(answer(200, "<html>")))
        #expect(isUnreached(answer(200, String(repeating: " ", count: 20_000) + #"{"result":{"node":"b","vote":"kept"}}"#)))
    }

    // MARK: A node that asks

    /// What the others answer, until they are told otherwise.
    private final class Others: Sendable {
        private let answers: Mutex<[String: Answer]>
        init(_ answers: [String: Answer]) { self.answers = Mutex(answers) }
        func set(_ name: String, _ answer: Answer) { answers.withLock { $0[name] = answer } }
        func ask(_ peer: Coordination.Peer, _ id: String) -> Answer {
            answers.withLock { $0[peer.name] } ?? .unreached("nobody")
        }
    }

    private func options(_ names: [String], lease: Double = 60) -> DeploymentOptions {
        var options = DeploymentOptions()
        options.coordination = .init(
            id: Self.id, leaseSeconds: lease, node: "a", peers: names.map { .init(name: $0, url: "http://\($0):1") })
        return options
    }

    private func shape(_ others: Others, monitor: Duration = .zero) -> Shape {
        var shape = Shape(bake: .zero, monitor: monitor)
        shape.askPeer = { peer, id in others.ask(peer, id) }
        return shape
    }

    /// A node that release 2 serves, after it was watched; nothing was confirmed.
    private func watchedNode(
        _ shape: Shape, at place: String = DeploymentNode.place(), _ options: DeploymentOptions
    ) async throws -> DeploymentNode {
        let node = try DeploymentNode(place, shape)
        try await node.deploy("one")
        _ = try await node.finish(1)
        try await node.deploy("two", options)
        try await node.run("prepared") { try node.store.journaledDeployment(2)?.record.pause != nil }
        try await node.machine.switchOver(2, Self.id, by: node.author)
        try await node.run("watched") { try word(node) == .watched }
        return node
    }

    private func word(_ node: DeploymentNode) throws -> Coordination.Word? {
        try node.store.journaledDeployment(2)?.record.coordination?.word
    }

    /// Until it says that this keeps it waiting.
    private func asking(_ node: DeploymentNode, _ text: String) async throws {
        try await node.run("the question") { try node.store.journaledDeployment(2)?.record.pause?.contains(text) ?? false }
    }

    @Test func `it keeps the release with one that does`() async throws {
        let others = Others(["b": .vote(.asking), "c": .vote(.kept)])
        let node = try await watchedNode(shape(others), options(["b", "c"]))
        #expect(try await node.finish(2).state == .retired)
        #expect(await node.slots.active == 2)
        #expect(try word(node) == .confirm)
    }

    @Test(arguments: [Coordination.Vote.back, .unswitched, .asking])
    func `it goes back where nobody was told to keep it`(vote: Coordination.Vote) async throws {
        let others = Others(["b": .vote(vote), "c": .stranger])
        let node = try await watchedNode(shape(others), options(["b", "c"]))
        let end = try await node.finish(2)
        #expect(end.state == .rolledBack)
        #expect(end.reason?.contains("60 s") == true)
        #expect(await node.slots.active == 1)
        #expect(try await node.machine.vote(on: Self.id)?.vote == .back)
    }

    @Test func `it tries for ten leases to reach who may know more, and says so`() async throws {
        let others = Others(["b": .vote(.asking), "c": .unreached("no route")])
        let node = try await watchedNode(shape(others), options(["b", "c"], lease: 20))
        try await asking(node, "not reached: c (no route)")
        let start = node.clock.now()
        let end = try await node.finish(2)
        #expect(end.state == .rolledBack)
        #expect(end.reason?.contains("not reached: c (no route)") == true)
        #expect(node.clock.now() - start > .seconds(150))
        let told = try node.store.deploymentEvents(of: 2, after: 0).filter { $0.text.contains("no route") }
        #expect(told.count < 5, "each thing is told once")
    }

    @Test func `it follows whoever comes back meanwhile`() async throws {
        let others = Others(["b": .unreached("no route")])
        let node = try await watchedNode(shape(others), options(["b"]))
        try await asking(node, "no route")
        others.set("b", .vote(.waiting))
        try await asking(node, "b may still hear it")
        others.set("b", .vote(.kept))
        #expect(try await node.finish(2).state == .retired)
    }

    @Test func `once it asks, it hears no word of the leader`() async throws {
        let others = Others(["b": .unreached("no route")])
        let node = try await watchedNode(shape(others), options(["b"]))
        #expect(try await node.machine.vote(on: Self.id)?.vote == .waiting)
        try await asking(node, "no route")
        #expect(try await node.machine.vote(on: Self.id)?.vote == .asking)
        #expect(try await node.machine.vote(on: Self.id)?.node == "a")
        #expect(try await node.machine.vote(on: "another") == nil)
        await #expect(throws: DeploymentError.self) { try await node.machine.hold(2, Self.id) }
        await #expect(throws: DeploymentError.self) { try await node.machine.confirm(2, Self.id) }
        #expect(try word(node) == .ask)
        // Who operates it has the last word.
        try await node.machine.abort(2, by: node.author)
        #expect(try node.state(2) == .rolledBack)
    }

    @Test func probe_11_a_node_that_dies_asking_asks_again_and_hears_no_word() async throws {
        let place = DeploymentNode.place()
        let others = Others(["b": .unreached("no route")])
        let dying = try await watchedNode(shape(others), at: place, options(["b"], lease: 600))
        dying.clock.advance(by: .seconds(601))
        try await asking(dying, "no route")
        await dying.machine.stop()
        // Its clock is behind: by the calendar the lease would go on.
        let next = try DeploymentNode(place, shape(others), boot: "next")
        try await next.machine.settle()
        try await next.machine.goOn()
        #expect(try next.store.routing()?.active == 2)
        await #expect(throws: DeploymentError.self) { try await next.machine.hold(2, Self.id) }
        await #expect(throws: DeploymentError.self) { try await next.machine.confirm(2, Self.id) }
        #expect(try word(next) == .ask)
        others.set("b", .vote(.kept))
        #expect(try await next.finish(2).state == .retired)
    }

    @Test func probe_11_a_node_that_dies_watched_is_bound_by_it() async throws {
        let place = DeploymentNode.place()
        let others = Others([:])
        let dying = try await watchedNode(
            shape(others, monitor: .seconds(30)), at: place, options([], lease: 600))
        await dying.machine.stop()
        // Watching it again would find it bad, after all others were told to keep it.
        var bad = shape(others, monitor: .seconds(30))
        bad.slots.load = (1000, 900)
        let next = try DeploymentNode(place, bad, boot: "next")
        next.clock.advance(by: .seconds(dying.clock.wallTime().seconds - next.clock.wallTime().seconds))
        try await next.machine.settle()
        try await next.machine.goOn()
        try await next.machine.confirm(2, Self.id)
        #expect(try await next.finish(2).state == .retired)
    }

    // MARK: All of them

    /// Nodes that ask one another; those that are down don't answer.
    private final class Group: Sendable {
        private let machines = Mutex<[String: DeploymentMachine]>([:])
        func set(_ name: String, _ machine: DeploymentMachine?) { machines.withLock { $0[name] = machine } }
        func ask(_ name: String, _ id: String) async -> Answer {
            guard let machine = machines.withLock({ $0[name] }) else { return .unreached("down") }
            guard let said = try? await machine.vote(on: id) else { return .stranger }
            return .vote(said.vote)
        }
    }

    @Test(arguments: 0...3) func `a leader that dies after some words leaves all on one release`(count: Int) async throws {
        let (group, names) = (Group(), ["a", "b", "c"])
        var shape = Shape(bake: .zero, monitor: .zero)
        shape.askPeer = { peer, id in await group.ask(peer.name, id) }
        var nodes: [DeploymentNode] = []
        for name in names {
            let node = try await watchedNode(shape, options(names.filter { $0 != name }, lease: 600))
            group.set(name, node.machine)
            nodes.append(node)
        }
        for node in nodes.prefix(count) { try await node.machine.confirm(2, Self.id) }
        // The first one is killed, and comes back when the others have asked for it.
        await nodes[0].machine.stop()
        group.set("a", nil)
        for node in nodes[1...] { node.clock.advance(by: .seconds(601)) }
        if count < 2 { for node in nodes[1...] { try await asking(node, "a (down)") } }
        let next = try DeploymentNode(nodes[0].directory, shape, boot: "next")
        next.clock.advance(by: .seconds(nodes[0].clock.wallTime().seconds - next.clock.wallTime().seconds + 601))
        try await next.machine.settle()
        try await next.machine.goOn()
        nodes[0] = next
        group.set("a", next.machine)
        for _ in 0..<20_000 {
            if try nodes.allSatisfy({ try $0.state(2)?.isEnd ?? false }) { break }
            try await Task.sleep(for: .milliseconds(5))
            for node in nodes { node.clock.advance(by: .seconds(1)) }
        }
        for node in nodes {
            #expect(try node.state(2) == (count == 0 ? .rolledBack : .retired))
            #expect(try node.store.routing()?.active == (count == 0 ? 1 : 2))
        }
    }
}
