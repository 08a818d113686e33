/// Where a deployment is: spec C2. Each transition is one durable transaction, made before its effects; what a state does may be
/// done again after a crash.
package enum DeploymentState: String, CaseIterable, Codable, Sendable, CustomStringConvertible {
    case created
    case validated
    case prechecked
    case backedUp = "backed-up"
    case migrated
    case starting
    case healthy
    case smokeTested = "smoke-tested"
    /// One of several nodes: waits for the word to switch.
    case prepared
    case shifting
    case active
    case monitoring
    case draining
    /// The end of one that went well.
    case retired
    /// An end: the previous release serves.
    case rolledBack = "rolled-back"
    /// An end: nothing was changed.
    case refused

    package var description: String { rawValue }

    package var isEnd: Bool { self == .retired || self == .rolledBack || self == .refused }

    /// Whether the new release is the one that counts.
    package var isPastSwitch: Bool { [.active, .monitoring, .draining, .retired].contains(self) }
}
