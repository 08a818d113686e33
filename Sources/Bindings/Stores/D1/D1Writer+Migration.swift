internal import SQLite
internal import System

extension D1Writer {
    /// Applies what is pending of a run in one transaction with its rows in the tables. Other writers wait, readers don't.
    ///
    /// - Throws: `D1MigrationFailure`; the database is then as it was.
    func migrate(_ run: D1MigrationRun) throws -> D1Migrated {
        let start = surroundings.clock.now()
        let previous = position.bookmark
        let tables = D1MigrationTables(run.table)
        if let fault = surroundings.faults.failure(.migrationBegin) { throw failure(fault) }
        connection.beginCall(until: start + run.duration, hasWriteLimit: false)
        defer { connection.endCall() }
        do {
            if let fault = surroundings.faults.failure(.begin) { throw fault }
            try connection.fit(to: surroundings.usage.byteCountMax(of: surroundings.path))
            // Only somebody else's process can have the file's lock.
            connection.sqlite.setBusyTimeout(milliseconds: Int32(clamping: run.lockTimeout.wholeMilliseconds))
            defer { connection.sqlite.setBusyTimeout(milliseconds: D1Connection.busyMilliseconds) }
            try connection.control(connection.begin)
        } catch let error as SQLiteError {
            if error.code == .busy { throw Self.isLocked(run.lockTimeout) }
            throw failure(error)
        }
        var applied: [String] = []
        do {
            let known = try knownMigrations(tables)
            for file in run.files {
                if try isApplied(file, known) { continue }
                try apply(file)
                try ownStatements(tables.record(file))
                applied.append(file.name)
            }
            let unmarked = run.files.filter { known[$0.name] == .some(nil) && $0.digest != nil }
            for file in unmarked { try ownStatements(tables.recordDigest(file)) }
            guard !applied.isEmpty || !unmarked.isEmpty else {
                // Nothing to do leaves no trace, not even empty tables.
                try connection.control(connection.rollback)
                connection.knownSize = nil
                return D1Migrated(
                    applied: [], previousBookmark: previous.description, bookmark: previous.description, duration: .zero)
            }
            try ownStatements(D1MigrationTables.recordRun(after: previous))
            guard !connection.sqlite.hasUnresolvedForeignKeys else { throw try unresolved() }
            guard try !connection.hasReservedNames() else { throw D1MigrationFailure(D1Failure.notAuthorized.text) }
            try connection.resetPragmas()
            if let fault = surroundings.faults.failure(.migrationCommit) { throw fault }
            try connection.control(connection.commit)
        } catch {
            takeBack()
            if let known = error as? D1MigrationFailure { throw known }
            throw failure(error, allowing: run.duration)
        }
        connection.knownSize = nil
        advancePosition()
        if let fault = surroundings.faults.failure(.migrationEnd) { throw failure(fault) }
        checkpointWhenDue()
        return D1Migrated(
            applied: applied, previousBookmark: previous.description, bookmark: position.bookmark.description,
            duration: surroundings.clock.now() - start)
    }

    static func isLocked(_ timeout: Duration) -> D1MigrationFailure {
        D1MigrationFailure(
            "database is locked: its writer was busy for \(timeout.wholeMilliseconds) ms (deploy.lock_timeout); "
                + "nothing was changed"
        )
    }

    private func failure(_ error: any Error, allowing duration: Duration? = nil) -> D1MigrationFailure {
        guard let error = error as? SQLiteError else { return D1MigrationFailure("\(error)") }
        let failure = connection.failure(error)
        guard let duration, failure == .exceededTime else { return D1MigrationFailure(failure.text) }
        return D1MigrationFailure("the migrations took longer than \(duration.wholeMilliseconds / 1000) s; nothing was changed")
    }

    // MARK: Bookkeeping

    private func ownStatements(_ text: String) throws(SQLiteError) {
        connection.authorizer.isTrusted = true
        defer { connection.authorizer.isTrusted = false }
        try connection.sqlite.execute(text)
    }

    /// What is in the tables, which are made when they are missing: the digest of each name, `nil` where it has none.
    private func knownMigrations(_ tables: D1MigrationTables) throws(SQLiteError) -> [String: String?] {
        try ownStatements(tables.creation)
        try ownStatements("PRAGMA defer_foreign_keys = ON")
        connection.authorizer.isTrusted = true
        defer { connection.authorizer.isTrusted = false }
        let (names, digests) = (SQLText.quoted(identifier: tables.names), SQLText.quoted(identifier: tables.digests))
        let statement = try connection.sqlite.prepare(
            "SELECT n.name, d.digest FROM \(names) n LEFT JOIN \(digests) d ON d.name = n.name")
        var known: [String: String?] = [:]
        while try statement.step() { if let name = statement.text(0) { known[name] = .some(statement.text(1)) } }
        return known
    }

    /// - Throws: when it was applied with another text.
    private func isApplied(_ file: D1Migration, _ known: [String: String?]) throws(D1MigrationFailure) -> Bool {
        guard let digest = known[file.name] else { return false }
        if let digest, let own = file.digest, digest != own { throw .changed(file.name, applied: digest, now: own) }
        return true
    }

    // MARK: Files

    private func apply(_ file: D1Migration) throws {
        let (text, _) = SQLText.blankingTransaction(file.text)
        var script = SQLiteScript(text)
        let lines = SQLScript(file.text)
        var start = script.nextOffset
        func failed(_ reason: String, at offset: Int) -> D1MigrationFailure {
            let place = lines.place(of: offset)
            return D1MigrationFailure(reason, at: .init(file: file.name, line: place.line, column: place.column))
        }
        while !script.isAtEnd {
            start = script.nextOffset
            let taken = script.takenByteCount
            do {
                guard let statement = try connection.prepare(&script, persistent: false) else { return }
                guard statement.sqlite.parameterCount == 0 else { throw D1Failure.bindingCount }
                connection.knownSize = nil
                while try statement.sqlite.step() {}
                // The library took all of it back.
                guard !connection.sqlite.isAutocommit else { throw D1Failure.closed }
            } catch let failure as D1Failure {
                // Where the library says which byte of the statement it is, that is the place.
                let offset = connection.lastPreparationOffset.map { taken + $0 } ?? start
                throw failed(failure.text, at: offset)
            } catch let error as SQLiteError {
                if error.code == .interrupted { throw error }
                throw failed(connection.failure(error).text, at: start)
            }
        }
    }

    /// Rows whose parents are missing, when all files have run.
    private func unresolved() throws -> D1MigrationFailure {
        connection.authorizer.isTrusted = true
        defer { connection.authorizer.isTrusted = false }
        let statement = try connection.sqlite.prepare("PRAGMA foreign_key_check")
        guard try statement.step() else {
            return D1MigrationFailure(
                "\(D1Failure.foreignKey.text); a table was dropped that rows of others refer to, which counts as deleting its "
                    + "rows: drop or rebuild the others first")
        }
        let (table, parent) = (statement.text(0) ?? "", statement.text(2) ?? "")
        return D1MigrationFailure(
            "\(D1Failure.foreignKey.text); row \(statement.integer(1)) of table \(table) refers to no row of \(parent)")
    }
}

extension D1MigrationFailure {
    /// A file that was applied and has another text now.
    package static func changed(_ file: String, applied: String, now: String) -> D1MigrationFailure {
        D1MigrationFailure(
            "\(file) has been applied, and its text is another one now (checksum \(applied) when it was applied, \(now) now): "
                + "put the old text back, and change the schema in a new file")
    }
}
