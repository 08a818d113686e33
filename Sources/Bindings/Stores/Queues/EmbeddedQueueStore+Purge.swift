internal import Interfaces
internal import LMDB
internal import Observability
package import System

/// Removing messages for good, and putting acknowledged ones back.
extension EmbeddedQueueStore {
    @discardableResult
    package func purge(_ queue: String) async throws(QueueError) -> QueuePurge {
        let id = try await commit("purge") { [tables, clock] transaction in
            var row = try Self.require(queue, tables, transaction.reading)
            row.purgeStartedAt = clock.wallTime().milliseconds
            row.purgeEndedAt = 0
            row.purgeEnd = row.nextSequence
            try tables.save(row, queue, transaction)
            return row.id
        }
        return try await finishPurge(of: id, called: queue)
    }

    /// For one that was interrupted by the node's end.
    func takeUpPurge(of queue: String) async {
        do throws(QueueError) {
            let id = try read(queue) { row, _ throws(LMDBError) in row.id }
            _ = try await finishPurge(of: id, called: queue)
        } catch {
            logger.log(.warning, "an interrupted purge could not be finished: \(error)", [("queue", queue)])
        }
    }

    /// - Parameter name: What it was called at first: between two steps it may get another name.
    private func finishPurge(of id: [UInt8], called name: String) async throws(QueueError) -> QueuePurge {
        while true {
            let purge = try await commit("purge") { [tables, clock] transaction -> QueuePurge? in
                var (queue, row) = try Self.holder(of: id, called: name, tables, transaction.reading)
                // Perhaps another purge of the same queue went further.
                guard let end = row.purgeEnd else { return Self.purge(row) }
                let isDone = try tables.removeSome(of: &row, before: end, transaction)
                if isDone {
                    row.purgeEnd = nil
                    row.purgeEndedAt = clock.wallTime().milliseconds
                }
                try tables.save(row, queue, transaction)
                return isDone ? Self.purge(row) : nil
            }
            if let purge { return purge }
        }
    }

    package func purge(_ queue: String, references: [String]) async throws(QueueError) -> [String] {
        guard references.count <= QueueLimits.ticketCountMax else {
            throw .refused(
                CallFailure(
                    "invalid request body: \(references.count) refs exceed limit of \(QueueLimits.ticketCountMax)",
                    code: 10026))
        }
        return try await commit("purge") { [tables] transaction in
            var row = try Self.require(queue, tables, transaction.reading)
            var unknown: [String] = []
            for reference in references {
                guard let ticket = MessageTicket(reference),
                    let message = try tables.readableMessage(ticket.sequence, of: row, transaction.reading),
                    ticket.names(message)
                else {
                    unknown.append(reference)
                    continue
                }
                try tables.remove(ticket.sequence, message, from: &row, transaction)
            }
            try tables.save(row, queue, transaction)
            return unknown
        }
    }

    package func purgeStatus(of queue: String) throws(QueueError) -> QueuePurge? {
        try read(queue) { row, _ throws(LMDBError) in row.purgeStartedAt == 0 ? nil : Self.purge(row) }
    }

    private static func purge(_ row: QueueRow) -> QueuePurge {
        QueuePurge(
            startedAt: UnixTime(milliseconds: row.purgeStartedAt),
            endedAt: row.purgeEndedAt == 0 ? nil : UnixTime(milliseconds: row.purgeEndedAt))
    }

    package func history(of queue: String) throws(QueueError) -> QueueHistory {
        try read(queue) { row, _ throws(LMDBError) in QueueHistory(count: row.historyCount, bytes: row.historyBytes) }
    }

    private struct Replayed {
        var count = 0
        var faults: [String] = []
        /// Where the next transaction begins; `nil` at the end.
        var next: UInt64?
        /// What is acknowledged from now on isn't replayed.
        var end: UInt64 = 0
    }

    package func replay(_ queue: String, from time: UnixTime) async throws(QueueError) -> Int {
        var total = 0
        var start: UInt64 = 0
        var end: UInt64?
        while true {
            let (first, bound) = (start, end)
            let page = try await commit("replay") { [tables, clock] transaction in
                var row = try Self.require(queue, tables, transaction.reading)
                let now = clock.wallTime().milliseconds
                var page = Replayed(end: bound ?? row.nextSequence)
                let rows = try tables.rows(tables.history, of: row, from: first, max: 500, transaction.reading)
                for (sequence, message) in rows where sequence < page.end {
                    page.next = sequence + 1
                    guard let message, message.arrival >= time.milliseconds, !message.isExpired(at: now, row.settings)
                    else { continue }
                    let body = try tables.body(sequence, of: row, transaction.reading)
                    if let fault = message.fault(of: body) {
                        page.faults.append("message \(message.idText) \(fault)")
                        continue
                    }
                    try tables.replay(sequence, message, into: &row, at: now, transaction)
                    page.count += 1
                }
                if rows.count < 500 { page.next = nil }
                try tables.save(row, queue, transaction)
                return page
            }
            for fault in page.faults {
                logger.log(.error, "a message can't be replayed: \(fault)", [("queue", queue)])
            }
            total += page.count
            if page.count > 0 { notify([queue]) }
            guard let next = page.next else { return total }
            (start, end) = (next, page.end)
        }
    }
}
