internal import HTTP
internal import Host
internal import Interfaces
internal import Stores
internal import StoresR2
internal import XML

/// What is a bucket's own.
struct Buckets {
    let call: S3Call

    func create(_ reader: DocumentReader) async throws -> LocalResponse {
        if call.bodyByteCount != 0 {
            let root = try await reader.read("CreateBucketConfiguration", of: call)
            // Regions are names for one place: this node.
            if let place = root.child("LocationConstraint")?.trimmedText, !Self.regions.contains(place.lowercased()) {
                throw S3Error("InvalidLocationConstraint", 400, "The specified location-constraint is not valid")
            }
        }
        guard EmbeddedR2Store.isValid(bucketName: call.bucket) else { throw S3Error.invalidBucketName }
        var properties = R2BucketProperties()
        if let storageClass = try ObjectHeaders.storageClass(call.header("cf-storage-class")) {
            properties = R2BucketProperties(storageClass: storageClass)
        }
        let made = properties
        let isNew = try await inStore { () throws(R2Failure) in try await call.store.createBucket(call.bucket, as: made) }
        guard isNew else {
            throw S3Error(
                "BucketAlreadyOwnedByYou", 409,
                "Your previous request to create the named bucket succeeded and you already own it.")
        }
        return .empty(200, [("location", "/" + call.bucket)])
    }

    /// R2's names for its regions, and those that stand for `auto`.
    private static let regions: Set<String> = [
        "", "auto", "us-east-1", "wnam", "enam", "weur", "eeur", "apac", "oc",
    ]

    func delete() async throws(S3Error) -> LocalResponse {
        try await inStore { () throws(R2Failure) in try await call.store.deleteBucket(call.bucket) }
        return .empty(204)
    }

    func head() throws(S3Error) -> LocalResponse {
        try requireBucket()
        return .empty(200, [("x-amz-bucket-region", "auto")])
    }

    private func requireBucket() throws(S3Error) {
        do throws(R2Failure) {
            guard try call.store.hasBucket(call.bucket) else { throw R2Failure.noSuchBucket }
        } catch { throw S3Error(error) }
    }

    // MARK: What is the same for all

    func location() throws(S3Error) -> LocalResponse {
        try requireBucket()
        return .document(XMLDocument("LocationConstraint") { $0.text("auto") })
    }

    func encryption() throws(S3Error) -> LocalResponse {
        try requireBucket()
        return .document(
            XMLDocument("ServerSideEncryptionConfiguration") { xml in
                xml.element("Rule") { xml in
                    xml.element("ApplyServerSideEncryptionByDefault") { $0.element("SSEAlgorithm", "AES256") }
                    xml.element("BucketKeyEnabled", true)
                }
            })
    }

    func versioning() throws(S3Error) -> LocalResponse {
        try requireBucket()
        return .document(XMLDocument("VersioningConfiguration") { _ in })
    }

    func accessControl() throws(S3Error) -> LocalResponse {
        try requireBucket()
        return .document(
            XMLDocument("AccessControlPolicy") { xml in
                xml.element("Owner") { Lists.owner(call, &$0) }
                xml.element("AccessControlList") { xml in
                    xml.element("Grant") { xml in
                        xml.raw(
                            "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\">")
                        Lists.owner(call, &xml)
                        xml.raw("</Grantee>")
                        xml.element("Permission", "FULL_CONTROL")
                    }
                }
            })
    }

    func missing(_ error: S3Error) throws(S3Error) -> LocalResponse {
        try requireBucket()
        throw error
    }

    // MARK: Pages of other origins

    func cors() throws(S3Error) -> LocalResponse {
        let rules: [R2CorsRule]
        do throws(R2Failure) { rules = try call.store.corsRules(of: call.bucket) } catch { throw S3Error(error) }
        guard !rules.isEmpty else {
            throw S3Error("NoSuchCORSConfiguration", 404, "The CORS configuration does not exist.")
        }
        return .document(CrossOrigin.write(rules))
    }

    func setCors(_ reader: DocumentReader) async throws -> LocalResponse {
        let rules = try CrossOrigin.read(try await reader.read("CORSConfiguration", of: call))
        try await inStore { () throws(R2Failure) in try await call.store.setCorsRules(rules, of: call.bucket) }
        return .empty()
    }

    func removeCors() async throws(S3Error) -> LocalResponse {
        try await inStore { () throws(R2Failure) in try await call.store.setCorsRules([], of: call.bucket) }
        return .empty(204)
    }

    // MARK: Lifecycle

    func lifecycle() throws(S3Error) -> LocalResponse {
        let rules: [R2LifecycleRule]
        do throws(R2Failure) { rules = try call.store.lifecycleRules(of: call.bucket) } catch { throw S3Error(error) }
        guard !rules.isEmpty else {
            throw S3Error("NoSuchLifecycleConfiguration", 404, "The lifecycle configuration does not exist.")
        }
        return .document(LifecycleDocument.write(rules))
    }

    func setLifecycle(_ reader: DocumentReader) async throws -> LocalResponse {
        let rules = try LifecycleDocument.read(try await reader.read("LifecycleConfiguration", of: call))
        try await inStore { () throws(R2Failure) in try await call.store.setLifecycleRules(rules, of: call.bucket) }
        return .empty()
    }

    func removeLifecycle() async throws(S3Error) -> LocalResponse {
        try await inStore { () throws(R2Failure) in try await call.store.setLifecycleRules([], of: call.bucket) }
        return .empty(204)
    }
}
