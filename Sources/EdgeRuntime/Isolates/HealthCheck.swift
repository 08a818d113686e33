package import System

/// A health event that an isolate has yet to answer. Pure: it is given the time and what the isolate
/// has used.
///
/// One that computes cannot answer, and its CPU limit takes care of it; one that neither computes nor
/// answers, because its thread sleeps, waits or is stopped, would hold its events for ever.
package struct HealthCheck: Sendable {
    /// How long an isolate may stay silent without computing.
    package static let silenceMax = Duration.seconds(10)
    /// Each second of CPU time excuses so many of silence: a busy machine gives an isolate a fraction of a
    /// core.
    package static let excusedPerCPU = 8

    package let sent: Instant
    private let cpuTime: Duration

    /// - Parameter cpuTime: What the isolate has used until now, in total.
    package init(sent: Instant, cpuTime: Duration) {
        self.sent = sent
        self.cpuTime = cpuTime
    }

    /// Whether the isolate has been silent for longer than its use of the CPU explains.
    package func isOverdue(at now: Instant, cpuTime: Duration, silenceMax: Duration = Self.silenceMax) -> Bool {
        let used = max(.zero, cpuTime - self.cpuTime)
        return now - sent - used * Self.excusedPerCPU > silenceMax
    }
}
