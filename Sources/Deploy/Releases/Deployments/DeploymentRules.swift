/// The table of spec C2 and C5, as far as it is numbers and ends: the machine does what each state asks for and reads here how
/// long it may take, and where it goes when it can't.
struct DeploymentRules: Equatable, Sendable {
    /// How long what the state does may take; `nil`: it has limits of its own, or ends by the clock.
    let limit: Duration?
    /// The end that a failure leads to; `nil`: there is no failing, what the state does is tried again.
    let failure: DeploymentState?
    /// What is done when the node died in it.
    let recovery: Recovery

    enum Recovery: Equatable, Sendable {
        /// It comes to this end.
        case end(DeploymentState)
        /// The candidate is started again, if the environment says that deployments go on by themselves; else it is rolled back.
        case resume(from: DeploymentState)
        /// Both releases are started; the candidate gets its share back once it is healthy.
        case restore
        /// The new release serves, and the state is done again.
        case goOn
    }

    /// What serves after the node died in a state.
    enum Serving: Equatable, Sendable { case previous, new }

    init(_ state: DeploymentState) {
        switch state {
        case .created: self.init(.seconds(300), .refused, .end(.refused))
        case .validated: self.init(.seconds(60), .refused, .end(.refused))
        case .prechecked: self.init(.seconds(300), .refused, .end(.refused))
        case .backedUp: self.init(.seconds(1800), .refused, .end(.refused))
        // Committed databases stay as they are: their migrations only add.
        case .migrated: self.init(nil, .rolledBack, .end(.rolledBack))
        case .starting: self.init(.seconds(60), .rolledBack, .resume(from: .starting))
        case .healthy: self.init(.seconds(30), .rolledBack, .resume(from: .starting))
        case .smokeTested: self.init(.seconds(120), .rolledBack, .resume(from: .starting))
        // Ends with its lease.
        case .prepared: self.init(nil, .rolledBack, .resume(from: .starting))
        case .shifting: self.init(nil, .rolledBack, .restore)
        case .active: self.init(nil, nil, .goOn)
        case .monitoring: self.init(nil, .rolledBack, .goOn)
        case .draining: self.init(nil, nil, .goOn)
        case .retired: self.init(nil, nil, .goOn)
        case .rolledBack, .refused: self.init(nil, nil, .end(state))
        }
    }

    private init(_ limit: Duration?, _ failure: DeploymentState?, _ recovery: Recovery) {
        self.limit = limit
        self.failure = failure
        self.recovery = recovery
    }

    static func serving(after state: DeploymentState) -> Serving { state.isPastSwitch ? .new : .previous }

    /// Health events in a row that a candidate must answer, a second apart.
    static let healthCheckCount = 3
    static let healthInterval = Duration.seconds(1)
    /// Between two signs of life of the lock's holder.
    static let heartbeat = Duration.seconds(5)
    /// How long a step is tried again after it couldn't be written down, at most.
    static let retryMax = Duration.seconds(30)
    /// For a candidate that is started again after the node died.
    static let restoreLimit = Duration.seconds(60)
}
