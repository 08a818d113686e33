import Testing

@testable import Workers

@Suite struct `Route table` {
    private static func trie(_ routes: [(Workers.Method, String)]) throws -> RouteTrie {
        var trie = RouteTrie()
        for (index, route) in routes.enumerated() {
            try trie.insert(route.1, method: route.0, handler: index)
        }
        return trie
    }

    private static let routes: [(Workers.Method, String)] = [
        (.get, "/"), (.get, "/content"), (.post, "/content"), (.get, "/content/:id"),
        (.delete, "/content/:id"),
        (.get, "/content/new"), (.get, "/content/:id/comments/:comment"), (.get, "/files/*"),
        (.get, "/files/special/*rest"), (.get, "/a/:x/b"), (.get, "/a/c/d"), (.post, "/files/upload"),
        (.get, "/slash/"),
    ]

    @Test(arguments: [
        (Workers.Method.get, "/", 0, [:] as [String: String]),
        (.get, "/content", 1, [:]),
        (.post, "/content", 2, [:]),
        (.get, "/content/42", 3, ["id": "42"]),
        (.delete, "/content/42", 4, ["id": "42"]),
        (.get, "/content/new", 5, [:]),
        (.delete, "/content/new", 4, ["id": "new"]),
        (.get, "/content/a%2Fb%20c", 3, ["id": "a/b c"]),
        (.get, "/content/%zz", 3, ["id": "%zz"]),
        (.get, "/content/1/comments/2", 6, ["id": "1", "comment": "2"]),
        (.get, "/files/", 7, ["*": ""]),
        (.get, "/files/a/b/c.txt", 7, ["*": "a/b/c.txt"]),
        (.get, "/files/special/x/y", 8, ["rest": "x/y"]),
        (.get, "/files/upload", 7, ["*": "upload"]),
        (.post, "/files/upload", 11, [:]),
        (.get, "/a/c/b", 9, ["x": "c"]),
        (.get, "/a/c/d", 10, [:]),
        (.get, "/slash/", 12, [:]),
        (.head, "/content", 1, [:]),
    ])
    func `finds the route that matches best`(
        method: Workers.Method, path: String, handler: Int, parameters: [String: String]
    ) throws {
        let request = try Request("http://h\(path)", method: method)
        guard case .found(let found, let values) = try Self.trie(Self.routes).find(request) else {
            Issue.record("\(method) \(path) matches nothing")
            return
        }
        #expect(found == handler)
        for (name, value) in parameters { #expect(values.get(name) == value) }
    }

    @Test(arguments: ["/content/", "/contents", "/content/1/comments", "/x", "/slash", "/a/c", "/files"])
    func `finds nothing for other paths`(path: String) throws {
        guard case .nothing = try Self.trie(Self.routes).find(Request("http://h\(path)")) else {
            Issue.record("\(path) matches")
            return
        }
    }

    @Test func `names the methods of a path that has others`() throws {
        guard
            case .otherMethods(let methods) = try Self.trie(Self.routes).find(
                Request("http://h/content", method: .put))
        else {
            Issue.record("not refused")
            return
        }
        #expect(methods == [.get, .post, .head])
    }

    @Test func `refuses patterns that can't be meant`() {
        func error(_ patterns: String...) -> RouteError? {
            do { _ = try Self.trie(patterns.map { (.get, $0) }) } catch { return error as? RouteError }
            return nil
        }
        #expect(error("a") == .mustStartWithSlash(pattern: "a"))
        #expect(error("/:") == .emptyParameterName(pattern: "/:"))
        #expect(error("/*/a") == .tailNotLast(pattern: "/*/a"))
        #expect(error("/:a", "/:b") == .duplicate(method: "GET", pattern: "/:b"))
        #expect(error("/*", "/*rest") == .duplicate(method: "GET", pattern: "/*rest"))
    }

    @Test func `converts parameters and says which one doesn't fit`() throws {
        let parameters = RouteParameters(names: ["id"], values: ["x7"])
        #expect(try parameters.get("id", as: String.self) == "x7")
        #expect(throws: RouteParameterError(name: "id", text: "x7", type: "Int")) {
            try parameters.get("id", as: Int.self)
        }
        #expect(throws: RouteParameterError(name: "no", text: nil, type: "Int")) {
            try parameters.get("no", as: Int.self)
        }
    }

    @Test func `runs middleware around every route, outermost first`() async throws {
        let host = try FakeHost { _ in try Routed() }
        _ = try await host.configure(.test())
        host.fetch(3, "/in/7")
        #expect(try await host.answer(3).text == "<outer><inner>7</inner></outer>")
        host.fetch(5, "/out")
        #expect(try await host.answer(5).text == "<outer>out</outer>")
        host.fetch(7, "/nowhere")
        let missing = try await host.answer(7)
        #expect(missing.status == 404 && missing.text == "<outer>not found</outer>")
        host.fetch(9, "/out", method: 3, bodyLength: 0)
        let refused = try await host.answer(9)
        #expect(refused.status == 405 && refused.headers["allow"] == "GET, HEAD")
    }

    private final class Routed: FetchHandler {
        private let router: Router

        convenience init(env: Env) throws { try self.init() }
        init() throws {
            func tag(_ name: String) -> Middleware {
                { exchange, next in
                    let response = try await next(exchange)
                    var wrapped = Response.text(
                        "<\(name)>\(try await response.text())</\(name)>", status: response.status)
                    if let allow = response.headers["allow"] { try wrapped.headers.set("allow", allow) }
                    return wrapped
                }
            }
            router = try Router { routes in
                routes.use(tag("outer"))
                routes.get("/out") { _ in .text("out") }
                routes.group("/in") { routes in
                    routes.use(tag("inner"))
                    routes.get("/:id") { .text("\(try $0.parameters.get("id", as: Int.self))") }
                }
            }
        }
        func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
            try await router.respond(to: request, env: env, context: context)
        }
    }
}
