internal import LMDB

/// Looks at everything that is stored, some at a time, so that neither writers nor the map's growth wait for it. Each look
/// compares what one snapshot holds; only the counts need a whole queue, and are compared when it stood still meanwhile.
struct QueueVerification {
    private let environment: LMDBEnvironment
    private let tables: QueueTables
    private(set) var problems: [String] = []
    private var queues: [UInt32: (name: String, row: QueueRow)] = [:]

    /// No more are listed.
    private static let problemsMax = 100
    private static let sliceCount = 1000

    init(_ environment: LMDBEnvironment, _ tables: QueueTables) {
        self.environment = environment
        self.tables = tables
    }

    mutating func run() {
        checkQueues()
        let steps: [(String, (inout QueueVerification) throws(LMDBError) -> Void)] = [
            ("messages", { verification throws(LMDBError) in try verification.checkMessages() }),
            ("history", { verification throws(LMDBError) in try verification.checkHistory() }),
            ("bodies", { verification throws(LMDBError) in try verification.checkBodies() }),
            ("ready", { verification throws(LMDBError) in try verification.checkIndexes() }),
            ("consumers", { verification throws(LMDBError) in try verification.checkConsumers() }),
        ]
        for (name, step) in steps {
            do throws(LMDBError) { try step(&self) } catch { report("\(name): \(error)") }
        }
        for queue in queues.values.sorted(by: { $0.name < $1.name }) {
            do throws(LMDBError) { try checkCounts(queue.name) } catch { report("\(place(queue.row.number)): \(error)") }
        }
    }

    private mutating func report(_ problem: String) {
        if problems.count < Self.problemsMax { problems.append(problem) }
        if problems.count == Self.problemsMax { problems.append("more, which are not listed") }
    }

    // MARK: Queues

    private mutating func checkQueues() {
        do throws(LMDBError) {
            let tables = tables
            let found = try environment.read { transaction throws(LMDBError) in
                var found: (queues: [UInt32: (name: String, row: QueueRow)], problems: [String]) = ([:], [])
                var totals = QueueTotals()
                for name in try tables.names(transaction) {
                    guard let row = try transaction.value(of: Array(name.utf8), in: tables.queues).flatMap({ QueueRow($0) })
                    else {
                        found.problems.append("queue \"\(name)\": its row can't be read")
                        continue
                    }
                    totals.replace(nil, by: row)
                    if let other = found.queues[row.number] {
                        found.problems.append("queues \"\(other.name)\" and \"\(name)\" have the same number")
                    }
                    found.queues[row.number] = (name, row)
                    if try tables.name(ofQueueWithID: row.id, transaction) != name {
                        found.problems.append("queue \"\(name)\": its id leads elsewhere, or nowhere")
                    }
                }
                if let stored = try transaction.value(of: QueueTables.totalsKey, in: tables.queues).map({ QueueTotals($0) }),
                    stored != totals
                {
                    found.problems.append("totals: \(stored.map { "\($0)" } ?? "can't be read") for \(totals)")
                }
                if try transaction.count(of: tables.ids) != Int(totals.queueCount) {
                    found.problems.append("ids: there are more or less than queues")
                }
                return found
            }
            queues = found.queues
            for problem in found.problems { report(problem) }
        } catch { report("queues: \(error)") }
    }

    /// Whether a key belongs to a queue; one that was made meanwhile is looked up.
    private mutating func isKnown(
        _ number: UInt32, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> Bool {
        if queues[number] != nil { return true }
        for name in try tables.names(transaction) {
            if let row = try transaction.value(of: Array(name.utf8), in: tables.queues).flatMap({ QueueRow($0) }),
                row.number == number
            {
                queues[number] = (name, row)
                return true
            }
        }
        return false
    }

    private func place(_ number: UInt32) -> String { queues[number].map { "queue \"\($0.name)\"" } ?? "queue number \(number)" }

    private mutating func checkConsumers() throws(LMDBError) {
        try walk(tables.consumers) { verification, key, value, transaction throws(LMDBError) in
            guard key.count == 4 else { return verification.report("consumers: a key of \(key.count) bytes") }
            let number: UInt32 = key.bigEndian(at: 0)
            if try !verification.isKnown(number, transaction) {
                verification.report("consumers: \(number) is no queue's number")
            }
            if QueueConsumerRecord(stored: value) == nil {
                verification.report("\(verification.place(number)): its consumer can't be read")
            }
        }
    }

    // MARK: Messages

    private mutating func checkMessages() throws(LMDBError) {
        try walk(tables.messages) { verification, key, value, transaction throws(LMDBError) in
            guard let (number, sequence) = try verification.messageKey(key, "messages", transaction) else { return }
            let tables = verification.tables
            let place = "\(verification.place(number)): message \(sequence)"
            guard let message = MessageRow(value) else { return verification.report("\(place) has a row that can't be read") }
            if let fault = message.fault(of: try transaction.value(of: key, in: tables.bodies)) {
                verification.report("\(place) \(fault)")
            }
            let index = message.leasedUntil == nil ? tables.ready : tables.leases
            let time = message.leasedUntil ?? message.readyAt
            if try !transaction.contains(QueueTables.key(number, time, sequence), in: index) {
                verification.report("\(place) is in no index of \(message.leasedUntil == nil ? "ready messages" : "leases")")
            }
            if try !transaction.contains(QueueTables.key(number, message.timestamp, sequence), in: tables.ages) {
                verification.report("\(place) is not in the index of ages")
            }
            if let row = verification.queues[number]?.row, sequence >= row.nextSequence,
                let name = verification.queues[number]?.name,
                let now = try tables.queue(name, transaction), sequence >= now.nextSequence
            {
                verification.report("\(place) has a number that isn't given yet")
            }
        }
    }

    private mutating func checkHistory() throws(LMDBError) {
        try walk(tables.history) { verification, key, value, transaction throws(LMDBError) in
            guard let (number, sequence) = try verification.messageKey(key, "history", transaction) else { return }
            let tables = verification.tables
            let place = "\(verification.place(number)): acknowledged message \(sequence)"
            guard let message = MessageRow(value) else { return verification.report("\(place) has a row that can't be read") }
            if let fault = message.fault(of: try transaction.value(of: key, in: tables.bodies)) {
                verification.report("\(place) \(fault)")
            }
            if try transaction.contains(key, in: tables.messages) { verification.report("\(place) also waits to be delivered") }
        }
    }

    private mutating func checkBodies() throws(LMDBError) {
        try walk(tables.bodies, withValues: false) { verification, key, _, transaction throws(LMDBError) in
            guard let (number, sequence) = try verification.messageKey(key, "bodies", transaction) else { return }
            let tables = verification.tables
            let isWaiting = try transaction.contains(key, in: tables.messages)
            let isPast = try transaction.contains(key, in: tables.history)
            if !isWaiting, !isPast {
                verification.report("\(verification.place(number)): body \(sequence) belongs to no message")
            }
        }
    }

    private mutating func messageKey(
        _ key: [UInt8], _ database: String, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> (number: UInt32, sequence: UInt64)? {
        guard key.count == 12 else {
            report("\(database): a key of \(key.count) bytes")
            return nil
        }
        let number: UInt32 = key.bigEndian(at: 0)
        if try !isKnown(number, transaction) {
            report("\(database): \(number) is no queue's number")
            return nil
        }
        return (number, key.bigEndian(at: 4))
    }

    // MARK: Indexes

    private mutating func checkIndexes() throws(LMDBError) {
        try checkIndex(tables.ready, "ready messages") { $0.leasedUntil == nil ? max(0, $0.readyAt) : nil }
        try checkIndex(tables.leases, "leases") { $0.leasedUntil }
        try checkIndex(tables.ages, "ages") { max(0, $0.timestamp) }
    }

    private mutating func checkIndex(
        _ index: LMDBDatabase, _ name: String, time: @escaping (MessageRow) -> Int64?
    ) throws(LMDBError) {
        try walk(index) { verification, key, _, transaction throws(LMDBError) in
            guard key.count == 20 else { return verification.report("\(name): a key of \(key.count) bytes") }
            let number: UInt32 = key.bigEndian(at: 0)
            let sequence: UInt64 = key.bigEndian(at: 12)
            let row = try transaction.value(of: Array(key[0..<4] + key[12..<20]), in: verification.tables.messages)
            guard let row else {
                return verification.report(
                    "\(verification.place(number)): the index of \(name) names message \(sequence), which isn't there")
            }
            guard let message = MessageRow(row), time(message) != key.bigEndian(at: 4) else { return }
            verification.report("\(verification.place(number)): the index of \(name) has message \(sequence) at another time")
        }
    }

    // MARK: Counts

    private struct Counts: Equatable, CustomStringConvertible {
        var backlogCount: Int64 = 0
        var backlogBytes: Int64 = 0
        var historyCount: Int64 = 0
        var historyBytes: Int64 = 0

        init() {}
        init(_ row: QueueRow) {
            backlogCount = row.backlogCount
            backlogBytes = row.backlogBytes
            historyCount = row.historyCount
            historyBytes = row.historyBytes
        }
        /// Returns where to go on; `nil` at the end.
        mutating func add(
            _ database: LMDBDatabase, of queue: QueueRow, from start: UInt64, _ tables: QueueTables,
            _ transaction: borrowing LMDBReadTransaction
        ) throws(LMDBError) -> UInt64? {
            let rows = try tables.rows(database, of: queue, from: start, max: 10_000, transaction)
            let byteCount = rows.reduce(0) { $0 + Int64($1.message?.bodyByteCount ?? 0) }
            if database == tables.messages {
                backlogCount += Int64(rows.count)
                backlogBytes += byteCount
            } else {
                historyCount += Int64(rows.count)
                historyBytes += byteCount
            }
            return rows.count < 10_000 ? nil : rows.last.map { $0.sequence + 1 }
        }

        var description: String {
            "\(backlogCount) messages of \(backlogBytes) bytes and \(historyCount) acknowledged ones of \(historyBytes) bytes"
        }
    }

    private mutating func checkCounts(_ name: String) throws(LMDBError) {
        for _ in 0..<2 {
            guard let before = try row(name) else { return }
            var counts = Counts()
            var next: UInt64? = 0
            while let start = next {
                next = try environment.read { transaction throws(LMDBError) in
                    try counts.add(tables.messages, of: before, from: start, tables, transaction)
                }
            }
            next = 0
            while let start = next {
                next = try environment.read { transaction throws(LMDBError) in
                    try counts.add(tables.history, of: before, from: start, tables, transaction)
                }
            }
            if try row(name) == before { return compare(counts, before) }
        }
        // It doesn't stand still, so one snapshot has to do, although the map can't grow while it lives.
        let (row, counts) = try environment.read { transaction throws(LMDBError) -> (QueueRow?, Counts) in
            var counts = Counts()
            guard let row = try tables.queue(name, transaction) else { return (nil, counts) }
            for database in [tables.messages, tables.history] {
                var next: UInt64? = 0
                while let start = next { next = try counts.add(database, of: row, from: start, tables, transaction) }
            }
            return (row, counts)
        }
        if let row { compare(counts, row) }
    }

    private mutating func compare(_ counts: Counts, _ row: QueueRow) {
        if counts != Counts(row) { report("\(place(row.number)): counts \(Counts(row)), has \(counts)") }
    }

    private func row(_ name: String) throws(LMDBError) -> QueueRow? {
        try environment.read { transaction throws(LMDBError) in try tables.queue(name, transaction) }
    }

    // MARK: Walking

    private typealias Check = (
        inout QueueVerification, _ key: [UInt8], _ value: [UInt8], borrowing LMDBReadTransaction
    ) throws(LMDBError) -> Void

    private mutating func walk(
        _ database: LMDBDatabase, withValues: Bool = true, _ check: Check
    ) throws(LMDBError) {
        var bound: [UInt8]? = []
        while let start = bound {
            bound = try environment.read { transaction throws(LMDBError) -> [UInt8]? in
                try transaction.withCursor(database) { cursor throws(LMDBError) -> [UInt8]? in
                    var found = try cursor.seek(start)
                    var count = 0
                    while found {
                        if count == Self.sliceCount { return cursor.key }
                        try check(&self, cursor.key, withValues ? cursor.value : [], transaction)
                        count += 1
                        found = try cursor.moveToNext()
                    }
                    return nil
                }
            }
        }
    }
}
