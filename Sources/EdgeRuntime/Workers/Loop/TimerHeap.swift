internal import System

/// Sleeping jobs, the earliest first: a binary heap. Equal deadlines keep their order.
struct TimerHeap {
    private struct Timer {
        let deadline: Instant
        let sequence: UInt64
        let job: QueuedJob
        func isBefore(_ other: Timer) -> Bool { (deadline, sequence) < (other.deadline, other.sequence) }
    }
    private var timers: [Timer] = []
    private var sequence: UInt64 = 0

    var isEmpty: Bool { timers.isEmpty }
    var earliest: Instant? { timers.first?.deadline }

    func contains(_ isWanted: (QueuedJob) -> Bool) -> Bool { timers.contains { isWanted($0.job) } }

    /// Whether a timer can still wake an event. A sleep that was cancelled leaves its timer here until it is due.
    var hasLive: Bool { timers.contains { !$0.job.invocation.isOver } }

    mutating func insert(_ job: QueuedJob, at deadline: Instant) {
        sequence += 1
        timers.append(Timer(deadline: deadline, sequence: sequence, job: job))
        var child = timers.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard timers[child].isBefore(timers[parent]) else { break }
            timers.swapAt(child, parent)
            child = parent
        }
    }

    /// Takes the earliest timer when it is due.
    mutating func takeDue(_ now: Instant) -> QueuedJob? {
        guard let first = timers.first, first.deadline <= now else { return nil }
        timers.swapAt(0, timers.count - 1)
        timers.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < timers.count {
                if timers[child].isBefore(timers[least]) { least = child }
            }
            guard least != parent else { break }
            timers.swapAt(parent, least)
            parent = least
        }
        return first.job
    }
}
