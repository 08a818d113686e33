internal import Glibc
internal import System

/// Whoever started a node waits for its process: a terminal, a script, a container. When `edge upgrade` replaces the process, the
/// first one stays as this: it passes signals on to the one that serves and ends as that does. There is never more than one.
/// Under a service manager that is told the new process' number there is none.
enum FollowCommand: Command {
    static let name = "follow"
    static let summary = "Waits for another process of the node; for the node's own use"
    static let isHidden = true
    static let operands: [Operand] = [.one("PROCESS")]
    static let options: [Option] = []

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        guard let first = Int32(try arguments.required("PROCESS")) else {
            throw UsageError.missingArgument("PROCESS, a number")
        }
        return wait(for: first)
    }

    /// Becomes the one that waits for `process`, its child; returns only when that fails.
    static func become(waitingFor process: Int32) -> SystemError {
        // The one that follows `process`, once that has ended, must become a child of this one.
        _ = ProcessTree.adoptOrphans()
        return ChildProcess.become("/proc/self/exe", ["edge", name, "\(process)"])
    }

    private static func wait(for first: Int32) -> Int32 {
        _ = ProcessTree.adoptOrphans()
        var current = first
        // First: a signal that has come since before `exec` is passed on as soon as they are.
        ProcessTree.setReceiver(current)
        ProcessTree.passSignalsOn()
        while true {
            var status: Int32 = 0
            // SAFETY: waitpid fills the integer whose address it is given.
            let ended = unsafe waitpid(-1, &status, 0)
            if ended < 0, errno == EINTR { continue }
            guard ended > 0 else { return ExitCode.failure }
            guard ended == current else { continue }  // An isolate of a process that has ended.
            // Its own successor, which is a child of this process now.
            guard let next = ProcessTree.successor() else {
                let signal = status & 0x7f
                return signal == 0 ? (status >> 8) & 0xff : 128 + signal
            }
            current = next
            ProcessTree.setReceiver(current)
        }
    }
}
