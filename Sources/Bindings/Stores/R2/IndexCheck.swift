internal import Interfaces
internal import LMDB

/// Whether the tables of the index agree with each other, seen in one snapshot: each thing that is named is there, each
/// thing that is there is named, and the ledger has counted right.
///
/// What is named is remembered, and that takes memory for each blob: with many, several passes look at a share of them.
struct IndexCheck {
    private static let rememberedMax = 500_000

    private let index: ObjectIndex
    private let passes: UInt64
    private var names: [UInt32: String] = [:]
    /// A record can't be read: what it names is unknown, so nothing may be taken for unnamed.
    private var hasUnreadable = false
    /// The first `R2VerifyReport.damageMax` of what was found; `damageCount` counts all.
    private(set) var damage: [R2Damage] = []
    private(set) var damageCount = 0
    private(set) var repairableCount = 0
    /// What repairing it takes.
    private(set) var repairs = Repairs()

    struct Repairs: Sendable {
        var strayMarks: [Identifier] = []
        var strayContents: [Identifier] = []
        var strayPieces: [Identifier] = []
        var strayParts: [[UInt8]] = []
        /// With the key of the object, or of the part, that needs the mark.
        var unmarked: [(blob: Identifier, owner: Owner)] = []
        var isUsageWrong = false

        /// The same in portions that a transaction takes; the usage, which depends on the rest, comes last.
        func split(into count: Int) -> [Repairs] {
            var portions: [Repairs] = []
            func add<Element>(_ items: [Element], _ path: WritableKeyPath<Repairs, [Element]>) {
                for start in stride(from: 0, to: items.count, by: count) {
                    var portion = Repairs()
                    portion[keyPath: path] = Array(items[start..<min(items.count, start + count)])
                    portions.append(portion)
                }
            }
            add(strayMarks, \.strayMarks)
            add(strayContents, \.strayContents)
            add(strayPieces, \.strayPieces)
            add(strayParts, \.strayParts)
            add(unmarked, \.unmarked)
            if isUsageWrong {
                var portion = Repairs()
                portion.isUsageWrong = true
                portions.append(portion)
            }
            return portions
        }
    }
    enum Owner: Sendable {
        case object(bucket: UInt32, key: String, version: Identifier)
        case part([UInt8])
    }

    init(_ index: ObjectIndex, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) {
        self.index = index
        passes = UInt64(try transaction.count(of: index.blobs) / Self.rememberedMax + 1)
        for name in try index.bucketNames(transaction) {
            if let number = try index.bucket(name, transaction) { names[number] = name }
        }
    }

    mutating func run(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) {
        for pass in 0..<passes {
            var named: Set<Identifier> = []
            try objects(pass, &named, transaction)
            try parts(pass, &named, transaction)
            try marks(pass, named, transaction)
        }
        try contents(transaction)
        try usage(transaction)
    }

    private mutating func note(_ found: [R2Damage]) {
        damage += found.prefix(max(0, R2VerifyReport.damageMax - damage.count))
        damageCount += found.count
        repairableCount += found.count(where: \.isRepairable)
    }

    private func isOf(_ pass: UInt64, _ blob: Identifier) -> Bool { blob.low % passes == pass }

    private mutating func objects(
        _ pass: UInt64, _ named: inout Set<Identifier>, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) {
        var found: [R2Damage] = []
        var unmarked: [(Identifier, Owner)] = []
        var hasUnreadable = hasUnreadable
        try index.objects.scan(from: [], transaction) { key, record throws(LMDBError) in
            let bucket = ObjectIndex.number(key)
            let name = String(decoding: key.dropFirst(4), as: UTF8.self)
            let place = R2Damage.Place.object(bucket: names[bucket] ?? "number \(bucket)", key: name)
            guard let object = try? StoredObject(record: record) else {
                hasUnreadable = true
                if pass == 0 { found.append(.unreadableRecord("\(place)")) }
                return .next
            }
            let blobs: [Identifier]
            switch object.location {
            case .index:
                if pass == 0, try !hasContent(object, transaction) { found.append(.missingContent(place)) }
                return .next
            case .blob: blobs = [object.version]
            case .pieces:
                guard let list = try? index.pieces(of: object.version, transaction),
                    list.reduce(0, { $0 + $1.size }) == object.size
                else {
                    hasUnreadable = true
                    if pass == 0 { found.append(.missingContent(place)) }
                    return .next
                }
                blobs = list.map(\.blob)
            }
            for blob in blobs where isOf(pass, blob) {
                if !named.insert(blob).inserted { found.append(.sharedBlob(place, blob: blob.hexadecimal)) }
                guard try !index.isUsed(blob, transaction) else { continue }
                found.append(.unmarkedBlob(place, blob: blob.hexadecimal))
                unmarked.append((blob, .object(bucket: bucket, key: name, version: object.version)))
            }
            return .next
        }
        note(found)
        self.hasUnreadable = hasUnreadable
        repairs.unmarked += unmarked
    }

    private func hasContent(
        _ object: StoredObject, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> Bool {
        let found = try transaction.withValue(of: object.version.bytes, in: index.contents) { value in value.byteCount }
        return (found ?? 0) == Int(object.storedByteCount)
    }

    private mutating func parts(
        _ pass: UInt64, _ named: inout Set<Identifier>, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) {
        var upload: (id: Identifier, isThere: Bool)?
        var found: [R2Damage] = []
        var unmarked: [(Identifier, Owner)] = []
        var stray: [[UInt8]] = []
        var hasUnreadable = hasUnreadable
        try transaction.withCursor(index.parts) { cursor throws(LMDBError) in
            var isThere = try cursor.moveToFirst()
            while isThere {
                let key = cursor.key
                let number = key.dropFirst(Identifier.byteCount).reduce(0) { $0 << 8 | Int($1) }
                guard let id = Identifier(key.prefix(Identifier.byteCount)),
                    let part = try? StoredPart(record: cursor.value)
                else {
                    hasUnreadable = true
                    if pass == 0 { found.append(.unreadableRecord("part \(R2Hex.encode(key))")) }
                    isThere = try cursor.moveToNext()
                    continue
                }
                if upload?.id != id { upload = (id, try transaction.contains(id.bytes, in: index.uploads)) }
                if upload?.isThere == false {
                    if pass == 0 {
                        found.append(.strayPart(upload: id.hexadecimal, number: number))
                        stray.append(key)
                    }
                } else if isOf(pass, part.blob) {
                    let place = R2Damage.Place.part(upload: id.hexadecimal, number: number)
                    if !named.insert(part.blob).inserted {
                        found.append(.sharedBlob(place, blob: part.blob.hexadecimal))
                    }
                    if try !index.isUsed(part.blob, transaction) {
                        found.append(.unmarkedBlob(place, blob: part.blob.hexadecimal))
                        unmarked.append((part.blob, .part(key)))
                    }
                }
                isThere = try cursor.moveToNext()
            }
        }
        note(found)
        self.hasUnreadable = hasUnreadable
        repairs.unmarked += unmarked
        repairs.strayParts += stray
    }

    private mutating func marks(
        _ pass: UInt64, _ named: Set<Identifier>, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) {
        if hasUnreadable { return }
        for blob in try identifiers(index.blobs, transaction, where: { isOf(pass, $0) && !named.contains($0) }) {
            note([.strayMark(blob: blob.hexadecimal)])
            repairs.strayMarks.append(blob)
        }
    }

    /// Contents and lists of pieces without an object. The objects' versions are remembered a share at a time, too.
    private mutating func contents(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) {
        if hasUnreadable { return }
        let count = try transaction.count(of: index.contents) + transaction.count(of: index.pieces)
        let passes = UInt64(count / Self.rememberedMax + 1)
        for pass in 0..<passes {
            var versions: Set<Identifier> = []
            try index.objects.scan(from: [], transaction) { _, record throws(LMDBError) in
                if let object = try? StoredObject(record: record), object.location != .blob,
                    object.version.low % passes == pass
                {
                    versions.insert(object.version)
                }
                return .next
            }
            let isStray: (Identifier) -> Bool = { $0.low % passes == pass && !versions.contains($0) }
            let contents = try identifiers(index.contents, transaction, where: isStray)
            let pieces = try identifiers(index.pieces, transaction, where: isStray)
            note((contents + pieces).map { .strayContent(version: $0.hexadecimal) })
            repairs.strayContents += contents
            repairs.strayPieces += pieces
        }
    }

    private mutating func usage(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) {
        guard let counted = try? index.counted(transaction) else { return }  // Unreadable records were reported.
        var expected = counted
        expected[BucketSettings.tenant] = counted.values.reduce(R2Usage(), +)
        for number in Set(expected.keys).union(names.keys).sorted()
        where try index.ledger.usage(of: number, transaction) != expected[number] ?? R2Usage() {
            note([.wrongUsage(bucket: number == BucketSettings.tenant ? nil : names[number] ?? "number \(number)")])
            repairs.isUsageWrong = true
        }
    }

    private func identifiers(
        _ table: LMDBDatabase, _ transaction: borrowing LMDBReadTransaction, where isWanted: (Identifier) -> Bool
    ) throws(LMDBError) -> [Identifier] {
        try transaction.withCursor(table) { cursor throws(LMDBError) in
            var found: [Identifier] = []
            var isThere = try cursor.moveToFirst()
            while isThere {
                if let identifier = Identifier(cursor.key), isWanted(identifier) { found.append(identifier) }
                isThere = try cursor.moveToNext()
            }
            return found
        }
    }
}

extension ObjectIndex {
    /// Puts right what a check found, as far as it is still so.
    func repair(
        _ repairs: IndexCheck.Repairs, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        // Blobs and versions are never named anew once nothing names them.
        for blob in repairs.strayMarks { try transaction.delete(blob.bytes, in: blobs) }
        for version in repairs.strayContents { try transaction.delete(version.bytes, in: contents) }
        for version in repairs.strayPieces { try transaction.delete(version.bytes, in: pieces) }
        for key in repairs.strayParts {
            if let record = try transaction.value(of: key, in: parts), let part = try? StoredPart(record: record) {
                try transaction.delete(part.blob.bytes, in: blobs)
            }
            try transaction.delete(key, in: parts)
        }
        for (blob, owner) in repairs.unmarked {
            switch owner {
            case .object(let bucket, let key, let version):
                guard try object(key, bucket: bucket, transaction.reading)?.version == version else { continue }
            case .part(let key):
                guard let record = try transaction.value(of: key, in: parts),
                    try StoredPart(record: record).blob == blob
                else { continue }
            }
            try transaction.put(blob.bytes, [1], in: blobs)
        }
        if repairs.isUsageWrong { try recount(transaction) }
    }
}
