internal import CLinux
internal import Glibc
internal import Seccomp
internal import System

/// Starts processes. Belongs to one thread, which must live as long as they do (PR_SET_PDEATHSIG).
struct Launcher: ~Copyable {
    /// A process that runs its executable, and the node's ends of what it was given.
    struct Launched: ~Copyable {
        let process: StartedProcess
        /// The reading end of its standard error.
        let output: Descriptor
        /// Raw, because they are handed on in an array; `channels` are the receiver's to close.
        let channels: [Int32]
        let statusPage: StatusPage
    }

    struct StartedProcess: ~Copyable {
        let number: Int32
        /// A pidfd: readable once the process has ended.
        let descriptor: Descriptor
    }

    private let nullDevice: Descriptor
    private let filter: SyscallFilter
    /// For isolates with files of their own, by the limit of descriptors; made when the first one is started.
    private let filtersWithFiles = FilterCache()
    let processes: ProcessView
    private let isRoot: Bool

    init() throws(SpawnError) {
        let number = unsafe open("/dev/null", O_RDWR | O_CLOEXEC)
        guard number >= 0 else { throw .system(SystemError("open", errno: errno, on: "/dev/null")) }
        let nullDevice = Descriptor(owning: number)
        let filter: SyscallFilter
        do {
            filter = try SyscallFilter(SystemCallTable.rules, otherwise: .refuse(errno: EPERM))
        } catch { throw .invalidSpecification("\(error)") }
        do { processes = try ProcessView() } catch { throw .system(error) }
        self.filter = filter
        self.nullDevice = nullDevice
        isRoot = geteuid() == 0
    }

    func launch(_ specification: IsolateSpecification) throws(SpawnError) -> Launched {
        guard (1...128).contains(specification.channelCount) else {
            throw .invalidSpecification("\(specification.channelCount) channels; 1...128 are possible")
        }
        guard !isRoot || (specification.identity.map { $0.userID != 0 && $0.groupID != 0 } ?? false) else {
            throw .invalidSpecification("a node that is root must give each tenant a user of its own")
        }
        do {
            let memory = try Self.descriptor(
                "memfd_create", unsafe edge_sealed_memory("edge-status", UInt64(StatusPage.byteCount)))
            let statusPage = try StatusPage(memory)
            let output = try unsafe DescriptorPair("pipe2") { unsafe edge_pipe($0) }
            var ends = ChannelEnds()
            for _ in 0..<specification.channelCount {
                try ends.append()
            }
            let ruleset = try specification.image.makeRuleset(
                processes: processes.seenByIsolates, files: specification.files)
            let process = try start(
                specification, passed: ends.isolate + [memory.rawValue], output: output.second.rawValue,
                ruleset: ruleset.number)
            return Launched(
                process: process, output: output.takeFirst(), channels: ends.takeNodeEnds(),
                statusPage: statusPage)
        } catch let error as SystemError {
            throw .system(error)
        } catch let error as SpawnError { throw error } catch { throw .invalidSpecification("\(error)") }
    }

    private func start(
        _ specification: IsolateSpecification, passed: [Int32], output: Int32, ruleset: Int32
    ) throws(SpawnError) -> StartedProcess {
        let arguments = CStringArray([
            specification.workerName, "--edge-isolate=\(specification.channelCount)",
        ])
        let limits = resourceLimits(specification)
        let files = specification.files
        let executableNumber = max(Int(EDGE_SPAWN_EXECUTABLE), files?.descriptorsMax ?? 0)
        // A copy: the child writes its process id into it.
        var program = try files == nil ? filter.program : filtersWithFiles.filter(executable: executableNumber).program
        let directory = try files.map { files throws(SpawnError) in
            do throws(SystemError) { return DirectoryHandle(try IsolateImage.openPath(files.directory)) } catch {
                throw .system(error)
            }
        }
        var plan = unsafe edge_spawn_plan()
        unsafe plan.executable_number = Int32(executableNumber)
        unsafe plan.directory = directory?.rawValue ?? -1
        let identity = isRoot ? specification.identity : nil
        unsafe plan.executable = specification.image.executable.rawValue
        unsafe plan.null_descriptor = nullDevice.rawValue
        unsafe plan.log_descriptor = output
        unsafe plan.landlock_ruleset = ruleset
        unsafe plan.switch_identity = identity == nil ? 0 : 1
        unsafe plan.uid = identity?.userID ?? 0
        unsafe plan.gid = identity?.groupID ?? 0
        unsafe plan.pid_placeholder = SystemCallTable.ownProcessPlaceholder
        // SAFETY: every pointer in the plan is lent for the call, which returns only when the child runs
        // its own program in its own memory. The filter's bytes are aligned to at least 16, as Swift's
        // arrays are.
        let processID = unsafe limits.withUnsafeBufferPointer { limits in
            unsafe passed.withUnsafeBufferPointer { passed in
                unsafe program.withUnsafeMutableBytes { program in
                    unsafe arguments.withPointers { arguments in
                        unsafe plan.arguments = arguments
                        unsafe plan.limits = limits.baseAddress
                        unsafe plan.limit_count = Int32(limits.count)
                        unsafe plan.passed = passed.baseAddress
                        unsafe plan.passed_count = Int32(passed.count)
                        unsafe plan.filter = program.baseAddress
                        unsafe plan.filter_count = UInt16(program.count / SyscallFilter.instructionByteCount)
                        return withExtendedLifetime(directory) { unsafe edge_spawn(&plan) }
                    }
                }
            }
        }
        guard processID > 0 else {
            throw unsafe .step(SpawnError.Step(plan.failed_step), errno: plan.failed_errno)
        }
        return unsafe StartedProcess(number: processID, descriptor: Descriptor(owning: plan.pidfd))
    }

    /// What the kernel itself enforces. Each value with its reason.
    private func resourceLimits(_ specification: IsolateSpecification) -> [edge_spawn_limit] {
        let limits = specification.limits
        func limit(_ resource: __rlimit_resource, _ value: UInt64) -> edge_spawn_limit {
            edge_spawn_limit(resource: Int32(resource.rawValue), value: value)
        }
        var list = [
            // No file to write to but those that it is given, and none may hold a secret of its memory.
            limit(RLIMIT_FSIZE, specification.files?.fileByteCountMax ?? 0),
            limit(RLIMIT_CORE, 0),
            // Channels, status page, loop, timers, libraries while they are opened. Also see
            // EDGE_SPAWN_EXECUTABLE.
            limit(RLIMIT_NOFILE, UInt64(max(Int(EDGE_SPAWN_EXECUTABLE), specification.files?.descriptorsMax ?? 0))),
            // The main thread's, and the default for others: what deep recursion runs into.
            limit(RLIMIT_STACK, 8 << 20),
            // Private writable memory. The watchdog enforces the real limit on what is resident; this
            // one stops what is faster than the watchdog. The margin holds thread stacks, libraries'
            // data and what malloc keeps unused.
            limit(RLIMIT_DATA, limits.memoryBytes &+ Self.dataMarginBytes),
            // Address space without memory still costs page tables.
            limit(RLIMIT_AS, limits.memoryBytes &+ Self.addressSpaceMarginBytes),
            // Nothing pinned, no message queues, no real-time priority.
            limit(__rlimit_resource(rawValue: 8), 0),  // RLIMIT_MEMLOCK
            limit(__rlimit_resource(rawValue: 12), 0),  // RLIMIT_MSGQUEUE
            limit(__rlimit_resource(rawValue: 14), 0),  // RLIMIT_RTPRIO
        ]
        if isRoot {
            // By uid, so only where the tenant has one of its own.
            list.append(limit(__rlimit_resource(rawValue: 6), UInt64(limits.tenantThreadsMax)))  // RLIMIT_NPROC
        }
        return list
    }

    static let dataMarginBytes: UInt64 = 128 << 20
    static let addressSpaceMarginBytes: UInt64 = 8 << 30

    private static func descriptor(_ call: String, _ number: Int32) throws(SystemError) -> Descriptor {
        guard number >= 0 else { throw SystemError(call, errno: errno) }
        return Descriptor(owning: number)
    }

}

/// Filters that were compiled already. One thread, as its launcher.
private final class FilterCache {
    private var filters: [Int: SyscallFilter] = [:]

    func filter(executable: Int) throws(SpawnError) -> SyscallFilter {
        if let filter = filters[executable] { return filter }
        do {
            let filter = try SyscallFilter(
                SystemCallTable.rules(executable: executable, files: true), otherwise: .refuse(errno: EPERM))
            filters[executable] = filter
            return filter
        } catch { throw .invalidSpecification("\(error)") }
    }
}

/// Keeps a directory open until the child has gone there.
private final class DirectoryHandle {
    private let descriptor: Descriptor
    init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }
    var rawValue: Int32 { descriptor.rawValue }
}

/// What pipe and socketpair give.
private struct DescriptorPair: ~Copyable {
    let first: Descriptor
    let second: Descriptor

    init(_ call: String, _ make: (UnsafeMutablePointer<Int32>) -> Int32) throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        // SAFETY: `make` fills the two integers it is lent.
        let result = unsafe ends.withUnsafeMutableBufferPointer { buffer in
            unsafe buffer.baseAddress.map { unsafe make($0) } ?? -1
        }
        guard result == 0 else { throw SystemError(call, errno: errno) }
        first = Descriptor(owning: ends[0])
        second = Descriptor(owning: ends[1])
    }

    /// Closes the second one.
    consuming func takeFirst() -> Descriptor { first }
}

/// Socket pairs under construction: closes what nobody has taken.
private struct ChannelEnds: ~Copyable {
    private var node: [Int32] = []
    private(set) var isolate: [Int32] = []

    mutating func append() throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        // SAFETY: fills the two integers it is lent.
        guard unsafe edge_socketpair(&ends) == 0 else { throw SystemError("socketpair", errno: errno) }
        node.append(ends[0])
        isolate.append(ends[1])
    }

    mutating func takeNodeEnds() -> [Int32] {
        defer { node = [] }
        return node
    }

    deinit { for number in node + isolate { close(number) } }
}

/// Arguments as exec wants them.
@safe private struct CStringArray: ~Copyable {
    private let pointers: UnsafeMutableBufferPointer<UnsafeMutablePointer<CChar>?>

    init(_ strings: [String]) {
        unsafe pointers = .allocate(capacity: strings.count + 1)
        for (index, string) in strings.enumerated() {
            unsafe pointers.initializeElement(at: index, to: strdup(string))
        }
        unsafe pointers.initializeElement(at: strings.count, to: nil)
    }

    /// SAFETY: the pointers live as long as the array; `body` must not keep them.
    func withPointers<Result>(
        _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>?) -> Result
    ) -> Result {
        unsafe body(UnsafePointer(pointers.baseAddress))
    }

    deinit {
        for index in unsafe pointers.indices { unsafe free(pointers[index]) }
        unsafe pointers.deallocate()
    }
}

/// A Landlock ruleset, or none where the kernel has no Landlock.
private struct Ruleset: ~Copyable {
    let number: Int32
    deinit { if number >= 0 { close(number) } }
}

extension IsolateImage {
    fileprivate func makeRuleset(
        processes: borrowing Descriptor, files: WritableFiles?
    ) throws(SystemError) -> Ruleset {
        guard let readableFiles else { return Ruleset(number: -1) }
        let ruleset = try readableFiles.makeRuleset(executable: executable, processes: processes, files: files)
        return Ruleset(number: ruleset.release())
    }
}

extension SpawnError.Step {
    fileprivate init(_ step: Int32) {
        self =
            switch edge_spawn_step(UInt32(bitPattern: step)) {
            case EDGE_SPAWN_SESSION: .session
            case EDGE_SPAWN_DESCRIPTORS: .descriptors
            case EDGE_SPAWN_DIRECTORY: .directory
            case EDGE_SPAWN_RESOURCE_LIMITS: .resourceLimits
            case EDGE_SPAWN_IDENTITY: .identity
            case EDGE_SPAWN_PARENT_DEATH: .parentDeath
            case EDGE_SPAWN_NO_NEW_PRIVILEGES: .noNewPrivileges
            case EDGE_SPAWN_LANDLOCK: .landlock
            case EDGE_SPAWN_SIGNALS: .signals
            case EDGE_SPAWN_SECCOMP: .seccomp
            case EDGE_SPAWN_EXEC: .exec
            default: .clone
            }
    }
}
