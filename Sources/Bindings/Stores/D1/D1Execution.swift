internal import Interfaces
internal import SQLite
internal import Stores
internal import System

/// Runs the work of one call on one connection, inside a transaction that its owner has opened, and writes
/// the reply.
struct D1Execution {
    enum Outcome {
        /// The reply, complete but for its end.
        case reply(D1ReplyWriter)
        /// A statement writes, or changes the connection, and this is a reader. Nothing has been changed.
        case needsWriter
    }

    let connection: D1Connection
    /// What a statement on a reader reports: the database's state when its snapshot was taken.
    let size: Int64
    let lastRowID: Int64
    /// Whether a statement changed pragmas, or may have renamed a table: its owner sets that right before the
    /// call ends.
    private(set) var setPragmas = false
    private(set) var alteredTables = false
    /// What a long reply counts against, and its share, taken as the reply grows.
    private let answers: Budget
    private(set) var share: Budget.Share?
    /// A reply up to this size isn't counted.
    private static let freeReplyBytes = 256 << 10
    /// Shares grow by this much at a time.
    private static let shareBytesStep = 1 << 20

    init(_ connection: D1Connection, answers: Budget, size: Int64 = 0, lastRowID: Int64 = 0) {
        self.connection = connection
        self.answers = answers
        self.size = size
        self.lastRowID = lastRowID
    }

    mutating func run(_ work: D1Work) throws(D1Failure) -> Outcome {
        switch work {
        case .query(let statements, let take):
            guard !statements.isEmpty else { throw .noStatement }
            var reply = D1ReplyWriter()
            for statement in statements {
                guard statement.sql.utf8.count <= connection.limits.statementBytesMax else {
                    throw .statementTooLong
                }
                guard try run(statement, take, into: &reply) else { return .needsWriter }
            }
            return .reply(reply)
        case .each(let statements):
            guard !statements.isEmpty else { throw .noStatement }
            var reply = D1ReplyWriter()
            for statement in statements {
                guard statement.sql.utf8.count <= connection.limits.statementBytesMax else {
                    throw .statementTooLong
                }
                guard try runEach(of: statement, into: &reply) else { return .needsWriter }
            }
            return .reply(reply)
        case .exec(let text):
            let start = connection.clock.now()
            let count = try runLines(text)
            return .reply(
                D1ReplyWriter(execCount: count, duration: milliseconds(connection.clock.now() - start)))
        case .script(let texts):
            var count = 0
            for (index, text) in texts.enumerated() {
                do throws(D1Failure) {
                    var script = SQLiteScript(text)
                    count += try runAll(&script)
                } catch {
                    var failure = error
                    failure.part = .text(index)
                    throw failure
                }
            }
            return .reply(D1ReplyWriter(execCount: count, duration: 0))
        case .bookmark: return .reply(D1ReplyWriter())
        case .job: return .needsWriter
        }
    }

    // MARK: Texts

    /// Runs the statements of one text; the rows are the last one's. `false` when it needs the writer.
    private mutating func run(
        _ request: D1Request.Statement, _ take: D1Request.Take, into reply: inout D1ReplyWriter
    ) throws(D1Failure) -> Bool {
        let before = try State(connection)
        if let known = connection.statements.entry(for: request.sql) {
            return try run(known, request, take, since: before, into: &reply)
        }
        var script = SQLiteScript(request.sql)
        guard !script.isAtEnd else { throw .noStatement }
        var isFirst = true
        while true {
            guard let statement = try prepare(&script, persistent: isFirst) else { return false }
            if script.isAtEnd {
                // A text of one statement, which is nearly every text, is kept for the next time.
                if isFirst, !statement.notes.setsPragma {
                    connection.statements.insert(statement, for: request.sql)
                }
                return try run(statement, request, take, since: before, into: &reply)
            }
            isFirst = false
            guard statement.sqlite.parameterCount == 0 else { throw .parametersBeforeLast }
            guard connection.role == .writer || statement.isForReaders else { return false }
            try runIgnoringRows(statement)
        }
    }

    /// Runs the statements of one text, each with a result of its own; the parameters are the last one's. `false` when that
    /// needs the writer.
    private mutating func runEach(
        of request: D1Request.Statement, into reply: inout D1ReplyWriter
    ) throws(D1Failure) -> Bool {
        var script = SQLiteScript(request.sql)
        guard !script.isAtEnd else { throw .noStatement }
        while !script.isAtEnd {
            let before = try State(connection)
            guard let statement = try prepare(&script, persistent: false) else { return false }
            var own = request
            if !script.isAtEnd {
                guard statement.sqlite.parameterCount == 0 else { throw .parametersBeforeLast }
                own.parameters = []
            }
            guard try run(statement, own, .allRows, since: before, into: &reply) else { return false }
        }
        return true
    }

    /// Runs each line of an `exec`; returns how many held statements.
    private mutating func runLines(_ text: String) throws(D1Failure) -> Int {
        var count = 0
        // By bytes: to a String, CR and LF together are one character, and not a line's end. One by one: a text may have
        // millions of empty lines.
        var rest: Substring.UTF8View? = text.utf8[...]
        var number = 0
        while let start = rest {
            let end = start.firstIndex(of: UInt8(ascii: "\n"))
            rest = end.map { start[start.index(after: $0)...] }
            number += 1
            var bytes = end.map { start[..<$0] } ?? start
            if bytes.last == UInt8(ascii: "\r") { bytes = bytes.dropLast() }
            if bytes.isEmpty { continue }
            let line = String(Substring(bytes))
            do throws(D1Failure) {
                var script = SQLiteScript(line)
                guard !script.isAtEnd else { continue }
                guard line.utf8.count <= connection.limits.statementBytesMax else { throw .statementTooLong }
                _ = try runAll(&script)
                count += 1
            } catch {
                var failure = error
                failure.part = .line(number, D1Failure.shortened(line))
                throw failure
            }
        }
        guard count > 0 else { throw .noStatement }
        return count
    }

    /// Runs what is left of `script`; returns how many statements that was.
    private mutating func runAll(_ script: inout SQLiteScript) throws(D1Failure) -> Int {
        var count = 0
        while !script.isAtEnd {
            guard let statement = try prepare(&script, persistent: false) else { return count }
            guard statement.sqlite.parameterCount == 0 else { throw .bindingCount }
            try runIgnoringRows(statement)
            count += 1
        }
        return count
    }

    // MARK: Statements

    /// Prepares the next statement; `nil` when that is the writer's to do. Notes what preparing alone may
    /// have done already.
    private mutating func prepare(
        _ script: inout SQLiteScript, persistent: Bool
    ) throws(D1Failure) -> D1Statement? {
        defer {
            if connection.authorizer.notes.setsPragma { setPragmas = true }
            if connection.authorizer.notes.altersTable { alteredTables = true }
        }
        return try connection.prepare(&script, persistent: persistent)
    }

    private func runIgnoringRows(_ statement: D1Statement) throws(D1Failure) {
        defer { statement.sqlite.reset() }
        connection.knownSize = nil
        do {
            while try statement.sqlite.step() {}
        } catch { throw connection.failure(error) }
    }

    private mutating func run(
        _ statement: D1Statement, _ request: D1Request.Statement, _ take: D1Request.Take, since before: State,
        into reply: inout D1ReplyWriter
    ) throws(D1Failure) -> Bool {
        guard connection.role == .writer || statement.isForReaders else { return false }
        if statement.notes.altersTable { alteredTables = true }
        guard statement.sqlite.parameterCount == request.parameters.count else { throw .bindingCount }
        defer {
            statement.sqlite.reset()
            if !request.parameters.isEmpty { statement.sqlite.clearBindings() }
        }
        do {
            try bind(request.parameters, to: statement.sqlite)
            // Before it runs: what CREATE TABLE does can't be explained afterwards.
            statement.prepareProfile(on: connection)
            let changesBefore = connection.sqlite.totalChanges
            let rows = try writeRows(statement, take, into: &reply)
            let meta = try meta(statement, rows, changesBefore: changesBefore, since: before)
            reply.endResult(meta)
        } catch let error as SQLiteError {
            throw connection.failure(error)
        } catch let failure as D1Failure {
            throw failure
        } catch {
            throw D1Failure("\(error)")
        }
        return true
    }

    private func bind(_ values: [D1Value], to statement: SQLiteStatement) throws {
        for (index, value) in values.enumerated() {
            switch value {
            case .null: break  // What isn't bound is NULL.
            case .integer(let value): try statement.bind(value, at: index + 1)
            case .real(let value): try statement.bind(value, at: index + 1)
            case .text(let value):
                guard value.utf8.count <= connection.limits.valueBytesMax else { throw D1Failure.tooBig }
                try statement.bind(value, at: index + 1)
            case .blob(let value):
                guard value.count <= connection.limits.valueBytesMax else { throw D1Failure.tooBig }
                try statement.bind(value, at: index + 1)
            }
        }
    }

    /// What running a statement showed.
    private struct Rows {
        var count = 0
        /// The first value of the only row, if it is an integer.
        var firstInteger: Int64?
    }

    /// Takes what the reply has come to out of the tenant's budget.
    private mutating func count(_ reply: D1ReplyWriter) throws(D1Failure) {
        guard reply.byteCount <= connection.limits.replyBytesMax else { throw .exceededMemory }
        guard reply.byteCount > max(Self.freeReplyBytes, share?.amount ?? 0) else { return }
        let wanted = min(reply.byteCount + Self.shareBytesStep, answers.total)
        guard reply.byteCount <= wanted else { throw .overloadedQueue }
        if let share {
            guard share.grow(to: wanted) else { throw .overloadedQueue }
        } else {
            guard let first = answers.tryAcquire(wanted) else { throw .overloadedQueue }
            share = first
        }
    }

    private mutating func writeRows(
        _ statement: D1Statement, _ take: D1Request.Take, into reply: inout D1ReplyWriter
    ) throws -> Rows {
        let sqlite = statement.sqlite
        var rows = Rows()
        var hasRow = try sqlite.step()
        statement.refresh()
        reply.beginResult(columns: statement.columns)
        while hasRow {
            rows.count += 1
            if rows.count == 1 || take == .allRows {
                for column in 0..<statement.columnCount { write(sqlite, column, into: &reply) }
                reply.endRow()
                try count(reply)
            } else if sqlite.isReadOnly {
                break  // Nobody looks at the rest, and it has no effect.
            }
            if rows.count == 1, sqlite.columnKind(0) == .integer { rows.firstInteger = sqlite.integer(0) }
            hasRow = try sqlite.step()
        }
        return rows
    }

    @inline(__always)
    private func write(_ statement: SQLiteStatement, _ column: Int, into reply: inout D1ReplyWriter) {
        switch statement.columnKind(column) {
        case .null: reply.putNull()
        case .integer: reply.put(integer: statement.integer(column))
        case .real: reply.put(real: statement.real(column))
        // SAFETY: the writer copies the bytes it is lent.
        case .text: unsafe statement.withBytes(column) { unsafe reply.put(text: $0) }
        case .blob: unsafe statement.withBytes(column) { unsafe reply.put(blob: $0) }
        }
    }

    // MARK: Meta

    /// The connection before a text ran.
    private struct State {
        let start: Instant
        let totalChanges: Int64
        let lastRowID: Int64
        let size: Int64

        init(_ connection: D1Connection) throws(D1Failure) {
            start = connection.clock.now()
            totalChanges = connection.sqlite.totalChanges
            lastRowID = connection.sqlite.lastInsertRowID
            do {
                size = connection.role == .writer ? try connection.databaseByteCount() : 0
            } catch { throw connection.failure(error) }
        }
    }

    private func meta(
        _ statement: D1Statement, _ rows: Rows, changesBefore: Int64, since before: State
    ) throws -> D1Meta {
        let profile = statement.profile(on: connection)
        let scanSteps = statement.sqlite.counter(.fullScanSteps, resetting: true)
        var meta = D1Meta()
        meta.rowsRead = profile.rowsRead(
            scanSteps: scanSteps, rows: rows.count, firstCount: rows.count == 1 ? rows.firstInteger : nil)
        switch connection.role {
        case .reader:
            meta.lastRowID = lastRowID
            meta.sizeAfter = size
        case .writer:
            let changes = connection.sqlite.totalChanges
            // Only the statement itself counts as written, but all statements of the text as changes.
            if !statement.sqlite.isReadOnly {
                meta.rowsWritten = profile.rowsWritten(changes: changes - changesBefore)
                connection.knownSize = nil
            }
            meta.changes = changes - before.totalChanges
            meta.lastRowID = connection.sqlite.lastInsertRowID
            meta.sizeAfter = try connection.databaseByteCount()
            meta.changedDB =
                meta.changes != 0 || meta.lastRowID != before.lastRowID || meta.sizeAfter != before.size
        }
        meta.duration = milliseconds(connection.clock.now() - before.start)
        return meta
    }

    private func milliseconds(_ duration: Duration) -> Double {
        Double(duration.wholeNanoseconds) / 1_000_000
    }
}
