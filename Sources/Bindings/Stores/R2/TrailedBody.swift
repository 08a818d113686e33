package import Interfaces
package import Stores

/// A body with a checksum behind it, which is compared and kept as if it had come before.
package protocol TrailedBody: BodySource {
    /// `nil` when none will come.
    var trailingAlgorithm: R2Checksum.Algorithm? { get }
    /// Of the algorithm's length. Known once `next` has returned `nil`.
    var trailingChecksum: [UInt8]? { get }
}

extension EmbeddedR2Store {
    static func trailingAlgorithm(of body: (any BodySource)?) -> R2Checksum.Algorithm? {
        (body as? any TrailedBody)?.trailingAlgorithm
    }

    /// What came behind a body that was read to its end.
    static func trailingChecksum(of body: (any BodySource)?) -> SuppliedChecksum? {
        guard let body = body as? any TrailedBody, let algorithm = body.trailingAlgorithm,
            let bytes = body.trailingChecksum
        else { return nil }
        return (algorithm, bytes)
    }
}
