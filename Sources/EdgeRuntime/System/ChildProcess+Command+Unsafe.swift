internal import CLinux
internal import Glibc
internal import Synchronization

/// Asks a command to end early. Any thread.
package final class CommandStop: Sendable {
    private let isAsked = Atomic<Bool>(false)

    package init() {}
    package func ask() { isAsked.store(true, ordering: .relaxed) }
    fileprivate var wasAsked: Bool { isAsked.load(ordering: .relaxed) }
}

extension ChildProcess {
    /// What a command has done.
    package struct Outcome: Equatable, Sendable {
        /// 128 + the signal that ended it.
        package var exitCode: Int32 = 0
        /// The end of what it wrote, to either output.
        package var output: [UInt8] = []
        /// It was ended, because it took too long or somebody asked for that.
        package var wasKilled = false
    }

    private static let outputBytesMax = 4096
    /// How often it is looked whether it is to stop.
    private static let lookMilliseconds: Int32 = 200

    /// Runs a program in a process group of its own, without input; all of the group is killed at `deadline`. Blocks.
    ///
    /// - Parameter environment: besides this process' own.
    package static func run(
        _ arguments: [String], environment: [(name: String, value: String)], before deadline: ContinuousClock.Instant,
        stop: CommandStop = CommandStop()
    ) throws(SystemError) -> Outcome {
        var ends: [Int32] = [0, 0]
        // SAFETY: edge_pipe fills the two integers.
        guard unsafe edge_pipe(&ends) == 0 else { throw SystemError("pipe2", errno: errno) }
        let output = Descriptor(owning: ends[0])
        let input = Descriptor(owning: ends[1])
        // Programs expect to wait when nobody reads; this end alone stays as it is.
        _ = fcntl(input.rawValue, F_SETFL, 0)
        let process = try spawn(arguments, environment, output: input.rawValue)
        try input.close()
        let pidfd = edge_pidfd_open(process)
        guard pidfd >= 0 else {
            let error = SystemError("pidfd_open", errno: errno, on: arguments[0])
            kill(-process, SIGKILL)
            _ = exitCode(of: process)
            throw error
        }
        let watched = Descriptor(owning: pidfd)
        var outcome = Outcome()
        while !hasEnded(watched.rawValue, output.rawValue, &outcome.output) {
            guard !stop.wasAsked, ContinuousClock.now < deadline else {
                outcome.wasKilled = true
                kill(-process, SIGKILL)
                break
            }
        }
        outcome.exitCode = exitCode(of: process) ?? -1
        _ = drain(output.rawValue, &outcome.output)
        return outcome
    }

    /// Waits a moment for output or the end.
    private static func hasEnded(_ process: Int32, _ output: Int32, _ bytes: inout [UInt8]) -> Bool {
        var wanted = [
            pollfd(fd: process, events: Int16(POLLIN), revents: 0), pollfd(fd: output, events: Int16(POLLIN), revents: 0),
        ]
        // SAFETY: poll fills the two structs that it is given.
        _ = unsafe poll(&wanted, 2, lookMilliseconds)
        if wanted[0].revents != 0 { return true }
        // Closed by all who had it, and still running: only the end is left to wait for.
        if wanted[1].revents != 0, !drain(output, &bytes) {
            var last = pollfd(fd: process, events: Int16(POLLIN), revents: 0)
            // SAFETY: as above.
            return unsafe poll(&last, 1, lookMilliseconds) > 0
        }
        return false
    }

    /// - Returns: false at the end of the output.
    private static func drain(_ output: Int32, _ bytes: inout [UInt8]) -> Bool {
        var piece = [UInt8](repeating: 0, count: outputBytesMax)
        while true {
            // SAFETY: read writes at most as many bytes as are lent.
            let count = unsafe piece.withUnsafeMutableBytes { unsafe read(output, $0.baseAddress, $0.count) }
            guard count > 0 else { return count < 0 && (errno == EAGAIN || errno == EINTR) }
            bytes += piece.prefix(count)
            if bytes.count > outputBytesMax { bytes.removeFirst(bytes.count - outputBytesMax) }
        }
    }

    private static func spawn(
        _ arguments: [String], _ environment: [(name: String, value: String)], output: Int32
    ) throws(SystemError) -> pid_t {
        let all = inherited(without: Set(environment.map(\.name))) + environment.map { "\($0.name)=\($0.value)" }
        return try unsafe spawn(.named(arguments[0]), arguments, environment: all) { actions, attributes in
            unsafe posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0)
            unsafe posix_spawn_file_actions_adddup2(actions, output, 1)
            unsafe posix_spawn_file_actions_adddup2(actions, output, 2)
            // What this process ignores is as usual for others.
            var usual = sigset_t()
            unsafe sigemptyset(&usual)
            for signal in [SIGPIPE, SIGTERM, SIGINT, SIGHUP] { unsafe sigaddset(&usual, signal) }
            unsafe posix_spawnattr_setsigdefault(attributes, &usual)
            unsafe posix_spawnattr_setpgroup(attributes, 0)
            return Int32(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP)
        }
    }

    private static func inherited(without names: Set<String>) -> [String] {
        var lines: [String] = []
        var index = 0
        // SAFETY: the list ends with a null pointer, each entry with a null byte; nobody changes it while the node runs.
        while let line = unsafe environ[index] {
            let text = unsafe String(cString: line)
            if !names.contains(String(text.prefix { $0 != "=" })) { lines.append(text) }
            index += 1
        }
        return lines
    }
}
