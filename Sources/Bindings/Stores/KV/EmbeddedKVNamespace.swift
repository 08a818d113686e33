internal import Interfaces
internal import LMDB
internal import Observability
internal import Stores
internal import System

/// One namespace of the embedded engine.
final class EmbeddedKVNamespace: InPlaceKVNamespace, KVBulkNamespace {
    let state: KVNamespaceState
    let engine: KVEngine
    let logger: Logger

    init(_ state: KVNamespaceState, _ engine: KVEngine, logger: Logger) {
        self.state = state
        self.engine = engine
        self.logger = logger
    }

    var memory: KVMemory { engine.memory }
    private var keys: KeySpace { state.keys }
    private var environment: LMDBEnvironment { engine.environment }
    /// For reads that may take long: a reactor does them neither in place nor in a task of its own.
    private var threads: IOThreads { engine.threads }

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
        try engine.days.count(.read, 1)
        do throws(LMDBError) {
            var found = KVLookup<KVRecord>.missing
            var isGone = false
            try environment.read { transaction throws(LMDBError) in
                isGone = state.isDeleted
                try keys.visitRecord(of: key, transaction) { span throws(LMDBError) in
                    guard let header = try liveHeader(span) else { return }
                    let byteCount = span.byteCount - header.valueOffset
                    found =
                        byteCount > byteCountMax ? .larger(byteCount: byteCount) : .found(record(span, header))
                }
            }
            if !isGone { return found }
        } catch { throw failed("get", error) }
        throw .namespaceNotFound
    }

    func head(_ key: [UInt8]) async throws(KVError) -> KVEntryHead? {
        try KVChecks.check(key: key)
        try engine.days.count(.read, 1)
        return try await threads.run { [self] () throws(KVError) in
            var found: KVEntryHead?
            var isGone = false
            do throws(LMDBError) {
                try environment.read { transaction throws(LMDBError) in
                    isGone = state.isDeleted
                    try keys.visitRecord(of: key, transaction) { span throws(LMDBError) in
                        guard let header = try liveHeader(span) else { return }
                        found = KVEntryHead(metadata: metadata(span, header), expiration: header.expiry?.second)
                    }
                }
            } catch { throw failed("head", error) }
            if isGone { throw .namespaceNotFound }
            return found
        }
    }

    func getMany(
        _ request: KVBulkRequest, byteCountMax: Int
    ) async throws(KVError) -> KVLookup<[KVRecord?]> {
        try KVChecks.check(request)
        try engine.days.count(.read, request.keys.count)
        return try await threads.run { [self] () throws(KVError) in
            try readMany(request, byteCountMax: byteCountMax)
        }
    }

    private func readMany(
        _ request: KVBulkRequest, byteCountMax: Int
    ) throws(KVError) -> KVLookup<[KVRecord?]> {
        var records: [KVRecord?] = []
        var byteCount = 0
        var (isGone, isJSON) = (false, true)
        do throws(LMDBError) {
            try environment.read { transaction throws(LMDBError) in
                isGone = state.isDeleted
                for key in request.keys {
                    var record: KVRecord?
                    try keys.visitRecord(of: key, transaction) { span throws(LMDBError) in
                        guard let header = try liveHeader(span) else { return }
                        byteCount += span.byteCount - header.valueOffset
                        // What is over the limit is refused below: no need to hold all of it. But that it is no
                        // JSON comes before that it is too much.
                        guard byteCount <= min(byteCountMax, KVLimits.valueByteCountMax) else {
                            if request.type == "json", byteCountMax >= KVLimits.valueByteCountMax {
                                let value = span.bytes(header.valueOffset..<span.byteCount)
                                isJSON = isJSON && JSONGrammar.accepts(value[...])
                            }
                            return
                        }
                        record = self.record(span, header)
                    }
                    records.append(record)
                }
            }
        } catch { throw failed("get", error) }
        if isGone { throw .namespaceNotFound }
        guard byteCount <= byteCountMax || byteCountMax >= KVLimits.valueByteCountMax else {
            return .larger(byteCount: byteCount)
        }
        if request.type == "json" {
            for case let record? in records { isJSON = isJSON && JSONGrammar.accepts(record.value[...]) }
            if !isJSON {
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
        if let expiry = header.expiry, expiry.second <= engine.now { return nil }
        return header
    }

    /// A copy of what is stored.
    private func record(_ span: RawSpan, _ header: RecordHeader) -> KVRecord {
        KVRecord(
            value: span.bytes(header.valueOffset..<span.byteCount), metadata: metadata(span, header),
            expiration: header.expiry?.second)
    }

    private func metadata(_ span: RawSpan, _ header: RecordHeader) -> String? {
        guard header.metadataByteCount > 0 else { return nil }
        return String(decoding: span.bytes(header.metadataOffset..<header.valueOffset), as: UTF8.self)
    }

    func list(prefix: [UInt8], limit: Int64?, cursor: String?) async throws(KVError) -> KVPage {
        let limit = try KVChecks.check(limit: limit, prefix: prefix)
        var start: KVCursor.Place?
        if let cursor { start = try KVCursor.decode(cursor, prefix: prefix) }
        try engine.days.count(.list, 1)
        if engine.pages == .short, let start, !start.followsEmptyPage {
            return KVPage(keys: [], cursor: KVCursor.encode(after: start.key, prefix: prefix, followsEmptyPage: true))
        }
        let (bound, keysMax) = (start?.key, engine.pages == .short ? (limit + 1) / 2 : limit)
        // Many expired records may stand before the first live one: not for the reactor's thread.
        return try await threads.run { [self] () throws(KVError) in
            try page(prefix: prefix, limit: keysMax, after: bound)
        }
    }

    private func page(prefix: [UInt8], limit: Int, after start: [UInt8]?) throws(KVError) -> KVPage {
        let now = engine.now
        var page = KVPage(keys: [], cursor: nil)
        var hasMore = false
        var isGone = false
        do throws(LMDBError) {
            try environment.read { transaction throws(LMDBError) in
                isGone = state.isDeleted
                try keys.scan(prefix: prefix, after: start, transaction) { key, span throws(LMDBError) in
                    guard let header = RecordHeader(span) else { throw LMDBError("kv record", .corrupted) }
                    guard header.isLive(at: now) else { return true }
                    guard page.keys.count < limit else {
                        hasMore = true
                        return false
                    }
                    let metadata =
                        header.metadataByteCount == 0
                        ? nil : span.bytes(header.metadataOffset..<header.valueOffset)
                    page.keys.append(
                        KVPage.Key(name: key, expiration: header.expiry?.second, metadata: metadata))
                    return true
                }
            }
        } catch { throw failed("list", error) }
        if isGone { throw .namespaceNotFound }
        if hasMore, let last = page.keys.last {
            page.cursor = KVCursor.encode(after: last.name, prefix: prefix)
        }
        return page
    }

    // MARK: Writing

    func check(_ write: KVWrite) throws(KVError) { _ = try KVChecks.expiration(ofChecked: write, now: engine.now) }

    func put(_ write: KVWrite) async throws(KVError) {
        let expiration = try KVChecks.expiration(ofChecked: write, now: engine.now)
        if let rate = engine.rate, !rate.claim(write.key, in: state.entry.space) { throw .tooFast }
        let put = await checksummed(write, expiration)
        try await commit("put", byteCount: write.value.count) { [self] transaction in
            try engine.tables.put(put, in: state, spaces: engine.openSpaces, at: engine.now, transaction)
        }
    }

    /// A large value's checksum is computed by another thread than the caller's, which may be a reactor.
    private func checksummed(_ write: KVWrite, _ expiration: Int64?) async -> KVTables.Put {
        guard write.value.count > KVLimits.inlineByteCountMax else { return KVTables.Put(write, expiration: expiration) }
        return await threads.run { KVTables.Put(write, expiration: expiration) }
    }

    func delete(_ key: [UInt8]) async throws(KVError) {
        try KVChecks.check(writtenKey: key)
        if let rate = engine.rate, !rate.claim(key, in: state.entry.space) { throw .tooFast }
        try await commit("delete") { [self] transaction in
            try engine.tables.delete(key, in: state, at: engine.now, transaction)
        }
    }

    func removeAll() async throws(KVError) {
        try await commit("remove all") { [self] in try engine.tables.removeAll(in: state, $0) }
    }

    // MARK: Many at once

    func put(_ writes: [KVWrite]) async throws(KVError) -> KVBulkOutcome {
        try KVChecks.check(bulkCount: writes.count)
        let byteCount = writes.reduce(0) { $0 + $1.key.count + $1.value.count + ($1.metadata?.utf8.count ?? 0) }
        try KVChecks.check(bulkByteCount: byteCount)
        let (now, claims) = (engine.now, claim(writes.map(\.key)))
        let prepared = await threads.run {
            writes.map { write -> Result<KVTables.Put, KVError> in
                Result { () throws(KVError) in
                    let expiration = try KVChecks.expiration(ofChecked: write, now: now)
                    guard claims?.contains(write.key) ?? true else { throw .tooFast }
                    return KVTables.Put(write, expiration: expiration)
                }
            }
        }
        return try await each("put", writes.map(\.key), byteCount: byteCount) { [engine, state] index, transaction in
            try engine.tables.put(
                try prepared[index].get(), in: state, spaces: engine.openSpaces, at: now, transaction)
        }
    }

    func delete(_ keys: [[UInt8]]) async throws(KVError) -> KVBulkOutcome {
        try KVChecks.check(bulkCount: keys.count)
        let (now, claims) = (engine.now, claim(keys))
        return try await each("delete", keys, byteCount: 0) { [engine, state] index, transaction in
            try KVChecks.check(writtenKey: keys[index])
            guard claims?.contains(keys[index]) ?? true else { throw KVError.tooFast }
            try engine.tables.delete(keys[index], in: state, at: now, transaction)
        }
    }

    /// Those of `keys` that may be written now; `nil`: all. A key that a request names twice is one write.
    private func claim(_ keys: [[UInt8]]) -> Set<[UInt8]>? {
        guard let rate = engine.rate else { return nil }
        return Set(keys).filter { rate.claim($0, in: state.entry.space) }
    }

    /// Runs `body` for each key in one transaction. A refusal is one key's, and `body` has changed nothing then; any other
    /// error is all keys'.
    private func each(
        _ operation: String, _ keys: [[UInt8]], byteCount: Int,
        _ body: @escaping @Sendable (_ index: Int, borrowing LMDBWriteTransaction) throws -> Void
    ) async throws(KVError) -> KVBulkOutcome {
        try await commit(operation, byteCount: byteCount) { [state] transaction in
            if state.isDeleted { throw KVError.namespaceNotFound }
            var outcome = KVBulkOutcome()
            for (index, key) in keys.enumerated() {
                do {
                    try body(index, transaction)
                    outcome.successfulKeyCount += 1
                } catch let error as KVError {
                    outcome.failures.append(KVBulkOutcome.Failure(key: key, error: error))
                }
            }
            return outcome
        }
    }

    func usage() async throws(KVError) -> KVUsage {
        do throws(LMDBError) {
            return try environment.read { transaction throws(LMDBError) in
                try engine.tables.catalog.usage(of: state.entry.id, transaction)
            }
        } catch { throw failed("usage", error) }
    }

    private func commit<Value: Sendable>(
        _ operation: String, byteCount: Int = 0,
        _ body: @escaping @Sendable (borrowing LMDBWriteTransaction) throws -> Value
    ) async throws(KVError) -> Value {
        do {
            return try await engine.committer.submit(byteCount: byteCount, body)
        } catch GroupCommitter.Failure.overloaded {
            throw .overloaded
        } catch let error as KVError {
            throw error
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
