package import Interfaces
package import Observability
internal import SQLite
package import Stores
internal import Synchronization
package import System
internal import TenantSQL

/// The databases of one tenant as SQLite files in one directory. Safe on any thread.
package final class EmbeddedD1Store: D1Store {
    private struct State {
        var engines: [String: D1Engine] = [:]
        /// When databases were restored lately.
        var restores: [String: [Instant]] = [:]
        /// Deleted ones, which no call may make anew; and in the order in which they were deleted.
        var retired: Set<String> = []
        var retiredInOrder: [String] = []
        var isClosed = false
    }
    let directory: String
    private let limits: D1Limits
    private let clock: any NodeClock
    private let logger: Logger
    /// What `served_by_region` says.
    package let region: String
    private let faults: D1Faults
    package let incoming: Budget
    let answers: Budget
    let writes: Budget
    private let usage: D1Usage
    private let state = Mutex(State())

    /// The format of the directory; raised when an older node could no longer read it.
    private static let format = "edge-d1 1"

    /// Opens the directory, making it when it is missing. Blocks; databases are opened by their first calls.
    ///
    /// - Parameters:
    ///   - directory: Nobody else writes there. One process at a time.
    ///   - region: What `served_by_region` says.
    package init(
        directory: String, clock: any NodeClock, logger: Logger, limits: D1Limits = D1Limits(),
        region: String = "WEUR", faults: D1Faults = .none
    ) throws(D1StoreError) {
        self.directory = directory
        self.limits = limits
        self.clock = clock
        self.logger = logger
        self.region = region
        self.faults = faults
        incoming = Budget(limits.incomingBytesMax, clock: clock)
        answers = Budget(limits.heldReplyBytesMax, clock: clock)
        writes = Budget(limits.writtenBytesMaxInAll, clock: clock)
        // The last net below the limits of single calls: what all databases of the process may take together.
        SQLiteProcess.setHeapLimit(byteCount: max(256 << 20, FileSystem.memoryByteCount / 2))
        do {
            try FileSystem.makeDirectory(directory, faults)
            var found: [String: Int64] = [:]
            for name in try FileSystem.names(in: directory) where name.hasSuffix(".sqlite") {
                found["\(directory)/\(name)"] = FileSystem.byteCount(of: "\(directory)/\(name)")
            }
            usage = D1Usage(found, limits: limits, clock: clock, logger: logger)
            SQLiteProcess.setTemporaryDirectory(directory)
            // What was to take another file's place when the process ended.
            for name in try FileSystem.names(in: directory) where name.hasSuffix(".new") {
                try FileSystem.remove("\(directory)/\(name)", faults)
            }
            let formatPath = directory + "/format"
            if let found = try FileSystem.read(formatPath, faults) {
                guard found.split(separator: "\n").first.map(String.init) == Self.format else {
                    throw D1StoreError.unknownFormat(
                        directory: directory, found: found, expected: Self.format)
                }
            } else {
                try FileSystem.replace(formatPath, with: Self.format + "\n", faults)
            }
        } catch let error as D1StoreError {
            throw error
        } catch {
            throw .cannotOpen(directory: directory, reason: "\(error)")
        }
    }

    package func run(_ request: D1Request, on database: String) async throws(D1Failure) -> D1Answer {
        var session: D1SessionDemand?
        if let demand = request.session { session = try D1SessionDemand(demand) }
        let work: D1Work =
            switch request.work {
            case .query(let statements, let take): .query(statements, take)
            case .exec(let text): .exec(text)
            }
        return try await engine(for: database).run(work, session: session)
    }

    package func runEach(_ statements: [D1Request.Statement], on database: String) async throws(D1Failure) -> D1Answer {
        try await engine(for: database).run(.each(statements), session: nil)
    }

    package func runScript(_ texts: [String], on database: String) async throws(D1Failure) {
        _ = try await engine(for: database).run(.script(texts), session: nil)
    }

    package func bookmark(of database: String) async throws(D1Failure) -> String {
        let reply = try await engine(for: database).run(.bookmark, session: .any)
        guard let bookmark = try? D1ReplyReader(decoding: reply.bytes).bookmark else { throw .closed }
        return bookmark
    }

    package func timeTravelInfo(
        of database: String, at point: D1PointInTime?
    ) async throws(D1Failure) -> D1TimeTravelInfo {
        try await engine(for: database).perform { try $0.timeTravelInfo(point) }
    }

    package func restore(_ database: String, to point: D1PointInTime) async throws(D1Failure) -> D1Restored {
        guard try !engine(for: database).isFrozen else { throw .frozen }
        return try await restoreEvenFrozen(database, to: point)
    }

    /// As `restore`, also while writes are refused: for whoever has them refused.
    package func restoreEvenFrozen(_ database: String, to point: D1PointInTime) async throws(D1Failure) -> D1Restored {
        let engine = try engine(for: database)
        let now = clock.now()
        let mayRestore = state.withLock { state -> Bool in
            let recent = state.restores[database, default: []].filter { now - $0 < limits.restoresPeriod }
            guard recent.count < limits.restoresMax else { return false }
            state.restores[database] = recent + [now]
            return true
        }
        guard mayRestore else { throw .tooManyRestores }
        do throws(D1Failure) { return try await engine.perform { try $0.restore(point) } } catch {
            // One that was refused restored nothing.
            state.withLock { state in
                if let index = state.restores[database]?.firstIndex(of: now) { state.restores[database]?.remove(at: index) }
            }
            throw error
        }
    }

    package func branch(
        _ database: String, at point: D1PointInTime?, to target: String
    ) async throws(D1Failure) {
        let path = path(of: target)
        // Calls that come meanwhile find a closed engine and don't make the file.
        let reserved = try engine(for: target)
        await reserved.close()
        defer { forget(reserved, target) }
        guard !FileSystem.exists(path) else { throw D1Failure("there is a database \(target) already") }
        let image = path + ".new"
        do throws(D1Failure) {
            try await engine(for: database).perform { try $0.branch(at: point, to: image) }
        } catch {
            try? FileSystem.remove(image, faults)
            throw error
        }
        do {
            // What an interrupted deletion left behind must not be taken for the new database's.
            try removeCompanions(of: path)
            try FileSystem.rename(image, to: path, faults)
            try FileSystem.synchronizeDirectory(directory, faults)
        } catch { throw D1Failure("\(error)") }
    }

    package func export(
        _ database: String, _ options: D1DumpOptions, to path: String
    ) async throws(D1Failure) -> D1Exported {
        let temporary = path + ".new"
        do throws(D1Failure) {
            let exported = try await engine(for: database).read { [faults] connection, bookmark, mayContinue in
                var export = try D1Export(
                    connection, to: try PositionedFile.openToWrite(temporary, .empty, faults), options, mayContinue: mayContinue
                )
                try export.run()
                return D1Exported(bookmark: bookmark.description, byteCount: export.byteCount)
            }
            do { try FileSystem.rename(temporary, to: path, faults) } catch { throw D1Failure("\(error)") }
            return exported
        } catch {
            try? FileSystem.remove(temporary, faults)
            throw error
        }
    }

    package func importFile(_ path: String, into database: String) async throws(D1Failure) -> D1Imported {
        let engine = try engine(for: database)
        guard !engine.isFrozen else { throw .frozen }
        return try await engine.perform { try $0.importFile(path) }
    }

    package var importBytesMax: Int { limits.importBytesMax }

    package func verify(_ database: String) async throws(D1Failure) -> [String] {
        let engine = try engine(for: database)
        let path = path(of: database)
        let problems = try await engine.read { connection, _, _ in
            let statement = try connection.prepare("PRAGMA quick_check(100)")
            var found: [String] = []
            do throws(SQLiteError) {
                while try statement.step() { if let text = statement.text(0), text != "ok" { found.append(text) } }
            } catch {
                // So damaged that the library can't go on looking: that is a finding, and no reason to find nothing.
                guard error.isDamage else { throw error }
                found.append("\(path): the check ended: \(error)")
            }
            return found
        }
        return problems + (try await engine.perform { try $0.archiveProblems() })
    }

    /// Lets a closed engine's name go.
    private func forget(_ engine: D1Engine, _ database: String) {
        let path = path(of: database)
        state.withLock { state in
            guard state.engines[database] === engine else { return }
            state.engines[database] = nil
            // In the same step: a database of this name that is made from now on has a place of its own.
            if FileSystem.exists(path) {
                usage.update(path, FileSystem.byteCount(of: path))
            } else {
                usage.deregister(path)
            }
        }
    }

    /// Removes what stands beside a database that isn't there.
    private func removeCompanions(of path: String) throws {
        try HistoryArchive.remove(path + ".archive/", ownsDirectory: true, faults)
        for suffix in ["-wal", "-shm", ".timeline"] { try FileSystem.remove(path + suffix, faults) }
        try FileSystem.synchronizeDirectory(directory, faults)
    }

    package func delete(_ database: String) async throws(D1Failure) {
        let path = path(of: database)
        // Also one that isn't open: calls that come meanwhile must find a closed engine, not open the files.
        let engine = try engine(for: database, evenRetired: true)
        await engine.close()
        defer {
            forget(engine, database)
            state.withLock { $0.restores[database] = nil }
        }
        do {
            // The database is gone once its main file durably is: SQLite removes a log that stands beside no
            // database. The other way round, an interruption would leave a file without its newest pages.
            try FileSystem.remove(path, faults)
            try FileSystem.synchronizeDirectory(directory, faults)
            try removeCompanions(of: path)
        } catch { throw D1Failure("\(error)") }
    }

    package func close() async {
        let engines = state.withLock { state in
            state.isClosed = true
            return Array(state.engines.values)
        }
        for engine in engines { await engine.close() }
    }

    /// How many calls wait for `database` now, those that run not counted.
    package func waitingCallCount(of database: String) -> Int {
        state.withLock { $0.engines[database] }?.waitingCallCount ?? 0
    }

    /// Asks whether there may be databases of these names: nothing is made, and no place is taken.
    ///
    /// - Throws: when the tenant would have more than it may have.
    package func checkRoom(for databases: Set<String>) throws(D1Failure) {
        guard usage.hasRoom(for: Set(databases.map { path(of: $0) })) else { throw .tooManyDatabases(limits.databasesMax) }
    }

    /// What all databases take, as far as it is known: one that wasn't opened yet, by its file.
    package var usedByteCount: Int64 { usage.byteCount }
    package var databaseCount: Int { usage.databaseCount }

    /// The bytes of a database, as above; `nil` while it has no file.
    package func byteCount(of database: String) -> Int64? { usage.byteCount(of: path(of: database)) }

    /// Databases that have a file: the tenant's, not our own.
    package var databaseNames: [String] {
        get throws(D1Failure) {
            let names: [String]
            do { names = try FileSystem.names(in: directory) } catch { throw D1Failure("\(error)") }
            return names.filter { $0.hasSuffix(".sqlite") }.map { Self.name(ofFile: $0) }.filter { !$0.contains("/") }.sorted()
        }
    }

    // MARK: Deleted databases

    /// Deleted ones that are remembered: as many as a tenant may have.
    private static let retiredMax = 50_000

    /// Lets all calls on `database` but its deletion fail from now on.
    package func retire(_ database: String) {
        state.withLock { state in
            guard state.retired.insert(database).inserted else { return }
            state.retiredInOrder.append(database)
            if state.retiredInOrder.count > Self.retiredMax { state.retired.remove(state.retiredInOrder.removeFirst()) }
        }
    }

    package func reinstate(_ database: String) {
        state.withLock { state in
            guard state.retired.remove(database) != nil else { return }
            state.retiredInOrder.removeAll { $0 == database }
        }
    }

    // MARK: Engines

    /// - Parameter evenRetired: For those who remove it.
    func engine(for database: String, evenRetired: Bool = false) throws(D1Failure) -> D1Engine {
        let found = try state.withLock { state throws(D1Failure) -> (D1Engine, isNew: Bool)? in
            guard !state.isClosed else { return nil }
            guard evenRetired || !state.retired.contains(database) else { throw .noDatabase(database) }
            if let engine = state.engines[database] { return (engine, !engine.isOpen) }
            let path = path(of: database)
            try usage.register(path)
            let logger = logger.with("database", database)
            let engine = D1Engine(
                D1Surroundings(
                    path: path, limits: limits, clock: clock, logger: logger, region: region, faults: faults,
                    answers: answers, writes: writes, damage: D1DamageReport(of: path, to: logger), usage: usage))
            state.engines[database] = engine
            return (engine, true)
        }
        guard let (engine, isNew) = found else { throw .closed }
        if isNew { retireIdle(except: engine) }
        return engine
    }

    /// Before a database is opened: closes the one that has been idle longest when too many are open.
    private func retireIdle(except opening: D1Engine) {
        let open = state.withLock { $0.engines.values.filter { $0 !== opening && $0.isOpen } }
        guard open.count >= limits.openDatabasesMax else { return }
        let idle = open.compactMap { engine in engine.idleSince.map { (engine, $0) } }
        idle.min { $0.1 < $1.1 }?.0.retire()
    }

    /// What `path(of:)` made a file's name of.
    private static func name(ofFile file: String) -> String {
        var bytes: [UInt8] = []
        var rest = Array(file.utf8.dropLast(".sqlite".utf8.count))[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The file of a database: its name with everything but letters, digits, `-` and `_` in hexadecimal.
    private func path(of database: String) -> String { "\(directory)/\(Self.file(of: database))" }

    static func file(of database: String) -> String {
        var name = ""
        for byte in database.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                name.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16)
                name += "%" + (digits.utf8.count == 1 ? "0" : "") + digits
            }
        }
        return name + ".sqlite"
    }
}

/// Why a tenant's databases can't be served at all.
package enum D1StoreError: Error, Equatable, Sendable, CustomStringConvertible {
    case cannotOpen(directory: String, reason: String)
    case unknownFormat(directory: String, found: String, expected: String)

    package var description: String {
        switch self {
        case .cannotOpen(let directory, let reason): "\(directory): cannot be opened: \(reason)"
        case .unknownFormat(let directory, let found, let expected):
            "\(directory): has format \"\(found.prefix(40).filter { !$0.isNewline })\", this node knows \"\(expected)\"; "
                + "use the version of edge that wrote it, or a newer one"
        }
    }
}
