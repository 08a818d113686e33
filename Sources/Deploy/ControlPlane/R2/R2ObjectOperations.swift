internal import Host
internal import HTTP
internal import Interfaces
internal import S3
internal import Stores
internal import StoresR2

/// Objects, as the product's own clients use them; what an object can do more, the S3 API offers.
enum R2ObjectOperations {
    private static let listed = APISchema.object([
        .required("key", .string()), .required("etag", .string()), .required("size", .integer()),
        .required("last_modified", .string()), .required("http_metadata", .map(.string())),
        .required("custom_metadata", .map(.string())), .required("storage_class", .string()),
    ])
    private static let stored = APISchema.object([
        .required("key", .string()), .required("etag", .string()), .required("size", .string()),
        .required("version", .string()), .required("uploaded", .string()), .required("storage_class", .string()),
    ])

    static func all(_ services: APIServices) -> [APIOperation] {
        let objects = R2Operations.bucket + "/objects"
        return [
            APIOperation(
                "GET", objects, id: "r2.objects.list", "A page of a bucket's objects, in byte order", .account(.r2, .read),
                query: [
                    .init("prefix", .string(), "What the keys begin with."),
                    .init("delimiter", .string(), "Keys with it behind the prefix are folded into one."),
                    .init("per_page", .integer(1...1000), "How many a page has; 1000 when not given."),
                    .init("start_after", .string(), "The key behind which the list begins."),
                    .init("cursor", .string(), "Where the page begins: what `result_info` of the one before said."),
                ],
                result: .json(.array(listed)), mistakes: R2Operations.code
            ) { try await list(services, $0) },
            APIOperation(
                "GET", objects + "/{object_key+}", id: "r2.objects.get", "An object, whole or in part", .account(.r2, .read),
                result: .raw(about: "The object's bytes, with its HTTP metadata as headers."), mistakes: R2Operations.code
            ) { try await get(services, $0) },
            APIOperation(
                "PUT", objects + "/{object_key+}", id: "r2.objects.upload", "Stores an object", .account(.r2, .edit),
                body: .stream(about: "The object's bytes."), result: .json(stored), mistakes: R2Operations.code
            ) { try await put(services, $0) },
            APIOperation(
                "DELETE", objects + "/{object_key+}", id: "r2.objects.delete", "Deletes an object, if it is there",
                .account(.r2, .edit), result: .json(.object([.required("key", .string())])), mistakes: R2Operations.code
            ) { call in
                let (subject, key) = (try R2Operations.subject(services, call), try key(call))
                try await R2Operations.perform { () throws(R2Failure) in
                    try await subject.store.delete([key], in: subject.name)
                }
                return .result(.object(["key": .string(key)]))
            },
        ]
    }

    /// All that stands behind `/objects/`: slashes may be escaped or not.
    private static func key(_ call: APICall) throws(APIError) -> String {
        guard let key = String(validating: call.bytes("object_key"), as: UTF8.self) else {
            throw R2Operations.failure(.invalidObjectName)
        }
        return key
    }

    // MARK: Listing

    private static func list(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let subject = try R2Operations.subject(services, call)
        func given(_ name: String) -> String? { call.queryValue(name).flatMap { $0.isEmpty ? nil : $0 } }
        let request = R2ListMessage(
            limit: given("per_page").flatMap { Int64($0) } ?? 1000, prefix: given("prefix") ?? "", cursor: given("cursor"),
            delimiter: given("delimiter") ?? "", startAfter: given("start_after"), include: [.httpMetadata, .customMetadata])
        let page = try await R2Operations.perform { () throws(R2Failure) in
            try await subject.store.list(request, in: subject.name)
        }
        return .result(
            .array(page.objects.map(json)),
            info: .object([
                "cursor": .string(page.cursor ?? ""), "is_truncated": .string(page.truncated ? "true" : "false"),
                "delimited": .strings(page.delimitedPrefixes), "per_page": .integer(request.limit),
                "count": .integer(Int64(page.objects.count)),
            ]))
    }

    private static func json(_ object: R2Object) -> JSON {
        let metadata = object.httpMetadata
        return .object([
            "key": .string(object.key), "etag": .string(object.etag), "size": .integer(object.size),
            "last_modified": .string(InternetTimestamp.text(milliseconds: object.uploaded)),
            "http_metadata": .object([
                "contentType": metadata.contentType.map { .string($0) },
                "contentLanguage": metadata.contentLanguage.map { .string($0) },
                "contentDisposition": metadata.contentDisposition.map { .string($0) },
                "contentEncoding": metadata.contentEncoding.map { .string($0) },
                "cacheControl": metadata.cacheControl.map { .string($0) },
                "cacheExpiry": metadata.cacheExpiry.map { .string(InternetTimestamp.text(milliseconds: $0)) },
            ]),
            "custom_metadata": .object(
                object.customMetadata.sorted { $0.key < $1.key }.map { JSON.Member(name: $0.key, value: .string($0.value)) }),
            "storage_class": .string(object.storageClass.name), "ssec": .bool(object.ssecKeyMd5 != nil),
        ])
    }

    // MARK: Storing

    private static func put(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let (subject, key) = (try R2Operations.subject(services, call), try key(call))
        let headers = headers(call, metadata)
        let storageClass = try R2Operations.storageClass(call.header("cf-r2-storage-class")) ?? subject.properties.storageClass
        // Without a body there is nothing to be told of its length; in chunks it is known at the end.
        let size = call.body == nil ? 0 : call.header("content-length").flatMap { Int64($0) }
        let request = R2PutMessage(
            key: key, size: size ?? R2PutMessage.sizeUnknown, onlyIf: try condition(call),
            attributes: R2Attributes(httpMetadata: R2HTTPMetadata(headers), storageClass: storageClass))
        let object = try await R2Operations.perform { () throws(R2Failure) in
            try await subject.store.put(request, body: call.body, in: subject.name)
        }
        guard let object else { throw R2Operations.failure(.preconditionFailed) }
        return .result(
            .object([
                "key": .string(object.key), "etag": .string(object.etag), "size": .string(String(object.size)),
                "version": .string(object.version),
                "uploaded": .string(InternetTimestamp.text(milliseconds: object.uploaded)),
                "storage_class": .string(object.storageClass.name),
            ]))
    }

    private static func headers(_ call: APICall, _ names: [String]) -> Headers {
        var headers = Headers()
        for name in names {
            // What the parser let through is valid.
            if let value = call.header(name) { try? headers.set(name, value) }
        }
        return headers
    }

    private static let metadata = [
        "content-type", "content-language", "content-disposition", "content-encoding", "cache-control", "expires",
    ]
    private static let conditions = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"]

    private static func condition(
        _ call: APICall, _ names: [String] = conditions
    ) throws(APIError) -> R2Conditional? {
        let headers = headers(call, names)
        guard !headers.isEmpty else { return nil }
        do throws(CallFailure) { return try R2Conditional(headers) } catch {
            throw APIError(400, R2ErrorCode.invalidArgument.rawValue, error.message)
        }
    }

    // MARK: Reading

    private static func get(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let (subject, key) = (try R2Operations.subject(services, call), try key(call))
        let request = R2GetMessage(
            key: key, onlyIf: try condition(call), range: call.header("range").flatMap { R2Range(asking: $0) })
        let found = try await R2Operations.perform { () throws(R2Failure) in
            try await subject.store.get(request, in: subject.name)
        }
        switch found {
        case .missing: throw R2Operations.failure(.noSuchKey)
        case .withoutBody(let object):
            // Which of the conditions it was decides what the client is told (RFC 9110 §13.2.2).
            let required = try condition(call, ["if-match", "if-unmodified-since"])
            guard required?.passes(etag: object.etag, uploaded: object.uploaded) ?? true else {
                throw R2Operations.failure(.preconditionFailed)
            }
            return .raw(LocalResponse(status: 304, headers: fields(object)))
        case .withBody(let object, let body, let byteCount):
            return .raw(
                LocalResponse(
                    status: object.range == nil ? 200 : 206, headers: fields(object), body: body,
                    bodyByteCount: Int(byteCount)))
        }
    }

    private static func fields(_ object: R2Object) -> [(name: String, value: String)] {
        EntityHeaders.of(object) + [("cf-r2-storage-class", object.storageClass.name)]
    }
}
