internal import System

/// An event of an isolate, as its status page names it: what ran when a limit was broken.
package struct EventReference: Hashable, Sendable {
    package let channel: Int
    package let stream: UInt32
    package init(channel: Int, stream: UInt32) {
        self.channel = channel
        self.stream = stream
    }
}

/// The end of an isolate.
package struct IsolateExit: Equatable, Sendable {
    package enum Reason: Equatable, Sendable {
        /// `Supervisor.kill(id, reason:)`.
        case killed(KillReason)
        /// It ended by itself with this code. 0 is what an isolate does after a `shutdown` event.
        case exited(code: Int32)
        /// A trap, a failed precondition, a bad access, an allocation that the limits refused.
        case crashed(signal: Int32)
        /// 1102. `event` is `nil` for background work, and where the isolate did not say.
        case exceededCPU(event: EventReference?, used: Duration, allowed: Duration)
        /// 1102.
        case exceededMemory(usedBytes: UInt64, allowedBytes: UInt64)
        case exceededThreads(used: Int, allowed: Int)
        /// A system call of `SystemCallTable.hostile` (SIGSYS).
        case violatedSandbox
    }
    package var reason: Reason
    /// User and system time of all its threads.
    package var cpuTime: Duration
    /// The most resident memory seen; 0 when it lived too briefly to be looked at.
    package var residentBytesMax: UInt64

    package init(reason: Reason, cpuTime: Duration = .zero, residentBytesMax: UInt64 = 0) {
        self.reason = reason
        self.cpuTime = cpuTime
        self.residentBytesMax = residentBytesMax
    }

    /// Whether it counts for `CrashLoopBackoff`: everything that the node didn't ask for.
    package var isFailure: Bool {
        switch reason {
        case .killed(.requested), .killed(.nodeStopping), .exited(code: 0): false
        case .killed(.malformedFrames), .killed(.unresponsive), .exited, .crashed, .exceededCPU,
            .exceededMemory,
            .exceededThreads, .violatedSandbox:
            true
        }
    }
}

extension IsolateExit.Reason: CustomStringConvertible {
    package var description: String {
        switch self {
        case .killed(let reason): "was ended: \(reason)"
        case .exited(let code): "exited with code \(code)"
        case .crashed(let signal): "crashed with signal \(signal)"
        case .exceededCPU(let event, let used, let allowed):
            "used \(used.wholeMilliseconds) ms of CPU time "
                + (event.map { "in the event on channel \($0.channel), stream \($0.stream)" }
                    ?? "in the background")
                + ", of \(allowed.wholeMilliseconds) ms allowed"
        case .exceededMemory(let used, let allowed): "used \(used) bytes of memory, of \(allowed) allowed"
        case .exceededThreads(let used, let allowed): "ran \(used) threads, of \(allowed) allowed"
        case .violatedSandbox: "made a system call that only attackers make"
        }
    }
}

/// Why somebody ended an isolate on purpose.
package enum KillReason: Equatable, Sendable, CustomStringConvertible {
    /// Retired, replaced, or no longer needed.
    case requested
    case nodeStopping
    /// Bytes on a channel that are no frames; the text says which.
    case malformedFrames(String)
    /// It does not read its channel, or does not answer a health event.
    case unresponsive(String)

    package var description: String {
        switch self {
        case .requested: "no longer needed"
        case .nodeStopping: "the node stops"
        case .malformedFrames(let what): "sent bytes that are no frames (\(what))"
        case .unresponsive(let what): "does not respond (\(what))"
        }
    }
}
