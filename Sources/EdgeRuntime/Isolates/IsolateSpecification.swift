/// Names one isolate for as long as the node runs; numbers are not used twice.
package struct IsolateID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let number: UInt64
    package init(_ number: UInt64) { self.number = number }
    package static func < (left: Self, right: Self) -> Bool { left.number < right.number }
    package var description: String { "\(number)" }
}

/// The uid and gid that all isolates of one tenant run as, when the node is root. The caller keeps them:
/// the same tenant gets the same number after a restart, and no two tenants share one.
package struct TenantIdentity: Hashable, Sendable {
    package let userID: UInt32
    package let groupID: UInt32

    /// The first number given to tenants by default: far above people, services and the ranges of
    /// containers.
    package static let defaultBase: UInt32 = 600_000

    /// - Parameter ordinal: 0 for the first tenant, 1 for the second…
    package init(ordinal: UInt32, base: UInt32 = defaultBase) {
        userID = base &+ ordinal
        groupID = base &+ ordinal
    }
}

/// What an isolate may use. Documented per event and per isolate in spec/runtime.md, section 8.
package struct IsolateLimits: Equatable, Sendable {
    /// CPU time of one event.
    package var cpu: Duration
    /// CPU time of an event opened as `.extended` (cron, queues).
    package var extendedCPU: Duration
    /// CPU time while no event is open: start-up, and what a handler leaves running. Host counts
    /// `waitUntil` as open.
    package var backgroundCPU: Duration
    /// Until it has been configured, its initializer included (product limit).
    package var startUpCPU: Duration = .seconds(1)
    /// Resident memory.
    package var memoryBytes: UInt64
    /// A worker has one thread for handlers and a few for slow crypto; Dispatch adds some.
    package var threadsMax: Int
    /// Threads of all isolates of the tenant together (RLIMIT_NPROC counts by uid): the hard stop below
    /// `threadsMax`, which is only looked at now and then. Has no effect when the node isn't root.
    package var tenantThreadsMax: Int

    package init(
        cpu: Duration = .seconds(30), extendedCPU: Duration = .seconds(900),
        backgroundCPU: Duration = .seconds(5),
        memoryBytes: UInt64 = 128 << 20, threadsMax: Int = 64, tenantThreadsMax: Int = 1024
    ) {
        self.cpu = cpu
        self.extendedCPU = extendedCPU
        self.backgroundCPU = backgroundCPU
        self.memoryBytes = memoryBytes
        self.threadsMax = threadsMax
        self.tenantThreadsMax = tenantThreadsMax
    }
}

/// Files that an isolate may make, write and remove. Where there are none of this, it can write nowhere.
package struct WritableFiles: Equatable, Sendable {
    /// Where the isolate runs. It can reach it whoever may go through the directories above.
    package var directory: String
    /// Names of directories in it, below which the isolate can write.
    package var names: [String]
    /// Of one file.
    package var fileByteCountMax: UInt64
    /// Open at once, its channels included.
    package var descriptorsMax: Int

    /// - Parameter fileByteCountMax: By default the 10 GB of an object, and what a log may add to it for a while.
    package init(directory: String, names: [String], fileByteCountMax: UInt64 = 12 << 30, descriptorsMax: Int = 1024) {
        self.directory = directory
        self.names = names
        self.fileByteCountMax = fileByteCountMax
        self.descriptorsMax = descriptorsMax
    }
}

/// Everything that `Supervisor.spawn` needs to start one isolate.
package struct IsolateSpecification: Sendable {
    package var image: IsolateImage
    /// The first argument of the process, and the name in `ps`.
    package var workerName: String
    /// One channel per reactor, 1...128.
    package var channelCount: Int
    package var limits: IsolateLimits
    /// Required where the node is root, which no isolate may be. Without effect elsewhere: isolates run
    /// as the node's user.
    package var identity: TenantIdentity?
    /// `nil`: it can write nowhere, and lacks the system calls to.
    package var files: WritableFiles?

    package init(
        image: IsolateImage, workerName: String, channelCount: Int, limits: IsolateLimits = IsolateLimits(),
        identity: TenantIdentity? = nil, files: WritableFiles? = nil
    ) {
        self.files = files
        self.image = image
        self.workerName = workerName
        self.channelCount = channelCount
        self.limits = limits
        self.identity = identity
    }
}
