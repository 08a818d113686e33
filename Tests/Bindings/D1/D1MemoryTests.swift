import SQLite
import System
import Testing

@testable import Interfaces
@testable import Stores
@testable import StoresD1

/// Alone: what the library allocates is counted for the whole process.
@Suite(.serialized) struct `D1 memory` {
    /// Each row is about 2 KiB and different from all others.
    private func distinctRows(_ count: Int) -> String {
        """
        WITH RECURSIVE c(n, s) AS (SELECT 1, hex(randomblob(1000)) UNION ALL
        SELECT n + 1, hex(randomblob(1000)) FROM c WHERE n < \(count)) SELECT count(DISTINCT s) AS n FROM c
        """
    }

    @Test func `a statement sorts more than memory is to hold`() async throws {
        try await withDatabase { (database, _) async throws in
            _ = SQLiteProcess.highestHeapByteCount(resetting: true)
            #expect(try await database.prepare(distinctRows(100_000)).first("n") == 100_000)
            #expect(SQLiteProcess.highestHeapByteCount() < 150 << 20)
        }
    }

    @Test func `a statement that puts too much aside is stopped, and the next is not`() async throws {
        var limits = D1Limits()
        limits.writtenBytesMax = 8 << 20
        try await withDatabase(limits: limits) { (database, _) async throws in
            let message = "D1_ERROR: D1 DB's isolate exceeded its memory limit and was reset."
            #expect(await failure { try await database.prepare(distinctRows(100_000)).run() } == message)
            #expect(try await database.prepare(distinctRows(100)).first("n") == 100)
            // Also as part of a write, whose transaction is taken back.
            _ = try await database.exec("CREATE TABLE t(a)")
            let insert = database.prepare("INSERT INTO t " + distinctRows(100_000))
            #expect(await failure { try await insert.run() } == message)
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 0)
        }
    }

    @Test func `what all statements of a tenant put aside is bounded as well`() async throws {
        var limits = D1Limits()
        limits.writtenBytesMaxInAll = 100 << 20
        try await withDatabase(limits: limits) { (database, _) async throws in
            let message = "D1_ERROR: D1 DB's isolate exceeded its memory limit and was reset."
            #expect(await failure { try await database.prepare(distinctRows(100_000)).run() } == message)
            // What was put aside is gone.
            #expect(try await database.prepare(distinctRows(1000)).first("n") == 1000)
        }
    }

    @Test func `an event has so many queries, and each statement of a batch is one`() async throws {
        try await withDatabase { (_, fixture) async throws in
            let service = D1Service(store: fixture.store, database: "main")
            let queries = QueryAllowance(10)
            func ask(_ work: D1Request.Work) async -> String? {
                await failure {
                    _ = try await service.answer(
                        StoreCall(.d1Query, message: D1Request(work).encoded().message, queries: queries))
                }
            }
            let one = D1Request.Statement(sql: "SELECT 1")
            let refused = "D1_ERROR: Too many API requests by single worker invocation."
            #expect(await ask(.query([one, one, one], .allRows)) == nil)
            #expect(await ask(.exec("CREATE TABLE t(a)\n\n  \nINSERT INTO t VALUES(1)\n")) == nil)
            #expect(await ask(.query([.init(sql: "SELEC")], .allRows))?.contains("syntax error") == true)
            // What would be too much takes nothing.
            #expect(await ask(.query([one, one, one, one, one], .allRows)) == refused)
            #expect(await ask(.exec("SELECT 1")) == nil)
            #expect(await ask(.query([one, one, one], .firstRow)) == nil)
            #expect(await ask(.query([one], .firstRow)) == refused)
        }
    }

    @Test func `answers that nobody reads are bounded`() async throws {
        var limits = D1Limits()
        limits.heldReplyBytesMax = 5 << 20
        try await withDatabase(limits: limits) { (_, fixture) async throws in
            let service = D1Service(store: fixture.store, database: "main")
            let request = D1Request(.query([.init(sql: "SELECT zeroblob(1900000), zeroblob(1900000)")], .allRows))
            let call = StoreCall(.d1Query, message: request.encoded().message)
            let first = try await service.answer(call)
            #expect(
                await failure { _ = try await service.answer(call) }
                    == "D1_ERROR: D1 DB is overloaded. Too many requests queued.")
            guard case .stream(let source)? = first.body else { throw CallFailure("no body") }
            var byteCount = 0
            while let piece = try await source.next() { byteCount += piece.count }
            #expect(byteCount > 3_800_000)
            _ = try await service.answer(call)
        }
    }

    @Test func `requests on their way in are bounded`() async throws {
        var limits = D1Limits()
        limits.incomingBytesMax = D1Request.bytesMax
        try await withDatabase(limits: limits) { (_, fixture) async throws in
            let service = D1Service(store: fixture.store, database: "main")
            let held = fixture.store.incoming.tryAcquire(D1Request.bytesMax)
            let blob = D1Value.blob([UInt8](repeating: 1, count: 1_500_000))
            let request = D1Request(.query([.init(sql: "SELECT length(?) n", parameters: [blob])], .allRows))
            let body = BytesSource(try #require(request.encoded().body))
            async let refused = failure { _ = try await service.answer(StoreCall(.d1Query, message: [1], body: body)) }
            while fixture.store.incoming.waiterCount == 0 { await Task.yield() }
            fixture.clock.advance(by: .seconds(10))
            #expect(await refused == "D1_ERROR: D1 DB is overloaded. Too many requests queued.")
            withExtendedLifetime(held) {}
        }
    }

    @Test func `of too many values and statements, few are kept`() async throws {
        let nulls = D1Request.Statement(sql: "SELECT ?", parameters: Array(repeating: .null, count: 1_500_000))
        let encoded = try #require(D1Request(.query([nulls], .allRows)).encoded().body)
        guard case .query(let statements, _) = try D1Request(decoding: encoded).work else { return }
        #expect(statements[0].parameters.count == D1Request.parametersMax + 1)
        let many = D1Request(.query(Array(repeating: .init(sql: "SELECT 1"), count: 100_000), .allRows))
        let bytes = try #require(many.encoded().body)
        guard case .query(let kept, _) = try D1Request(decoding: bytes).work else { return }
        #expect(kept.count == D1Request.statementsMax + 1)
        try await withDatabase { (_, fixture) async throws in
            let service = D1Service(store: fixture.store, database: "main")
            #expect(
                await failure {
                    _ = try await service.answer(StoreCall(.d1Query, message: [1], body: BytesSource(encoded)))
                } == "D1_ERROR: Wrong number of parameter bindings for SQL query.")
            #expect(
                await failure {
                    _ = try await service.answer(StoreCall(.d1Query, message: [1], body: BytesSource(bytes)))
                } == "D1_ERROR: a batch of more than 10000 statements; send several batches")
        }
    }
}
