import Workers
import WorkersCrypto

struct Session: Codable {
    var user: String
}

func keepGreeting(_ env: Env) async throws -> String? {
    let sessions = try env.kv("SESSIONS")
    try await sessions.put("greeting", "hello", expirationTtl: 3600, metadata: ["language": "en"])
    return try await sessions.get("greeting")
}

func language(_ env: Env) async throws -> String? {
    let stored = try await env.kv("SESSIONS").getWithMetadata("greeting")
    let metadata: [String: String]? = try stored.metadata?.decode()
    return metadata?["language"]
}

func session(_ env: Env, token: String) async throws -> Session? {
    try await env.kv("SESSIONS").get(token, .json(Session.self))
}

func forgetGuests(_ env: Env) async throws {
    let sessions = try env.kv("SESSIONS")
    var cursor: String?
    repeat {
        let page = try await sessions.list(prefix: "guest:", cursor: cursor)
        for key in page.keys { try await sessions.delete(key.name) }
        cursor = page.cursor
    } while cursor != nil
}

struct Article: Codable {
    var id: Int
    var title: String
}

func addArticles(_ database: D1Database) async throws {
    let insert = database.prepare("INSERT INTO articles (title) VALUES (?1)")
    try await database.batch([insert.bind("one"), insert.bind("two")])
}

func article(_ env: Env, id: Int) async throws -> Article? {
    try await env.d1("DB").prepare("SELECT id, title FROM articles WHERE id = ?1").bind(id).first(
        as: Article.self)
}

func newest(_ env: Env) async throws -> [Article] {
    try await env.d1("DB").prepare("SELECT id, title FROM articles ORDER BY id DESC LIMIT 10").all().decode()
}

func countArticles(_ env: Env) async throws -> Int64 {
    try await env.d1("DB").prepare("SELECT count(*) AS n FROM articles").first("n")?.integer ?? 0
}

func download(_ request: Request, _ env: Env, key: String) async throws -> Response {
    guard let object = try await env.r2("FILES").get(key, range: R2Range(request.headers)) else {
        return .text("no such file\n", status: 404)
    }
    var headers = Headers()
    try object.object.writeHttpMetadata(&headers)
    try headers.set("etag", object.httpEtag)
    guard let part = object.range else { return Response(body: object.body, headers: headers) }
    try headers.set("content-range", "bytes \(part.offset)-\(part.offset + part.length - 1)/\(object.size)")
    return try Response(status: 206, headers: headers, body: object.body)
}

func upload(_ request: Request, _ env: Env, key: String) async throws -> Response {
    guard let body = request.body, body.length != nil else {
        return .text("a length is needed\n", status: 411)
    }
    let metadata = R2HTTPMetadata(contentType: request.headers["content-type"])
    guard let object = try await env.r2("FILES").put(key, body, httpMetadata: metadata) else {
        return .empty(status: 412)
    }
    return try .json(["etag": object.etag, "size": "\(object.size)"], status: 201)
}

func resume(_ bucket: R2Bucket, key: String, uploadId: String, last: ByteStream) async throws -> R2Object {
    let upload = bucket.resumeMultipartUpload(key, uploadId: uploadId)
    var parts = try await upload.listParts().parts.map(\.uploadedPart)
    parts.append(try await upload.uploadPart((parts.last?.partNumber ?? 0) + 1, last))
    return try await upload.complete(parts)
}

func archive(_ bucket: R2Bucket, _ key: String, secret: String) async throws {
    let ssecKey = try R2CustomerKey(hexadecimal: secret)
    try await bucket.copy(key, to: "archive/" + key, storageClass: .infrequentAccess, ssecKey: ssecKey)
    try await bucket.delete(key)
}

func send(_ env: Env) async throws {
    let events = try env.queue("EVENTS")
    try await events.send(["type": "signed-up"])
    try await events.sendBatch(
        [
            QueueMessageToSend(["type": "one"]),
            QueueMessageToSend("later", contentType: .text, delaySeconds: 60),
        ])
}

func callService(_ exchange: Exchange) async throws -> Response {
    try await exchange.env.service("USERS").fetch(exchange.request)
}

func callOutside(_ context: ExecutionContext) async throws -> Response {
    let answer = try await context.fetch("https://api.example.com/rates")
    guard answer.isSuccess else { return .text("no rates\n", status: 502) }
    return Response(body: answer.body)
}

func page(_ request: Request, _ env: Env) async throws -> Response {
    var answer = try await env.assets("ASSETS").fetch(request)
    try answer.headers.set("x-served-by", "the worker")
    return answer
}

func render(_ request: Request, _ env: Env, _ context: ExecutionContext) async throws -> Response {
    if let kept = try await context.cache.default.match(request) { return kept }
    let text = try await env.kv("SESSIONS").get("greeting") ?? "hello"
    func page() throws -> Response {
        var page = Response.html("<h1>\(text)</h1>")
        try page.headers.set("cache-control", "public, max-age=60")
        return page
    }
    context.waitUntil { try await context.cache.default.put(request, try page()) }
    return try page()
}

func rates(_ context: ExecutionContext) async throws -> Response {
    var request = try Request("https://api.example.com/rates.json")
    request.cache = CacheOptions(ttlByStatus: [.init(200, ttl: 300), .init(404, ttl: 1)], tags: ["rates"])
    return try await context.fetch(request)
}

func signIn(_ env: Env, _ context: ExecutionContext, password: String, hash: String) async throws -> Response {
    guard try await Bcrypt.verify(password, hash) else { return .text("wrong password\n", status: 401) }
    guard let secret = env.secret("JWT_KEY") else { throw MissingSecret() }
    let key = try JWTKey(SymmetricKey(secret.reveal()))
    let expiry = context.now / 1000 + 3600
    return .text(try JWTSigner(key).sign(Claims(sub: "user-1", exp: expiry)))
}

struct Claims: Codable {
    var sub: String
    var exp: Int64
}

struct MissingSecret: Error, CustomStringConvertible {
    var description: String { "the secret JWT_KEY is not set" }
}

func limited(_ env: Env, user: String) async throws -> Response? {
    let outcome = try await env.rateLimit("PER_USER").limit(key: user)
    guard !outcome.success else { return nil }
    let seconds = outcome.retryAfter.components.seconds + 1
    return try Response(
        status: 429, headers: Headers([("retry-after", "\(seconds)")]), body: ByteStream("slower, please\n"))
}

func version(_ env: Env) throws -> Response {
    let version = try env.versionMetadata("VERSION")
    return try .json(["id": version.id, "tag": version.tag, "since": version.timestamp])
}

func measure(_ request: Request, _ env: Env, took milliseconds: Int64) throws {
    try env.analytics("METRICS").writeDataPoint(
        indexes: [request.path], blobs: [request.method.rawValue, request.headers["cf-ipcountry"]],
        doubles: [Double(milliseconds)])
}
