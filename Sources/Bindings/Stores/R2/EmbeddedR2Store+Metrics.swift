package import Interfaces
internal import LMDB
internal import Stores
internal import System

/// What all buckets hold, by storage class.
package struct R2Metrics: Equatable, Sendable {
    package var standard = R2Usage()
    package var infrequentAccess = R2Usage()

    package init() {}
}

extension EmbeddedR2Store {
    /// Looks at every object, some thousand at a time: no snapshot is held for long, so what changes meanwhile may be counted
    /// as it was or as it is. Cost: linear in the number of objects.
    package func metrics() async throws(R2Failure) -> R2Metrics {
        var metrics = R2Metrics()
        for bucket in try await bucketNames() {
            var start: [UInt8]? = []
            while let bound = start {
                let step = try await threads.run { [self] () throws(R2Failure) in try count(bucket, from: bound) }
                metrics.standard = metrics.standard + step.metrics.standard
                metrics.infrequentAccess = metrics.infrequentAccess + step.metrics.infrequentAccess
                start = step.next
            }
        }
        return metrics
    }

    private static let countedMax = 5000

    private func count(_ bucket: String, from bound: [UInt8]) throws(R2Failure) -> (metrics: R2Metrics, next: [UInt8]?) {
        try read("metrics") { transaction throws(LMDBError) in
            var (metrics, next, count): (R2Metrics, [UInt8]?, Int) = (R2Metrics(), nil, 0)
            // Deleted meanwhile: it holds nothing.
            guard let number = try index.bucket(bucket, transaction) else { return (metrics, nil) }
            try index.scan(bucket: number, from: bound, transaction) { key, record throws(LMDBError) in
                guard count < Self.countedMax else {
                    next = Array(key)
                    return .stop
                }
                count += 1
                let object = try StoredObject(record: record)
                let footprint = R2Usage(
                    objectCount: 1, payloadSize: object.size, metadataSize: Int64(key.count + record.count))
                switch object.attributes.storageClass {
                case .standard: metrics.standard = metrics.standard + footprint
                case .infrequentAccess: metrics.infrequentAccess = metrics.infrequentAccess + footprint
                }
                return .next
            }
            return (metrics, next)
        }
    }
}
