internal import System

/// Something that the loop does at a time, unless it is cancelled before. The loop's thread alone.
package final class LoopDeadline {
    fileprivate var body: (() -> Void)?
    private let onCancel: () -> Void

    fileprivate init(_ body: @escaping () -> Void, onCancel: @escaping () -> Void) {
        self.body = body
        self.onCancel = onCancel
    }

    package func cancel() {
        guard body != nil else { return }
        body = nil
        onCancel()
    }
}

/// Deadlines, the earliest first. One that was cancelled stays until it is due, or until most are such.
final class DeadlineHeap {
    private var entries: [(time: Instant, deadline: LoopDeadline)] = []
    private var cancelledCount = 0

    var isEmpty: Bool { entries.isEmpty }
    var earliest: Instant? { entries.first?.time }

    func insert(_ time: Instant, _ body: @escaping () -> Void) -> LoopDeadline {
        let deadline = LoopDeadline(body) { [weak self] in self?.noteCancelled() }
        entries.append((time, deadline))
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entries[child].time < entries[parent].time else { break }
            entries.swapAt(child, parent)
            child = parent
        }
        return deadline
    }

    /// Takes the earliest one that is due and was not cancelled.
    func takeDue(_ now: Instant) -> (() -> Void)? {
        while let first = entries.first, first.time <= now {
            removeFirst()
            if let body = first.deadline.body {
                first.deadline.body = nil
                return body
            }
            cancelledCount -= 1
        }
        return nil
    }

    private func noteCancelled() {
        cancelledCount += 1
        guard cancelledCount > 64, cancelledCount > entries.count / 2 else { return }
        cancelledCount = 0
        // Sorted is a heap, too.
        entries = entries.filter { $0.deadline.body != nil }.sorted { $0.time < $1.time }
    }

    private func removeFirst() {
        entries.swapAt(0, entries.count - 1)
        entries.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < entries.count {
                if entries[child].time < entries[least].time { least = child }
            }
            guard least != parent else { return }
            entries.swapAt(parent, least)
            parent = least
        }
    }
}
