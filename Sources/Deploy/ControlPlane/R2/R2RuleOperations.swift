internal import Interfaces
internal import StoresR2

/// What a bucket's owner sets: lifecycle, locks, and which pages of other origins may use it.
enum R2RuleOperations {
    private static let age = APISchema.object([.required("type", .choice(["Age"])), .required("maxAge", .integer())])
    private static let ageOrDate = APISchema.object([
        .required("type", .choice(["Age", "Date"])), .optional("maxAge", .nullable(.integer())),
        .optional("date", .nullable(.string())),
    ])
    private static func transition(_ condition: APISchema) -> APISchema {
        .nullable(.object([.required("condition", condition)]))
    }

    private static let lifecycle = rules([
        .required("id", .string(1...255)), .required("enabled", .bool),
        .required("conditions", .object([.optional("prefix", .nullable(.string()))])),
        .optional("deleteObjectsTransition", transition(ageOrDate)),
        .optional("abortMultipartUploadsTransition", transition(age)),
        .optional(
            "storageClassTransitions",
            .nullable(
                .array(
                    .object([
                        .required("condition", ageOrDate), .required("storageClass", .choice(["InfrequentAccess"])),
                    ])))),
    ])

    private static let locks = rules([
        .required("id", .string(1...255)), .required("enabled", .bool), .optional("prefix", .nullable(.string())),
        .required(
            "condition",
            .object([
                .required("type", .choice(["Age", "Date", "Indefinite"])), .optional("maxAgeSeconds", .nullable(.integer())),
                .optional("date", .nullable(.string())),
            ])),
    ])

    private static let cors = rules([
        .required(
            "allowed",
            .object([
                .required("methods", .array(.choice(R2CorsRule.methods))), .required("origins", .array(.string())),
                .optional("headers", .nullable(.array(.string()))),
            ])),
        .optional("id", .nullable(.string())), .optional("exposeHeaders", .nullable(.array(.string()))),
        .optional("maxAgeSeconds", .nullable(.integer())),
    ])

    private static func rules(_ fields: [APISchema.Field]) -> APISchema {
        .object([.required("rules", .array(.object(fields)))])
    }

    private static let bodyBytesMax = 4 << 20

    static func all(_ services: APIServices) -> [APIOperation] {
        let set = "Sets all of them at once"
        return [
            get("lifecycle", "What becomes of objects with time", lifecycle, services) { subject in
                try R2Operations.json(R2RuleSet(try subject.store.lifecycleRules(of: subject.name)))
            },
            put("lifecycle", set, lifecycle, services) { subject, json in
                let rules: [R2LifecycleRule] = try R2RuleSet(json: json).rules
                try await subject.store.setLifecycleRules(rules, of: subject.name)
            },
            get("lock", "What keeps objects from being overwritten and deleted", locks, services) { subject in
                try R2Operations.json(R2RuleSet(try subject.store.lockRules(of: subject.name)))
            },
            put("lock", set, locks, services) { subject, json in
                let rules: [R2LockRule] = try R2RuleSet(json: json).rules
                try await subject.store.setLockRules(rules, of: subject.name)
            },
            get("cors", "Which pages of other origins may use the bucket", cors, services) { subject in
                let rules = try subject.store.corsRules(of: subject.name)
                guard !rules.isEmpty else {
                    let code = R2ErrorCode.noCorsConfiguration
                    throw APIError(code.status, code.rawValue, code.text ?? "")
                }
                return try R2Operations.json(R2CorsRules(rules))
            },
            put("cors", set, cors, services) { subject, json in
                try await subject.store.setCorsRules(try R2CorsRules(json: json).rules, of: subject.name)
            },
            APIOperation(
                "DELETE", R2Operations.bucket + "/cors", id: "r2.buckets.cors.delete", "Takes all of them away",
                .account(.r2, .edit), result: .json(R2Operations.nothing), mistakes: R2Operations.code
            ) { call in
                let subject = try R2Operations.subject(services, call)
                try await R2Operations.perform { () throws(R2Failure) in
                    try await subject.store.setCorsRules([], of: subject.name)
                }
                return .result(.object([:]))
            },
        ]
    }

    private static func get(
        _ what: String, _ summary: String, _ schema: APISchema, _ services: APIServices,
        _ read: @escaping @Sendable (R2Operations.Subject) throws -> JSON
    ) -> APIOperation {
        APIOperation(
            "GET", "\(R2Operations.bucket)/\(what)", id: "r2.buckets.\(what).get", summary, .account(.r2, .read),
            result: .json(schema), mistakes: R2Operations.code
        ) { call in
            do { return .result(try read(R2Operations.subject(services, call))) } catch let failure as R2Failure {
                throw R2Operations.failure(failure)
            }
        }
    }

    private static func put(
        _ what: String, _ summary: String, _ schema: APISchema, _ services: APIServices,
        _ write: @escaping @Sendable (R2Operations.Subject, [UInt8]) async throws -> Void
    ) -> APIOperation {
        APIOperation(
            "PUT", "\(R2Operations.bucket)/\(what)", id: "r2.buckets.\(what).update", summary, .account(.r2, .edit),
            body: .json(schema, bytesMax: bodyBytesMax), result: .json(R2Operations.nothing), mistakes: R2Operations.code
        ) { call in
            do { try await write(R2Operations.subject(services, call), call.json.bytes) } catch let failure as R2Failure {
                throw R2Operations.failure(failure)
            }
            return .result(.object([:]))
        }
    }
}
