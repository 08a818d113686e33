import DurableObjects

/// Leads requests to objects, and says of their failures what a caller sees:
///
///     /name/BINDING/NAME/…    the object of a name        /id/BINDING/HEX/…    of an id
///     /ids/BINDING/NAME       ids of the namespace        /order/BINDING/NAME/COUNT, /broken/BINDING/NAME   one stub, many calls
///     /transfer/FROM/TO/AMOUNT   between two accounts
@main final class ObjectWorker: FetchHandler, DurableObjectWorker, EntrypointWorker {
    static var durableObjects: [any DurableObject.Type] { [Probe.self, Account.self, Plain.self] }

    static var entrypoints: [any WorkerEntrypoint.Type] { [Greeter.self, Admin.self, Fetcher.self, Mute.self] }

    private let router: Router

    init(env: Env) throws {
        router = try Router { routes in
            for method in [Method.get, .post] { Self.addObjects(method, &routes) }
            Self.addCalls(&routes)
            routes.get("/ids/:binding/:name") { try Self.ids($0) }
            routes.get("/parse/:binding/:id") { exchange in
                .text("\(try Self.objects(exchange).idFromString(exchange.parameters.get("id") ?? ""))")
            }
            routes.get("/order/:binding/:name/:count") { try await Self.order($0) }
            routes.get("/broken/:binding/:name") { try await Self.broken($0) }
            routes.get("/transfer/:from/:to/:amount") { try await Self.transfer($0) }
            routes.get("/burst/:binding/:name/:count") { try await Self.burst($0) }
            routes.get("/converse/:name/:count/:pause") { try await Self.converse($0) }
        }
    }

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        do { return try await router.respond(to: request, env: env, context: context) } catch {
            return try .json(Failure(error), status: 500)
        }
    }

    private static func addObjects(_ method: Method, _ routes: inout RouteBuilder) {
        routes.on(method, "/name/:binding/:name/*path") { exchange in
            let name = exchange.parameters.get("name") ?? ""
            return try await forward(exchange, try objects(exchange).getByName(name))
        }
        routes.on(method, "/id/:binding/:id/*path") { exchange in
            let objects = try objects(exchange)
            return try await forward(exchange, try objects.get(objects.idFromString(exchange.parameters.get("id") ?? "")))
        }
    }

    private static func objects(_ exchange: Exchange) throws -> DurableObjectNamespace {
        try exchange.env.durableObjects(exchange.parameters.get("binding") ?? "")
    }

    private static func forward(_ exchange: Exchange, _ stub: DurableObjectStub) async throws -> Response {
        let search = exchange.request.url.query.map { "?" + $0 } ?? ""
        guard let url = WebURL("http://object/" + (exchange.parameters.get("path") ?? "") + search) else {
            return .empty(status: 400)
        }
        return try await stub.fetch(try Request(exchange.request, url: url))
    }

    private static func ids(_ exchange: Exchange) throws -> Response {
        let objects = try objects(exchange)
        let name = exchange.parameters.get("name") ?? ""
        let inEurope = objects.jurisdiction(.eu)
        func message(_ body: () throws -> Void) -> String {
            do { try body() } catch { return "\(error)" }
            return "nothing"
        }
        return try .json([
            "first": "\(objects.idFromName(name))", "second": "\(objects.idFromName(name))",
            "unique": "\(objects.newUniqueId())", "unique2": "\(objects.newUniqueId())",
            "uniqueName": objects.newUniqueId().name ?? "nil", "europe": "\(inEurope.idFromName(name))",
            "plainInEurope": message { _ = try inEurope.get(objects.idFromName(name)) },
            "europeInAll": message { _ = try objects.get(inEurope.idFromName(name)) },
        ])
    }

    /// Calls of one stub, none awaited before all were made.
    private static func order(_ exchange: Exchange) async throws -> Response {
        let stub = try objects(exchange).getByName(exchange.parameters.get("name") ?? "")
        let count = try exchange.parameters.get("count", as: Int.self)
        let calls = (0..<count).map { number in Task { try await stub.call(ProbeMethods.note, number) } }
        for call in calls { _ = try await call.value }
        return try .json(try await stub.call(ProbeMethods.notes))
    }

    private static func broken(_ exchange: Exchange) async throws -> Response {
        let objects = try objects(exchange)
        let name = exchange.parameters.get("name") ?? ""
        let stub = objects.getByName(name)
        var failures: [Failure] = []
        for _ in 0..<3 {
            do {
                try await stub.call(ProbeMethods.abort, "reason \(failures.count)")
            } catch { failures.append(Failure(error)) }
        }
        let works = try await objects.getByName(name).call(ProbeMethods.note, 1)
        return try .json(Broken(failures: failures, works: works))
    }

    private struct Broken: Encodable {
        let failures: [Failure]
        let works: Int
    }

    /// Takes from one account and gives to the other: two objects, one after the other.
    private static func transfer(_ exchange: Exchange) async throws -> Response {
        let accounts = try exchange.env.durableObjects("ACCOUNTS")
        let amount = try exchange.parameters.get("amount", as: Int.self)
        let from = accounts.getByName(exchange.parameters.get("from") ?? "")
        let to = exchange.parameters.get("to") ?? ""
        return .text("\(try await from.call(AccountMethods.transfer, Transfer(to: to, amount: amount)))")
    }

    /// Increments of many objects, `count` at once: `NAME0`, `NAME1`, …
    private static func burst(_ exchange: Exchange) async throws -> Response {
        let accounts = try objects(exchange)
        let name = exchange.parameters.get("name") ?? ""
        let count = try exchange.parameters.get("count", as: Int.self)
        let calls = (0..<count).map { number in
            Task { try await accounts.getByName("\(name)\(number)").call(AccountMethods.add, 1) }
        }
        var sum = 0
        for call in calls { sum += try await call.value }
        return .text("\(sum)")
    }

    /// The worker itself is the client of a WebSocket that the object lets hibernate: the answers to so many numbers, all said at once,
    /// and how often the object was constructed, then and after so many milliseconds; in the end how the conversation was closed.
    private static func converse(_ exchange: Exchange) async throws -> Response {
        let count = try exchange.parameters.get("count", as: Int.self)
        let probe = try exchange.env.durableObjects("PROBES").getByName(exchange.parameters.get("name") ?? "")
        var request = try Request("http://object/socket?tag=worker&attachment=mine&hello=hi")
        try request.headers.set("upgrade", "websocket")
        guard let socket = try await probe.fetch(request).webSocket else { return .text("no WebSocket", status: 502) }
        try socket.accept()
        for number in 0..<count { try socket.send("\(number)") }
        try socket.send("constructed")
        var heard: [String] = []
        while heard.count < count + 2, case .text(let text)? = try await socket.next() { heard.append(text) }
        try await exchange.context.sleep(for: .milliseconds(try exchange.parameters.get("pause", as: Int.self)))
        for question in ["constructed", "attachment", exchange.request.url.searchParameters.get("last") ?? "bye"] {
            try socket.send(question)
            if case .text(let text)? = try await socket.next() { heard.append(text) }
        }
        try socket.close(4000, "enough")
        while try await socket.next() != nil {}
        heard.append("\(socket.closing?.code ?? 0)")
        return try .json(heard)
    }
}

/// What a caller sees of an error.
struct Failure: Codable {
    let name: String
    let message: String
    let remote: Bool
    let retryable: Bool
    let overloaded: Bool
    let reset: Bool

    init(_ error: any Error) {
        let failure = (error as? CallFailure) ?? CallFailure("\(error)", name: "\(type(of: error))")
        name = failure.name
        message = failure.message
        remote = failure.isRemote
        retryable = failure.isRetryable
        overloaded = failure.isOverloaded
        reset = failure.isObjectReset
    }
}
