internal import Glibc

/// Runs other programs. For tools and a node's next process, never for isolates.
package enum ChildProcess {
    /// Runs `arguments[0]`, found in PATH, with this process' environment and standard error for both outputs.
    /// Blocks.
    ///
    /// - Returns: its exit code; 128 + the signal that ended it.
    package static func run(_ arguments: [String]) throws(SystemError) -> Int32 {
        let process = try unsafe spawn(.named(arguments[0]), arguments) { actions, _ in
            unsafe posix_spawn_file_actions_adddup2(actions, 2, 1)
            return 0
        }
        guard let code = exitCode(of: process) else { throw SystemError("waitpid", errno: errno, on: arguments[0]) }
        return code
    }

    /// Starts a program beside this one, with this process' directory and standard files. The caller reaps it, or ends before it.
    ///
    /// - Parameters:
    ///   - arguments: The first is what the program finds as its name.
    ///   - environment: `NAME=value`.
    ///   - passed: Becomes descriptor 3, the only one that it gets besides the standard ones.
    package static func start(
        _ path: String, _ arguments: [String], environment: [String], passing passed: Int32
    ) throws(SystemError) -> Int32 {
        try unsafe spawn(.at(path), arguments, environment: environment) { actions, _ in
            unsafe posix_spawn_file_actions_adddup2(actions, passed, 3)
            return 0
        }
    }

    /// Goes on as another program, in this process: returns only when that can't be.
    package static func become(_ path: String, _ arguments: [String]) -> SystemError {
        var words: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) }
        unsafe words.append(nil)
        // SAFETY: the words live as long as this program does.
        _ = unsafe execv(path, words)
        return SystemError("execv", errno: errno, on: path)
    }

    // MARK: What all of them share

    enum Program {
        /// Found in PATH.
        case named(String)
        case at(String)
    }

    /// Starts a program. Signals that this process waits for in a thread are blocked here; the program sees its own.
    ///
    /// - Parameters:
    ///   - environment: `NAME=value`; `nil` for this process' own.
    ///   - prepare: Says which descriptors it gets, and adds to its attributes. Gives back further flags of these.
    static func spawn(
        _ program: Program, _ arguments: [String], environment: [String]? = nil,
        _ prepare: (
            UnsafeMutablePointer<posix_spawn_file_actions_t>, UnsafeMutablePointer<posix_spawnattr_t>
        ) -> Int32
    ) throws(SystemError) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        // SAFETY: both objects live on this frame, are initialised before use and destroyed after.
        unsafe posix_spawn_file_actions_init(&actions)
        unsafe posix_spawnattr_init(&attributes)
        defer {
            unsafe posix_spawn_file_actions_destroy(&actions)
            unsafe posix_spawnattr_destroy(&attributes)
        }
        let flags = unsafe prepare(&actions, &attributes)
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | flags))

        var process = pid_t()
        var words: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) }
        var variables: [UnsafeMutablePointer<CChar>?] = unsafe (environment ?? []).map { unsafe strdup($0) }
        unsafe words.append(nil)
        unsafe variables.append(nil)
        defer {
            unsafe words.forEach { unsafe free($0) }
            unsafe variables.forEach { unsafe free($0) }
        }
        let result = unsafe variables.withUnsafeMutableBufferPointer { variables in
            let list = unsafe environment == nil ? environ : variables.baseAddress
            return switch program {
            case .named(let name): unsafe posix_spawnp(&process, name, &actions, &attributes, words, list)
            case .at(let path): unsafe posix_spawn(&process, path, &actions, &attributes, words, list)
            }
        }
        guard result == 0 else { throw SystemError("posix_spawn", errno: result, on: arguments[0]) }
        return process
    }

    /// Waits for a process of this one's to end, and reaps it.
    ///
    /// - Returns: its exit code; 128 + the signal that ended it; `nil`, with `errno`, when there is no such process.
    static func exitCode(of process: pid_t) -> Int32? {
        var status: Int32 = 0
        // SAFETY: waitpid fills the integer.
        while unsafe waitpid(process, &status, 0) < 0 { guard errno == EINTR else { return nil } }
        let signal = status & 0x7f
        return signal == 0 ? (status >> 8) & 0xff : 128 + signal
    }
}
