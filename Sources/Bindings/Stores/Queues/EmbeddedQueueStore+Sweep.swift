internal import LMDB
internal import Observability

/// What time alone does: retention, the ends of pulls, the history's bounds.
extension EmbeddedQueueStore {
    /// Removes what is older than its queue's retention (leases never hand it out), and ends the pulls that lapsed.
    package func sweep() async {
        do {
            let names = try environment.read { transaction throws(LMDBError) in try tables.names(transaction)
            }
            for name in names {
                while try await sweep(name) {}
                await endLapsedLeases(of: name)
            }
        } catch is GroupCommitter.Failure {
            // Closing, or too busy: next time.
        } catch {
            logger.log(.error, "queue sweep failed", [("error", "\(error)")])
        }
    }

    /// Says whether there may be more.
    private func sweep(_ name: String) async throws -> Bool {
        let now = clock.wallTime().milliseconds
        let quota = quota
        let isDue = try environment.read { transaction throws(LMDBError) in
            guard let queue = try tables.queue(name, transaction) else { return false }
            if queue.historyCost > quota.historyCostMax(of: queue, try tables.totals(transaction)) { return true }
            for database in [tables.messages, tables.history] {
                let oldest = try tables.rows(database, of: queue, max: 1, transaction).first
                if let message = oldest?.message, message.isExpired(at: now, queue.settings) { return true }
            }
            return false
        }
        guard isDue else { return false }
        return try await committer.submit { [tables] transaction in
            guard var queue = try tables.queue(name, transaction.reading) else { return false }
            var count = 0
            for (sequence, message) in try tables.rows(tables.messages, of: queue, max: 500, transaction.reading) {
                // One that can't be read tells no age; a purge removes it.
                guard let message else { continue }
                guard message.isExpired(at: now, queue.settings) else { break }
                try tables.remove(sequence, message, from: &queue, transaction)
                count += 1
            }
            for (sequence, message) in try tables.rows(tables.history, of: queue, max: 500, transaction.reading) {
                guard message?.isExpired(at: now, queue.settings) ?? true else { break }
                try tables.forget(sequence, message, of: &queue, transaction)
                count += 1
            }
            try tables.trimHistory(
                of: &queue, toCost: quota.historyCostMax(of: queue, try tables.totals(transaction.reading)), max: 500,
                transaction)
            try tables.save(queue, name, transaction)
            return count >= 500
        }
    }

    /// Makes ready again what pulls didn't settle in time, or ends it after its last attempt.
    func endLapsedLeases(of queue: String) async {
        do throws(QueueError) {
            while try await endSomeLapsedLeases(of: queue) {}
        } catch {
            switch error {
            case .noSuchQueue: break
            // It stands in the log; the next sweep tries again.
            case .failed, .overloaded, .refused, .deliveryPaused: break
            }
        }
    }

    /// Says whether there may be more.
    private func endSomeLapsedLeases(of queue: String) async throws(QueueError) -> Bool {
        let now = clock.wallTime().milliseconds
        let (isDue, next) = try read(queue) { row, transaction throws(LMDBError) in
            let lapsed = try tables.entries(tables.leases, of: row, times: 0...now, max: 1, transaction)
            return (!lapsed.isEmpty, try tables.nextLapse(of: row, after: now, transaction))
        }
        guard isDue else {
            if let next { lapses.arm(queue, at: next) }
            return false
        }
        let step = try await commit("lapse") { [tables, clock, quota] transaction in
            let row = try Self.require(queue, tables, transaction.reading)
            var consumer = QueueConsumerSettings(retriesMax: .max)
            if let record = try tables.consumer(of: row, transaction.reading) { consumer = record.settings }
            var step = try QueueStep(
                queue, row, consumer, tables, quota, at: clock.wallTime().milliseconds, transaction.reading)
            try step.endLapsedLeases(max: 500, transaction)
            try step.save(transaction)
            return step
        }
        report(step, queue)
        notify([queue])
        return true
    }
}
