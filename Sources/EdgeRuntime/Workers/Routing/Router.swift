internal import Interfaces

/// One request on its way through a router.
public struct Exchange: Sendable {
    public var request: Request
    public let env: Env
    public let context: ExecutionContext
    public let parameters: RouteParameters

    public init(
        request: Request, env: Env, context: ExecutionContext, parameters: RouteParameters = RouteParameters()
    ) {
        self.request = request
        self.env = env
        self.context = context
        self.parameters = parameters
    }

    public func with(parameters: RouteParameters) -> Exchange {
        Exchange(request: request, env: env, context: context, parameters: parameters)
    }
}

public typealias RouteHandler = (Exchange) async throws -> Response
/// Looks at an exchange before and at its response after the rest of the chain, which `next` runs.
public typealias Middleware = (_ exchange: Exchange, _ next: RouteHandler) async throws -> Response

/// Collects routes while a `Router` is made.
public struct RouteBuilder {
    struct Route {
        let method: Method
        let pattern: String
        let handler: RouteHandler
    }
    private(set) var routes: [Route] = []
    private(set) var global: [Middleware] = []
    private(set) var fallback: RouteHandler?
    private var prefix = ""
    private var local: [Middleware] = []

    /// Runs `middleware` around every request, also those that no route matches; first added is outermost.
    public mutating func use(_ middleware: @escaping Middleware) {
        if prefix.isEmpty { global.append(middleware) } else { local.append(middleware) }
    }

    /// - Parameter pattern: Literal segments, `:name` for one segment, `*` or `*name` at the end for all that is left.
    public mutating func on(_ method: Method, _ pattern: String, _ handler: @escaping RouteHandler) {
        var chain = handler
        for middleware in local.reversed() { chain = Router.wrap(middleware, around: chain) }
        routes.append(Route(method: method, pattern: prefix + pattern, handler: chain))
    }

    public mutating func get(_ pattern: String, _ handler: @escaping RouteHandler) {
        on(.get, pattern, handler)
    }
    public mutating func head(_ pattern: String, _ handler: @escaping RouteHandler) {
        on(.head, pattern, handler)
    }
    public mutating func post(_ pattern: String, _ handler: @escaping RouteHandler) {
        on(.post, pattern, handler)
    }
    public mutating func put(_ pattern: String, _ handler: @escaping RouteHandler) {
        on(.put, pattern, handler)
    }
    public mutating func patch(_ pattern: String, _ handler: @escaping RouteHandler) {
        on(.patch, pattern, handler)
    }
    public mutating func delete(_ pattern: String, _ handler: @escaping RouteHandler) {
        on(.delete, pattern, handler)
    }
    public mutating func options(_ pattern: String, _ handler: @escaping RouteHandler) {
        on(.options, pattern, handler)
    }

    /// Routes that share a prefix, and the middleware added inside.
    public mutating func group(_ prefix: String, _ build: (inout RouteBuilder) -> Void) {
        var inner = RouteBuilder()
        inner.prefix = self.prefix + prefix
        inner.local = local
        build(&inner)
        routes += inner.routes
    }

    /// Answers what no route matches; a 404 in plain text otherwise.
    public mutating func notFound(_ handler: @escaping RouteHandler) { fallback = handler }
}

/// Finds the handler of a request by method and path. Made once, in the worker's `init`:
///
/// ```swift
/// router = try Router { routes in
///     routes.get("/content/:id") { exchange in
///         let id = try exchange.parameters.get("id", as: Int.self)
///         …
///     }
/// }
/// ```
///
/// A literal segment wins over a parameter, a parameter over a tail. Paths are compared as bytes; parameters are
/// percent-decoded. HEAD is answered by the GET route, a path whose routes have other methods with 405 and `Allow`.
public struct Router {
    private let trie: RouteTrie
    private let handlers: [RouteHandler]
    private let entry: RouteHandler?
    private let fallback: RouteHandler?

    /// - Throws: `RouteError` for a bad pattern, or two routes that match the same requests.
    public init(_ build: (inout RouteBuilder) -> Void) throws {
        var builder = RouteBuilder()
        build(&builder)
        var trie = RouteTrie()
        var handlers: [RouteHandler] = []
        for route in builder.routes {
            try trie.insert(route.pattern, method: route.method, handler: handlers.count)
            handlers.append(route.handler)
        }
        self.trie = trie
        self.handlers = handlers
        fallback = builder.fallback
        guard !builder.global.isEmpty else {
            entry = nil
            return
        }
        let fallback = builder.fallback
        var chain: RouteHandler = { exchange in
            try await Self.dispatch(exchange, trie: trie, handlers: handlers, fallback: fallback)
        }
        for middleware in builder.global.reversed() { chain = Self.wrap(middleware, around: chain) }
        entry = chain
    }

    public func respond(to request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        let exchange = Exchange(request: request, env: env, context: context)
        if let entry { return try await entry(exchange) }
        return try await Self.dispatch(exchange, trie: trie, handlers: handlers, fallback: fallback)
    }

    static func wrap(_ middleware: @escaping Middleware, around next: @escaping RouteHandler) -> RouteHandler {
        { exchange in try await middleware(exchange, next) }
    }

    private static func dispatch(
        _ exchange: Exchange, trie: RouteTrie, handlers: [RouteHandler], fallback: RouteHandler?
    ) async throws -> Response {
        switch trie.find(exchange.request) {
        case .found(let index, let parameters):
            return try await handlers[index](exchange.with(parameters: parameters))
        case .otherMethods(let methods):
            var response = Response.text("method not allowed", status: 405)
            try response.headers.set("allow", methods.map(\.rawValue).joined(separator: ", "))
            return response
        case .nothing:
            if let fallback { return try await fallback(exchange) }
            return .text("not found", status: 404)
        }
    }
}

/// A mistake in a router's table.
public enum RouteError: Error, Equatable, Sendable, CustomStringConvertible {
    case mustStartWithSlash(pattern: String)
    case emptyParameterName(pattern: String)
    case tailNotLast(pattern: String)
    case duplicate(method: String, pattern: String)

    public var description: String {
        switch self {
        case .mustStartWithSlash(let pattern): "route \"\(pattern)\" must start with \"/\""
        case .emptyParameterName(let pattern): "route \"\(pattern)\" has a \":\" without a name"
        case .tailNotLast(let pattern): "route \"\(pattern)\" has \"*\" before its end"
        case .duplicate(let method, let pattern):
            "route \(method) \"\(pattern)\" matches the same requests as an earlier one"
        }
    }
}
