internal import LMDB

/// What one tenant may have and do (spec: kv, section 1, "free tier/day"). `nil` is without a limit; a day begins at 0:00 UTC.
///
/// Bytes are those of keys, metadata and values; what has expired counts until it is removed, which a write that finds no room
/// sees to itself. Bytes, puts and deletes are counted in the transaction of the write. Reads and lists are counted in memory
/// and written with each sweep: a node that is killed forgets those since the last.
package struct KVQuotas: Equatable, Sendable {
    package var tenantBytesMax: Int?
    package var namespaceBytesMax: Int?
    /// Keys that are read: a bulk get counts each.
    package var readsPerDayMax: Int?
    package var putsPerDayMax: Int?
    package var deletesPerDayMax: Int?
    package var listsPerDayMax: Int?

    package init() {}

    package static let cloudflareFree: KVQuotas = {
        var quotas = KVQuotas()
        quotas.tenantBytesMax = 1_000_000_000
        quotas.readsPerDayMax = 100_000
        quotas.putsPerDayMax = 1000
        quotas.deletesPerDayMax = 1000
        quotas.listsPerDayMax = 1000
        return quotas
    }()

    func max(_ operation: DayCounts.Operation) -> Int? {
        switch operation {
        case .read: readsPerDayMax
        case .put: putsPerDayMax
        case .delete: deletesPerDayMax
        case .list: listsPerDayMax
        }
    }
}

/// How much a namespace or a tenant has.
package struct KVUsage: Equatable, Sendable {
    package var keyCount: Int
    package var byteCount: Int

    package init(keyCount: Int = 0, byteCount: Int = 0) {
        self.keyCount = keyCount
        self.byteCount = byteCount
    }

    static func + (left: KVUsage, right: KVUsage) -> KVUsage {
        KVUsage(keyCount: left.keyCount + right.keyCount, byteCount: left.byteCount + right.byteCount)
    }

    static func - (left: KVUsage, right: KVUsage) -> KVUsage {
        KVUsage(keyCount: left.keyCount - right.keyCount, byteCount: left.byteCount - right.byteCount)
    }

    /// Of one record.
    init(key: [UInt8], _ record: RawSpan) {
        let header = RecordHeader(record)
        keyCount = 1
        byteCount = key.count + record.byteCount - (header?.metadataOffset ?? RecordHeader.byteCount)
    }
}

/// What was done on one day.
struct DayCounts: Equatable {
    enum Operation: Int, CaseIterable { case read, put, delete, list }

    /// Days since 1970, UTC.
    var day: Int64
    private var counts = [0, 0, 0, 0]

    init(second: Int64) { day = Self.day(second) }

    static func day(_ second: Int64) -> Int64 { second / 86_400 - (second % 86_400 < 0 ? 1 : 0) }

    subscript(operation: Operation) -> Int {
        get { counts[operation.rawValue] }
        set { counts[operation.rawValue] = newValue }
    }

    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: day)
        for count in counts { bytes.append(littleEndian: Int64(count)) }
        return bytes
    }

    init?(_ bytes: [UInt8]) {
        guard bytes.count == 40 else { return nil }
        day = bytes.littleEndian(at: 0)
        for index in 0..<4 {
            let count: Int64 = bytes.littleEndian(at: 8 + 8 * index)
            counts[index] = Int(count)
        }
    }
}
