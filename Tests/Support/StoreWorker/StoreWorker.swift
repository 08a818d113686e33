// The worker that the store tests and benchmarks drive over HTTP: one route per store operation, thin on purpose.
// Bindings: KV, DB, R2, QUEUE, LIMIT, POINTS, VERSION (any may be absent; a route that needs one then fails).

import Interfaces
import Workers

@main final class StoreWorker: FetchHandler, QueueHandler {
    private let router: Router

    init(env: Env) throws {
        router = try Router { routes in
            Self.addKV(&routes)
            Self.addD1(&routes)
            Self.addR2(&routes)
            Self.addUploads(&routes)
            Self.addQueue(&routes)
            Self.addCache(&routes)
            Self.addBenchmarks(&routes)
            Self.addSmallBindings(&routes)
        }
    }

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        if let answer = try await Self.passOn(request, context) { return answer }
        return try await router.respond(to: request, env: env, context: context)
    }

    /// `/through/PORT/…` and `/around/PORT/…`, in any method, are the same request to `http://127.0.0.1:PORT/…`: the one never
    /// by way of the cache of `fetch`, the other always.
    private static func passOn(_ request: Request, _ context: ExecutionContext) async throws -> Response? {
        let parts = request.url.path.split(separator: "/", maxSplits: 2).map(String.init)
        guard parts.count == 3, ["through", "around"].contains(parts[0]) else { return nil }
        let query = request.url.query.map { "?\($0)" } ?? ""
        var headers = request.headers
        for (name, _) in request.headers where name.hasPrefix("cf-") || name == "host" { headers.delete(name) }
        var copy = try Request(
            "http://127.0.0.1:\(parts[1])/\(parts[2])\(query)", method: request.method, headers: headers, body: request.body)
        copy.redirect = .manual
        copy.cache = parts[0] == "through" ? CacheOptions(mode: .noStore) : CacheOptions(everything: true)
        return try await context.fetch(copy)
    }

    /// Notes each message in KV under `seen/<queue>/<body>`, with the number of deliveries. A body that starts with `fail` is
    /// retried until it is dead, or dead again (`dead-2`); `slow` takes a second first.
    func queue(_ batch: MessageBatch, env: Env, context: ExecutionContext) async throws {
        let kv = try env.kv("KV")
        for message in batch.messages {
            let text = message.text
            if text.hasPrefix("bench") {
                Self.counts.consumed += 1
                continue
            }
            if text.hasPrefix("fail"), !batch.queue.hasPrefix("dead") {
                message.retry(delaySeconds: 0)
                continue
            }
            if text.hasPrefix("slow") { try await context.sleep(for: .seconds(1)) }
            let key = "seen/\(batch.queue)/\(text)"
            let count = Int(try await kv.get(key) ?? "0") ?? 0
            try await kv.put(key, "\(count + 1)")
        }
    }

    private static func query(_ exchange: Exchange, _ name: String) -> String? {
        exchange.request.url.searchParameters.get(name)
    }

    private static func addKV(_ routes: inout RouteBuilder) {
        routes.put("/kv/*key") { exchange in
            let ttl = query(exchange, "ttl").flatMap(Int.init)
            try await exchange.env.kv("KV").put(
                exchange.parameters.get("key") ?? "", try await exchange.request.bytes(), expirationTtl: ttl)
            return .text("stored")
        }
        routes.get("/kv/*key") { exchange in
            let value = try await exchange.env.kv("KV").get(exchange.parameters.get("key") ?? "", .bytes)
            return value.map { .bytes($0) } ?? .text("missing", status: 404)
        }
        routes.delete("/kv/*key") { exchange in
            try await exchange.env.kv("KV").delete(exchange.parameters.get("key") ?? "")
            return .text("deleted")
        }
        routes.get("/kv-list") { exchange in
            let listing = try await exchange.env.kv("KV").list(
                prefix: query(exchange, "prefix"), limit: query(exchange, "limit").flatMap(Int.init),
                cursor: query(exchange, "cursor"))
            return try .json(Names(names: listing.keys.map(\.name), cursor: listing.cursor))
        }
    }

    private struct Names: Encodable {
        var names: [String]
        var cursor: String?
    }

    private static func addD1(_ routes: inout RouteBuilder) {
        routes.post("/d1/exec") { exchange in
            let result = try await exchange.env.d1("DB").exec(try await exchange.request.text())
            return .text("\(result.count)")
        }
        // Two rows or none: what a torn batch would break.
        routes.put("/d1/pair/:id") { exchange in
            let id = try exchange.parameters.get("id", as: Int.self)
            let db = try exchange.env.d1("DB")
            _ = try await db.batch([
                db.prepare("INSERT INTO pairs (id, side) VALUES (?1, 'left')").bind(id),
                db.prepare("INSERT INTO pairs (id, side) VALUES (?1, 'right')").bind(id),
            ])
            return .text("stored")
        }
        routes.get("/d1/pairs") { exchange in
            let rows = try await exchange.env.d1("DB").prepare(
                "SELECT id, count(*) AS sides FROM pairs GROUP BY id ORDER BY id"
            ).all()
            return try .json(rows.decode(Pair.self))
        }
        routes.get("/d1/scalar") { exchange in
            let row = try await exchange.env.d1("DB").prepare(query(exchange, "sql") ?? "SELECT 1").raw()
            return .text("\(row)")
        }
    }

    private struct Pair: Codable {
        var id: Int
        var sides: Int
    }

    private static func addR2(_ routes: inout RouteBuilder) {
        routes.put("/r2/*key") { exchange in
            guard let body = exchange.request.body else { return .text("no body", status: 400) }
            let object = try await exchange.env.r2("R2").put(exchange.parameters.get("key") ?? "", body)
            return .text(object?.etag ?? "-")
        }
        // In as many parts as it takes: of 5 MiB each, the last of what is left.
        routes.put("/r2-parts/*key") { exchange in
            let bytes = try await exchange.request.bytes()
            let upload = try await exchange.env.r2("R2").createMultipartUpload(exchange.parameters.get("key") ?? "")
            var parts: [R2UploadedPart] = []
            for start in stride(from: 0, to: max(1, bytes.count), by: 5 << 20) {
                let part = Array(bytes[start..<min(bytes.count, start + (5 << 20))])
                parts.append(try await upload.uploadPart(parts.count + 1, part))
            }
            return .text(try await upload.complete(parts).etag)
        }
        routes.get("/r2/*key") { exchange in
            guard let object = try await exchange.env.r2("R2").get(exchange.parameters.get("key") ?? "")
            else {
                return .text("missing", status: 404)
            }
            return Response(body: object.body)
        }
        // Reads the body inside the isolate: the other way than being passed on.
        routes.get("/r2-length/*key") { exchange in
            guard let object = try await exchange.env.r2("R2").get(exchange.parameters.get("key") ?? ""),
                let body = object.body
            else { return .text("missing", status: 404) }
            var count = 0
            for try await piece in body { count += piece.count }
            return .text("\(count)")
        }
        routes.delete("/r2/*key") { exchange in
            try await exchange.env.r2("R2").delete(exchange.parameters.get("key") ?? "")
            return .text("deleted")
        }
    }

    private static func addQueue(_ routes: inout RouteBuilder) {
        routes.post("/queue") { exchange in
            let text = try await exchange.request.text()
            _ = try await exchange.env.queue("QUEUE").send(text, contentType: .text)
            return .text("sent")
        }
        // A message per line, all or none.
        routes.post("/queue-batch") { exchange in
            let lines = try await exchange.request.text().split(separator: "\n").map(String.init)
            let metrics = try await exchange.env.queue("QUEUE").sendBatch(
                lines.map { QueueMessageToSend($0, contentType: .text) })
            return .text("\(metrics.backlogCount)")
        }
        routes.get("/queue-backlog") { exchange in
            .text("\(try await exchange.env.queue("QUEUE").metrics().backlogCount)")
        }
    }

    private struct Point: Decodable {
        var indexes: [String]?
        var blobs: [String?]?
        var doubles: [Double]?
        /// How often.
        var count: Int?
    }

    /// A rate limit, the version, and a dataset of the Analytics Engine.
    private static func addSmallBindings(_ routes: inout RouteBuilder) {
        routes.get("/limit/*key") { exchange in
            let outcome = try await exchange.env.rateLimit("LIMIT").limit(key: exchange.parameters.get("key") ?? "")
            return .text("\(outcome.success) \(outcome.remaining)")
        }
        routes.get("/limit-error/:length") { exchange in
            do {
                let key = String(repeating: "k", count: try exchange.parameters.get("length", as: Int.self))
                return .text("\(try await exchange.env.rateLimit("LIMIT").limit(key: key).success)")
            } catch let failure as CallFailure { return .text(failure.message) }
        }
        routes.get("/version") { exchange in
            let version = try exchange.env.versionMetadata("VERSION")
            return try .json([version.id, version.tag, version.timestamp, exchange.context.metadata.version])
        }
        routes.post("/points") { exchange in
            let points: [Point] = try await exchange.request.json()
            let dataset = try exchange.env.analytics("POINTS")
            for point in points {
                for _ in 0..<(point.count ?? 1) {
                    dataset.writeDataPoint(
                        indexes: point.indexes ?? [], blobs: point.blobs ?? [], doubles: point.doubles ?? [])
                }
            }
            return .text("written")
        }
    }

    /// `url` and `cache` of the query say what is meant; request headers `x-put-NAME` are the put response's.
    private static func addCache(_ routes: inout RouteBuilder) {
        func request(_ exchange: Exchange) throws -> Request {
            var request = try Request(
                query(exchange, "url") ?? "", method: Method(rawValue: query(exchange, "method") ?? "GET"))
            for name in ["range", "if-none-match", "if-modified-since", "accept-language", "cache-control"] {
                if let value = exchange.request.headers[name] { try request.headers.set(name, value) }
            }
            request.cache.key = query(exchange, "key")
            return request
        }
        func cache(_ exchange: Exchange) -> Cache {
            query(exchange, "cache").map { exchange.context.cache.open($0) } ?? exchange.context.cache.default
        }
        routes.post("/cache") { exchange in
            var headers = Headers()
            for (name, value) in exchange.request.headers where name.hasPrefix("x-put-") {
                try headers.append(String(name.dropFirst(6)), value)
            }
            let response = try Response(
                status: query(exchange, "status").flatMap(Int.init) ?? 200, headers: headers, body: exchange.request.body)
            do {
                try await cache(exchange).put(try request(exchange), response)
                return .text("stored")
            } catch let failure as CallFailure { return .text(failure.message, status: 400) }
        }
        routes.get("/cache") { exchange in
            try await cache(exchange).match(try request(exchange), ignoreMethod: query(exchange, "ignore") != nil)
                ?? .text("nothing", status: 404)
        }
        // Reads the body inside the isolate.
        routes.get("/cache-length") { exchange in
            guard let found = try await cache(exchange).match(try request(exchange)) else { return .text("nothing") }
            return .text("\(try await found.bytes().count)")
        }
        routes.delete("/cache") { exchange in .text("\(try await cache(exchange).delete(try request(exchange)))") }
        // A request to the outside with options for the cache.
        routes.get("/fetch") { exchange in
            var request = try request(exchange)
            request.redirect = query(exchange, "redirect") == "manual" ? .manual : .follow
            if let value = exchange.request.headers["authorization"] { try request.headers.set("authorization", value) }
            request.cache = CacheOptions(
                mode: query(exchange, "mode").flatMap(Int.init).flatMap { CacheOptions.Mode(rawValue: UInt8($0)) },
                ttl: query(exchange, "ttl").flatMap(Int.init), everything: query(exchange, "everything") != nil,
                key: query(exchange, "key"),
                tags: query(exchange, "tags").map { $0.split(separator: ",").map(String.init) } ?? [])
            return try await exchange.context.fetch(request)
        }
        // An object that the cache in front may keep.
        routes.get("/r2-cached/*key") { exchange in
            let object = try await exchange.env.r2("R2").get(exchange.parameters.get("key") ?? "")
            return Response(body: object?.body, headers: try Headers([("cache-control", "max-age=60")]))
        }
        // Says how many requests have come here; `x-put-NAME` as above.
        routes.get("/counted/*path") { exchange in
            counts.value += 1
            if let wait = query(exchange, "wait").flatMap(Int.init) {
                try await exchange.context.sleep(for: .milliseconds(wait))
            }
            let wanted = exchange.request.headers["x-status"]
            if wanted == "throw" { throw CallFailure("as asked") }
            var response = Response.text(
                "\(counts.value)", status: (wanted ?? query(exchange, "status")).flatMap(Int.init) ?? 200)
            // Longer than what fits on the way at once.
            if var left = exchange.request.headers["x-pieces"].flatMap(Int.init) {
                let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 64 << 10)
                let body = ByteStream {
                    left -= 1
                    return left < 0 ? nil : piece
                }
                response = try Response(status: response.status, headers: response.headers, body: body)
            }
            if exchange.request.headers["x-manual"] != nil { response.encoding = .manual }
            for (name, value) in exchange.request.headers where name.hasPrefix("x-put-") {
                try response.headers.append(String(name.dropFirst(6)), value)
            }
            return response
        }
    }

    /// All code of an isolate runs on one thread.
    private final class Counts: @unchecked Sendable {
        var value = 0
        /// Messages of the benchmark that have come.
        var consumed = 0
    }
    private static let counts = Counts()

    /// Many operations inside one event, so that what is measured is the binding and not HTTP.
    private static func addBenchmarks(_ routes: inout RouteBuilder) {
        routes.get("/bench/kv-get/:count/:parallel") { exchange in
            let kv = try exchange.env.kv("KV")
            return try await repeated(exchange) { _ in _ = try await kv.get("bench") }
        }
        routes.get("/bench/kv-get-many/:count/:parallel") { exchange in
            let kv = try exchange.env.kv("KV")
            let keys = (0..<100).map { "bench-\($0)" }
            return try await repeated(exchange) { _ in _ = try await kv.get(keys) }
        }
        routes.get("/bench/kv-put/:count/:parallel") { exchange in
            let kv = try exchange.env.kv("KV")
            return try await repeated(exchange) { number in
                try await kv.put("bench-\(number % 1000)", "value")
            }
        }
        routes.get("/bench/d1-select/:count/:parallel") { exchange in
            let statement = try exchange.env.d1("DB").prepare("SELECT value FROM bench WHERE id = ?1")
            return try await repeated(exchange) { number in
                _ = try await statement.bind(number % 1000).first()
            }
        }
        // From the first send to the last acknowledgement.
        routes.get("/bench/queue/:count/:parallel") { exchange in
            let (queue, text) = (try exchange.env.queue("QUEUE"), "bench" + String(repeating: "m", count: 95))
            let expected = counts.consumed + (try exchange.parameters.get("count", as: Int.self))
            return try await repeated(exchange) { _ in
                _ = try await queue.send(text, contentType: .text)
            } end: {
                while counts.consumed < expected { try await exchange.context.sleep(for: .milliseconds(1)) }
                while try await queue.metrics().backlogCount > 0 { try await exchange.context.sleep(for: .milliseconds(1)) }
            }
        }
        routes.get("/bench/d1-batch/:count/:parallel") { exchange in
            let db = try exchange.env.d1("DB")
            let statement = db.prepare("INSERT INTO inserts (value) VALUES (?1)")
            return try await repeated(exchange) { number in
                _ = try await db.batch((0..<10).map { statement.bind(number + $0) })
            }
        }
        routes.get("/bench/d1-insert/:count/:parallel") { exchange in
            let statement = try exchange.env.d1("DB").prepare("INSERT INTO inserts (value) VALUES (?1)")
            return try await repeated(exchange) { number in _ = try await statement.bind(number).run() }
        }
    }

    /// Runs `operation` `count` times with `parallel` in flight.
    ///
    /// - Parameter end: what has to have happened until the clock stops.
    /// - Returns: the milliseconds it took, and the microseconds of one operation at p50 and p99.
    private static func repeated(
        _ exchange: Exchange, _ operation: @escaping @Sendable (Int) async throws -> Void,
        end: () async throws -> Void = {}
    ) async throws -> Response {
        let count = try exchange.parameters.get("count", as: Int.self)
        let parallel = try exchange.parameters.get("parallel", as: Int.self)
        let start = ContinuousClock.now
        let latencies = try await withThrowingTaskGroup(of: [Duration].self) { group in
            for lane in 0..<parallel {
                group.addTask {
                    var (last, latencies) = (ContinuousClock.now, [Duration]())
                    for number in stride(from: lane, to: count, by: parallel) {
                        try await operation(number)
                        let now = ContinuousClock.now
                        latencies.append(now - last)
                        last = now
                    }
                    return latencies
                }
            }
            var all: [Duration] = []
            for try await part in group { all += part }
            return all.sorted()
        }
        try await end()
        let total = ContinuousClock.now - start
        guard !latencies.isEmpty else { return .text("nothing to do", status: 400) }
        func microseconds(_ duration: Duration) -> Double { duration / .microseconds(1) }
        let (p50, p99) = (latencies[latencies.count / 2], latencies[latencies.count * 99 / 100])
        return .text("\(microseconds(total) / 1000) \(microseconds(p50)) \(microseconds(p99))")
    }
}
