internal import HTTP
internal import Interfaces
internal import StoresR2

/// Making, listing, changing and deleting buckets.
enum R2BucketOperations {
    private static let shape = APISchema.object([
        .required("name", .string()), .optional("creation_date", .string()), .required("location", .string()),
        .required("storage_class", .string()), .required("jurisdiction", .string()),
    ])

    static func all(_ services: APIServices) -> [APIOperation] {
        let (buckets, bucket) = (R2Operations.buckets, R2Operations.bucket)
        return [
            APIOperation(
                "POST", buckets, id: "r2.buckets.create", "Makes a bucket", .account(.r2, .edit),
                body: .json(
                    .object([
                        .required("name", .string()), .optional("locationHint", .nullable(.string())),
                        .optional("storageClass", .nullable(.string())),
                    ])),
                result: .json(shape), mistakes: R2Operations.code
            ) { try await create(services, $0) },
            APIOperation(
                "GET", buckets, id: "r2.buckets.list", "The account's buckets", .account(.r2, .read),
                query: [
                    .init("name_contains", .string(), "What the names have in them."),
                    .init("start_after", .string(), "The name behind which the list begins."),
                    .init("per_page", .integer(1...1000), "How many a page has; 1000 when not given."),
                    .init("order", .choice(["name"]), "What they are ordered by."),
                    .init("direction", .choice(["asc", "desc"]), "Upwards or downwards."),
                    .init("cursor", .string(), "Where the page begins: what `result_info` of the one before said."),
                ],
                result: .json(.object([.required("buckets", .array(shape))])), mistakes: R2Operations.code
            ) { try await list(services, $0) },
            APIOperation(
                "GET", bucket, id: "r2.buckets.get", "A bucket", .account(.r2, .read), result: .json(shape),
                mistakes: R2Operations.code
            ) { call in
                let subject = try R2Operations.subject(services, call)
                return .result(json(R2BucketDescription(name: subject.name, properties: subject.properties)))
            },
            APIOperation(
                "PATCH", bucket, id: "r2.buckets.edit", "Sets the storage class of what is stored from now on",
                .account(.r2, .edit), result: .json(shape), isIdempotent: true, mistakes: R2Operations.code
            ) { try await change(services, $0) },
            APIOperation(
                "DELETE", bucket, id: "r2.buckets.delete", "Deletes an empty bucket", .account(.r2, .edit),
                result: .json(R2Operations.nothing), mistakes: R2Operations.code
            ) { call in
                let subject = try R2Operations.subject(services, call)
                let runner = try services.accounts.runner(call)
                try await R2Operations.perform { () throws(R2Failure) in try await subject.store.deleteBucket(subject.name) }
                // The next change does it, too: until then nothing is found under its names.
                try? await runner.publishBuckets()
                return .result(.object([:]))
            },
        ]
    }

    private static let locations = ["apac", "eeur", "enam", "weur", "wnam", "oc"]

    private static func create(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let name = call.json["name"]?.text ?? ""
        let hint = call.json["locationHint"]?.text?.lowercased()
        if let hint, !locations.contains(hint) {
            throw APIError(
                400, R2ErrorCode.invalidArgument.rawValue,
                "The location hint is one of \(locations.joined(separator: ", ")), not \"\(hint)\"", pointer: "/locationHint")
        }
        let storageClass = try R2Operations.storageClass(call.json["storageClass"]?.text)
        let properties = R2BucketProperties(
            locationHint: hint, jurisdiction: try R2Operations.jurisdiction(call), storageClass: storageClass ?? .standard)
        let store = try R2Operations.administration(services, call).store
        let (isNew, kept) = try await R2Operations.perform { () throws(R2Failure) in
            (try await store.createBucket(name, as: properties), try store.properties(of: name))
        }
        guard isNew else {
            let code = R2ErrorCode.bucketAlreadyExists
            throw APIError(code.status, code.rawValue, code.text ?? "")
        }
        return .result(json(R2BucketDescription(name: name, properties: kept)))
    }

    private static func list(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        var query = R2BucketQuery()
        query.nameContains = call.queryValue("name_contains") ?? ""
        query.isDescending = call.queryValue("direction") == "desc"
        query.jurisdiction = try R2Operations.jurisdiction(call)
        query.limit = call.queryValue("per_page").flatMap(Int.init) ?? 1000
        query.startAfter = call.queryValue("start_after")
        if let cursor = call.queryValue("cursor"), !cursor.isEmpty {
            guard let bytes = R2Hex.decode(cursor) else { throw R2Operations.failure(.invalidCursor) }
            query.startAfter = String(decoding: bytes, as: UTF8.self)
        }
        let (store, wanted) = (try R2Operations.administration(services, call).store, query)
        let page = try await R2Operations.perform { () throws(R2Failure) in try await store.buckets(wanted) }
        let cursor = page.hasMore ? page.buckets.last.map { R2Hex.encode($0.name.utf8) } : nil
        return .result(
            .object(["buckets": .array(page.buckets.map(json))]),
            info: .object([
                "cursor": .string(cursor ?? ""), "per_page": .integer(Int64(query.limit)),
                "count": .integer(Int64(page.buckets.count)),
            ]))
    }

    private static func change(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let subject = try R2Operations.subject(services, call)
        guard let storageClass = try R2Operations.storageClass(call.header("cf-r2-storage-class")) else {
            throw APIError(400, R2ErrorCode.invalidArgument.rawValue, "The header cf-r2-storage-class says the new class")
        }
        let properties = try await R2Operations.perform { () throws(R2Failure) in
            try await subject.store.setStorageClass(storageClass, of: subject.name)
            return try subject.store.properties(of: subject.name)
        }
        return .result(json(R2BucketDescription(name: subject.name, properties: properties)))
    }

    private static func json(_ bucket: R2BucketDescription) -> JSON {
        .object([
            "name": .string(bucket.name),
            "creation_date": bucket.properties.createdAt.map { .string(InternetTimestamp.text(milliseconds: $0)) },
            // A node is one place; what was asked for is told back.
            "location": .string(bucket.properties.locationHint ?? "auto"),
            "storage_class": .string(bucket.properties.storageClass.name),
            "jurisdiction": .string(bucket.properties.jurisdiction),
        ])
    }
}
