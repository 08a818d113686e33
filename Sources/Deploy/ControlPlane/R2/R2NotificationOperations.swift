internal import Interfaces
internal import Releases
internal import StoresR2

/// Which changes of a bucket go to which queue (spec r2.md §4). Queues are named by their ids, or by their names.
enum R2NotificationOperations {
    private static let root = R2Operations.account + "/event_notifications/r2/{bucket_name}/configuration"
    private static let queue = root + "/queues/{queue}"

    private static let rule: [APISchema.Field] = [
        .required("actions", .array(.choice(R2EventAction.allCases.map(\.rawValue)))),
        .optional("prefix", .nullable(.string())), .optional("suffix", .nullable(.string())),
        .optional("description", .nullable(.string())),
    ]
    private static let shownQueue = APISchema.object([
        .required("queueId", .string()), .required("queueName", .string()),
        .required(
            "rules", .array(.object(rule + [.required("ruleId", .string()), .required("createdAt", .string())]))),
    ])
    private static let shown = APISchema.object([
        .required("bucketName", .string()), .required("queues", .array(shownQueue)),
    ])

    static func all(_ services: APIServices) -> [APIOperation] {
        [
            APIOperation(
                "GET", root, id: "r2.buckets.event_notifications.list", "The rules of all queues", .account(.r2, .read),
                result: .json(shown), mistakes: R2Operations.code
            ) { try await list(services, $0) },
            APIOperation(
                "GET", queue, id: "r2.buckets.event_notifications.get", "The rules of a queue", .account(.r2, .read),
                result: .json(shownQueue), mistakes: R2Operations.code
            ) { try await get(services, $0) },
            APIOperation(
                "PUT", queue, id: "r2.buckets.event_notifications.update", "Adds rules to those of a queue",
                .account(.r2, .edit), body: .json(.object([.required("rules", .array(.object(rule)))])),
                result: .json(R2Operations.nothing), mistakes: R2Operations.code
            ) { try await add(services, $0) },
            APIOperation(
                "DELETE", queue, id: "r2.buckets.event_notifications.delete",
                "Removes rules of a queue; all of them when none is named", .account(.r2, .edit),
                body: .stream(
                    about: "Which rules.", type: "application/json",
                    schema: .object([.optional("ruleIds", .nullable(.array(.string())))])),
                result: .json(R2Operations.nothing), mistakes: R2Operations.code
            ) { try await remove(services, $0) },
        ]
    }

    private static func subject(_ services: APIServices, _ call: APICall) throws(APIError) -> R2Operations.Subject {
        // The notifications' API has a number of its own for it.
        try R2Operations.subject(services, call, unknown: .bucketUnknownToNotifications)
    }

    private static func list(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let subject = try subject(services, call)
        let administration = try R2Operations.administration(services, call)
        var notifications = try await R2Operations.perform { () throws(R2Failure) in
            try subject.store.notifications(of: subject.name)
        }
        notifications.queues = try notifications.queues.map { try withID($0, administration) }
        return .result(try R2Operations.json(notifications))
    }

    private static func get(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let subject = try subject(services, call)
        let administration = try R2Operations.administration(services, call)
        let name = try administration.queue(call.parameters["queue"] ?? "")?.name ?? call.parameters["queue"]
        let notifications = try await R2Operations.perform { () throws(R2Failure) in
            try subject.store.notifications(of: subject.name)
        }
        guard let found = notifications.queues.first(where: { $0.queueName == name }) else {
            throw R2Operations.failure(.noNotificationConfiguration)
        }
        return .result(try R2Operations.json(try withID(found, administration)))
    }

    /// Rules keep a queue's name, since that is what messages are sent by.
    private static func withID(
        _ queue: R2Notifications.Queue, _ administration: BucketAdministration
    ) throws -> R2Notifications.Queue {
        var queue = queue
        queue.queueId = try administration.queue(queue.queueName)?.id ?? queue.queueId
        return queue
    }

    private struct AddedRules: Decodable {
        var rules: [R2NotificationRule]
    }
    private struct RemovedRules: Decodable {
        var ruleIds: [String]?
    }

    private static func add(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let subject = try subject(services, call)
        let text = call.parameters["queue"] ?? ""
        guard let queue = try R2Operations.administration(services, call).queue(text) else {
            throw APIError(404, 11000, "The queue \"\(text)\" does not exist.")
        }
        try await R2Operations.perform { () throws(R2Failure) in
            let added: AddedRules = try R2JSON.decode(call.json.bytes)
            _ = try await subject.store.addNotificationRules(added.rules, queue: queue.name, of: subject.name)
        }
        return .result(.object([:]))
    }

    private static let bodyBytesMax = 64 << 10

    private static func remove(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let subject = try subject(services, call)
        var bytes: [UInt8] = []
        while let piece = try await call.nextPiece() {
            bytes += piece
            guard bytes.count <= bodyBytesMax else {
                throw APIError(413, 10027, "The body is longer than \(bodyBytesMax) bytes")
            }
        }
        let body = bytes
        let text = call.parameters["queue"] ?? ""
        let name = try R2Operations.administration(services, call).queue(text)?.name ?? text
        try await R2Operations.perform { () throws(R2Failure) in
            let removed: RemovedRules = body.isEmpty ? RemovedRules() : try R2JSON.decode(body)
            try await subject.store.removeNotificationRules(removed.ruleIds ?? [], queue: name, of: subject.name)
        }
        return .result(.object([:]))
    }
}
