internal import Interfaces
internal import LMDB

/// Compares everything in a store with everything else, in one snapshot: records with their headers and checksums, long keys with
/// their records, records with the expiry index and back, accounts with what is there, the catalog with itself.
struct KVVerifier {
    private static let findingsMax = 1000

    let tables: KVTables
    /// All spaces of the environment, those without a namespace too.
    let spaces: [String: KeySpace]
    private(set) var result = KVVerification()
    private(set) var repairs: [KVRepair] = []
    private var titles: [String: String] = [:]

    init(tables: KVTables, spaces: [String: KeySpace]) {
        self.tables = tables
        self.spaces = spaces
    }

    mutating func run(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) {
        let entries = try tables.catalog.all(transaction)
        result.namespaceCount = entries.count
        for entry in entries { titles[entry.space] = entry.title }
        var total = KVUsage()
        for entry in entries {
            guard let keys = spaces[entry.space] else { continue }  // Made with its first opening.
            let usage = try checkSpace(entry.space, keys, transaction)
            total = total + usage
            result.keyCount += usage.keyCount
            try checkUsage(usage, of: entry.id, transaction)
        }
        try checkUsage(total, of: nil, transaction)
        try checkCatalog(entries, transaction)
        try checkExpiries(transaction)
    }

    private mutating func report(
        _ kind: KVFinding.Kind, _ space: String, _ detail: String, _ repair: KVRepair? = nil
    ) {
        result.findingCount += 1
        guard result.findings.count < Self.findingsMax else { return }
        result.findings.append(
            KVFinding(kind: kind, namespace: titles[space] ?? space, detail: detail, isRepairable: repair != nil))
        if let repair { repairs.append(repair) }
    }

    private static func name(_ key: [UInt8]) -> String {
        let text = String(decoding: key.prefix(64), as: UTF8.self)
        return "key \(text.debugDescription)\(key.count > 64 ? "… (\(key.count) bytes)" : "")"
    }

    // MARK: Entries

    /// - Returns: what the entries come to that can be reached.
    private mutating func checkSpace(
        _ space: String, _ keys: KeySpace, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> KVUsage {
        var usage = KVUsage()
        var reached: Set<UInt64> = []
        var verifier = self
        try keys.visitAll(transaction) { kind, key, value throws(LMDBError) in
            switch kind {
            case .plain:
                usage = usage + KVUsage(key: key, value)
                try verifier.checkRecord(key, value, space, transaction)
            case .bucket:
                let (bucket, bytes) = (Bucket(value.bytes(0..<value.byteCount)), value.byteCount)
                if !bucket.isInOrder || bytes != bucket.elements.count * 10 || bucket.elements.isEmpty {
                    verifier.report(
                        .brokenBucket, space, Self.name(key), .rewriteBucket(space: space, key: key))
                }
                for element in bucket.elements {
                    let full = key + element.rest
                    let found: Void? = try transaction.withValue(
                        of: KeySpace.recordKey(element.number), in: keys.database
                    ) { record throws(LMDBError) in
                        guard reached.insert(element.number).inserted else { return }
                        usage = usage + KVUsage(key: full, record)
                        try verifier.checkRecord(full, record, space, transaction)
                    }
                    if found == nil {
                        verifier.report(.lostRecord, space, Self.name(full), .rewriteBucket(space: space, key: key))
                    }
                }
            case .behind:
                // All buckets stand before these.
                let number: UInt64? = key.count == 9 ? key.bigEndian(at: 1) : nil
                if number.map({ reached.contains($0) }) != true {
                    verifier.report(.unreachableRecord, space, "\(value.byteCount) bytes")
                }
            }
            return true
        }
        self = verifier
        return usage
    }

    private mutating func checkRecord(
        _ key: [UInt8], _ record: RawSpan, _ space: String, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) {
        do throws(KVError) { try KVChecks.check(writtenKey: key) } catch {
            report(.badKey, space, Self.name(key))
        }
        guard let header = RecordHeader(record) else {
            return report(.tornRecord, space, "\(Self.name(key)), \(record.byteCount) bytes")
        }
        let metadata = record.bytes(header.metadataOffset..<header.valueOffset)
        if !header.isIntact(record) {
            report(.changedRecord, space, "\(Self.name(key)), its checksum is another one")
        } else if !metadata.isEmpty, !JSONGrammar.accepts(metadata[...]) {
            report(.changedRecord, space, "\(Self.name(key)), its metadata is no JSON")
        }
        guard let expiry = header.expiry else { return }
        let target = ExpiryIndex.Target(space: space, key: key)
        if try tables.expiries.target(of: expiry, transaction) != target {
            report(.missingExpiry, space, Self.name(key), .addExpiry(space: space, key: key))
        }
    }

    // MARK: What speaks of entries

    private mutating func checkExpiries(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) {
        var verifier = self
        try tables.expiries.scan(transaction) { item throws(LMDBError) in
            let repair = KVRepair.removeExpiry(place: item.place)
            guard let target = item.target, let entry = item.entry else {
                verifier.report(.strayExpiry, "", "an entry can't be read", repair)
                return true
            }
            let isWanted = try spaces[target.space]?.withRecord(of: target.key, transaction) {
                record throws(LMDBError) in RecordHeader(record).map { $0.expiry == entry } ?? false
            }
            if isWanted != true {
                verifier.report(.strayExpiry, target.space, "\(Self.name(target.key)) at \(entry.second)", repair)
            }
            return true
        }
        self = verifier
    }

    private mutating func checkUsage(
        _ usage: KVUsage, of id: String?, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) {
        let counted = try tables.catalog.usageIfWhole(of: id, transaction)
        guard counted != usage else { return }
        let text = counted.map { "\($0.keyCount) keys and \($0.byteCount) bytes" } ?? "nothing that can be read"
        let found = "\(usage.keyCount) keys and \(usage.byteCount) bytes"
        report(.wrongUsage, "", "\(id ?? "the tenant") has \(found); counted were \(text)", .recount)
    }

    private mutating func checkCatalog(
        _ entries: [KVCatalog.Entry], _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) {
        let catalog = tables.catalog
        for entry in entries {
            let titled = try catalog.entry(titled: entry.title, transaction)?.id
            let owner = try catalog.owner(ofSpace: entry.space, transaction)
            if titled != entry.id || owner != entry.id {
                report(.brokenCatalog, entry.space, "nothing leads to \(entry.id)", .writeCatalog(id: entry.id))
            }
        }
        let known = Set(entries.map(\.title))
        for title in try catalog.titles(transaction) where !known.contains(title) {
            report(.brokenCatalog, "", "the title \"\(title)\" leads nowhere", .removeTitle(title))
        }
        for (space, keys) in spaces.sorted(by: { $0.key < $1.key }) where titles[space] == nil {
            let count = try transaction.count(of: keys.database)
            if count > 0 { report(.lostNamespace, space, "\(count) entries", .adoptSpace(space)) }
        }
    }
}

extension KVTables {
    /// Mends one finding, if it is still one.
    ///
    /// - Returns: whether it changed anything.
    func repair(
        _ repair: KVRepair, spaces: [String: KeySpace], now: Int64, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Bool {
        switch repair {
        case .addExpiry(let space, let key):
            guard let keys = spaces[space] else { return false }
            return try addExpiry(of: key, in: space, keys, transaction)
        case .removeExpiry(let place):
            return try removeExpiry(at: place, spaces, transaction)
        case .rewriteBucket(let space, let key):
            return try spaces[space]?.rewriteBucket(key, transaction) ?? false
        case .writeCatalog(let id):
            guard let entry = try catalog.entry(id, transaction.reading) else { return false }
            if let other = try catalog.entry(titled: entry.title, transaction.reading), other.id != id { return false }
            try catalog.put(entry, transaction)
        case .removeTitle(let title):
            if let entry = try catalog.entry(titled: title, transaction.reading), entry.title == title { return false }
            try catalog.removeTitle(title, transaction)
        case .adoptSpace(let space):
            if let owner = try catalog.owner(ofSpace: space, transaction.reading),
                try catalog.entry(owner, transaction.reading) != nil
            {
                return false
            }
            let id = KVCatalog.makeID()
            let other = try catalog.entry(titled: space, transaction.reading)
            let title = KVCatalog.isTitle(space) && other == nil ? space : id
            try catalog.put(
                KVCatalog.Entry(id: id, title: title, firstTitle: title, space: space, createdAt: now * 1000), transaction)
            try catalog.removeFree(space, transaction)
        case .recount:
            var total = KVUsage()
            for entry in try catalog.all(transaction.reading) {
                let usage = try spaces[entry.space]?.usage(transaction.reading) ?? KVUsage()
                try catalog.setUsage(usage, of: entry.id, transaction)
                total = total + usage
            }
            try catalog.setUsage(total, of: nil, transaction)
        }
        return true
    }

    private func addExpiry(
        of key: [UInt8], in space: String, _ keys: KeySpace, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Bool {
        let found = try keys.withRecord(of: key, transaction.reading) { record throws(LMDBError) in
            RecordHeader(record).map { ($0, record.bytes(0..<record.byteCount)) }
        }
        guard let (header, record) = found ?? nil, let expiry = header.expiry else { return false }
        let target = ExpiryIndex.Target(space: space, key: key)
        if try expiries.target(of: expiry, transaction.reading) == target { return false }
        // Another may have its place: it takes a new one.
        let entry = try expiries.insert(second: expiry.second, of: target, transaction)
        var bytes = record
        for shift in 0..<4 { bytes[9 + shift] = UInt8(truncatingIfNeeded: entry.place >> (8 * UInt32(shift))) }
        try keys.put(key, head: [], tail: bytes[...], transaction)
        return true
    }

    private func removeExpiry(
        at place: [UInt8], _ spaces: [String: KeySpace], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Bool {
        if let (entry, target) = try expiries.item(at: place, transaction.reading) {
            let isWanted = try spaces[target.space]?.withRecord(of: target.key, transaction.reading) {
                record throws(LMDBError) in RecordHeader(record)?.expiry == entry
            }
            if isWanted == true { return false }
        }
        try expiries.remove(at: place, transaction)
        return true
    }
}
