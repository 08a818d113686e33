package import Interfaces
internal import LMDB
internal import Stores
internal import System

/// What applying the lifecycle rules did.
package struct R2LifecycleReport: Equatable, Sendable, CustomStringConvertible {
    package var deleted = 0
    package var transitioned = 0
    package var abortedUploads = 0

    package init(deleted: Int = 0, transitioned: Int = 0, abortedUploads: Int = 0) {
        self.deleted = deleted
        self.transitioned = transitioned
        self.abortedUploads = abortedUploads
    }

    package var isEmpty: Bool { self == R2LifecycleReport() }
    package var description: String {
        "\(deleted) objects deleted, \(transitioned) moved to another class, \(abortedUploads) uploads aborted"
    }
}

/// Lifecycle rules, in steps: a snapshot is read for at most so many objects at a time, on an I/O thread, and what is due
/// goes in one transaction, which looks again. Whatever happens in between, each object is there as a whole or gone with
/// its event and its share of the usage; a file that stays behind is an orphan for the sweep. There is nothing to
/// continue after a crash: the next run starts over and finds what is left.
extension EmbeddedR2Store {
    /// Does what is due now. Safe at any time and beside any other call.
    package func applyLifecycle() async throws(R2Failure) -> R2LifecycleReport {
        var report = R2LifecycleReport()
        report.abortedUploads = try await abortDueUploads()
        var bound: [UInt8] = []
        while let next = try await threads.run({ [bound] () throws(R2Failure) in try self.bucket(from: bound) }) {
            if Task.isCancelled { return report }
            try await applyLifecycle(to: next.number, &report)
            bound = next.name + [0]
        }
        return report
    }

    private func bucket(from bound: [UInt8]) throws(R2Failure) -> (name: [UInt8], number: UInt32)? {
        try read("lifecycle") { transaction throws(LMDBError) in try index.bucket(from: bound, transaction) }
    }

    private func applyLifecycle(to bucket: UInt32, _ report: inout R2LifecycleReport) async throws(R2Failure) {
        let start = clock.wallTime().milliseconds
        guard let ticket = lifecycleTimes.begin(bucket, now: start) else { return }
        let plan = try read("lifecycle") { transaction throws(LMDBError) in try index.plan(of: bucket, transaction) }
        var due = plan.earliestDue(writtenAfter: start)
        for prefix in plan.prefixes {
            var bound: [UInt8]? = prefix
            while let from = bound {
                if Task.isCancelled { return }
                let step = try await threads.run { () throws(R2Failure) in
                    try self.lifecycleStep(bucket, plan, prefix: prefix, from: from)
                }
                due = LifecyclePlan.earlier(due, step.nextDue)
                try await carryOut(step.due, in: bucket, &report)
                bound = step.next
            }
        }
        lifecycleTimes.know(bucket, due: due ?? .max, ticket: ticket)
    }

    private struct LifecycleStep: Sendable {
        /// Keys of objects that something is to be done about.
        var due: [String] = []
        var nextDue: Int64?
        /// Where the next step begins; `nil` at the end.
        var next: [UInt8]?
    }

    private func lifecycleStep(
        _ bucket: UInt32, _ plan: LifecyclePlan, prefix: [UInt8], from bound: [UInt8]
    ) throws(R2Failure) -> LifecycleStep {
        let now = clock.wallTime().milliseconds
        return try read("lifecycle") { transaction throws(LMDBError) in
            var step = LifecycleStep()
            var seen = 0
            try index.scan(bucket: bucket, from: bound, transaction) { key, record throws(LMDBError) in
                guard key.starts(with: prefix) else { return .stop }
                guard seen < options.lifecycleStepMax else {
                    step.next = Array(key)
                    return .stop
                }
                seen += 1
                let name = String(decoding: key, as: UTF8.self)
                var object = try StoredObject(record: record)
                var verdict = plan.verdict(name, of: object, now: now)
                switch verdict {
                case .delete: step.due.append(name)
                case .transition(let storageClass):
                    step.due.append(name)
                    // What comes for it afterwards.
                    object.attributes.storageClass = storageClass
                    verdict = plan.verdict(name, of: object, now: now)
                case .keep: break
                }
                if case .keep(let time) = verdict { step.nextDue = LifecyclePlan.earlier(step.nextDue, time) }
                return .next
            }
            return step
        }
    }

    /// Looks again, by the rules and locks as they are now, and does it.
    private func carryOut(
        _ keys: [String], in bucket: UInt32, _ report: inout R2LifecycleReport
    ) async throws(R2Failure) {
        var rest = keys[...]
        while !rest.isEmpty {
            let pending = Array(rest)
            let blobsMax = options.deletedBlobsMax
            let now = clock.wallTime().milliseconds
            let byteCount = pending.reduce(0) { $0 + $1.utf8.count }
            let outcome = try await commit("lifecycle", byteCount: byteCount) { [index] transaction in
                var outcome = LifecycleOutcome()
                var blobCount = 0
                let plan = try index.plan(of: bucket, transaction.reading)
                for key in pending {
                    guard blobCount < blobsMax else { break }
                    outcome.done += 1
                    guard let object = try index.object(key, bucket: bucket, transaction.reading) else { continue }
                    switch plan.verdict(key, of: object, now: now) {
                    case .delete:
                        outcome.deleted += 1
                        let old = try index.removeObject(
                            key, bucket: bucket, as: .lifecycleDeletion, at: now, transaction)
                        guard let old else { continue }
                        outcome.leftovers.append(old)
                        blobCount += old.blobs.count
                    case .transition(let storageClass):
                        outcome.transitioned += 1
                        try index.setStorageClass(storageClass, of: key, bucket: bucket, transaction)
                    case .keep: continue
                    }
                }
                return outcome
            }
            for old in outcome.leftovers { discard(old) }
            report.deleted += outcome.deleted
            report.transitioned += outcome.transitioned
            rest = rest.dropFirst(outcome.done)
        }
    }

    private struct LifecycleOutcome: Sendable {
        /// Keys that were dealt with, from the first on.
        var done = 0
        var deleted = 0
        var transitioned = 0
        var leftovers: [ObjectIndex.Leftovers] = []
    }

    // MARK: Uploads

    /// Aborts uploads in parts that their bucket's rules give up.
    func abortDueUploads() async throws(R2Failure) -> Int {
        var aborted = 0
        var bound: [UInt8]? = []
        while let from = bound {
            if Task.isCancelled { return aborted }
            let step = try await threads.run { () throws(R2Failure) in try self.uploadStep(from: from) }
            for id in step.due where try await removeUpload(id) { aborted += 1 }
            bound = step.next
        }
        return aborted
    }

    private func uploadStep(from bound: [UInt8]) throws(R2Failure) -> (due: [Identifier], next: [UInt8]?) {
        let now = clock.wallTime().milliseconds
        return try read("lifecycle") { transaction throws(LMDBError) in
            var plans: [UInt32: LifecyclePlan] = [:]
            var due: [Identifier] = []
            let next = try index.visitUploads(from: bound, max: options.lifecycleStepMax, transaction) {
                id, upload throws(LMDBError) in
                let plan: LifecyclePlan
                if let known = plans[upload.bucket] {
                    plan = known
                } else {
                    plan = try index.plan(of: upload.bucket, transaction)
                    plans[upload.bucket] = plan
                }
                if let time = plan.abortion(upload.key, created: upload.created), time <= now { due.append(id) }
            }
            return (due, next)
        }
    }
}

extension LifecyclePlan {
    fileprivate func verdict(_ key: String, of object: StoredObject, now: Int64) -> Verdict {
        verdict(key, uploaded: object.uploaded, storageClass: object.attributes.storageClass, now: now)
    }
}

extension ObjectIndex {
    func plan(of bucket: UInt32, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> LifecyclePlan {
        LifecyclePlan(
            try bucketSettings.lifecycle(of: bucket, transaction), locks: try bucketSettings.locks(of: bucket, transaction))
    }

    /// The first bucket whose name is not smaller.
    func bucket(
        from name: [UInt8], _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> (name: [UInt8], number: UInt32)? {
        try transaction.withCursor(buckets) { cursor throws(LMDBError) in
            try cursor.seek(name) ? (cursor.key, Self.number(cursor.value)) : nil
        }
    }

    /// Visits at most so many uploads.
    ///
    /// - Returns: where to go on; `nil` at the end.
    func visitUploads(
        from bound: [UInt8], max: Int, _ transaction: borrowing LMDBReadTransaction,
        _ visit: (Identifier, StoredUpload) throws(LMDBError) -> Void
    ) throws(LMDBError) -> [UInt8]? {
        try transaction.withCursor(uploads) { cursor throws(LMDBError) in
            var isThere = try cursor.seek(bound)
            var count = 0
            while isThere {
                if count == max { return cursor.key }
                count += 1
                if let id = Identifier(cursor.key) { try visit(id, StoredUpload(record: cursor.value)) }
                isThere = try cursor.moveToNext()
            }
            return nil
        }
    }
}
