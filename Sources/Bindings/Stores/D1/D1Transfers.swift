internal import OpenSSL
package import Stores
internal import Synchronization
package import System
internal import TenantSQL

/// Imports and exports as REST has them: begun by one request and watched by others (spec: d1, section 10).
///
///     import: begun ──receive──▶ received ──ingest──▶ active ──▶ complete, error
///     export:          start ──▶ active ──▶ complete, error
///
/// One of each per database at a time; how it went can be asked for until the next one begins. Files go after an hour, and
/// none outlives the process: an import that the end of the process interrupted has changed nothing.
package final class D1Transfers: Sendable {
    package struct Limits: Sendable {
        /// Files that are uploaded, or wait to be fetched.
        package var filesMax = 32
        /// What uploads may take on the disk together.
        package var uploadBytesMax = 10_000_000_000
        package var lifetime = Duration.seconds(3600)

        package init() {}
    }

    private struct Upload {
        var database: String
        var etag: String
        var expiry: Instant
        var byteCount = 0
        var phase = Phase.begun

        enum Phase { case begun, receiving, received, ingesting }
    }
    private struct Export {
        var options: D1DumpOptions
        var status: D1TransferStatus
        var expiry: Instant
    }
    private struct State {
        var uploads: [String: Upload] = [:]
        /// By database: how the last one goes, or went.
        var imports: [String: (status: D1TransferStatus, etag: String, expiry: Instant)] = [:]
        var exports: [String: Export] = [:]
        /// Dumps that wait to be fetched.
        var dumps: [String: Instant] = [:]
        var files: BlockingPool?
    }
    private let store: any D1Store
    private let directory: String
    private let clock: any NodeClock
    private let limits: Limits
    private let state = Mutex(State())

    /// Makes the directory, or empties it. Blocks.
    package init(
        store: any D1Store, directory: String, clock: any NodeClock, limits: Limits = Limits()
    ) throws(SystemError) {
        self.store = store
        self.directory = directory
        self.clock = clock
        self.limits = limits
        try FileSystem.makeDirectory(directory)
        for name in try FileSystem.names(in: directory) { try FileSystem.remove("\(directory)/\(name)") }
    }

    // MARK: Import

    /// Prepares an import.
    ///
    /// - Parameter etag: MD5 of the file, 32 hexadecimal digits.
    /// - Returns: where the file is to be sent; `.underWay` when it is there already.
    package func beginImport(etag: String, into database: String) throws(D1TransferError) -> D1ImportStart {
        let etag = etag.lowercased()
        guard etag.utf8.count == 32, etag.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }) else {
            throw .invalid("etag: expected the MD5 of the file in 32 hexadecimal digits")
        }
        removeExpired()
        enum Found {
            case status(D1TransferStatus)
            case received(String)
            case new(String)
            case full
        }
        let name = Self.makeName()
        let found = state.withLock { state -> Found in
            if let running = state.imports[database], running.etag == etag, running.status.phase == .active {
                return .status(running.status)
            }
            if let known = state.uploads.first(where: { $0.value.etag == etag && $0.value.database == database }),
                known.value.phase == .received
            {
                return .received(known.key)
            }
            guard state.uploads.count + state.dumps.count < limits.filesMax else { return .full }
            state.uploads[name] = Upload(database: database, etag: etag, expiry: clock.now() + limits.lifetime)
            return .new(name)
        }
        switch found {
        case .status(let status): return .underWay(status)
        case .received(let name): return .underWay(try ingest(name, etag: etag, into: database))
        case .new(let name): return .upload(name)
        case .full: throw .tooMany(limits.filesMax)
        }
    }

    /// Takes the file that `beginImport` gave a name. What was sent before under that name is replaced.
    ///
    /// - Returns: the MD5 of what came, which is the announced one.
    package func receive(_ name: String, _ body: any BodySource) async throws(D1TransferError) -> String {
        removeExpired()
        let mayReceive = state.withLock { state -> Bool? in
            guard let upload = state.uploads[name] else { return nil }
            guard upload.phase == .begun || upload.phase == .received else { return false }
            state.uploads[name]?.phase = .receiving
            state.uploads[name]?.byteCount = 0
            return true
        }
        guard let mayReceive else {
            body.cancel()
            throw .noFile(name)
        }
        guard mayReceive else {
            body.cancel()
            throw .invalid("the file is being sent or read at this moment")
        }
        do throws(D1TransferError) {
            let etag = try await write(body, name)
            let wanted = state.withLock { state in
                state.uploads[name]?.phase = .received
                return state.uploads[name]?.etag
            }
            guard wanted == etag else {
                throw .invalid("etag: \(wanted ?? "") was announced, the file that came has \(etag)")
            }
            return etag
        } catch {
            body.cancel()
            state.withLock { state in
                state.uploads[name]?.phase = .begun
                state.uploads[name]?.byteCount = 0
            }
            await remove([name])
            throw error
        }
    }

    private func write(_ body: any BodySource, _ name: String) async throws(D1TransferError) -> String {
        let path = path(of: name)
        var digest = Digest(.md5)
        var offset = 0
        try await onDisk { () throws(SystemError) in _ = try PositionedFile.openToWrite(path, .empty) }
        while true {
            let piece: [UInt8]?
            do { piece = try await body.next() } catch { throw .failed(.closed) }
            guard let piece else { break }
            let hasRoom = state.withLock { state -> Bool in
                state.uploads[name]?.byteCount += piece.count
                return state.uploads.values.reduce(0) { $0 + $1.byteCount } <= limits.uploadBytesMax
            }
            guard hasRoom, offset + piece.count <= store.importBytesMax else { throw .failed(.exceededSize) }
            digest.update(piece)
            let start = offset
            try await onDisk { () throws(SystemError) in
                try PositionedFile.openToWrite(path, .keeping).write(piece[...], at: start)
            }
            offset += piece.count
        }
        return Self.hexadecimal(digest.finish())
    }

    /// Starts to run a file that was received.
    package func ingest(
        _ name: String, etag: String, into database: String
    ) throws(D1TransferError) -> D1TransferStatus {
        let active = D1TransferStatus(phase: .active, messages: ["Import started."])
        let failure = state.withLock { state -> D1TransferError? in
            guard let upload = state.uploads[name], upload.database == database else { return .noFile(name) }
            guard upload.etag == etag.lowercased() else { return .invalid("etag: the file was announced with \(upload.etag)") }
            guard upload.phase == .received else { return .invalid("filename: the file has not been uploaded") }
            guard state.imports[database]?.status.phase != .active else {
                return .invalid("another import of this database is running")
            }
            state.uploads[name]?.phase = .ingesting
            state.imports[database] = (active, upload.etag, clock.now() + limits.lifetime)
            return nil
        }
        if let failure { throw failure }
        // Ends with the import, which the store bounds; whoever began it only asks now and then.
        Task { await run(name, etag, into: database) }
        return active
    }

    private func run(_ name: String, _ etag: String, into database: String) async {
        var status: D1TransferStatus
        do throws(D1Failure) {
            let imported = try await store.importFile(path(of: name), into: database)
            status = D1TransferStatus(
                phase: .complete, messages: ["Processed \(imported.statementCount) queries."], bookmark: imported.bookmark)
            status.imported = imported
        } catch { status = D1TransferStatus(phase: .error, error: error.text) }
        let final = status
        await remove([name])
        state.withLock { state in
            state.uploads[name] = nil
            state.imports[database] = (final, etag.lowercased(), clock.now() + limits.lifetime)
        }
    }

    /// How the last import goes, or went.
    package func importStatus(of database: String) -> D1TransferStatus {
        removeExpired()
        return state.withLock { $0.imports[database]?.status }
            ?? D1TransferStatus(phase: .error, error: "Not currently importing anything.")
    }

    // MARK: Export

    /// Starts an export, unless one runs, or there is one of the same already: a client that asks again and again gets to its
    /// end.
    ///
    /// - Parameter bookmark: The newest state; `nil` when it isn't known.
    package func beginExport(
        of database: String, _ options: D1DumpOptions = D1DumpOptions(), at bookmark: String? = nil
    ) throws(D1TransferError) -> D1TransferStatus {
        removeExpired()
        let name = Self.makeName()
        let active = D1TransferStatus(phase: .active, messages: ["Export started."])
        let found = state.withLock { state -> Result<D1TransferStatus, D1TransferError>? in
            if let last = state.exports[database] {
                if last.status.phase == .active { return .success(last.status) }
                let isFresh = bookmark != nil && last.status.bookmark == bookmark && last.options == options
                if isFresh, last.status.fileName.map({ state.dumps[$0] != nil }) == true { return .success(last.status) }
            }
            guard state.uploads.count + state.dumps.count < limits.filesMax else { return .failure(.tooMany(limits.filesMax)) }
            state.dumps[name] = clock.now() + limits.lifetime
            state.exports[database] = Export(options: options, status: active, expiry: clock.now() + limits.lifetime)
            return nil
        }
        if let found { return try found.get() }
        Task { await run(name, of: database, options) }
        return active
    }

    private func run(_ name: String, of database: String, _ options: D1DumpOptions) async {
        var status: D1TransferStatus
        do throws(D1Failure) {
            let exported = try await store.export(database, options, to: path(of: name))
            status = D1TransferStatus(
                phase: .complete, messages: ["Exported \(exported.byteCount) bytes."], bookmark: exported.bookmark)
            status.fileName = name
        } catch { status = D1TransferStatus(phase: .error, error: error.text) }
        let final = status
        state.withLock { state in
            state.dumps[name] = final.phase == .complete ? clock.now() + limits.lifetime : nil
            state.exports[database] = Export(options: options, status: final, expiry: clock.now() + limits.lifetime)
        }
    }

    /// How the last export goes, or went.
    package func exportStatus(of database: String) -> D1TransferStatus {
        removeExpired()
        return state.withLock { $0.exports[database]?.status }
            ?? D1TransferStatus(phase: .error, error: "Not currently exporting anything.")
    }

    /// The file of a dump, for whoever knows its name. It stays there for the rest of its hour.
    ///
    /// - Throws: `.noFile`.
    package func dump(_ name: String) throws(D1TransferError) -> String {
        removeExpired()
        guard state.withLock({ $0.dumps[name] != nil }), FileSystem.exists(path(of: name)) else { throw .noFile(name) }
        return path(of: name)
    }

    // MARK: Files

    private func removeExpired() {
        let now = clock.now()
        let expired = state.withLock { state -> [String] in
            let uploads = state.uploads.filter { $0.value.expiry <= now && $0.value.phase != .ingesting }.map(\.key)
            for name in uploads { state.uploads[name] = nil }
            let dumps = state.dumps.filter { $0.value <= now }.map(\.key)
            for name in dumps { state.dumps[name] = nil }
            state.imports = state.imports.filter { $0.value.expiry > now || $0.value.status.phase == .active }
            state.exports = state.exports.filter { $0.value.expiry > now || $0.value.status.phase == .active }
            return uploads + dumps
        }
        guard !expired.isEmpty else { return }
        files.submit { for name in expired { try? FileSystem.remove(self.path(of: name)) } }
    }

    private func remove(_ names: [String]) async {
        await files.run { for name in names { try? FileSystem.remove(self.path(of: name)) } }
    }

    private func onDisk(_ body: @escaping @Sendable () throws(SystemError) -> Void) async throws(D1TransferError) {
        do throws(SystemError) { try await files.run(body) } catch { throw .failed(D1Failure("\(error)")) }
    }

    private var files: BlockingPool {
        state.withLock { state in
            let pool = state.files ?? BlockingPool(name: "edge-d1-files", threadCount: 1)
            state.files = pool
            return pool
        }
    }

    private func path(of name: String) -> String { "\(directory)/\(name)" }

    /// Nobody guesses it: a dump is fetched by its name alone.
    private static func makeName() -> String {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<24).map { _ in UInt8.random(in: 0...255, using: &generator) }
        return hexadecimal(bytes) + ".sql"
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
