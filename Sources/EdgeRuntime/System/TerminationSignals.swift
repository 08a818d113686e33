internal import CLinux
internal import Glibc

/// SIGINT and SIGTERM, taken out of the air. SIGPIPE is ignored from then on: a write tells.
package enum TerminationSignals {
    /// Calls `arrived` for each of them, on a thread of its own, for the rest of the process' life. Call it once, before
    /// other threads are made: they inherit that both signals are not for them, so none of their calls is interrupted.
    package static func follow(_ arrived: @escaping @Sendable () -> Void) throws(SystemError) {
        let number = edge_catch_termination()
        guard number >= 0 else { throw SystemError("sigaction", errno: errno) }
        signal(SIGPIPE, SIG_IGN)
        edge_accept_termination(0)
        SystemThread(name: "edge-signals") {
            edge_accept_termination(1)
            while true {
                var byte: UInt8 = 0
                // SAFETY: read fills at most the one byte it is lent.
                let count = unsafe read(number, &byte, 1)
                if count == 1 { arrived() } else if count == 0 || errno != EINTR { return }
            }
        }.start()
    }
}
