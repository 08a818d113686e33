package import Interfaces
internal import LMDB
internal import System

/// Buckets as they are managed: with what was said of them when they were made.
extension EmbeddedR2Store {
    /// Makes a bucket.
    ///
    /// - Parameter properties: The moment of its making is the store's.
    /// - Returns: false when there is one of that name; it stays as it is.
    package func createBucket(_ name: String, as properties: R2BucketProperties) async throws(R2Failure) -> Bool {
        guard Self.isValid(bucketName: name) else { throw .invalidBucketName }
        var properties = properties
        properties.createdAt = clock.wallTime().milliseconds
        let made = properties
        return try await commit("bucket \(name)") { [index, options] transaction in
            guard try index.bucket(name, transaction.reading) == nil else { return false }
            guard try index.bucketCount(transaction.reading) < options.bucketsMax else {
                throw R2Failure.tooManyBuckets(options.bucketsMax)
            }
            try index.makeBucket(name, transaction)
            guard let number = try index.bucket(name, transaction.reading) else { throw R2Failure.internalError }
            try index.bucketSettings.put(made, as: .properties, of: number, transaction)
            return true
        }
    }

    package func properties(of bucket: String) throws(R2Failure) -> R2BucketProperties {
        try setting("properties", of: bucket) { number, transaction throws(LMDBError) in
            try index.bucketSettings.properties(of: number, transaction)
        }
    }

    /// For objects that come without a storage class from now on.
    package func setStorageClass(_ storageClass: R2StorageClass, of bucket: String) async throws(R2Failure) {
        _ = try await commitSetting(bucket) { settings, number, transaction in
            var properties = try settings.properties(of: number, transaction.reading)
            properties.storageClassName = storageClass.name
            try settings.put(properties, as: .properties, of: number, transaction)
        }
    }

    /// A page of the buckets, in byte order of their names, and whether more follow.
    package func buckets(_ query: R2BucketQuery) async throws(R2Failure) -> (buckets: [R2BucketDescription], hasMore: Bool) {
        try await threads.run { [self] () throws(R2Failure) in
            try read("buckets") { transaction throws(LMDBError) in
                var (found, hasMore): ([R2BucketDescription], Bool) = ([], false)
                let names = try index.bucketNames(transaction)
                for name in query.isDescending ? names.reversed() : names {
                    guard query.isWanted(name), let number = try index.bucket(name, transaction) else { continue }
                    let properties = try index.bucketSettings.properties(of: number, transaction)
                    guard query.jurisdiction == nil || properties.jurisdiction == query.jurisdiction else { continue }
                    guard found.count < query.limit else {
                        hasMore = true
                        break
                    }
                    found.append(R2BucketDescription(name: name, properties: properties))
                }
                return (found, hasMore)
            }
        }
    }

    // MARK: CORS

    /// Empty: no page of another origin may use the bucket.
    package func corsRules(of bucket: String) throws(R2Failure) -> [R2CorsRule] {
        try setting("CORS rules", of: bucket) { number, transaction throws(LMDBError) in
            try index.bucketSettings.cors(of: number, transaction)
        }
    }

    /// - Parameter rules: Empty takes all of them away.
    package func setCorsRules(_ rules: [R2CorsRule], of bucket: String) async throws(R2Failure) {
        try R2CorsRule.check(rules)
        _ = try await commitSetting(bucket) { settings, number, transaction in
            try settings.put(rules.isEmpty ? nil : R2CorsRules(rules), as: .cors, of: number, transaction)
        }
    }
}

extension R2BucketQuery {
    fileprivate func isWanted(_ name: String) -> Bool {
        if let startAfter {
            let isBehind =
                isDescending
                ? name.utf8.lexicographicallyPrecedes(startAfter.utf8) : startAfter.utf8.lexicographicallyPrecedes(name.utf8)
            guard isBehind else { return false }
        }
        return nameContains.isEmpty || name.contains(nameContains)
    }
}
