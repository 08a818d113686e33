internal import Glibc

/// Runs other programs. For tools and a node's next process, never for isolates.
package enum ChildProcess {
    /// Runs `arguments[0]`, found in PATH, with this process' environment and standard error for both outputs.
    /// Blocks.
    ///
    /// - Returns: its exit code; 128 + the signal that ended it.
    package static func run(_ arguments: [String]) throws(SystemError) -> Int32 {
        var actions = unsafe posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        // SAFETY: both objects live on this frame, are initialised before use and destroyed after.
        unsafe posix_spawn_file_actions_init(&actions)
        unsafe posix_spawnattr_init(&attributes)
        defer {
            unsafe posix_spawn_file_actions_destroy(&actions)
            unsafe posix_spawnattr_destroy(&attributes)
        }
        unsafe posix_spawn_file_actions_adddup2(&actions, 2, 1)
        // Signals that this process waits for in a thread are blocked here; a tool must see its own.
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

        var process = pid_t()
        var words: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) }
        unsafe words.append(nil)
        defer { unsafe words.forEach { unsafe free($0) } }
        let result = unsafe posix_spawnp(&process, arguments[0], &actions, &attributes, words, environ)
        guard result == 0 else { throw SystemError("posix_spawn", errno: result, on: arguments[0]) }
        var status: Int32 = 0
        while unsafe waitpid(process, &status, 0) < 0 {
            guard errno == EINTR else { throw SystemError("waitpid", errno: errno, on: arguments[0]) }
        }
        let signal = status & 0x7f
        return signal == 0 ? (status >> 8) & 0xff : 128 + signal
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
        var actions = unsafe posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        // SAFETY: both objects live on this frame, are initialised before use and destroyed after.
        unsafe posix_spawn_file_actions_init(&actions)
        unsafe posix_spawnattr_init(&attributes)
        defer {
            unsafe posix_spawn_file_actions_destroy(&actions)
            unsafe posix_spawnattr_destroy(&attributes)
        }
        unsafe posix_spawn_file_actions_adddup2(&actions, passed, 3)
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var process = pid_t()
        var words: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) }
        var variables: [UnsafeMutablePointer<CChar>?] = unsafe environment.map { unsafe strdup($0) }
        unsafe words.append(nil)
        unsafe variables.append(nil)
        defer {
            unsafe words.forEach { unsafe free($0) }
            unsafe variables.forEach { unsafe free($0) }
        }
        let result = unsafe posix_spawn(&process, path, &actions, &attributes, words, variables)
        guard result == 0 else { throw SystemError("posix_spawn", errno: result, on: path) }
        return process
    }

    /// Goes on as another program, in this process: returns only when that can't be.
    package static func become(_ path: String, _ arguments: [String]) -> SystemError {
        var words: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) }
        unsafe words.append(nil)
        // SAFETY: the words live as long as this program does.
        _ = unsafe execv(path, words)
        return SystemError("execv", errno: errno, on: path)
    }
}
