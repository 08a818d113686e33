import DurableObjects

enum GreeterMethods {
    static let greet = RPCMethod<Person, Greeting>("greet")
    static let fail = RPCMethod<RPCNothing, Int>("fail")
    static let length = RPCMethod<[UInt8], Int>("length")
    static let bytes = RPCMethod<Int, [UInt8]>("bytes")
    static let upper = RPCMethod<RPCNothing, String>("upper")
    static let sleep = RPCMethod<String, Int>("sleep")
    static let cancelled = RPCMethod<String, Bool>("cancelled")
}

struct Person: Codable, Sendable {
    let name: String
    let number: Int64
}

struct Greeting: Codable, Sendable {
    let text: String
    let number: Int64
    let props: String
}

/// The default entrypoint.
final class Greeter: WorkerEntrypoint {
    private let context: EntrypointContext
    init(context: EntrypointContext, env: Env) throws { self.context = context }

    struct NotToday: Error, CustomStringConvertible { var description: String { "no greetings today" } }

    /// Calls that were cancelled, by the name that the caller gave them. All code of an isolate runs on one thread.
    private final class Cancelled: @unchecked Sendable { var names: Set<String> = [] }
    private static let cancelled = Cancelled()

    static var methods: [RPCHandler<Greeter>] {
        [
            RPCHandler(GreeterMethods.greet) { greeter, person in
                Greeting(text: "hello, \(person.name)", number: person.number, props: greeter.context.props)
            },
            RPCHandler(GreeterMethods.fail) { _, _ in throw NotToday() },
            RPCHandler(GreeterMethods.length) { _, bytes in bytes.count },
            RPCHandler(GreeterMethods.bytes) { _, count in [UInt8](repeating: 7, count: count) },
            RPCHandler(streaming: GreeterMethods.upper) { _, _, call in
                let text = String(decoding: try await call.body?.collect() ?? [], as: UTF8.self)
                return RPCReply("\(text.utf8.count)", body: ByteStream(text.uppercased()))
            },
            RPCHandler(GreeterMethods.sleep) { greeter, name in
                do { try await greeter.context.execution.sleep(for: .seconds(60)) } catch {
                    cancelled.names.insert(name)
                    throw error
                }
                return 0
            },
            RPCHandler(GreeterMethods.cancelled) { _, name in cancelled.names.contains(name) },
        ]
    }
}

/// One that bindings have to name.
final class Admin: WorkerEntrypoint, WorkerEntrypointFetchHandler {
    static var entrypointName: String { "Admin" }
    private let context: EntrypointContext
    init(context: EntrypointContext, env: Env) throws { self.context = context }

    static var methods: [RPCHandler<Admin>] {
        [
            RPCHandler(GreeterMethods.greet) { admin, person in
                Greeting(text: "admin \(person.name)", number: person.number, props: admin.context.props)
            }
        ]
    }

    func fetch(_ request: Request) async throws -> Response {
        switch request.path {
        case "/throw": throw Greeter.NotToday()
        case "/socket": return .webSocket { socket in for try await message in socket { try socket.send(message) } }
        case "/echo":
            guard let body = request.body else { return .empty(status: 400) }
            return .stream(body)
        default: return .text("\(request.method) \(request.path) for \(context.props)")
        }
    }
}

/// One without typed calls.
final class Fetcher: WorkerEntrypointFetchHandler {
    static var entrypointName: String { "Fetcher" }
    init(context: EntrypointContext, env: Env) throws {}
    func fetch(_ request: Request) async throws -> Response { .text("fetched") }
}

/// One without requests.
final class Mute: WorkerEntrypoint {
    static var entrypointName: String { "Mute" }
    static var methods: [RPCHandler<Mute>] { [] }
    init(context: EntrypointContext, env: Env) throws {}
}

extension ObjectWorker {
    /// Each calls something over a service binding.
    static func addCalls(_ routes: inout RouteBuilder) {
        routes.get("/rpc/:binding/greet/:name") { exchange in
            let person = Person(name: exchange.parameters.get("name") ?? "", number: .max)
            let greeting = try await service(exchange).call(GreeterMethods.greet, person)
            return .text("\(greeting.text) \(greeting.number == .max) \(greeting.props)")
        }
        routes.get("/rpc/:binding/fail") { exchange in .text("\(try await service(exchange).call(GreeterMethods.fail))") }
        routes.get("/rpc/:binding/missing") { exchange in
            .text("\(try await service(exchange).call(RPCMethod<Int, Int>("missing"), 1))")
        }
        routes.get("/rpc/:binding/length/:count") { exchange in
            let bytes = [UInt8](repeating: 1, count: try exchange.parameters.get("count", as: Int.self))
            return .text("\(try await service(exchange).call(GreeterMethods.length, bytes))")
        }
        routes.get("/rpc/:binding/bytes/:count") { exchange in
            let count = try exchange.parameters.get("count", as: Int.self)
            return .text("\(try await service(exchange).call(GreeterMethods.bytes, count).count)")
        }
        routes.get("/rpc/:binding/upper/:text") { exchange in
            let reply = try await service(exchange).callStreaming(
                GreeterMethods.upper, RPCNothing(), body: ByteStream(exchange.parameters.get("text") ?? ""))
            return .text("\(reply.result) \(String(decoding: try await reply.body?.collect() ?? [], as: UTF8.self))")
        }
        for method in [Method.get, .post] {
            routes.on(method, "/rpc/:binding/fetch/*path") { exchange in
                guard let url = WebURL("http://service/" + (exchange.parameters.get("path") ?? "")) else {
                    return .empty(status: 400)
                }
                return try await service(exchange).fetch(try Request(exchange.request, url: url))
            }
        }
        // Calls, gives up, and asks whether the other side has heard of it.
        routes.get("/rpc/:binding/cancel/:name") { exchange in
            let service = try service(exchange)
            let name = exchange.parameters.get("name") ?? ""
            let call = Task { try await service.call(GreeterMethods.sleep, name) }
            try await exchange.context.sleep(for: .milliseconds(200))
            call.cancel()
            var answer = "no"
            if case .failure(let error) = await call.result, error is CancellationError { answer = "cancelled here" }
            var isThere = false
            for _ in 0..<20 where !isThere {
                isThere = try await service.call(GreeterMethods.cancelled, name)
                if !isThere { try await exchange.context.sleep(for: .milliseconds(300)) }
            }
            return .text("\(answer), \(isThere ? "and there" : "not there")")
        }
    }

    private static func service(_ exchange: Exchange) throws -> ServiceBinding {
        try exchange.env.service(exchange.parameters.get("binding") ?? "")
    }
}
