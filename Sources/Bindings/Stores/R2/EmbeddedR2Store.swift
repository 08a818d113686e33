package import Interfaces
package import LMDB
package import Observability
internal import Stores
internal import Synchronization
package import System

/// Objects in files and an LMDB index below one directory. See `R2.swift` for the layout and the order of
/// writes.
///
/// Any thread may call it. `head` and `get` read the index in place; everything else waits on the store's
/// own threads.
package final class EmbeddedR2Store: R2Store {
    package struct Options: Sendable {
        /// Larger objects get a file. Above one data frame, a file sent by the kernel is cheaper than a
        /// copy.
        package var inlineBytesMax: Int64 = 64 << 10
        /// Threads for writes, syncs and listings. More than the disk has queue for gain nothing.
        package var ioThreads = 4
        /// How often orphans and expired uploads are looked for, the first time at once; `nil` leaves it to
        /// `sweep`.
        package var sweepInterval: Duration? = .seconds(3600)
        /// How often lifecycle rules are applied, the first time at once; `nil` leaves it to `applyLifecycle`.
        package var lifecycleInterval: Duration? = .seconds(60)
        /// How many objects or uploads one step of a lifecycle looks at, or one transaction of it changes.
        package var lifecycleStepMax = 500
        /// Files that replies hold open until an isolate has read them. Further ones are opened piece by piece.
        package var openFilesMax = 256
        /// What puts on their way hold in memory, 320 KiB each at most; further puts wait.
        package var incomingBytesMax = 64 << 20
        package var bucketsMax = R2Limits.bucketsMax
        /// How soon a key may be written again: the product's one second, with 10058 for whoever is faster. `nil` is no
        /// limit.
        package var keyWriteInterval: Duration?
        /// A delete of many objects is committed each time it has taken so many blobs out of use.
        package var deletedBlobsMax = 20_000
        /// Events that wait for queues which don't take them. With more, changes that have to be told are refused.
        package var eventsMax = 1_000_000
        package var index = LMDBEnvironment.Options()
        /// For tests.
        package var diskHook: DiskHook?

        package init() {}
    }

    let options: Options
    let clock: any NodeClock
    let logger: Logger
    let index: ObjectIndex
    let committer: GroupCommitter
    let files: BlobFiles
    let threads: IOThreads
    let syncs: DirectorySyncs
    let use = BlobUse()
    let openFiles: Budget
    let incoming: Budget
    private let keyWrites: KeyWriteRate?
    /// A commit failed in a way that leaves open what the disk holds: no orphan may be removed before the
    /// index was opened anew.
    let isIndexUncertain = Atomic<Bool>(false)
    /// When each bucket's lifecycle has something to do again, by the bucket's number.
    let lifecycleTimes = LifecycleTimes()
    /// Rings when a change was committed that a queue is to be told of. For one listener.
    package let newEvents: AsyncStream<Void>
    private let eventBell: AsyncStream<Void>.Continuation
    private let sweeper = Mutex<[Task<Void, Never>]>([])

    /// Opens or makes the store in `directory`, whose parent exists. Blocks.
    ///
    /// - Throws: `SystemError`, `LMDBError`, or `LMDBFormatError` for the directory of a newer node.
    package init(
        directory: String, clock: any NodeClock, logger: Logger, options: Options = Options()
    ) throws {
        self.options = options
        self.clock = clock
        self.logger = logger.with("store", "r2")
        files = try BlobFiles(root: directory, hook: options.diskHook)
        let environment = try LMDBEnvironment(directory: directory + "/index", options: options.index)
        index = try ObjectIndex(environment, eventsMax: options.eventsMax)
        committer = GroupCommitter(environment, threadName: "r2-commit")
        threads = IOThreads(count: options.ioThreads, name: "r2-io")
        syncs = DirectorySyncs(files: files, threads: threads)
        openFiles = Budget(options.openFilesMax, clock: clock)
        (newEvents, eventBell) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        incoming = Budget(options.incomingBytesMax, waitersMax: 4096, waitingDuration: .seconds(30), clock: clock)
        keyWrites = options.keyWriteInterval.map { KeyWriteRate(interval: $0) }
        if let interval = options.sweepInterval {
            repeatedly(every: interval) { store throws(R2Failure) in
                let report = try await store.sweep()
                if !report.isEmpty { store.logger.log(.info, "R2 sweep: \(report)") }
            }
        }
        if let interval = options.lifecycleInterval {
            repeatedly(every: interval) { store throws(R2Failure) in
                let report = try await store.applyLifecycle()
                if !report.isEmpty { store.logger.log(.info, "R2 lifecycle: \(report)") }
            }
        }
    }

    deinit {
        for task in sweeper.withLock({ $0 }) { task.cancel() }
        eventBell.finish()
        threads.close()
    }

    /// Finishes what was begun and closes the index. Calls that come later fail.
    package func close() async {
        let tasks = sweeper.withLock { $0 }
        for task in tasks { task.cancel() }
        // What they are in the middle of must not find the index closed.
        for task in tasks { await task.value }
        await use.settle()
        await committer.close()
        threads.close()
    }

    /// Waits until no file is left to unlink.
    package func settle() async { await use.settle() }

    // MARK: Buckets

    package func createBucket(_ name: String) async throws(R2Failure) {
        guard Self.isValid(bucketName: name) else { throw .invalidBucketName }
        let exists = try read("createBucket") { transaction throws(LMDBError) in
            try index.bucket(name, transaction) != nil
        }
        if exists { return }
        _ = try await createBucket(name, as: R2BucketProperties())
    }

    package func deleteBucket(_ name: String) async throws(R2Failure) {
        try await commit("bucket \(name)") { [index] transaction in
            guard let bucket = try index.bucket(name, transaction.reading) else {
                throw R2Failure.noSuchBucket
            }
            let uploads = try index.uploads(transaction.reading) { $0.bucket == bucket }
            guard try index.isEmpty(bucket: bucket, transaction.reading), uploads.isEmpty else {
                throw R2Failure.bucketNotEmpty
            }
            try index.removeBucket(name, transaction)
        }
    }

    package func bucketNames() async throws(R2Failure) -> [String] {
        try read("bucketNames") { transaction throws(LMDBError) in try index.bucketNames(transaction) }
    }

    /// 3...63 of a-z, 0-9 and `-`, an alphanumeric one at either end.
    package static func isValid(bucketName name: String) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        let bytes = Array(name.utf8)
        guard (3...63).contains(bytes.count), let first = bytes.first, let last = bytes.last else {
            return false
        }
        return isAlphanumeric(first) && isAlphanumeric(last)
            && bytes.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
    }

    // MARK: For the verbs, which stand in the extensions

    static func check(key: String) throws(R2Failure) {
        guard (1...R2Limits.keyBytesMax).contains(key.utf8.count) else { throw .invalidObjectName }
    }

    static func check(_ attributes: R2Attributes) throws(R2Failure) {
        guard R2Object.countedMetadataBytes(attributes.customMetadata) <= R2Limits.customMetadataBytesMax,
            attributes.httpMetadata.byteCount <= R2Limits.customMetadataBytesMax
        else { throw .metadataTooLarge }
    }

    /// - Throws: `.tooManyRequests` where writes of one key are limited and this one comes too soon.
    func admitWrite(of key: String, in bucket: String) throws(R2Failure) {
        guard let keyWrites, !keyWrites.admit(key, in: bucket, at: clock.now()) else { return }
        throw .tooManyRequests
    }

    func read<Value>(
        _ what: String, _ body: (borrowing LMDBReadTransaction) throws(LMDBError) -> Value
    ) throws(R2Failure) -> Value {
        do throws(LMDBError) {
            return try index.environment.read(body)
        } catch {
            throw report(error, what)
        }
    }

    /// Runs `body` in a transaction that other writers share; durable when it returns.
    func commit<Value: Sendable>(
        _ subject: String, byteCount: Int = 1024,
        _ body: @escaping @Sendable (borrowing LMDBWriteTransaction) throws -> Value
    ) async throws(R2Failure) -> Value {
        do {
            try files.willCommit(subject)
            let (value, hasEvents) = try await committer.submit(byteCount: byteCount) { [outbox = index.outbox] transaction in
                let before = outbox.appends.value
                let value = try body(transaction)
                return (value, outbox.appends.value != before)
            }
            if hasEvents { eventBell.yield() }
            return value
        } catch let failure as R2Failure {
            throw failure
        } catch GroupCommitter.Failure.overloaded {
            throw .unavailable
        } catch {
            if let error = error as? LMDBError, error.leavesOutcomeOpen {
                isIndexUncertain.store(true, ordering: .relaxed)
            }
            throw report(error, "commit of \(subject)")
        }
    }

    /// Logs what the caller doesn't get to see.
    func report(_ error: any Error, _ what: String) -> R2Failure {
        logger.log(.error, "R2 \(what) failed", [("error", "\(error)")])
        return .internalError
    }

    /// Unlinks, in the background, what a committed change left behind.
    func discard(_ leftovers: ObjectIndex.Leftovers?) {
        guard let leftovers, !leftovers.blobs.isEmpty else { return }
        unlink(use.beginUnlinking(leftovers.blobs, of: leftovers.version), of: leftovers.version)
    }

    func unlink(_ blobs: [Identifier], of version: Identifier) {
        guard !blobs.isEmpty else { return }
        threads.submit { [files, use, logger] in
            for blob in blobs {
                do throws(SystemError) { try files.unlink(blob) } catch {
                    // The sweep tries again.
                    logger.log(.warning, "R2 blob not unlinked", [("error", "\(error)")])
                }
            }
            use.endUnlinking(version)
        }
    }

    /// Runs `work` now and at each interval, until the store is closed or gone. What failed is tried again, after longer
    /// and longer pauses; what takes long comes less often, so that a twentieth of a thread's time is its share.
    private func repeatedly(
        every interval: Duration, _ work: @escaping @Sendable (EmbeddedR2Store) async throws(R2Failure) -> Void
    ) {
        let task = Task { [weak self, clock] in
            var failures = 0
            while !Task.isCancelled {
                let start = clock.now()
                do throws(R2Failure) {
                    guard let self else { return }
                    try await work(self)
                    failures = 0
                } catch {
                    failures += 1  // Logged where it happened.
                }
                let pause =
                    failures == 0
                    ? max(interval, (clock.now() - start) * 20) : min(interval, .seconds(1 << min(failures, 10)))
                do throws(CancellationError) { try await clock.sleep(for: pause) } catch { return }
            }
        }
        sweeper.withLock { $0.append(task) }
    }
}
