/// The limits of KV (spec: kv, section 1). Client and store check the same numbers.
package enum KVLimits {
    package static let keyByteCountMax = 512
    package static let valueByteCountMax = 26_214_400
    package static let metadataByteCountMax = 1024
    package static let expirationTtlMin: Int64 = 60
    package static let cacheTtlMin: Int64 = 30
    package static let listLimitMax: Int64 = 1000
    package static let bulkKeysMax = 100
    /// Of a bulk put or delete through the control plane.
    package static let bulkWritesMax = 10_000
    package static let bulkWriteByteCountMax = 100_000_000
    package static let namespacesMax = 1000
    /// Values up to this size travel in the message itself; larger ones as a body, under credit.
    package static let inlineByteCountMax = 256 << 10
}

/// What a KV error names as the operation that failed.
package enum KVOperation: String, Sendable {
    case get = "GET"
    case put = "PUT"
    case delete = "DELETE"
    case getBulk = "GET_BULK"

    /// The error as the product words it.
    package func failure(_ status: Int, _ text: String) -> CallFailure {
        CallFailure("KV \(rawValue) failed: \(status) \(text)", code: status)
    }
}
