/// What a bucket, or all buckets of a tenant, hold. Exact: it changes in the same transaction as what it counts.
package struct R2Usage: Codable, Equatable, Sendable {
    package var objectCount: Int64 = 0
    /// The objects' contents.
    package var payloadSize: Int64 = 0
    /// Their keys and records in the index.
    package var metadataSize: Int64 = 0
    /// Uploads in parts that are neither completed nor aborted, and the bytes of their parts.
    package var uploadCount: Int64 = 0
    package var uploadPartsSize: Int64 = 0

    package init(
        objectCount: Int64 = 0, payloadSize: Int64 = 0, metadataSize: Int64 = 0, uploadCount: Int64 = 0,
        uploadPartsSize: Int64 = 0
    ) {
        self.objectCount = objectCount
        self.payloadSize = payloadSize
        self.metadataSize = metadataSize
        self.uploadCount = uploadCount
        self.uploadPartsSize = uploadPartsSize
    }

    /// What counts against a limit of bytes.
    package var storedSize: Int64 { payloadSize + metadataSize + uploadPartsSize }

    package static func + (left: R2Usage, right: R2Usage) -> R2Usage {
        R2Usage(
            objectCount: left.objectCount + right.objectCount, payloadSize: left.payloadSize + right.payloadSize,
            metadataSize: left.metadataSize + right.metadataSize, uploadCount: left.uploadCount + right.uploadCount,
            uploadPartsSize: left.uploadPartsSize + right.uploadPartsSize)
    }

    package static prefix func - (usage: R2Usage) -> R2Usage {
        R2Usage(
            objectCount: -usage.objectCount, payloadSize: -usage.payloadSize, metadataSize: -usage.metadataSize,
            uploadCount: -usage.uploadCount, uploadPartsSize: -usage.uploadPartsSize)
    }
}

/// What a bucket, or a tenant, may hold at most. The product has no such limits: none by default.
package struct R2StorageLimits: Codable, Equatable, Sendable {
    /// Of `R2Usage.storedSize`.
    package var storedSizeMax: Int64?
    package var objectCountMax: Int64?

    package init(storedSizeMax: Int64? = nil, objectCountMax: Int64? = nil) {
        self.storedSizeMax = storedSizeMax
        self.objectCountMax = objectCountMax
    }

    package func check() throws(R2Failure) {
        for limit in [storedSizeMax, objectCountMax].compactMap({ $0 }) where limit < 0 {
            throw .invalidRules("a limit is at least 0, not \(limit)")
        }
    }
}
