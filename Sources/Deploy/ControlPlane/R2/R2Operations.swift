internal import FoundationEssentials
internal import Interfaces
internal import Releases
internal import StoresR2

/// The REST API of R2 (spec r2.md §5): buckets, their objects, rules and use.
enum R2Operations {
    static let account = "/accounts/{account_id}"
    static let buckets = account + "/r2/buckets"
    static let bucket = buckets + "/{bucket_name}"

    static func all(_ services: APIServices) -> [APIOperation] {
        R2BucketOperations.all(services) + R2ObjectOperations.all(services) + R2RuleOperations.all(services)
            + R2NotificationOperations.all(services) + R2UsageOperations.all(services) + R2DomainOperations.all(services)
    }

    /// Of calls that answer nothing.
    static let nothing = APISchema.object([])

    /// What is wrong with a request, in the product's numbers for R2.
    @Sendable static func code(_ mistake: APIOperation.Mistake) -> Int? {
        switch mistake {
        case .unreadable, .member: R2ErrorCode.malformedJSON.rawValue
        case .parameter("per_page"): R2ErrorCode.invalidMaxKeys.rawValue
        case .parameter: R2ErrorCode.invalidArgument.rawValue
        case .method: nil
        }
    }

    // MARK: The bucket that a call speaks of

    struct Subject: Sendable {
        let store: EmbeddedR2Store
        let name: String
        let properties: R2BucketProperties
    }

    private static let jurisdictions = ["default", "eu", "us", "fedramp", "fedramp-high"]

    static func jurisdiction(_ call: APICall) throws(APIError) -> String {
        let name = call.header("cf-r2-jurisdiction") ?? "default"
        guard jurisdictions.contains(name) else {
            throw APIError(
                400, R2ErrorCode.invalidArgument.rawValue,
                "The jurisdiction is one of \(jurisdictions.joined(separator: ", ")), not \"\(name)\"")
        }
        return name
    }

    static func administration(_ services: APIServices, _ call: APICall) throws(APIError) -> BucketAdministration {
        try services.accounts.runner(call).buckets
    }

    /// - Parameter unknown: The number for a bucket that isn't there, as far as this client can see.
    static func subject(
        _ services: APIServices, _ call: APICall, unknown: R2ErrorCode = .noSuchBucket
    ) throws(APIError) -> Subject {
        let (store, name) = (try administration(services, call).store, call.parameters["bucket_name"] ?? "")
        let jurisdiction = try jurisdiction(call)
        do throws(R2Failure) {
            let properties = try store.properties(of: name)
            guard properties.jurisdiction == jurisdiction else { throw R2Failure.noSuchBucket }
            return Subject(store: store, name: name, properties: properties)
        } catch { throw failure(error, unknownBucket: unknown) }
    }

    // MARK: Failures

    static func failure(_ failure: R2Failure, unknownBucket: R2ErrorCode = .noSuchBucket) -> APIError {
        if failure == .noSuchBucket { return APIError(404, unknownBucket.rawValue, failure.message) }
        let status = R2ErrorCode(rawValue: failure.code)?.status ?? 400
        return APIError(status, failure.code, failure.message, retryAfterSeconds: status == 503 || status == 429 ? 1 : nil)
    }

    /// Runs `work`, and says what goes wrong in the product's words.
    static func perform<Value>(
        unknownBucket: R2ErrorCode = .noSuchBucket, _ work: () async throws(R2Failure) -> Value
    ) async throws(APIError) -> Value {
        do throws(R2Failure) { return try await work() } catch { throw failure(error, unknownBucket: unknownBucket) }
    }

    // MARK: Forms

    /// What is kept in the form that the API shows.
    static func json(_ value: some Encodable) throws -> JSON {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return .verbatim(Array(try encoder.encode(value)))
    }

    static func storageClass(_ name: String?) throws(APIError) -> R2StorageClass? {
        switch name {
        case nil: nil
        case "Standard": .standard
        case "InfrequentAccess": .infrequentAccess
        case let name?: throw failure(.invalidStorageClass(name))
        }
    }
}
