/// A tick of one cron expression. Touched by the isolate's thread alone.
public final class ScheduledEvent: @unchecked Sendable {
    /// The expression exactly as configured.
    public let cron: String
    /// Milliseconds since 1970, a whole minute.
    public let scheduledTime: Int64
    var isFinal = false

    init(cron: String, scheduledTime: Int64) {
        self.cron = cron
        self.scheduledTime = scheduledTime
    }

    /// A failure of this tick is not tried again.
    public func noRetry() { isFinal = true }
}
