internal import Interfaces
internal import StoresKV
internal import Synchronization
internal import System

/// A namespace as it looks from one place of many: what was read, or found missing, is repeated for a while whatever is
/// written elsewhere, and a write of one's own is usually seen at once.
final class SimulatedKVNamespace: KVStoreNamespace {
    private let inner: any KVStoreNamespace
    private let schedule: SimulationSchedule
    private let reads: StaleReads
    private let writes: WriteTimes?

    var memory: KVMemory { inner.memory }

    /// Of a binding's own writes, one in so many isn't seen by its next reads.
    private static let unseenWritesPeriod = 4
    /// One listing in so many gives fewer keys than it could.
    private static let shortPagesPeriod = 4

    init(
        _ inner: any KVStoreNamespace, _ schedule: SimulationSchedule, _ settings: SimulationSettings,
        clock: any NodeClock
    ) {
        self.inner = inner
        self.schedule = schedule
        reads = StaleReads(settings.kvStaleness, clock: clock)
        writes = settings.limitsKVWrites ? WriteTimes(clock: clock) : nil
    }

    // MARK: Reading

    // The store is always asked: what it refuses is refused whatever is remembered.

    func get(
        _ key: [UInt8], cacheTtl: Int64?, byteCountMax: Int
    ) async throws(KVError) -> KVLookup<KVRecord> {
        try await read(.kvGet)
        let fresh = try await inner.get(key, cacheTtl: cacheTtl, byteCountMax: byteCountMax)
        switch reads.recall(key) {
        case .nothing:
            switch fresh {
            case .missing: reads.remember(nil, for: key, cacheTtl: cacheTtl)
            case .found(let record): reads.remember(record, for: key, cacheTtl: cacheTtl)
            case .larger: break
            }
            return fresh
        case .missing: return .missing
        case .record(let record):
            return record.value.count > byteCountMax ? .larger(byteCount: record.value.count) : .found(record)
        }
    }

    func getMany(
        _ request: KVBulkRequest, byteCountMax: Int
    ) async throws(KVError) -> KVLookup<[KVRecord?]> {
        try await read(.kvGetMany)
        let fresh = try await inner.getMany(request, byteCountMax: byteCountMax)
        guard case .found(var records) = fresh else { return fresh }
        for (index, key) in request.keys.enumerated() {
            switch reads.recall(key) {
            case .nothing: reads.remember(records[index], for: key, cacheTtl: request.cacheTtl)
            case .missing: records[index] = nil
            case .record(let record):
                guard request.type != "json" || JSONGrammar.accepts(record.value[...]) else {
                    throw .refused(
                        status: 400, text: "At least one of the requested keys corresponds to a non-json value")
                }
                records[index] = record
            }
        }
        let byteCount = records.reduce(0) { $0 + ($1?.value.count ?? 0) }
        guard byteCount <= KVLimits.valueByteCountMax else {
            throw .refused(status: 413, text: "Total size of request exceeds the limit of 25MB")
        }
        return byteCount > byteCountMax ? .larger(byteCount: byteCount) : .found(records)
    }

    func list(prefix: [UInt8], limit: Int64?, cursor: String?) async throws(KVError) -> KVPage {
        var call = schedule.next(.kvList)
        try await wait(&call)
        guard schedule.fate(&call, writes: false) == .succeeds else { throw .failed }
        var limit = limit
        let most = limit.map { $0 > 0 ? $0 : KVLimits.listLimitMax } ?? KVLimits.listLimitMax
        if most <= KVLimits.listLimitMax, call.chance.below(Self.shortPagesPeriod) == 0 {
            limit = Int64(1 + call.chance.below(Int(most)))
            schedule.note(call, "gives a short page", [("limit", "\(limit ?? most)")])
        }
        return try await inner.list(prefix: prefix, limit: limit, cursor: cursor)
    }

    private func read(_ operation: SimulationSchedule.Operation) async throws(KVError) {
        var call = schedule.next(operation)
        try await wait(&call)
        guard schedule.fate(&call, writes: false) == .succeeds else { throw .failed }
    }

    // MARK: Writing

    func put(_ write: KVWrite) async throws(KVError) {
        try await change(.kvPut, write.key) { () throws(KVError) in try await inner.put(write) }
    }

    func delete(_ key: [UInt8]) async throws(KVError) {
        try await change(.kvDelete, key) { () throws(KVError) in try await inner.delete(key) }
    }

    func removeAll() async throws(KVError) {
        try await inner.removeAll()
        reads.forgetAll()
    }

    private func change(
        _ operation: SimulationSchedule.Operation, _ key: [UInt8], _ body: () async throws(KVError) -> Void
    ) async throws(KVError) {
        var call = schedule.next(operation)
        try await wait(&call)
        let fate = schedule.fate(&call, writes: true)
        guard fate != .failsBefore else { throw .failed }
        guard writes?.mayWrite(key) ?? true else {
            schedule.note(call, "is the second within a second")
            throw .overloaded
        }
        try await body()
        if call.chance.below(Self.unseenWritesPeriod) == 0 {
            schedule.note(call, "isn't seen here yet")
        } else {
            reads.forget(key)
        }
        guard fate == .succeeds else { throw .failed }
    }

    private func wait(_ call: inout SimulationSchedule.Call) async throws(KVError) {
        do throws(CancellationError) { try await schedule.delay(&call) } catch { throw .failed }
    }
}

/// What was read lately. Bounded: what was read longest ago goes first, and large values are never remembered.
private final class StaleReads: Sendable {
    enum Recollection {
        case nothing
        case missing
        case record(KVRecord)
    }

    private struct Entry {
        var record: KVRecord?
        let end: Instant
        let byteCount: Int
    }
    private struct State {
        var entries: [[UInt8]: Entry] = [:]
        /// Keys in the order they were read; one that was forgotten or read again may stand here more than once.
        var order: [[UInt8]] = []
        var byteCount = 0
    }

    private let staleness: Duration
    private let clock: any NodeClock
    private let state = Mutex(State())

    private static let entriesMax = 4096
    private static let bytesMax = 16 << 20
    private static let valueBytesMax = 1 << 20

    init(_ staleness: Duration, clock: any NodeClock) {
        self.staleness = staleness
        self.clock = clock
    }

    func recall(_ key: [UInt8]) -> Recollection {
        guard staleness > .zero else { return .nothing }
        let now = clock.now()
        let second = clock.wallTime().seconds
        return state.withLock { state in
            guard let entry = state.entries[key] else { return .nothing }
            // What has expired is gone everywhere.
            guard now < entry.end, entry.record?.expiration.map({ $0 > second }) ?? true else {
                Self.remove(key, from: &state)
                return .nothing
            }
            return entry.record.map { .record($0) } ?? .missing
        }
    }

    func remember(_ record: KVRecord?, for key: [UInt8], cacheTtl: Int64?) {
        let byteCount = record.map { $0.value.count + ($0.metadata?.utf8.count ?? 0) } ?? 0
        guard staleness > .zero, byteCount <= Self.valueBytesMax else { return }
        let end = clock.now() + max(staleness, .seconds(cacheTtl ?? 0))
        state.withLock { state in
            Self.remove(key, from: &state)
            state.entries[key] = Entry(record: record, end: end, byteCount: byteCount)
            state.order.append(key)
            state.byteCount += byteCount
            guard
                state.order.count > 2 * Self.entriesMax || state.entries.count > Self.entriesMax
                    || state.byteCount > Self.bytesMax
            else { return }
            Self.shrink(&state)
        }
    }

    func forget(_ key: [UInt8]) { state.withLock { Self.remove(key, from: &$0) } }

    func forgetAll() { state.withLock { $0 = State() } }

    private static func remove(_ key: [UInt8], from state: inout State) {
        guard let entry = state.entries.removeValue(forKey: key) else { return }
        state.byteCount -= entry.byteCount
    }

    /// Lets the older half go.
    private static func shrink(_ state: inout State) {
        for key in state.order.prefix(state.order.count / 2) { remove(key, from: &state) }
        state.order.removeFirst(state.order.count / 2)
    }
}

/// When keys were written last: the product takes one write a second to a key, from all writers.
private final class WriteTimes: Sendable {
    private let clock: any NodeClock
    private let times = Mutex<[[UInt8]: Instant]>([:])
    private static let keysMax = 4096

    init(clock: any NodeClock) { self.clock = clock }

    func mayWrite(_ key: [UInt8]) -> Bool {
        let now = clock.now()
        return times.withLock { times in
            if let last = times[key], now - last < .seconds(1) { return false }
            if times.count >= Self.keysMax { times = times.filter { now - $0.value < .seconds(1) } }
            if times.count >= Self.keysMax { times.removeAll() }
            times[key] = now
            return true
        }
    }
}
