internal import Interfaces
internal import LMDB
internal import System

/// Pull consumers: leases that clients hold, by names that only they know (spec: queues, section 4).
extension EmbeddedQueueStore {
    package func pull(
        from queue: String, batchSize: Int?, visibilityTimeout: Duration?
    ) async throws(QueueError) -> QueuePull {
        try Self.check(batchSize, visibilityTimeout)
        let (lease, metrics, lapse, step) = try await commit("pull") { [tables, clock, quota] transaction in
            let row = try Self.require(queue, tables, transaction.reading)
            let consumer = try Self.pullConsumer(of: row, queue, tables, transaction.reading)
            if row.settings.isPaused { throw QueueError.deliveryPaused }
            let request = QueueLeaseRequest(
                queue, consumer: consumer, countMax: batchSize, visibility: visibilityTimeout ?? consumer.visibilityTimeout)
            let now = clock.wallTime().milliseconds
            var step = try QueueStep(queue, row, consumer, tables, quota, at: now, transaction.reading)
            let lease = try step.lease(request, transaction)
            let after = try Self.require(queue, tables, transaction.reading)
            return (
                lease, try tables.metrics(after, transaction.reading),
                try tables.nextLapse(of: after, after: now - 1, transaction.reading), step
            )
        }
        if let lapse { lapses.arm(queue, at: lapse) }
        report(step, queue)
        return QueuePull(
            messages: (lease?.messages ?? []).map { Self.pulled($0, lease?.number ?? 0) }, metrics: metrics)
    }

    package func settle(
        pulled queue: String, acknowledge: [String], retry: [QueuePullRetry]
    ) async throws(QueueError) -> QueuePullSettlement {
        guard acknowledge.count + retry.count <= QueueLimits.ticketCountMax else {
            throw .refused(
                CallFailure(
                    "invalid request body: \(acknowledge.count + retry.count) leases exceed limit of "
                        + "\(QueueLimits.ticketCountMax)", code: 10026))
        }
        do throws(CallFailure) {
            for item in retry { try QueueLimits.check(delaySeconds: item.delaySeconds) }
        } catch { throw .refused(error) }
        // The first word on a lease counts, and acknowledgements come first.
        var orders: [(lease: String, decision: QueueBatchReply.Decision)] = []
        var known: Set<String> = []
        for lease in acknowledge where known.insert(lease).inserted { orders.append((lease, .acknowledge)) }
        for item in retry where known.insert(item.leaseID).inserted {
            orders.append((item.leaseID, .retry(delaySeconds: item.delaySeconds)))
        }
        let settled = orders
        let (result, step) = try await commit("settle") { [tables, clock, quota] transaction in
            let row = try Self.require(queue, tables, transaction.reading)
            let consumer = try Self.pullConsumer(of: row, queue, tables, transaction.reading)
            var step = try QueueStep(
                queue, row, consumer, tables, quota, at: clock.wallTime().milliseconds, transaction.reading)
            var result = QueuePullSettlement()
            for (lease, decision) in settled {
                guard let ticket = MessageTicket(lease), ticket.lease != 0 else {
                    result.warnings[lease] = "malformed lease id"
                    continue
                }
                let isHeld = try step.settle(
                    ticket.sequence, lease: ticket.lease, decision, transaction, proves: ticket.names)
                if !isHeld {
                    result.warnings[lease] = "unknown lease id: the message is gone, or was delivered again"
                } else if decision == .acknowledge {
                    result.acknowledgedCount += 1
                } else {
                    result.retriedCount += 1
                }
            }
            try step.save(transaction)
            return (result, step)
        }
        if step.settlement.retriedCount > 0 { notify([queue]) }
        report(step, queue)
        return result
    }

    package func peek(into queue: String, batchSize: Int?) throws(QueueError) -> [QueuePeekedMessage] {
        try Self.check(batchSize, nil)
        let now = clock.wallTime().milliseconds
        return try read(queue) { row, transaction throws(LMDBError) in
            var countMax = batchSize ?? QueueLimits.pullBatchSize
            if batchSize == nil, let consumer = try tables.consumer(of: row, transaction), consumer.kind == .pull {
                countMax = consumer.settings.batchSizeMax
            }
            var found: [(entry: QueueTables.Entry, message: MessageRow, body: [UInt8])] = []
            for index in [tables.ready, tables.leases] {
                var last: QueueTables.Entry?
                var count = 0
                while count < countMax {
                    let entries = try tables.entries(
                        index, of: row, times: 0...now, behind: last, max: 100, transaction)
                    guard let end = entries.last else { break }
                    for entry in entries where count < countMax {
                        // What is purged, damaged or too old is passed over, as in a pull.
                        guard row.purgeEnd.map({ entry.sequence >= $0 }) ?? true,
                            let message = try tables.readableMessage(entry.sequence, of: row, transaction),
                            !message.isExpired(at: now, row.settings),
                            let body = try tables.body(entry.sequence, of: row, transaction),
                            message.fault(of: body) == nil
                        else { continue }
                        found.append((entry, message, body))
                        count += 1
                    }
                    last = end
                }
            }
            found.sort { ($0.entry.time, $0.entry.sequence) < ($1.entry.time, $1.entry.sequence) }
            return found.prefix(countMax).map { entry, message, body in
                QueuePeekedMessage(
                    id: message.idText, body: message.contentType.pullEncoding(of: body),
                    contentType: message.contentType, source: message.source, attempts: message.attempts,
                    timestamp: UnixTime(milliseconds: message.timestamp),
                    reference: MessageTicket(entry.sequence, lease: 0, message).text)
            }
        }
    }

    private static func check(_ batchSize: Int?, _ visibilityTimeout: Duration?) throws(QueueError) {
        do throws(CallFailure) {
            if let batchSize {
                try QueueLimits.check(
                    Int64(batchSize), in: 1...Int64(QueueLimits.batchCountMax), "batch_size", of: .request)
            }
            if let visibilityTimeout {
                try QueueLimits.check(
                    visibilityTimeout.wholeMilliseconds, in: 0...QueueLimits.visibilityMillisecondsMax,
                    "visibility_timeout_ms", of: .request)
            }
        } catch { throw .refused(error) }
    }

    private static func pullConsumer(
        of row: QueueRow, _ queue: String, _ tables: QueueTables, _ transaction: borrowing LMDBReadTransaction
    ) throws -> QueueConsumerSettings {
        let record = try tables.consumer(of: row, transaction)
        guard let record, record.kind == .pull else {
            let present = record == nil ? "has no consumer" : "is consumed by a worker"
            throw CallFailure(
                "consumer type mismatch: queue \"\(queue)\" \(present); pulling needs one of type http_pull",
                code: 10026)
        }
        return record.settings
    }

    private static func pulled(_ message: QueueLease.Message, _ lease: UInt64) -> QueuePulledMessage {
        let item = message.item
        return QueuePulledMessage(
            id: item.id, body: item.contentType.pullEncoding(of: item.body), contentType: item.contentType,
            source: message.source, attempts: item.attempts, timestamp: UnixTime(milliseconds: item.timestamp),
            leaseID: MessageTicket(message.sequence, lease: lease, messageID: item.id).text)
    }
}
