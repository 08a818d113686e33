package import Interfaces
internal import LMDB
internal import System

/// Under which names buckets are public. That a name is nobody else's is the matter of who sets it.
extension EmbeddedR2Store {
    /// Whether a domain is still as it was read. Answers in place.
    ///
    /// - Parameter record: `R2BucketDomain.record` of what was read.
    package func hasDomain(_ name: String, recordedAs record: [UInt8]) -> Bool {
        let found = try? read("domain") { transaction throws(LMDBError) in try index.domains.record(name, transaction) }
        return found == record
    }

    /// - Parameter bucket: `nil` for those of all buckets.
    package func domains(of bucket: String?) throws(R2Failure) -> [R2BucketDomain] {
        let found = try read("domains") { transaction throws(LMDBError) -> [R2BucketDomain]? in
            if let bucket, try index.bucket(bucket, transaction) == nil { return nil }
            return try index.domains.all(transaction).filter { bucket == nil || $0.bucket == bucket }
        }
        guard let found else { throw .noSuchBucket }
        return found
    }

    /// Makes or changes a domain of a bucket. Durable when it returns.
    ///
    /// - Parameter edit: Gets the domain as it is, or a new one.
    /// - Throws: `.domain(.taken)` when another bucket has the name; `.domain(.tooMany)`.
    package func setDomain(
        _ name: String, of bucket: String, isManaged: Bool = false,
        _ edit: @escaping @Sendable (inout R2BucketDomain) -> Void
    ) async throws(R2Failure) -> R2BucketDomain {
        let now = clock.wallTime().milliseconds
        return try await commit("domain \(name) of \(bucket)") { [index] transaction in
            guard try index.bucket(bucket, transaction.reading) != nil else { throw R2Failure.noSuchBucket }
            let known = try index.domains.domain(name, transaction.reading)
            if let known, known.bucket != bucket { throw R2Failure.domain(.taken(name)) }
            if known == nil {
                let all = try index.domains.all(transaction.reading)
                guard all.count(where: { $0.bucket == bucket }) < BucketDomains.countMaxOfBucket else {
                    throw R2Failure.domain(.tooMany(BucketDomains.countMaxOfBucket, ofTenant: false))
                }
                guard all.count < BucketDomains.countMax else {
                    throw R2Failure.domain(.tooMany(BucketDomains.countMax, ofTenant: true))
                }
            }
            var domain =
                known ?? R2BucketDomain(name: name, bucket: bucket, isManaged: isManaged, isEnabled: false, createdAt: now)
            edit(&domain)
            try index.domains.put(domain, transaction)
            return domain
        }
    }

    /// Durable when it returns.
    ///
    /// - Throws: `.domain(.unknown)` when the bucket has none of that name.
    package func removeDomain(_ name: String, of bucket: String) async throws(R2Failure) {
        try await commit("domain \(name) of \(bucket)") { [index] transaction in
            guard let known = try index.domains.domain(name, transaction.reading), known.bucket == bucket else {
                throw R2Failure.domain(.unknown(name))
            }
            try index.domains.remove(name, transaction)
        }
    }
}
