internal import Host

/// What a bundle would change.
struct ReleaseComposition: Sendable {
    var content: ReleaseContent
    /// New versions, and the numbers that they took; nothing of it serves yet.
    var change = ReleaseStore.Change()
    var holds: [ArtifactStore.Hold] = []
    var workers: [(name: String, change: DeploymentPlan.Change)] = []
    var triggers: [String] = []
    /// Migrations of classes of durable objects that come with it: `worker: tag`.
    var classMigrations: [String] = []
    /// Whether it is what serves, as far as rows say.
    var isUnchanged = false
}

/// A release with what its bundle says; without one, what was configured last holds.
struct CandidateRelease: Sendable {
    var record: ReleaseRecord
    var content: ReleaseContent
    var input: DeploymentInput?
}

/// Blue and green of one tenant: what a deployment moves. The machine calls them one after the other; they know nothing of its
/// states. What they are told twice they do once.
protocol DeploymentSlots: Sendable {
    /// Waits for changes that are being made, and refuses others from now on with `reason`.
    func lock(_ reason: String) async throws(DeploymentFailure)
    /// Says another reason, or with `nil` lets changes be made again.
    func setLock(_ reason: String?) async

    /// Writes down what was composed, in one transaction with what the journal says.
    func record(_ composition: ReleaseComposition, _ entries: [JournalEntry]) async throws
    func compose(_ input: DeploymentInput, isDryRun: Bool) async throws(DeploymentFailure) -> ReleaseComposition
    /// Whether the release could serve: routes, databases, executables; when `isReturn`, that what it binds is still there.
    func check(_ candidate: CandidateRelease, isReturn: Bool) async throws(DeploymentFailure)
    /// Whether what serves now is healthy, and there is room for a second slot.
    func precheck(_ candidate: CandidateRelease, isForced: Bool) async throws(DeploymentFailure)

    /// Starts what the candidate has and no slot has, beside what serves; returns when each has an isolate that is ready.
    func stage(_ candidate: CandidateRelease) async throws(DeploymentFailure)
    /// Starts a release that served before and keeps it warm.
    func warmUp(_ candidate: CandidateRelease) async throws(DeploymentFailure)
    /// Why the candidate isn't healthy; `nil`: it is.
    func candidateProblem() async -> String?
    var hasCandidate: Bool { get async }
    /// Gives the candidate its share of new requests.
    func route(_ percent: Int) async
    /// Makes the candidate the active release: one transaction, and then new requests go to it. What was active stays warm.
    ///
    /// - Parameter committed: called between the two.
    func promote(
        _ entry: JournalEntry, at deployment: DeploymentRecord, committed: @escaping @Sendable () -> Void
    ) async throws
    /// Makes a warm release the active one again: one transaction, then new requests go to it. What was active stays warm.
    func goBack(to release: Int64, _ entries: [JournalEntry], at deployment: DeploymentRecord) async throws
    func isWarm(_ release: Int64) async -> Bool
    /// Ends the candidate, and whatever of it is being started; open events may finish.
    func discardCandidate() async
    /// Lets a warm release go.
    func retire(_ release: Int64) async
    /// Lets what a warm release has begun finish, or ends it when it takes too long: spec C4.
    func drain(_ release: Int64) async -> DrainReport
    /// What two releases did since each began.
    func samples(of new: Int64, _ old: Int64?) async -> (new: SlotSample, old: SlotSample)
    /// What the active release did in the last ten minutes.
    func baseline() async -> SlotSample?
    func report(_ record: DeploymentRecord) async -> String?
    func slots() async -> (active: Int64?, candidate: Int64?, warm: [Int64])
    /// Forgets what no release has any more.
    func collect(keeping releases: Int) async
}
