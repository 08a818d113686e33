package import Interfaces
internal import LMDB
internal import Observability
internal import System

/// Sending, and delivery to workers.
extension EmbeddedQueueStore {
    package func send(
        _ messages: [QueueSendMessage.Item], form: QueueLimits.Form, from source: QueueMessageSource,
        to queue: String
    ) async throws(QueueError) -> QueueMetrics {
        do throws(CallFailure) {
            try QueueLimits.check(bodyByteCounts: messages.map(\.body.count), form)
            for message in messages { try QueueLimits.check(delaySeconds: message.delaySeconds) }
        } catch { throw .refused(error) }
        guard rates.take(messages.count, of: queue) else { throw .refused(QueueLimits.tooManyRequests) }
        warnOfDelays(messages, queue)
        let facts = messages.map { (id: RandomID.make(), checksum: Checksum.crc32c($0.body)) }
        let byteCount = messages.reduce(0) { $0 + $1.body.count }
        let cost = Int64(byteCount) + Int64(messages.count) * MessageRow.overheadByteCount
        let metrics = try await commit("send", byteCount: byteCount) { [tables, clock, quota] transaction in
            var row = try Self.require(queue, tables, transaction.reading)
            try quota.check(adding: cost, to: row, try tables.totals(transaction.reading))
            let now = clock.wallTime().milliseconds
            for (message, facts) in zip(messages, facts) {
                let delay = message.delaySeconds ?? row.settings.deliveryDelaySeconds
                try tables.append(
                    MessageRow(
                        id: facts.id, timestamp: now, arrival: now, contentType: message.contentType,
                        bodyByteCount: UInt32(message.body.count), readyAt: now + delay * 1000, source: source,
                        checksum: facts.checksum),
                    body: message.body, to: &row, transaction)
            }
            try tables.save(row, queue, transaction)
            return try tables.metrics(row, transaction.reading)
        }
        notify([queue])
        return metrics
    }

    /// What works with the product's client must work here, but not all of it works with the product.
    private func warnOfDelays(_ messages: [QueueSendMessage.Item], _ queue: String) {
        let longest = messages.compactMap(\.delaySeconds).max() ?? 0
        guard longest > QueueLimits.documentedDelaySecondsMax else { return }
        guard warned.withLock({ $0.insert(queue).inserted }) else { return }
        logger.log(
            .warning,
            "a message delay of \(longest) s is longer than the \(QueueLimits.documentedDelaySecondsMax) s of the product",
            [("queue", queue)])
    }

    package func readiness(of queue: String, countMax: Int) throws(QueueError) -> QueueReadiness {
        let now = clock.wallTime().milliseconds
        return try read(queue) { row, transaction throws(LMDBError) in
            let ready = try tables.entries(
                tables.ready, of: row, times: 0...now, max: countMax, transaction)
            let lapsed = try tables.entries(
                tables.leases, of: row, times: 0...now, max: countMax, transaction)
            let nextReady = try tables.entries(
                tables.ready, of: row, times: (now + 1)...(.max), max: 1, transaction)
            let nextLapse = try tables.nextLapse(of: row, after: now, transaction)
            return QueueReadiness(
                isPaused: row.settings.isPaused, readyCount: min(countMax, ready.count + lapsed.count),
                oldestReady: [ready.first, lapsed.first].compactMap { $0?.time }.min()
                    .map { UnixTime(milliseconds: $0) },
                nextReady: [nextReady.first?.time, nextLapse].compactMap { $0 }.min()
                    .map { UnixTime(milliseconds: $0) })
        }
    }

    package func lease(_ request: QueueLeaseRequest) async throws(QueueError) -> QueueLease? {
        let (lease, step) = try await commit("lease") { [tables, clock, quota] transaction in
            let row = try Self.require(request.queue, tables, transaction.reading)
            var step = try QueueStep(
                request.queue, row, request.consumer, tables, quota, at: clock.wallTime().milliseconds,
                transaction.reading)
            return (try step.lease(request, transaction), step)
        }
        report(step, request.queue)
        return lease
    }

    @discardableResult
    package func settle(
        _ lease: QueueLease, _ decisions: [QueueBatchReply.Decision], consumer: QueueConsumerSettings
    ) async throws(QueueError) -> QueueSettlement {
        precondition(decisions.count == lease.messages.count, "the caller has checked the isolate's reply")
        let sequences = lease.messages.map(\.sequence)
        let (number, id, name) = (lease.number, lease.queueID, lease.queue)
        let (queue, step) = try await commit("settle") { [tables, clock, quota] transaction in
            let (queue, row) = try Self.holder(of: id, leasedAs: name, tables, transaction.reading)
            var step = try QueueStep(
                queue, row, consumer, tables, quota, at: clock.wallTime().milliseconds, transaction.reading)
            for (sequence, decision) in zip(sequences, decisions) {
                try step.settle(sequence, lease: number, decision, transaction)
            }
            try step.save(transaction)
            return (queue, step)
        }
        if step.settlement.retriedCount > 0 { notify([queue]) }
        report(step, queue)
        return step.settlement
    }

    package func release(_ lease: QueueLease) async throws(QueueError) {
        let sequences = lease.messages.map(\.sequence)
        let (number, id, name) = (lease.number, lease.queueID, lease.queue)
        let queue = try await commit("release") { [tables] transaction in
            let (queue, row) = try Self.holder(of: id, leasedAs: name, tables, transaction.reading)
            for sequence in sequences {
                guard let old = try tables.readableMessage(sequence, of: row, transaction.reading),
                    old.lease == number,
                    old.leasedUntil != nil
                else { continue }
                var message = old
                message.leasedUntil = nil
                message.lease = 0
                message.attempts -= 1
                try tables.update(sequence, from: old, to: message, in: row, transaction)
            }
            return queue
        }
        notify([queue])
    }
}
