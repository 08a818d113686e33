internal import Interfaces
internal import OpenSSL
internal import StoresR2

/// Under which names a bucket is public. This node serves buckets to nobody without a token: workers and their routes do
/// that. So every bucket says that it isn't public, and making it so is refused rather than only remembered.
enum R2DomainOperations {
    private static let managed = APISchema.object([
        .required("bucketId", .string()), .required("domain", .string()), .required("enabled", .bool),
    ])

    static func all(_ services: APIServices) -> [APIOperation] {
        let domains = R2Operations.bucket + "/domains"
        return [
            APIOperation(
                "GET", domains + "/managed", id: "r2.buckets.domains.managed.list", "Whether the bucket is public",
                .account(.r2, .read), result: .json(managed), mistakes: R2Operations.code
            ) { call in .result(json(call, try R2Operations.subject(services, call))) },
            APIOperation(
                "PUT", domains + "/managed", id: "r2.buckets.domains.managed.update", "Keeps the bucket from being public",
                .account(.r2, .edit), body: .json(.object([.required("enabled", .bool)])), result: .json(managed),
                mistakes: R2Operations.code
            ) { call in
                let subject = try R2Operations.subject(services, call)
                if call.json["enabled"] == true { throw refusal }
                return .result(json(call, subject))
            },
            APIOperation(
                "GET", domains + "/custom", id: "r2.buckets.domains.custom.list", "The domains that the bucket is public under",
                .account(.r2, .read), result: .json(.object([.required("domains", .array(.any))])),
                mistakes: R2Operations.code
            ) { call in
                _ = try R2Operations.subject(services, call)
                return .result(.object(["domains": .array([])]))
            },
            APIOperation(
                "POST", domains + "/custom", id: "r2.buckets.domains.custom.create", "Refused: no bucket is public here",
                .account(.r2, .edit),
                body: .json(.object([.required("domain", .string(1...253)), .optional("enabled", .nullable(.bool))])),
                result: .json(.any), mistakes: R2Operations.code
            ) { call in
                _ = try R2Operations.subject(services, call)
                throw refusal
            },
        ]
    }

    private static var refusal: APIError {
        APIError(
            400, R2ErrorCode.invalidArgument.rawValue,
            "This node makes no bucket public by itself: give a worker a route and a binding to the bucket")
    }

    private static func json(_ call: APICall, _ subject: R2Operations.Subject) -> JSON {
        let id = TokenStore.hex(
            Array(Digest.hash("edge-bucket\u{0}\(call.tenant ?? "")\u{0}\(subject.name)", with: .sha256).prefix(16)))
        return .object(["bucketId": .string(id), "domain": .string("pub-\(id).r2.invalid"), "enabled": false])
    }
}
