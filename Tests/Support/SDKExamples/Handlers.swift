// SDKExamples is the code of docs/sdk.md, so that the compiler reads it too. Nothing runs it; `test_readme.py` checks
// that each example of the document stands here, line for line.

import Workers

final class Greeter: FetchHandler {
    private let greeting: String

    init(env: Env) throws { greeting = env.variable("GREETING") ?? "hello" }

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        .text("\(greeting), \(request.path)\n")
    }
}

final class Users: FetchHandler {
    private let router: Router

    init(env: Env) throws {
        router = try Router { routes in
            routes.use { exchange, next in
                let started = exchange.context.now
                var response = try await next(exchange)
                try response.headers.set("x-took-ms", "\(exchange.context.now - started)")
                return response
            }
            routes.group("/users") { users in
                users.use { exchange, next in
                    guard exchange.request.headers.has("authorization") else {
                        return .text("who are you?\n", status: 401)
                    }
                    return try await next(exchange)
                }
                users.get("/:id") { exchange in
                    let id = try exchange.parameters.get("id", as: Int.self)
                    return try .json(["id": id])
                }
                users.get("/:id/files/*path") { exchange in
                    .text(exchange.parameters.get("path") ?? "")
                }
            }
            routes.notFound { _ in .text("nothing here\n", status: 404) }
        }
    }

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        try await router.respond(to: request, env: env, context: context)
    }
}

final class Mailer: QueueHandler, ScheduledHandler {
    init(env: Env) throws {}

    private struct Mail: Codable {
        var to: String
        var text: String
    }

    func queue(_ batch: MessageBatch, env: Env, context: ExecutionContext) async throws {
        for message in batch.messages {
            do {
                let mail: Mail = try message.json()
                try await deliver(mail, context)
                message.ack()
            } catch is DecodingError {
                message.ack()  // It will never be better.
                context.log.error("not a mail", ["id": message.id])
            } catch {
                message.retry(delaySeconds: 30 * message.attempts)
            }
        }
    }

    func scheduled(_ event: ScheduledEvent, env: Env, context: ExecutionContext) async throws {
        context.log.info("tick", ["cron": event.cron, "at": "\(event.scheduledTime)"])
    }

    private func deliver(_ mail: Mail, _ context: ExecutionContext) async throws {
        let request = try Request("https://mail.example/send", method: .post, body: ByteStream(mail.text))
        let response = try await context.fetch(request)
        guard response.isSuccess else { throw MailError(status: response.status) }
    }

    private struct MailError: Error {
        var status: Int
    }
}
