package import System

/// A deployment as one of several, on as many nodes, which switch together or not at all: a two-phase commit in which no answer
/// means no. Whoever leads it gives the words; a node keeps how far it has come and a lease, which each word renews.
///
///     prepare   the release is proven and waits at 0 %; the lease lapses: rolled back
///     switch    it serves, on probation: the release before is warm; the lease lapses: it goes back
///     watched   it did well, and the leader may know: from here on the node alone can't say no any more
///     ask       the lease has lapsed then: it hears no word any more, and asks the other nodes (`CoordinationPoll`)
///     confirm   all nodes have switched, and each did well: no lease any more
///
/// `confirm` is only given when all nodes are `watched`. So whatever becomes of the leader, its nodes come to one release by
/// themselves: who isn't `watched` goes back, since nobody can have been told to stay; who is does as the others do.
package struct Coordination: Equatable, Sendable {
    package enum Word: String, Sendable, CaseIterable { case prepare, `switch`, watched, ask, confirm }

    /// What the leader asks for with the deployment.
    package struct Request: Codable, Equatable, Sendable {
        /// Of the whole: the same on all nodes, and in all of its words.
        package var id: String
        package var leaseSeconds: Double
        /// What the leader calls this node; `nil`: it has no name for the others.
        package var node: String?
        /// The other nodes; `nil`: it can't ask them.
        package var peers: [Peer]?

        package init(id: String, leaseSeconds: Double, node: String? = nil, peers: [Peer]? = nil) {
            self.id = id
            self.leaseSeconds = leaseSeconds
            self.node = node
            self.peers = peers
        }

        static let leaseRange = 1.0...3600
    }

    /// Another node of the same deployment.
    package struct Peer: Codable, Equatable, Sendable {
        /// As the leader calls it, and it calls itself when it is asked.
        package var name: String
        /// The origin of its control listener, as `https://10.0.0.2:8788`.
        package var url: String

        package init(name: String, url: String) {
            self.name = name
            self.url = url
        }
    }

    /// What a node says of itself when another one asks. Only what is in its journal counts, so that it means the same after its death.
    package enum Vote: String, Sendable, CaseIterable {
        /// It keeps the release, whatever becomes of the others.
        case kept
        /// The release before serves, or never ceased to.
        case back = "gone-back"
        /// The word to switch hasn't reached it: so nobody was told to keep the release.
        case unswitched = "not-switched"
        /// It serves the release and is being watched. Comes to an end by itself.
        case watching
        /// It was watched, and waits for the leader's word.
        case waiting
        /// It hears no word of the leader any more, and asks the others.
        case asking
    }

    /// The last one that the node has heard, or come to by itself.
    package var word: Word
    /// When the lease lapses.
    package var until: UnixTime
}

extension Coordination.Vote {
    init(_ record: DeploymentRecord) {
        switch record.state {
        case .rolledBack, .refused: self = .back
        case .draining, .retired: self = .kept
        case .active, .monitoring:
            switch record.coordination?.word {
            case .confirm: self = .kept
            case .ask: self = .asking
            case .watched: self = .waiting
            case .prepare, .switch, nil: self = .watching
            }
        case .created, .validated, .prechecked, .backedUp, .migrated, .starting, .healthy, .smokeTested, .prepared, .shifting:
            self = .unswitched
        }
    }
}
