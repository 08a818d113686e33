package import System

/// A deployment as one of several, on as many nodes, which switch together or not at all: a two-phase commit in which no answer
/// means no. Whoever leads it gives the words; a node keeps what it was told and a lease, which each word renews.
///
///     prepare   the release is proven and waits at 0 %; the lease lapses: rolled back
///     switch    it serves, on probation: the release before is warm; the lease lapses: it goes back
///     confirm   all nodes have switched, and each did well: no lease any more
///
/// So whatever becomes of the leader, its nodes come to one release by themselves, but for one moment: when it dies after some
/// nodes have heard `confirm` and before all have. They differ then until somebody deploys again.
package struct Coordination: Equatable, Sendable {
    package enum Word: String, Sendable { case prepare, `switch`, confirm }

    /// What the leader asks for with the deployment.
    package struct Request: Codable, Equatable, Sendable {
        /// Of the whole: the same on all nodes, and in all of its words.
        package var id: String
        package var leaseSeconds: Double

        package init(id: String, leaseSeconds: Double) {
            self.id = id
            self.leaseSeconds = leaseSeconds
        }

        static let leaseRange = 1.0...3600
    }

    /// The last one that the node has heard.
    package var word: Word
    /// When the lease lapses.
    package var until: UnixTime
}
