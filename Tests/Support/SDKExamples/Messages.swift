import Workers

struct Credentials: Codable {
    var name: String
    var password: String
}

func readRequest(_ request: Request) throws -> Response {
    let page = request.url.searchParameters.get("page").flatMap { Int($0) } ?? 1
    let agent = request.headers["user-agent"] ?? "unknown"
    let theme = request.cookie("theme") ?? "light"
    return try .json(["method": request.method.rawValue, "page": "\(page)", "agent": agent, "theme": theme])
}

func makeResponse() throws -> Response {
    var response = try Response.json(["status": "made"], status: 201)
    try response.headers.set("location", "/things/1")
    try response.setCookie(
        Cookie("theme", "dark", maxAge: 86_400, path: "/", isSecure: true, isHTTPOnly: true, sameSite: .lax))
    return response
}

func readWhole(_ request: Request) async throws -> Response {
    let credentials: Credentials = try await request.json(upTo: 16 << 10)
    return .text("\(credentials.name)\n")
}

func readForm(_ request: Request) async throws -> Response {
    let form = try await request.form()
    return .text(form["title"] ?? "untitled")
}

func countBytes(_ request: Request) async throws -> Response {
    var count = 0
    if let body = request.body {
        for try await piece in body { count += piece.count }
    }
    return .text("\(count)\n")
}

func produce() -> Response {
    var lines = (1...3).makeIterator()
    return .stream(ByteStream { lines.next().map { Array("line \($0)\n".utf8) } }, type: "text/plain")
}

func saveUpload(_ request: Request, _ env: Env) async throws -> Response {
    let form = try request.multipart()
    while let part = try await form.nextPart() {
        guard let filename = part.filename else { continue }
        try await env.r2("FILES").put(filename, try await part.bytes())
    }
    return .empty(status: 201)
}
