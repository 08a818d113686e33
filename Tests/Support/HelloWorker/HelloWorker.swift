// The worker that tests and benchmarks run: one route per thing an isolate can do, each as short as it can be.
// It keeps nothing between events except what a route's comment names.

import Glibc
import Workers

@main final class HelloWorker: FetchHandler, ScheduledHandler, QueueHandler {
    private let router: Router

    init(env: Env) throws {
        router = try Router { routes in
            Self.addRoutes(&routes)
            Self.addSockets(&routes)
        }
    }

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        // The benchmark's path, in front of the router as a worker in a hurry would have it.
        if request.path == "/hello" { return .text("hello") }
        return try await router.respond(to: request, env: env, context: context)
    }

    func scheduled(_ event: ScheduledEvent, env: Env, context: ExecutionContext) async throws {
        context.log.info("scheduled", ["cron": event.cron, "time": "\(event.scheduledTime)"])
    }

    func queue(_ batch: MessageBatch, env: Env, context: ExecutionContext) async throws {
        for message in batch.messages where message.text == "retry" { message.retry() }
        context.log.info("queue", ["queue": batch.queue, "messages": "\(batch.messages.count)"])
    }

    private struct Failure: Error, CustomStringConvertible {
        var description: String { "this route always fails" }
    }

    private struct Leak: Error, CustomStringConvertible {
        let secret: String
        var description: String { "leak in an error: \(secret)." }
    }

    private static func addRoutes(_ routes: inout RouteBuilder) {
        routes.get("/") { _ in .html("<h1>hello</h1>") }
        routes.get("/json") { _ in try .json(["hello": "world"]) }
        routes.get("/parameter/:number") { exchange in
            .text("\(try exchange.parameters.get("number", as: Int.self))")
        }
        // Streams the body back.
        routes.post("/echo") { exchange in
            guard let body = exchange.request.body else { return .empty() }
            return .stream(body)
        }
        // Reads the whole body.
        routes.post("/length") { exchange in .text("\(try await exchange.request.bytes().count)") }
        routes.get("/headers") { exchange in
            .text(exchange.request.headers.map { "\($0.name): \($0.value)\n" }.joined())
        }
        routes.get("/error") { _ in throw Failure() }
        // Fails too, and leaves it to the origin. POST as well, whose body the origin can't have any more.
        for method in [Method.get, .post] {
            routes.on(method, "/pass-through") { exchange in
                exchange.context.passThroughOnException()
                throw Failure()
            }
        }
        // Waits for what never comes.
        routes.get("/hang") { _ in
            await withCheckedContinuation { (_: CheckedContinuation<Void, Never>) in }
            return .text("unreachable")
        }
        // Burns CPU until the watchdog ends it.
        routes.get("/burn") { _ in
            while !Task.isCancelled {}
            return .text("cancelled")
        }
        routes.get("/sleep/:milliseconds") { exchange in
            let milliseconds = try exchange.parameters.get("milliseconds", as: Int.self)
            try await exchange.context.sleep(for: .milliseconds(milliseconds))
            return .text("slept")
        }
        // An unstructured task, its timer and the main actor: all of them on the isolate's one thread.
        routes.get("/tasks") { _ in
            let task = Task {
                try? await Task.sleep(for: .milliseconds(1))
                return await MainActor.run { 7 }
            }
            return .text("\(await task.value)")
        }
        // Work on a helper thread.
        routes.get("/blocking") { _ in .text("\(try await Blocking.run { 7 })") }
        // Answers at once and logs after the time has passed.
        routes.get("/later/:milliseconds") { exchange in
            let milliseconds = try exchange.parameters.get("milliseconds", as: Int.self)
            exchange.context.waitUntil {
                try await exchange.context.sleep(for: .milliseconds(milliseconds))
                exchange.context.log.info("later")
            }
            return .text("later")
        }
        // `count` pieces of 64 KiB.
        routes.get("/stream/:count") { exchange in
            var left = try exchange.parameters.get("count", as: Int.self)
            let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 64 << 10)
            return .stream(
                ByteStream {
                    guard left > 0 else { return nil }
                    left -= 1
                    return piece
                })
        }
        routes.get("/log/:count") { exchange in
            for number in 0..<(try exchange.parameters.get("count", as: Int.self)) {
                exchange.context.log.info("line", ["number": "\(number)"])
            }
            return .text("logged")
        }
        // Reads a key of the namespace bound as KV; PUT writes it.
        routes.get("/kv/:key") { exchange in
            let key = exchange.parameters.get("key") ?? ""
            guard let value = try await exchange.env.kv("KV").get(key) else {
                return .text("no value", status: 404)
            }
            return .text(value)
        }
        routes.put("/kv/:key") { exchange in
            let key = exchange.parameters.get("key") ?? ""
            try await exchange.env.kv("KV").put(key, try await exchange.request.text())
            return .empty()
        }
        // An object of the bucket bound as R2: its body never enters this process. PUT streams it there.
        routes.get("/r2/*key") { exchange in
            let key = exchange.parameters.get("key") ?? ""
            guard let object = try await exchange.env.r2("R2").get(key), let body = object.body else {
                return .text("no object", status: 404)
            }
            return Response(body: body)
        }
        // Hands the request on to the service bound as SERVICE.
        routes.get("/service/*path") { exchange in
            let path = exchange.parameters.get("path") ?? ""
            return try await exchange.env.service("SERVICE").fetch(Request("http://service/\(path)"))
        }
        // As its variables have it: each request takes `DELAY` milliseconds, and one of `FAIL_EVERY` throws.
        routes.get("/mood") { exchange in
            if let delay = exchange.env.variable("DELAY").flatMap({ Int($0) }), delay > 0 {
                try await exchange.context.sleep(for: .milliseconds(delay))
            }
            if let every = exchange.env.variable("FAIL_EVERY").flatMap({ Int($0) }), every > 0, Int.random(in: 1...every) == 1 {
                throw Failure()
            }
            return .text(exchange.env.variable("X") ?? "no value")
        }
        // Variables as they are; of secrets, only how long they are.
        routes.get("/variable/:name") { exchange in
            let value = exchange.env.variable(exchange.parameters.get("name") ?? "")
            return value.map { .text($0) } ?? .text("no value", status: 404)
        }
        routes.get("/secret-length/:name") { exchange in
            let secret = exchange.env.secret(exchange.parameters.get("name") ?? "")
            return secret.map { .text("\($0.reveal().utf8.count)") } ?? .text("no value", status: 404)
        }
        // What a worker must not do: each way in which a secret can come to be read by others.
        routes.get("/leak/:name/:way") { exchange in
            let secret = exchange.env.secret(exchange.parameters.get("name") ?? "")?.reveal() ?? "none"
            switch exchange.parameters.get("way") {
            case "log": exchange.context.log.info("leak in a log: \(secret).", ["field": "<\(secret)>"])
            case "error": throw Leak(secret: secret)
            case "stderr":
                let line = Array("leak in stderr: \(secret).\n".utf8)
                // SAFETY: write reads the array that it is lent.
                _ = unsafe line.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
            default: return .text(secret)
            }
            return .text("leaked")
        }
        // Answers at once and writes the key after the time has passed.
        routes.get("/later-put/:milliseconds/:key") { exchange in
            let milliseconds = try exchange.parameters.get("milliseconds", as: Int.self)
            let key = exchange.parameters.get("key") ?? ""
            exchange.context.waitUntil {
                try await exchange.context.sleep(for: .milliseconds(milliseconds))
                try await exchange.env.kv("KV").put(key, "later")
            }
            return .text("later")
        }
        // Starts work that writes the key after the time has passed, and then answers only much later.
        routes.get("/never-mind/:milliseconds/:key") { exchange in
            let milliseconds = try exchange.parameters.get("milliseconds", as: Int.self)
            let key = exchange.parameters.get("key") ?? ""
            exchange.context.waitUntil {
                try await exchange.context.sleep(for: .milliseconds(milliseconds))
                try await exchange.env.kv("KV").put(key, "later")
            }
            try await exchange.context.sleep(for: .seconds(60))
            return .text("too late")
        }
        // More memory than an isolate may have, in one piece.
        routes.get("/allocate/:mebibytes") { exchange in
            let count = try exchange.parameters.get("mebibytes", as: Int.self) << 20
            return .text("\([UInt8](repeating: 1, count: count).count)")
        }
        // `count` reads of one key at once.
        routes.get("/kv-many/:count/:key") { exchange in
            let key = exchange.parameters.get("key") ?? ""
            let count = try exchange.parameters.get("count", as: Int.self)
            let total = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<count {
                    group.addTask { try await exchange.env.kv("KV").get(key)?.utf8.count ?? 0 }
                }
                return try await group.reduce(0, +)
            }
            return .text("\(total)")
        }
        // HEAD with the length that GET would have, and nothing else.
        routes.head("/length-of-nothing") { _ in
            var response = Response.empty(status: 200)
            try response.headers.set("content-length", "1234")
            return response
        }
        // `count` bytes of prose: in one piece, or with `stream` in pieces and without a length. Other parameters are headers;
        // `manual`: the body is encoded already, or to be left as it is.
        for method in [Method.get, .head, .post] {
            routes.on(method, "/prose/:count") { exchange in
                let count = try exchange.parameters.get("count", as: Int.self)
                let line = "All work and no play makes a dull page. "
                let text = Array(String(repeating: line, count: count / 40 + 1).utf8.prefix(count))
                var pieces = stride(from: 0, to: count, by: 10_000).map { Array(text[$0..<min(count, $0 + 10_000)]) }[...]
                let parameters = exchange.request.url.searchParameters
                var response =
                    parameters.get("stream") != nil
                    ? Response.stream(ByteStream { pieces.popFirst() }, type: "text/plain") : .bytes(text, type: "text/plain")
                for (name, value) in parameters where name != "stream" && name != "manual" {
                    try response.headers.set(name, value)
                }
                if parameters.get("manual") != nil { response.encoding = .manual }
                return response
            }
        }
        // An event at once, and the next one after a minute.
        routes.get("/events") { exchange in
            var count = 0
            return .stream(
                ByteStream {
                    count += 1
                    if count > 1 { try await exchange.context.sleep(for: .seconds(60)) }
                    return Array("data: event \(count)\n\n".utf8)
                }, type: "text/event-stream")
        }
        // `count` events, with a pause between them.
        routes.get("/ticks/:count/:milliseconds") { exchange in
            let count = try exchange.parameters.get("count", as: Int.self)
            let pause = try exchange.parameters.get("milliseconds", as: Int.self)
            var sent = 0
            return .stream(
                ByteStream {
                    guard sent < count else { return nil }
                    sent += 1
                    if sent > 1 { try await exchange.context.sleep(for: .milliseconds(pause)) }
                    return Array("data: \(sent)\n\n".utf8)
                }, type: "text/event-stream")
        }
        // The worker's own files, handed on, with everything that the request says.
        for method in [Method.get, .head, .post] {
            routes.on(method, "/files/*path") { exchange in
                let path = exchange.parameters.get("path") ?? ""
                guard let url = WebURL("http://files/" + path) else { return .text("no path", status: 400) }
                return try await exchange.env.assets("ASSETS").fetch(Request(exchange.request, url: url))
            }
        }
        // One of them, read.
        routes.get("/file-length/*path") { exchange in
            let answer = try await exchange.env.assets("ASSETS").fetch(path: exchange.parameters.get("path") ?? "")
            return .text("\(answer.status) \(try await answer.bytes().count)")
        }
        // Headers that the connection ends.
        routes.get("/connection-headers") { _ in
            var response = Response.text("ok")
            for (name, value) in [("x-foo", "1"), ("connection", "close, X-Foo"), ("x-accel-limit", "1"), ("x-bar", "1")] {
                try response.headers.set(name, value)
            }
            return response
        }
        // The URL and the method as the handler sees them.
        routes.notFound { exchange in .text("\(exchange.request.method.rawValue) \(exchange.request.url.href)", status: 404) }
        // A body that must not be there.
        routes.get("/no-content-with-body") { _ in
            try Response(status: 204, body: ByteStream("body"))
        }
        // `count` fetches of `url` at once; the statuses, and how long it took.
        routes.get("/fetch-many/:count") { exchange in
            let count = try exchange.parameters.get("count", as: Int.self)
            let target = exchange.request.url.searchParameters.get("url") ?? ""
            let start = exchange.context.now
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<count {
                    group.addTask { try await exchange.context.fetch(target).status }
                }
                var statuses: [Int] = []
                for try await status in group { statuses.append(status) }
                return statuses
            }
            return .text("\(statuses) \(exchange.context.now - start)")
        }
        // A POST to `url` with a short body.
        routes.get("/fetch-post") { exchange in
            let parameters = exchange.request.url.searchParameters
            let request = try Request(parameters.get("url") ?? "", method: .post, body: ByteStream("posted"))
            let answer = try await exchange.context.fetch(request)
            return .text("\(answer.status) \(try await answer.text())")
        }
        routes.get("/fetch") { exchange in
            guard let target = exchange.request.url.searchParameters.get("url") else {
                return .text("which url?", status: 400)
            }
            return try await exchange.context.fetch(target)
        }
        // The client's own request, to another URL.
        routes.get("/proxy") { exchange in
            guard let target = exchange.request.url.searchParameters.get("url") else {
                return .text("which url?", status: 400)
            }
            return try await exchange.context.fetch(Request(exchange.request, url: WebURL(target) ?? exchange.request.url))
        }
    }
}
