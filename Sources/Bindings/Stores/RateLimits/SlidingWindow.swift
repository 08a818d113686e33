internal import Interfaces

/// The allowed calls of one key that the window still covers, oldest first.
struct SlidingWindow {
    private struct Moment {
        /// Nanoseconds on the node's monotonic clock.
        var time: Int64
        var count: UInt32
    }
    private var moments: [Moment] = []
    /// Those before it have left the window.
    private var first = 0
    /// The calls of all that haven't.
    private var used = 0

    /// The largest limit whose calls are kept with their exact moments.
    static let exactMax = 4096

    /// Counts a call if fewer than `limit` are within the `period` (nanoseconds) that ends at `now`.
    mutating func take(limit: Int, period: Int64, now: Int64) -> RateLimitOutcome {
        leave(by: now - period)
        let isAllowed = used < limit
        if isAllowed { count(limit: limit, period: period, now: now) }
        return RateLimitOutcome(
            success: isAllowed, limit: limit, remaining: max(0, limit - used),
            retryAfter: used < limit ? .zero : .nanoseconds(wait(limit: limit, period: period, now: now)),
            reset: .nanoseconds(moments.last.map { max(0, $0.time + period - now) } ?? 0))
    }

    private mutating func count(limit: Int, period: Int64, now: Int64) {
        used += 1
        var time = now
        if limit > Self.exactMax {
            let step = period / Int64(Self.exactMax)
            time = (now + step - 1) / step * step
        }
        // Reactors may come in another order than they read the clock.
        if let last = moments.last, last.time >= time {
            moments[moments.count - 1].count += 1
        } else {
            moments.append(Moment(time: time, count: 1))
        }
    }

    /// A call at `time` is outside of the window that ends a period later.
    private mutating func leave(by time: Int64) {
        while first < moments.count, moments[first].time <= time {
            used -= Int(moments[first].count)
            first += 1
        }
        // Each moment is moved at most once for each that has left.
        guard first > 0, first * 2 >= moments.count else { return }
        moments = Array(moments[first...])
        first = 0
    }

    /// How long until fewer than `limit` are in the window.
    private func wait(limit: Int, period: Int64, now: Int64) -> Int64 {
        var left = used
        for moment in moments[first...] {
            left -= Int(moment.count)
            if left < limit { return max(1, moment.time + period - now) }
        }
        return period
    }

    /// Whether nothing of it counts any more.
    func isOver(period: Int64, now: Int64) -> Bool { moments.last.map { $0.time + period <= now } ?? true }

    var byteCount: Int { moments.capacity * MemoryLayout<Moment>.stride }
}
