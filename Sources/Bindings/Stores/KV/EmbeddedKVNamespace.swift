internal import Interfaces
internal import LMDB
internal import Observability
internal import Stores
internal import System

/// One namespace of the embedded engine.
final class EmbeddedKVNamespace: InPlaceKVNamespace {
    let name: String
    let keys: KeySpace
    let environment: LMDBEnvironment
    let committer: GroupCommitter
    let expiries: ExpiryIndex
    let memory: KVMemory
    /// For reads that may take long: a reactor does them neither in place nor in a task of its own.
    let threads: IOThreads
    let clock: any NodeClock
    let logger: Logger

    init(
        name: String, keys: KeySpace, environment: LMDBEnvironment, committer: GroupCommitter,
        expiries: ExpiryIndex, memory: KVMemory, threads: IOThreads, clock: any NodeClock, logger: Logger
    ) {
        self.name = name
        self.keys = keys
        self.environment = environment
        self.committer = committer
        self.expiries = expiries
        self.memory = memory
        self.threads = threads
        self.clock = clock
        self.logger = logger
    }

    // MARK: Reading

    func get(
        _ key: [UInt8], cacheTtl: Int64?, byteCountMax: Int
    ) async throws(KVError) -> KVLookup<KVRecord> {
        try await threads.run { [self] () throws(KVError) in
            try getInPlace(key, cacheTtl: cacheTtl, byteCountMax: byteCountMax)
        }
    }

    func getInPlace(
        _ key: [UInt8], cacheTtl: Int64?, byteCountMax: Int
    ) throws(KVError) -> KVLookup<KVRecord> {
        try KVChecks.check(key: key)
        try KVChecks.check(cacheTtl: cacheTtl)
        do throws(LMDBError) {
            var found = KVLookup<KVRecord>.missing
            try environment.read { transaction throws(LMDBError) in
                try keys.visitRecord(of: key, transaction) { span throws(LMDBError) in
                    guard let header = try liveHeader(span) else { return }
                    let byteCount = span.byteCount - header.valueOffset
                    found =
                        byteCount > byteCountMax ? .larger(byteCount: byteCount) : .found(record(span, header))
                }
            }
            return found
        } catch { throw failed("get", error) }
    }

    func getMany(
        _ request: KVBulkRequest, byteCountMax: Int
    ) async throws(KVError) -> KVLookup<[KVRecord?]> {
        try KVChecks.check(request)
        return try await threads.run { [self] () throws(KVError) in
            try readMany(request, byteCountMax: byteCountMax)
        }
    }

    private func readMany(
        _ request: KVBulkRequest, byteCountMax: Int
    ) throws(KVError) -> KVLookup<[KVRecord?]> {
        var records: [KVRecord?] = []
        var byteCount = 0
        do throws(LMDBError) {
            try environment.read { transaction throws(LMDBError) in
                for key in request.keys {
                    var record: KVRecord?
                    try keys.visitRecord(of: key, transaction) { span throws(LMDBError) in
                        guard let header = try liveHeader(span) else { return }
                        byteCount += span.byteCount - header.valueOffset
                        // What is over the limit is refused below: no need to hold all of it.
                        guard byteCount <= min(byteCountMax, KVLimits.valueByteCountMax) else { return }
                        record = self.record(span, header)
                    }
                    records.append(record)
                }
            }
        } catch { throw failed("get", error) }
        guard byteCount <= byteCountMax || byteCountMax >= KVLimits.valueByteCountMax else {
            return .larger(byteCount: byteCount)
        }
        if request.type == "json" {
            for case let record? in records where !JSONGrammar.accepts(record.value[...]) {
                throw .refused(
                    status: 400, text: "At least one of the requested keys corresponds to a non-json value")
            }
        }
        guard byteCount <= KVLimits.valueByteCountMax else {
            throw .refused(status: 413, text: "Total size of request exceeds the limit of 25MB")
        }
        return .found(records)
    }

    /// `nil` when the record's time is over.
    private func liveHeader(_ span: RawSpan) throws(LMDBError) -> RecordHeader? {
        guard let header = RecordHeader(span) else { throw LMDBError("kv record", .corrupted) }
        if let expiry = header.expiry, expiry.second <= clock.wallTime().seconds { return nil }
        return header
    }

    /// A copy of what is stored.
    private func record(_ span: RawSpan, _ header: RecordHeader) -> KVRecord {
        let metadata =
            header.metadataByteCount == 0
            ? nil : String(decoding: span.bytes(RecordHeader.byteCount..<header.valueOffset), as: UTF8.self)
        return KVRecord(
            value: span.bytes(header.valueOffset..<span.byteCount), metadata: metadata,
            expiration: header.expiry?.second)
    }

    func list(prefix: [UInt8], limit: Int64?, cursor: String?) async throws(KVError) -> KVPage {
        let limit = try KVChecks.check(limit: limit, prefix: prefix)
        var start: [UInt8]?
        if let cursor { start = try KVCursor.decode(cursor, prefix: prefix) }
        let bound = start
        // Many expired records may stand before the first live one: not for the reactor's thread.
        return try await threads.run { [self] () throws(KVError) in
            try page(prefix: prefix, limit: limit, after: bound)
        }
    }

    private func page(prefix: [UInt8], limit: Int, after start: [UInt8]?) throws(KVError) -> KVPage {
        let now = clock.wallTime().seconds
        var page = KVPage(keys: [], cursor: nil)
        var hasMore = false
        do throws(LMDBError) {
            try environment.read { transaction throws(LMDBError) in
                try keys.scan(prefix: prefix, after: start, transaction) { key, span throws(LMDBError) in
                    guard let header = RecordHeader(span) else { throw LMDBError("kv record", .corrupted) }
                    guard header.isLive(at: now) else { return true }
                    guard page.keys.count < limit else {
                        hasMore = true
                        return false
                    }
                    let metadata =
                        header.metadataByteCount == 0
                        ? nil : span.bytes(RecordHeader.byteCount..<header.valueOffset)
                    page.keys.append(
                        KVPage.Key(name: key, expiration: header.expiry?.second, metadata: metadata))
                    return true
                }
            }
        } catch { throw failed("list", error) }
        if hasMore, let last = page.keys.last {
            page.cursor = KVCursor.encode(after: last.name, prefix: prefix)
        }
        return page
    }

    // MARK: Writing

    func put(_ write: KVWrite) async throws(KVError) {
        try KVChecks.check(writtenKey: write.key)
        let expiration = try KVChecks.expiration(of: write, now: clock.wallTime().seconds)
        try KVChecks.check(metadata: write.metadata)
        try KVChecks.check(valueByteCount: write.valueByteCount)
        let metadata = write.metadata.map { Array($0.utf8) } ?? []
        try await commit("put", byteCount: write.value.count) { [self] transaction in
            try forget(write.key, transaction)
            var header = RecordHeader(expiry: nil, metadataByteCount: metadata.count)
            if let expiration {
                header.expiry = try expiries.insert(
                    second: expiration, namespace: name, key: write.key, transaction)
            }
            try keys.put(write.key, head: header.encoded(metadata: metadata), tail: write.value, transaction)
        }
    }

    func delete(_ key: [UInt8]) async throws(KVError) {
        try KVChecks.check(writtenKey: key)
        try await commit("delete") { [self] transaction in
            try forget(key, transaction)
            try keys.delete(key, transaction)
        }
    }

    func removeAll() async throws(KVError) {
        // Entries of the expiry index stay until their time comes, and then name records that aren't there.
        try await commit("remove all") { [keys] in try $0.removeAll(in: keys.database) }
    }

    /// Takes the record that `key` has now out of the expiry index.
    private func forget(_ key: [UInt8], _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        let expiry: ExpiryEntry?? = try keys.withRecord(of: key, transaction.reading) {
            span throws(LMDBError) in
            RecordHeader(span)?.expiry
        }
        if let expiry = expiry ?? nil { try expiries.remove(expiry, transaction) }
    }

    private func commit(
        _ operation: String, byteCount: Int = 0,
        _ body: @escaping @Sendable (borrowing LMDBWriteTransaction) throws -> Void
    ) async throws(KVError) {
        do {
            try await committer.submit(byteCount: byteCount, body)
        } catch GroupCommitter.Failure.overloaded {
            throw .overloaded
        } catch {
            throw failed(operation, error)
        }
    }

    private func failed(_ operation: String, _ error: any Error) -> KVError {
        logger.log(.error, "kv \(operation) failed", [("error", "\(error)")])
        return .failed
    }
}

extension RawSpan {
    /// A copy of a part.
    func bytes(_ range: Range<Int>) -> [UInt8] {
        // SAFETY: the array copies what the span lends for the call.
        unsafe extracting(range).withUnsafeBytes { unsafe Array($0) }
    }
}
