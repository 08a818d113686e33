internal import Glibc
internal import Interfaces
internal import StoresD1
internal import System

extension StoreBenchmark {
    private static let table =
        "CREATE TABLE bench (id INTEGER PRIMARY KEY, value TEXT);"
        + "CREATE TABLE inserts (id INTEGER PRIMARY KEY, value TEXT)"
    private static let fill =
        "INSERT INTO bench WITH RECURSIVE n(value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM n WHERE value < 9999) "
        + "SELECT value, 'row ' || value FROM n"
    private static let select = "SELECT value FROM bench WHERE id = ?1"
    private static let insert = "INSERT INTO inserts (value) VALUES (?1)"

    private func request(_ sql: String, _ number: Int, _ take: D1Request.Take) -> D1Request {
        D1Request(.query([.init(sql: sql, parameters: [.integer(Int64(number))])], take))
    }

    func d1Select() async throws {
        let store = try EmbeddedD1Store(directory: path("d1-select"), clock: clock, logger: logger)
        try await store.runScript([Self.table, Self.fill], on: "bench")
        let peer = try RawSQLite(path("raw-select.sqlite"))
        try peer.execute(Self.table)
        try peer.execute(Self.fill)
        try peer.prepare(Self.select)
        let load = Load(clock: clock, duration: .milliseconds(300))
        let raw = {
            try load.blocking(stride: 100) { number in
                guard try peer.run(scattered(number, below: 10_000)) != nil else {
                    throw PeerError(description: "no row")
                }
            }
        }
        let engine: @Sendable (Int) async throws -> Void = { number in
            _ = try await store.run(
                self.request(Self.select, scattered(number, below: 10_000), .firstRow), on: "bench")
        }
        let comparison = try await Comparison(rounds: 15) {
            try await load.concurrently(lanes: 64, engine)
        } theirs: {
            try raw()
        }
        report(
            "D1 engine point select, 64 at once", comparison, aim: ">= 0.8 x raw prepared",
            peer: "prepared select")
        let one = try await Comparison {
            try await load.serially(engine)
        } theirs: {
            try raw()
        }
        report("D1 engine point select, 1 at once", one, aim: "", peer: "prepared select")
        try peer.execute("BEGIN")
        let shared = try await Comparison {
            try await load.concurrently(lanes: 64, engine)
        } theirs: {
            try raw()
        }
        report(
            "D1 engine point select, 64 at once", shared, aim: "", peer: "prepared select in one transaction")
        await store.close()
    }

    /// Ten statements that are durable together: one `batch` beside one transaction of the library.
    func d1Batch() async throws {
        let store = try EmbeddedD1Store(directory: path("d1-batch"), clock: clock, logger: logger)
        try await store.runScript([Self.table], on: "bench")
        let peer = try RawSQLite(path("raw-batch.sqlite"))
        try peer.execute(Self.table)
        try peer.prepare(Self.insert)
        let load = Load(clock: clock)
        let batch: @Sendable (Int) async throws -> Void = { number in
            let statements = (0..<10).map {
                D1Request.Statement(sql: Self.insert, parameters: [.integer(Int64(number + $0))])
            }
            _ = try await store.run(D1Request(.query(statements, .allRows)), on: "bench")
        }
        let raw = {
            try load.blocking { number in
                try peer.execute("BEGIN IMMEDIATE")
                for index in 0..<10 { _ = try peer.run(number + index) }
                try peer.execute("COMMIT")
            }
        }
        let one = try await Comparison {
            try await load.serially(batch)
        } theirs: {
            try raw()
        }
        report("D1 batch of 10 inserts, 1 at once", one, aim: "", peer: "SQLite, one transaction for 10")
        let many = try await Comparison {
            try await load.concurrently(lanes: 16, batch)
        } theirs: {
            try raw()
        }
        report("D1 batch of 10 inserts, 16 at once", many, aim: "", peer: "SQLite, one transaction for 10")
        await store.close()
    }

    /// A database of 1 GiB goes back to where it was before its last statements.
    func d1Restore() async throws {
        var limits = D1Limits()
        limits.timeTravel = .seconds(86_400)
        limits.restoresMax = .max
        let store = try EmbeddedD1Store(directory: path("d1-restore"), clock: clock, logger: logger, limits: limits)
        try await store.runScript(["CREATE TABLE t (id INTEGER PRIMARY KEY, value BLOB)"], on: "bench")
        for part in 0..<16 {
            let first = part * 16_384
            try await store.runScript(
                [
                    "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT \(first) UNION ALL SELECT i + 1 FROM n "
                        + "WHERE i < \(first + 16_383)) SELECT i, randomblob(3950) FROM n"
                ], on: "bench")
        }
        let before = try await store.bookmark(of: "bench")
        try await store.runScript(["UPDATE t SET value = randomblob(3950) WHERE id % 100 = 0"], on: "bench")
        let started = clock.now()
        _ = try await store.restore("bench", to: .bookmark(before))
        let restored = (clock.now() - started).wholeNanoseconds
        await store.close()
        let file = path("d1-restore") + "/bench.sqlite"
        let copying = clock.now()
        let byteCount = try RawFiles.copyDurably(file, to: path("raw-copy.sqlite"))
        let copied = (clock.now() - copying).wholeNanoseconds
        let (ours, theirs) = (Double(restored) / 1e9, Double(copied) / 1e9)
        print(
            "time travel restore of \(byteCount >> 20) MiB\t\(decimal(ours / theirs)) x cp and fsync\t\t"
                + "\(decimal(ours)) s vs \(decimal(theirs)) s")
        fflush(nil)
    }

    func d1Insert() async throws {
        let store = try EmbeddedD1Store(directory: path("d1-insert"), clock: clock, logger: logger)
        try await store.runScript([Self.table], on: "bench")
        let peer = try RawSQLite(path("raw-insert.sqlite"))
        try peer.execute(Self.table)
        try peer.prepare(Self.insert)
        let load = Load(clock: clock)
        let comparison = try await Comparison {
            try await load.concurrently(lanes: 64) { number in
                _ = try await store.run(self.request(Self.insert, number, .allRows), on: "bench")
            }
        } theirs: {
            try load.blocking { number in _ = try peer.run(number) }
        }
        report(
            "durable D1 inserts, 64 at once", comparison, aim: ">= 8 x raw SQLite FULL",
            peer: "SQLite, one per transaction")
        await store.close()
    }
}
