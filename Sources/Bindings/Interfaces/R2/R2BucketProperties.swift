/// What was said of a bucket when it was made, and what its objects are unless they say otherwise.
package struct R2BucketProperties: Codable, Equatable, Sendable {
    /// Milliseconds since 1970; `nil` of buckets that were made before this was kept.
    package var createdAt: Int64?
    /// Where its owner would like it: `weur`, `enam`… A node has one place.
    package var locationHint: String?
    /// As the product spells it: `default`, `eu`, `fedramp`. Only calls that name it reach the bucket.
    package var jurisdiction: String
    /// Of objects that come without one. As the product spells it.
    package var storageClassName: String

    package init(
        createdAt: Int64? = nil, locationHint: String? = nil, jurisdiction: String = "default",
        storageClass: R2StorageClass = .standard
    ) {
        self.createdAt = createdAt
        self.locationHint = locationHint
        self.jurisdiction = jurisdiction
        storageClassName = storageClass.name
    }

    package var storageClass: R2StorageClass {
        storageClassName == R2StorageClass.infrequentAccess.name ? .infrequentAccess : .standard
    }
}

package struct R2BucketDescription: Equatable, Sendable {
    package var name: String
    package var properties: R2BucketProperties

    package init(name: String, properties: R2BucketProperties) {
        self.name = name
        self.properties = properties
    }
}

/// Which buckets a list has.
package struct R2BucketQuery: Equatable, Sendable {
    package var nameContains = ""
    /// Exclusive.
    package var startAfter: String?
    package var isDescending = false
    package var jurisdiction: String?
    package var limit = 1000

    package init() {}
}
