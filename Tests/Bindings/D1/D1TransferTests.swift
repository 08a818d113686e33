import FoundationEssentials
import OpenSSL
import Testing

@testable import Interfaces
@testable import StoresD1

@Suite struct `D1 transfers` {
    private func withTransfers(
        limits: D1Transfers.Limits = D1Transfers.Limits(), _ body: (D1Transfers, D1Database, Fixture) async throws -> Void
    ) async throws {
        try await withDatabase { (database, fixture) async throws in
            let transfers = try D1Transfers(
                store: fixture.store, directory: fixture.directory + "/transfers", clock: fixture.clock, limits: limits)
            try await body(transfers, database, fixture)
        }
    }

    private func etag(_ text: String) -> String {
        Digest.hash(text, with: .md5).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private func send(_ text: String, _ transfers: D1Transfers, into database: String = "main") async throws -> String {
        guard case .upload(let name) = try transfers.beginImport(etag: etag(text), into: database) else {
            throw D1TransferError.invalid("no upload")
        }
        #expect(try await transfers.receive(name, BytesSource(Array(text.utf8))) == etag(text))
        return name
    }

    private func end(_ status: () -> D1TransferStatus) async -> D1TransferStatus {
        while status().phase == .active { await Task.yield() }
        return status()
    }

    private func failure(_ body: () async throws -> Void) async -> D1TransferError? {
        do { try await body() } catch { return error as? D1TransferError }
        return nil
    }

    private func names(_ fixture: Fixture) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: fixture.directory + "/transfers")
    }

    @Test func `probe 25: a file is announced, sent, run and asked about`() async throws {
        try await withTransfers { (transfers, database, fixture) async throws in
            #expect(transfers.importStatus(of: "main").error == "Not currently importing anything.")
            #expect(!transfers.importStatus(of: "main").success)
            let text = "CREATE TABLE t(a); INSERT INTO t VALUES(1), (2); -- \(String(repeating: "x", count: 200_000))\n"
            let name = try await send(text, transfers)
            let started = try transfers.ingest(name, etag: etag(text).uppercased(), into: "main")
            #expect(started.phase == .active && started.success)
            let status = await end { transfers.importStatus(of: "main") }
            let imported = try #require(status.imported)
            #expect(status.phase == .complete && imported.statementCount == 2 && status.bookmark == imported.bookmark)
            #expect(imported.meta.changes == 2 && imported.meta.changedDB && imported.meta.sizeAfter % 4096 == 0)
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 2)
            #expect(try names(fixture).isEmpty)

            let bad = "INSERT INTO t VALUES(3); SELEC 1;"
            _ = try transfers.ingest(try await send(bad, transfers), etag: etag(bad), into: "main")
            let failed = await end { transfers.importStatus(of: "main") }
            #expect(failed.phase == .error && failed.error?.contains("statement 2: near \"SELEC\"") == true)
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 2)
            #expect(try names(fixture).isEmpty)
        }
    }

    @Test func `a file that was sent before need not be sent again`() async throws {
        try await withTransfers { (transfers, database, _) async throws in
            let text = "CREATE TABLE t(a);"
            _ = try await send(text, transfers)
            guard case .underWay = try transfers.beginImport(etag: etag(text), into: "main") else {
                Issue.record("it was asked for again")
                return
            }
            #expect(await end { transfers.importStatus(of: "main") }.phase == .complete)
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 0)
            // Another database has not got it.
            guard case .upload = try transfers.beginImport(etag: etag(text), into: "other") else {
                Issue.record("another database has it")
                return
            }
        }
    }

    @Test func `what can't be is refused, and leaves no file`() async throws {
        var limits = D1Transfers.Limits()
        limits.filesMax = 2
        limits.uploadBytesMax = 100_000
        try await withTransfers(limits: limits) { (transfers, _, fixture) async throws in
            for etag in ["", "xyz", String(repeating: "g", count: 32), String(repeating: "a", count: 33)] {
                #expect(await failure { _ = try transfers.beginImport(etag: etag, into: "main") }?.code == 7400)
            }
            let text = "CREATE TABLE t(a);"
            guard case .upload(let name) = try transfers.beginImport(etag: etag(text), into: "main") else { return }
            #expect(await failure { _ = try transfers.ingest(name, etag: etag(text), into: "main") }?.code == 7400)
            #expect(
                await failure { _ = try await transfers.receive(name, BytesSource(Array("SELECT 1".utf8))) }?.code == 7400)
            #expect(
                await failure { _ = try await transfers.receive(name, BytesSource([UInt8](repeating: 32, count: 100_001))) }
                    == .failed(.exceededSize))
            #expect(await failure { _ = try await transfers.receive("../format", BytesSource([1])) }?.code == 7404)
            #expect(try names(fixture).isEmpty)
            _ = try await transfers.receive(name, BytesSource(Array(text.utf8)))
            for (name, etag, database) in [
                ("nope", etag(text), "main"), (name, etag("other"), "main"), (name, etag(text), "other"),
            ] {
                #expect(await failure { _ = try transfers.ingest(name, etag: etag, into: database) } != nil)
            }
            _ = try transfers.beginImport(etag: etag("other"), into: "main")
            #expect(await failure { _ = try transfers.beginImport(etag: etag("third"), into: "main") } == .tooMany(2))
            #expect(await failure { _ = try transfers.beginExport(of: "main") } == .tooMany(2))
            // An hour later all is forgotten.
            fixture.clock.advance(by: .seconds(3600))
            _ = try transfers.beginImport(etag: etag("third"), into: "main")
            #expect(await failure { _ = try await transfers.receive(name, BytesSource([1])) } == .noFile(name))
        }
    }

    @Test func `probe 26: a dump is fetched by its name, for an hour`() async throws {
        try await withTransfers { (transfers, database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)\nINSERT INTO t VALUES('x''y')")
            #expect(transfers.exportStatus(of: "main").error == "Not currently exporting anything.")
            #expect(try transfers.beginExport(of: "main").phase == .active)
            let status = await end { transfers.exportStatus(of: "main") }
            let bookmark = try await fixture.store.bookmark(of: "main")
            #expect(status.phase == .complete && status.bookmark == bookmark)
            let name = try #require(status.fileName)
            let text = String(decoding: try Data(contentsOf: URL(filePath: try transfers.dump(name))), as: UTF8.self)
            #expect(text.hasPrefix("PRAGMA defer_foreign_keys=TRUE;\n"))
            _ = try transfers.ingest(try await send(text, transfers, into: "copy"), etag: etag(text), into: "copy")
            #expect(await end { transfers.importStatus(of: "copy") }.phase == .complete)
            #expect(try await fixture.database("copy").prepare("SELECT a FROM t").first("a") == "x'y")
            #expect(await failure { _ = try transfers.dump("../format") }?.code == 7404)
            _ = try transfers.beginExport(of: "main", D1DumpOptions(tables: ["nope"]))
            #expect(await end { transfers.exportStatus(of: "main") }.error == "no such table: nope")
            fixture.clock.advance(by: .seconds(3600))
            #expect(await failure { _ = try transfers.dump(name) } == .noFile(name))
        }
    }
}
