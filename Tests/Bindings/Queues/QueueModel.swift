/// What a queue does, in memory and without a thought for speed: the store is compared with it (spec: queues).
struct QueueModel {
    struct Message: Equatable {
        var sequence: Int
        var body: String
        var attempts: UInt32 = 0
        var timestamp: Int64
        var arrival: Int64
        var readyAt: Int64
        /// `nil`: ready, or will be; `.max`: with a worker.
        var leasedUntil: Int64?
        /// The last lease; 0 once that was settled.
        var lease = 0
    }

    struct Consumer {
        var retriesMax: UInt32
        var retryDelay: Int64
        var deadLetters: String?
    }

    struct Queue {
        var consumer: Consumer
        var retention: Int64
        var isPaused = false
        var nextSequence = 0
        var messages: [Int: Message] = [:]
        var history: [Int: Message] = [:]
    }

    var queues: [String: Queue]
    let historyCostMax: Int
    private var nextLease = 1

    init(_ queues: [String: Queue], historyCostMax: Int) {
        self.queues = queues
        self.historyCostMax = historyCostMax
    }

    private func isExpired(_ message: Message, _ queue: String, _ now: Int64) -> Bool {
        message.arrival + (queues[queue]?.retention ?? 0) <= now
    }

    // MARK: Sending and taking

    mutating func send(_ body: String, to name: String, delay: Int64, at now: Int64, timestamp: Int64? = nil) {
        let sequence = queues[name]?.nextSequence ?? 0
        queues[name]?.nextSequence += 1
        queues[name]?.messages[sequence] = Message(
            sequence: sequence, body: body, timestamp: timestamp ?? now, arrival: now, readyAt: now + delay)
    }

    /// - Returns: the lease's number, and its messages in their order.
    mutating func lease(_ name: String, max: Int, until: Int64, at now: Int64) -> (number: Int, messages: [Message]) {
        guard queues[name]?.isPaused == false else { return (0, []) }
        endLapsed(name, at: now)
        var leased: [Message] = []
        for message in sorted(name) where message.leasedUntil == nil && message.readyAt <= now && leased.count < max {
            if isExpired(message, name, now) {
                queues[name]?.messages[message.sequence] = nil
            } else if message.attempts > (queues[name]?.consumer.retriesMax ?? 0) {
                bury(message, of: name, at: now)
            } else {
                var taken = message
                taken.attempts += 1
                taken.leasedUntil = until
                taken.lease = nextLease
                queues[name]?.messages[message.sequence] = taken
                leased.append(taken)
            }
        }
        if !leased.isEmpty { nextLease += 1 }
        return (leased.first?.lease ?? 0, leased)
    }

    func peek(_ name: String, max: Int, at now: Int64) -> [Message] {
        let visible = (queues[name]?.messages.values.map { $0 } ?? []).filter { message in
            (message.leasedUntil ?? message.readyAt) <= now && !isExpired(message, name, now)
        }
        return Array(
            visible.sorted { ($0.leasedUntil ?? $0.readyAt, $0.sequence) < ($1.leasedUntil ?? $1.readyAt, $1.sequence) }
                .prefix(max))
    }

    private func sorted(_ name: String) -> [Message] {
        (queues[name]?.messages.values.map { $0 } ?? []).sorted { ($0.readyAt, $0.sequence) < ($1.readyAt, $1.sequence) }
    }

    // MARK: Ends

    /// - Parameter delay: `nil`: the consumer's; ignored by an acknowledgement.
    /// - Returns: whether the lease still held the message.
    mutating func settle(
        _ sequence: Int, of name: String, lease: Int, acknowledges: Bool, delay: Int64?, at now: Int64
    ) -> Bool {
        guard lease != 0, let queue = queues[name], var message = queue.messages[sequence], message.lease == lease else {
            return false
        }
        if acknowledges {
            queues[name]?.messages[sequence] = nil
            message.leasedUntil = nil
            message.lease = 0
            if message.body.utf8.count + 100 <= historyCostMax, !isExpired(message, name, now) {
                queues[name]?.history[sequence] = message
            }
        } else if isExpired(message, name, now) {
            queues[name]?.messages[sequence] = nil
        } else if message.attempts > queue.consumer.retriesMax {
            bury(message, of: name, at: now)
        } else {
            message.leasedUntil = nil
            message.lease = 0
            message.readyAt = now + (delay ?? queue.consumer.retryDelay)
            queues[name]?.messages[sequence] = message
        }
        return true
    }

    /// After each settlement as a whole.
    mutating func trim(_ name: String) {
        func cost() -> Int { queues[name]?.history.values.reduce(0) { $0 + $1.body.utf8.count + 100 } ?? 0 }
        while cost() > historyCostMax, let oldest = queues[name]?.history.keys.min() { queues[name]?.history[oldest] = nil }
    }

    mutating func release(_ sequence: Int, of name: String, lease: Int) {
        guard var message = queues[name]?.messages[sequence], message.lease == lease, message.leasedUntil != nil else {
            return
        }
        message.leasedUntil = nil
        message.lease = 0
        message.attempts -= 1
        queues[name]?.messages[sequence] = message
    }

    private mutating func bury(_ message: Message, of name: String, at now: Int64) {
        queues[name]?.messages[message.sequence] = nil
        guard let target = queues[name]?.consumer.deadLetters else { return }
        send(message.body, to: target, delay: 0, at: now, timestamp: message.timestamp)
    }

    mutating func endLapsed(_ name: String, at now: Int64) {
        let lapsed = (queues[name]?.messages.values.map { $0 } ?? []).filter { ($0.leasedUntil ?? .max) <= now }
            .sorted { ($0.leasedUntil ?? 0, $0.sequence) < ($1.leasedUntil ?? 0, $1.sequence) }
        for message in lapsed {
            if isExpired(message, name, now) {
                queues[name]?.messages[message.sequence] = nil
            } else if message.attempts > (queues[name]?.consumer.retriesMax ?? 0) {
                bury(message, of: name, at: now)
            } else {
                queues[name]?.messages[message.sequence]?.readyAt = message.leasedUntil ?? 0
                queues[name]?.messages[message.sequence]?.leasedUntil = nil
            }
        }
    }

    // MARK: Everything else

    /// What time has ended by now.
    mutating func sweep(at now: Int64) {
        for name in queues.keys.sorted() {
            guard var queue = queues[name] else { continue }
            queue.messages = queue.messages.filter { !isExpired($0.value, name, now) }
            queue.history = queue.history.filter { !isExpired($0.value, name, now) }
            queues[name] = queue
            endLapsed(name, at: now)
        }
    }

    /// When the next pull lapses after `now`.
    func nextLapse(after now: Int64) -> Int64? {
        queues.values.flatMap { $0.messages.values.compactMap(\.leasedUntil) }.filter { $0 > now && $0 < .max }.min()
    }

    mutating func purge(_ name: String) {
        queues[name]?.messages = [:]
        queues[name]?.history = [:]
    }

    mutating func replay(_ name: String, from time: Int64, at now: Int64) -> Int {
        let past = queues[name]?.history.values.filter { $0.arrival >= time && !isExpired($0, name, now) } ?? []
        for message in past {
            var again = message
            again.attempts = 0
            again.readyAt = now
            queues[name]?.history[message.sequence] = nil
            queues[name]?.messages[message.sequence] = again
        }
        return past.count
    }

    /// The node ends and starts again: workers' leases are over, those of pulls aren't.
    mutating func restart() {
        for (name, queue) in queues {
            for message in queue.messages.values where message.leasedUntil == .max {
                queues[name]?.messages[message.sequence]?.leasedUntil = nil
                queues[name]?.messages[message.sequence]?.lease = 0
            }
        }
    }
}
