internal import Interfaces
internal import StoresR2

/// What buckets hold, what they may hold, and whether they are sound. Limits and verification are ours: the product has none.
enum R2UsageOperations {
    private static let usage = APISchema.object([
        .required("objectCount", .integer()), .required("payloadSize", .integer()), .required("metadataSize", .integer()),
        .required("uploadCount", .integer()), .required("uploadPartsSize", .integer()),
    ])
    private static let limits = APISchema.object([
        .optional("storedSizeMax", .nullable(.integer())), .optional("objectCountMax", .nullable(.integer())),
    ])
    private static let verification = APISchema.object([
        .required("objects", .integer()), .required("parts", .integer()), .required("files", .integer()),
        .required("damaged", .integer()), .required("repaired", .integer()), .required("damage", .array(.string())),
    ])

    static func all(_ services: APIServices) -> [APIOperation] {
        let account = R2Operations.account + "/r2"
        return [
            use(R2Operations.bucket + "/usage", "r2.buckets.usage.get", "What a bucket holds, exactly", services),
            use(account + "/usage", "r2.usage.get", "What all buckets hold together, exactly", services),
            metrics(services),
            readLimits(R2Operations.bucket + "/limits", "r2.buckets.limits.get", "What a bucket may hold", services),
            readLimits(account + "/limits", "r2.limits.get", "What all buckets may hold together", services),
            setLimits(R2Operations.bucket + "/limits", "r2.buckets.limits.update", "Limits what a bucket may hold", services),
            setLimits(account + "/limits", "r2.limits.update", "Limits what all buckets may hold together", services),
            verify("GET", "r2.verification.get", "Looks for damaged, missing and left-over files", .read, services),
            verify("POST", "r2.verification.create", "The same, and removes what is left over", .edit, services),
        ]
    }

    /// The bucket that the path names; `nil`: it speaks of all.
    private static func bucket(_ services: APIServices, _ call: APICall) throws(APIError) -> String? {
        call.parameters["bucket_name"] == nil ? nil : try R2Operations.subject(services, call).name
    }

    private static func use(_ path: String, _ id: String, _ summary: String, _ services: APIServices) -> APIOperation {
        APIOperation("GET", path, id: id, summary, .account(.r2, .read), result: .json(usage), mistakes: R2Operations.code) {
            call in
            let (store, bucket) = (try R2Operations.administration(services, call).store, try bucket(services, call))
            let usage = try await R2Operations.perform { () throws(R2Failure) in try store.usage(of: bucket) }
            return .result(try R2Operations.json(usage))
        }
    }

    private static let shownMetrics = APISchema.object([
        .required("standard", .any), .required("infrequentAccess", .any),
    ])

    private static func metrics(_ services: APIServices) -> APIOperation {
        APIOperation(
            "GET", R2Operations.account + "/r2/metrics", id: "r2.buckets.metrics.list",
            "What all buckets hold, by storage class; looks at every object", .account(.r2, .read),
            result: .json(shownMetrics), mistakes: R2Operations.code
        ) { call in
            let store = try R2Operations.administration(services, call).store
            let (metrics, all) = try await R2Operations.perform { () throws(R2Failure) in
                (try await store.metrics(), try store.usage(of: nil))
            }
            // Parts of uploads have the class of the object that they may become, which is not known to be one.
            let uploaded = R2Usage(objectCount: all.uploadCount, payloadSize: all.uploadPartsSize)
            return .result(
                .object([
                    "standard": shown(metrics.standard, uploaded: uploaded),
                    "infrequentAccess": shown(metrics.infrequentAccess, uploaded: R2Usage()),
                ]))
        }
    }

    private static func shown(_ published: R2Usage, uploaded: R2Usage) -> JSON {
        func json(_ usage: R2Usage) -> JSON {
            .object([
                "objects": .integer(usage.objectCount), "payloadSize": .integer(usage.payloadSize),
                "metadataSize": .integer(usage.metadataSize),
            ])
        }
        return .object(["published": json(published), "uploaded": json(uploaded)])
    }

    private static func readLimits(
        _ path: String, _ id: String, _ summary: String, _ services: APIServices
    ) -> APIOperation {
        APIOperation("GET", path, id: id, summary, .account(.r2, .read), result: .json(limits), mistakes: R2Operations.code) {
            call in
            let (store, bucket) = (try R2Operations.administration(services, call).store, try bucket(services, call))
            let limits = try await R2Operations.perform { () throws(R2Failure) in try store.limits(of: bucket) }
            return .result(try R2Operations.json(limits))
        }
    }

    private static func setLimits(
        _ path: String, _ id: String, _ summary: String, _ services: APIServices
    ) -> APIOperation {
        APIOperation(
            "PUT", path, id: id, summary, .account(.r2, .edit), body: .json(limits), result: .json(R2Operations.nothing),
            mistakes: R2Operations.code
        ) { call in
            let (store, bucket) = (try R2Operations.administration(services, call).store, try bucket(services, call))
            try await R2Operations.perform { () throws(R2Failure) in
                let limits: R2StorageLimits = try R2JSON.decode(call.json.bytes)
                try await store.setLimits(limits, of: bucket)
            }
            return .result(.object([:]))
        }
    }

    private static func verify(
        _ method: String, _ id: String, _ summary: String, _ level: APIOperation.Level, _ services: APIServices
    ) -> APIOperation {
        APIOperation(
            method, R2Operations.account + "/r2/verification", id: id, summary, .account(.r2, level),
            query: [.init("checksums", .bool, "Whether every byte is read.")], result: .json(verification),
            isIdempotent: true, mistakes: R2Operations.code
        ) { call in
            let store = try R2Operations.administration(services, call).store
            let depth: R2VerifyDepth = call.queryValue("checksums") == "true" ? .checksums : .sizes
            let report = try await R2Operations.perform { () throws(R2Failure) in
                level == .edit ? try await store.verify(depth, repairing: .leftovers) : try await store.verify(depth)
            }
            return .result(json(report))
        }
    }

    private static func json(_ report: R2VerifyReport) -> JSON {
        .object([
            "objects": .integer(Int64(report.objectCount)), "parts": .integer(Int64(report.partCount)),
            "files": .integer(Int64(report.fileCount)), "damaged": .integer(Int64(report.damageCount)),
            "repaired": .integer(Int64(report.repairedCount)), "damage": .strings(report.damage.map(\.description)),
        ])
    }
}
