internal import S3
internal import System

/// Credentials for the S3 API that end by themselves (spec r2.md §5).
enum TemporaryCredentialOperations {
    private static let secondsMax: Int64 = 7 * 86_400

    static func all(_ services: APIServices) -> [APIOperation] {
        let names = APISchema.nullable(.array(.string(1...1024), 0...1000))
        return [
            APIOperation(
                "POST", "/accounts/{account_id}/r2/temp-access-credentials", id: "r2.temporary_credentials.create",
                "Makes credentials for the S3 API that end by themselves, and may do less than the token they are made of",
                .account(.r2, .read),
                body: .json(
                    .object([
                        .required("bucket", .string(3...63)), .required("parentAccessKeyId", .string(1...128)),
                        .required(
                            "permission", .choice(TemporaryCredentials.Permission.allCases.map(\.rawValue))),
                        .required("ttlSeconds", .integer(1...secondsMax)), .optional("objects", names),
                        .optional("prefixes", names),
                    ])),
                result: .json(
                    .object([
                        .required("accessKeyId", .string()), .required("secretAccessKey", .string()),
                        .required("sessionToken", .string()),
                    ])), isIdempotent: true
            ) { call in .result(try create(call, services)) }
        ]
    }

    private static func create(_ call: APICall, _ services: APIServices) throws -> JSON {
        let now = services.clock.wallTime()
        let parentID = call.json["parentAccessKeyId"]?.text ?? ""
        guard let (parent, secret) = services.tokens.accessKey(parentID, at: now) else {
            throw APIError(404, 10026, "The parent access key does not exist", pointer: "/parentAccessKeyId")
        }
        // Who asks gets nothing that he can't do himself.
        let wanted = call.json["permission"]?.text.flatMap(TemporaryCredentials.Permission.init(rawValue:)) ?? .read
        let level: APIOperation.Level = wanted == .write || wanted == .administrateAndWrite ? .edit : .read
        let bucket = call.json["bucket"]?.text ?? ""
        let grant = Principal.Grant(tenant: call.tenant, product: .r2, level: level, bucket: bucket)
        guard parent.principal.covers(grant), parent.id == call.principal.tokenID || call.principal.covers(grant) else {
            throw APIError.notAllowed
        }
        func texts(_ name: String) -> [String]? {
            call.json[name]?.items.map { $0.compactMap(\.text) }.flatMap { $0.isEmpty ? nil : $0 }
        }
        let claims = TemporaryCredentials.Claims(
            sub: parent.id, bucket: bucket, scope: wanted, account: call.tenant ?? "", objects: texts("objects"),
            prefixes: texts("prefixes"), exp: now.seconds + (call.json["ttlSeconds"]?.integer ?? 1))
        let made = try TemporaryCredentials(claims, secret: secret)
        return .object([
            "accessKeyId": .string(parent.id), "secretAccessKey": .string(made.secretAccessKey),
            "sessionToken": .string(made.sessionToken),
        ])
    }
}
