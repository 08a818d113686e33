package import Interfaces
internal import SQLite
internal import System
internal import TenantSQL

/// An import that is in the database.
package struct D1Imported: Sendable, Equatable {
    /// The states before and after it.
    package let previousBookmark: String
    package let bookmark: String
    package let statementCount: Int
    /// What it did; rows read and written aren't counted.
    package let meta: D1Meta
}

extension D1Writer {
    /// Runs all SQL of the file at `path` as one transaction. Other writers wait, readers don't.
    func importFile(_ path: String) throws -> D1Imported {
        guard let file = try PositionedFile.openToRead(path) else { throw D1Failure("\(path): no such file") }
        guard file.byteCount <= surroundings.limits.importBytesMax else { throw D1Failure.exceededSize }
        let previous = position
        let (start, changesBefore) = (surroundings.clock.now(), connection.sqlite.totalChanges)
        var reader = D1ImportReader(file, statementBytesMax: surroundings.limits.importStatementBytesMax)
        connection.sqlite.setLimit(.statementBytes, Int32(surroundings.limits.importStatementBytesMax))
        defer { connection.sqlite.setLimit(.statementBytes, Int32(surroundings.limits.statementBytesMax)) }
        connection.beginCall(until: surroundings.clock.now() + surroundings.limits.importDuration, hasWriteLimit: false)
        defer { connection.endCall() }
        if let fault = surroundings.faults.failure(.begin) { throw fault }
        try connection.fit(to: surroundings.usage.byteCountMax(of: surroundings.path))
        try connection.control(connection.begin)
        var count = 0
        do {
            try runAll(&reader, &count)
            guard !connection.sqlite.hasUnresolvedForeignKeys else { throw D1Failure.foreignKey }
            guard try !connection.hasReservedNames() else { throw D1Failure.notAuthorized }
            try connection.resetPragmas()
            if let fault = surroundings.faults.failure(.commit) { throw fault }
            try connection.control(connection.commit)
        } catch {
            takeBack()
            let reason = (error as? SQLiteError).map(connection.failure) ?? error as? D1Failure ?? D1Failure("\(error)")
            throw D1Failure("statement \(count + 1): \(reason.text)")
        }
        connection.knownSize = nil
        advancePosition()
        var meta = D1Meta()
        meta.changes = connection.sqlite.totalChanges - changesBefore
        meta.lastRowID = position.lastRowID
        meta.sizeAfter = position.byteCount
        meta.changedDB =
            meta.changes != 0 || position.lastRowID != previous.lastRowID || position.byteCount != previous.byteCount
        meta.duration = Double((surroundings.clock.now() - start).wholeNanoseconds) / 1_000_000
        meta.servedByRegion = surroundings.region
        checkpointWhenDue()
        return D1Imported(
            previousBookmark: previous.bookmark.description, bookmark: position.bookmark.description, statementCount: count,
            meta: meta)
    }

    private func runAll(_ reader: inout D1ImportReader, _ count: inout Int) throws {
        // One pair around all is what tools write.
        var hasBegun = false
        while let text = try reader.next() {
            var script = SQLiteScript(bytes: text)
            guard !script.isAtEnd else { continue }
            if !hasBegun, script.nextKeyword == "BEGIN" {
                hasBegun = true
                continue
            }
            if hasBegun, ["COMMIT", "END"].contains(script.nextKeyword) { continue }
            guard let statement = try connection.prepare(&script, persistent: false) else { continue }
            guard statement.sqlite.parameterCount == 0 else { throw D1Failure.bindingCount }
            connection.knownSize = nil
            while try statement.sqlite.step() {}
            // What was cut must be one statement: nothing of a file is left out.
            guard script.isAtEnd else { throw D1Failure("there is more behind the statement's end") }
            // SQLite took all of it back.
            guard !connection.sqlite.isAutocommit else { throw D1Failure.closed }
            count += 1
        }
        if count == 0 { throw D1Failure.noStatement }
    }
}
