internal import System

/// What a query may still take.
final class QueryBudget {
    private let clock: any NodeClock
    private let limits: QueryLimits
    private let deadline: Instant
    private var bytesLeft: Int
    private var rowCount = 0

    init(_ clock: any NodeClock, _ limits: QueryLimits) {
        self.clock = clock
        self.limits = limits
        deadline = clock.now() + limits.time
        bytesLeft = limits.bytesMax
    }

    func charge(_ byteCount: Int) throws(SQLError) {
        bytesLeft -= byteCount
        guard bytesLeft >= 0 else {
            throw SQLError("the query needs more than \(limits.bytesMax >> 20) MiB of memory: ask for fewer rows or groups")
        }
    }

    func release(_ byteCount: Int) { bytesLeft += byteCount }

    /// Called for each row that is looked at.
    func tick() throws(SQLError) {
        rowCount += 1
        // One row may take long: a pattern or a position in a long text.
        guard rowCount & 15 == 0, clock.now() > deadline else { return }
        throw SQLError("the query took longer than \(limits.time.components.seconds) s: ask for a shorter time")
    }
}

/// Rows with their columns: what a SELECT makes.
struct SQLTable {
    var columns: [SQLBinder.Column] = []
    var rows: [[SQLValue]] = []
}

/// Runs one statement. Blocks while it reads.
struct SQLExecution {
    private let source: any PointSource
    private let limits: QueryLimits
    private let budget: QueryBudget
    private let now: Int64

    init(_ source: any PointSource, _ clock: any NodeClock, _ limits: QueryLimits) {
        self.source = source
        self.limits = limits
        budget = QueryBudget(clock, limits)
        now = clock.wallTime().seconds
    }

    func run(_ statement: SQLStatement) throws(SQLError) -> SQLAnswer {
        do throws(SQLError) {
            let table: SQLTable
            switch statement.kind {
            case .select(let select): table = try self.select(select)
            case .showTables: table = Self.list("dataset", source.datasets())
            case .showTimezones: table = Self.list("timezone", SQLFunctions.timezones)
            case .showTimezone: table = Self.list("timezone", ["Etc/UTC"])
            }
            return try SQLAnswer(table, statement.format, bytesMax: limits.bytesMax)
        } catch { throw error.located(in: statement.text) }
    }

    private static func list(_ name: String, _ values: [String]) -> SQLTable {
        SQLTable(columns: [.init(name: name, type: .string)], rows: values.map { [.string($0)] })
    }

    // MARK: SELECT

    private func select(_ select: SQLSelect) throws(SQLError) -> SQLTable {
        let input: SQLTable?
        let columns: [SQLBinder.Column]
        switch select.source {
        case .none: (input, columns) = (SQLTable(rows: [[]]), [])
        case .table(let name, let offset):
            guard source.datasets().contains(name) else {
                let near = SQLNames.nearest(to: name, among: source.datasets())
                throw SQLError(
                    "unknown table \"\(name)\"" + (near.map { "; did you mean \"\($0)\"?" } ?? ": nothing was written to it"),
                    at: offset)
            }
            (input, columns) = (nil, PointColumns.all)
        case .subquery(let inner):
            let table = try self.select(inner)
            (input, columns) = (table, table.columns)
        }
        let plan = try SQLPlan(select, columns: columns, now: now)
        let collector = SQLCollector(plan, budget)
        if let input {
            let row = SQLRow()
            for values in input.rows {
                try budget.tick()
                row.columns = plan.slots.map { values[$0] }
                guard try collector.add(row) else { break }
            }
        } else if case .table(let name, _) = select.source {
            try scan(name, plan, into: collector)
        }
        return try collector.finish()
    }

    private func scan(_ dataset: String, _ plan: SQLPlan, into collector: SQLCollector) throws(SQLError) {
        do throws(SystemError) {
            for segment in try source.segments(of: dataset) {
                // The hours that the filter can't be true in.
                guard plan.times.overlaps(segment.hour * 3600...(segment.hour * 3600 + 3599)) else { continue }
                let reader = try SegmentReader(
                    segment.path, byteCount: segment.byteCount, isSetAside: segment.isSetAside)
                let row = SQLRow()
                while let payload = try reader.next() {
                    guard let point = PointRecord(reader.buffer, payload) else { break }
                    let result: Result<Bool, SQLError>
                    do throws(SQLError) {
                        try budget.tick()
                        row.columns = plan.slots.map { PointColumns.value($0, of: point, reader.buffer, dataset) }
                        result = .success(try collector.add(row))
                    } catch { result = .failure(error) }
                    switch result {
                    case .success(true): continue
                    case .success(false): return
                    case .failure(let error):
                        collector.failure = error
                        return
                    }
                }
            }
        } catch {
            throw SQLError("the points can't be read: \(error)")
        }
    }
}

/// The columns of a dataset's table.
enum PointColumns {
    static let all: [SQLBinder.Column] =
        [
            .init(name: "dataset", type: .string), .init(name: "timestamp", type: .dateTime),
            .init(name: "_sample_interval", type: .uint32), .init(name: "index1", type: .string),
        ] + (1...20).map { .init(name: "blob\($0)", type: .string) }
        + (1...20).map { .init(name: "double\($0)", type: .float64) }

    /// What wasn't written is an empty text, or 0.
    static func value(_ column: Int, of point: PointRecord, _ bytes: [UInt8], _ dataset: String) -> SQLValue {
        switch column {
        case 0: .string(dataset)
        case 1: .time(CalendarTime.floorDivide(point.milliseconds, 1000))
        case 2: .integer(1)
        case 3: .string(String(decoding: bytes[point.index], as: UTF8.self))
        case 4..<24:
            .string(column - 4 < point.blobs.count ? String(decoding: bytes[point.blobs[column - 4]], as: UTF8.self) : "")
        default: .double(column - 24 < point.doubles.count ? point.doubles[column - 24] : 0)
        }
    }
}
