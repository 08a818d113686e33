/// The operations that are answered, and which one a request is (spec r2.md §3).
enum S3Operation: Equatable, Sendable {
    case listBuckets
    case createBucket, deleteBucket, headBucket, getBucketLocation
    case listObjects, listObjectsV2, listMultipartUploads, deleteObjects
    case getBucketCors, putBucketCors, deleteBucketCors
    case getBucketLifecycle, putBucketLifecycle, deleteBucketLifecycle
    case getBucketEncryption, getBucketVersioning, getBucketAcl
    /// What no bucket has: always the same error.
    case missing(S3Error)
    case getObject, headObject, putObject, copyObject, deleteObject
    case createMultipartUpload, uploadPart, uploadPartCopy, completeMultipartUpload, abortMultipartUpload, listParts

    /// - Throws: 404 for no route, 501 for an operation of S3 that R2 doesn't have.
    init(_ request: S3Request, _ address: S3Address) throws(S3Error) {
        let names = Set(request.parameters.map(\.name).filter { !Self.isAside($0) })
        let isCopy = request.header("x-amz-copy-source") != nil
        self =
            switch (address.bucket, address.key) {
            case (nil, _): try Self.service(request.method)
            case (_, nil): try Self.bucket(request.method, names)
            case (_, _?): try Self.object(request.method, names, isCopy: isCopy)
            }
    }

    /// Parameters that are no part of what is asked for: of signatures, and of clients' own.
    static func isAside(_ parameter: String) -> Bool {
        parameter == "x-id" || parameter.lowercased().hasPrefix("x-amz-")
    }

    private static let noRoute = S3Error("RouteNotFound", 404, "No route matches this url.")

    private static func service(_ method: String) throws(S3Error) -> S3Operation {
        guard method == "GET" else { throw noRoute }
        return .listBuckets
    }

    private static func bucket(_ method: String, _ names: Set<String>) throws(S3Error) -> S3Operation {
        try refuse(bucketSubresources, names, method, "Bucket")
        switch method {
        case "GET": return try read(names)
        case "HEAD": return .headBucket
        case "PUT":
            if names.isEmpty { return .createBucket }
            if names.contains("cors") { return .putBucketCors }
            if names.contains("lifecycle") { return .putBucketLifecycle }
            let unknown = names.sorted().joined(separator: ", ")
            throw .invalidArgument("Unsupported search param(s) \"\(unknown)\" on a PUT bucket route")
        case "DELETE":
            if names.contains("cors") { return .deleteBucketCors }
            if names.contains("lifecycle") { return .deleteBucketLifecycle }
            guard names.isEmpty else { throw noRoute }
            return .deleteBucket
        case "POST":
            guard names.contains("delete") else { throw noRoute }
            return .deleteObjects
        default: throw noRoute
        }
    }

    private static func read(_ names: Set<String>) throws(S3Error) -> S3Operation {
        for (name, operation) in bucketReads where names.contains(name) { return operation }
        return names.contains("list-type") ? .listObjectsV2 : .listObjects
    }

    private static let bucketReads: [(String, S3Operation)] = [
        ("location", .getBucketLocation), ("cors", .getBucketCors), ("lifecycle", .getBucketLifecycle),
        ("encryption", .getBucketEncryption), ("versioning", .getBucketVersioning), ("acl", .getBucketAcl),
        ("uploads", .listMultipartUploads),
        ("tagging", .missing(S3Error("NoSuchTagSet", 404, "The TagSet does not exist."))),
        (
            "object-lock",
            .missing(
                S3Error(
                    "ObjectLockConfigurationNotFoundError", 404,
                    "Object Lock configuration does not exist for this bucket."))
        ),
        (
            "replication",
            .missing(
                S3Error("ReplicationConfigurationNotFoundError", 404, "The replication configuration was not found."))
        ),
    ]

    private static func object(_ method: String, _ names: Set<String>, isCopy: Bool) throws(S3Error) -> S3Operation {
        try refuse(objectSubresources, names, method, "Object")
        let hasUpload = names.contains("uploadId")
        switch method {
        case "GET": return hasUpload ? .listParts : .getObject
        case "HEAD": return .headObject
        case "PUT":
            if hasUpload || names.contains("partNumber") { return isCopy ? .uploadPartCopy : .uploadPart }
            return isCopy ? .copyObject : .putObject
        case "DELETE": return hasUpload ? .abortMultipartUpload : .deleteObject
        case "POST":
            if names.contains("uploads") { return .createMultipartUpload }
            guard hasUpload else { throw noRoute }
            return .completeMultipartUpload
        default: throw noRoute
        }
    }

    // MARK: What R2 doesn't have

    /// A part of S3 by its parameter: how its operations are called, and the methods that it has.
    private struct Subresource {
        let parameter: String
        let name: String
        let methods: Set<String>
        /// Stands in for the whole name where that isn't made of verb and resource.
        var operation: String?
    }

    private static func refuse(
        _ list: [Subresource], _ names: Set<String>, _ method: String, _ resource: String
    ) throws(S3Error) {
        for item in list where names.contains(item.parameter) && item.methods.contains(method) {
            let verb = method == "GET" ? "Get" : method == "DELETE" ? "Delete" : "Put"
            throw .notImplemented(item.operation ?? "\(verb)\(resource)\(item.name)")
        }
    }

    private static let bucketSubresources: [Subresource] = [
        .init(parameter: "tagging", name: "Tagging", methods: ["PUT", "DELETE"]),
        .init(parameter: "versioning", name: "Versioning", methods: ["PUT"]),
        .init(parameter: "versions", name: "", methods: ["GET"], operation: "ListObjectVersions"),
        .init(parameter: "policy", name: "Policy", methods: ["GET", "PUT", "DELETE"]),
        .init(parameter: "policyStatus", name: "PolicyStatus", methods: ["GET"]),
        .init(parameter: "website", name: "Website", methods: ["GET", "PUT", "DELETE"]),
        .init(parameter: "logging", name: "Logging", methods: ["GET", "PUT"]),
        .init(parameter: "notification", name: "NotificationConfiguration", methods: ["GET", "PUT"]),
        .init(parameter: "acl", name: "Acl", methods: ["PUT"]),
        .init(parameter: "encryption", name: "Encryption", methods: ["PUT", "DELETE"]),
        .init(parameter: "replication", name: "Replication", methods: ["PUT", "DELETE"]),
        .init(parameter: "object-lock", name: "", methods: ["PUT"], operation: "PutObjectLockConfiguration"),
        .init(parameter: "requestPayment", name: "RequestPayment", methods: ["GET", "PUT"]),
        .init(parameter: "accelerate", name: "AccelerateConfiguration", methods: ["GET", "PUT"]),
        .init(parameter: "ownershipControls", name: "OwnershipControls", methods: ["GET", "PUT", "DELETE"]),
        .init(parameter: "publicAccessBlock", name: "PublicAccessBlock", methods: ["GET", "PUT", "DELETE"]),
        .init(parameter: "analytics", name: "AnalyticsConfiguration", methods: ["GET", "PUT", "DELETE"]),
        .init(parameter: "inventory", name: "InventoryConfiguration", methods: ["GET", "PUT", "DELETE"]),
        .init(parameter: "metrics", name: "MetricsConfiguration", methods: ["GET", "PUT", "DELETE"]),
        .init(parameter: "intelligent-tiering", name: "IntelligentTieringConfiguration", methods: ["GET", "PUT", "DELETE"]),
    ]

    private static let objectSubresources: [Subresource] = [
        .init(parameter: "tagging", name: "Tagging", methods: ["GET", "PUT", "DELETE"]),
        .init(parameter: "acl", name: "Acl", methods: ["GET", "PUT"]),
        .init(parameter: "retention", name: "Retention", methods: ["GET", "PUT"]),
        .init(parameter: "legal-hold", name: "LegalHold", methods: ["GET", "PUT"]),
        .init(parameter: "attributes", name: "Attributes", methods: ["GET"]),
        .init(parameter: "torrent", name: "Torrent", methods: ["GET"]),
        .init(parameter: "versionId", name: "", methods: ["GET", "HEAD", "DELETE", "PUT"], operation: "Object versions"),
        .init(parameter: "select", name: "", methods: ["POST"], operation: "SelectObjectContent"),
        .init(parameter: "restore", name: "", methods: ["POST"], operation: "RestoreObject"),
        .init(parameter: "append", name: "", methods: ["POST", "PUT"], operation: "AppendObject"),
    ]

    // MARK: What it asks of its caller

    enum Right: Equatable, Sendable {
        /// With the tenant's buckets as such.
        case manage(S3Scope.Level)
        /// With objects of the bucket.
        case objects(S3Scope.Level)
    }

    var right: Right {
        switch self {
        case .listBuckets: .manage(.read)
        case .createBucket, .deleteBucket: .manage(.write)
        case .getBucketCors, .getBucketLifecycle, .getBucketAcl, .missing: .manage(.read)
        case .putBucketCors, .deleteBucketCors, .putBucketLifecycle, .deleteBucketLifecycle: .manage(.write)
        case .headBucket, .getBucketLocation, .getBucketEncryption, .getBucketVersioning, .listObjects, .listObjectsV2,
            .listMultipartUploads, .getObject, .headObject, .listParts:
            .objects(.read)
        case .deleteObjects, .putObject, .copyObject, .deleteObject, .createMultipartUpload, .uploadPart, .uploadPartCopy,
            .completeMultipartUpload, .abortMultipartUpload:
            .objects(.write)
        }
    }
}
