internal import OpenSSL

public enum HashFunction: String, Sendable, CaseIterable {
    /// Only where a protocol asks for it; no protection against intent.
    case md5
    /// Only where a protocol asks for it; no protection against intent.
    case sha1
    case sha256, sha384, sha512

    public var byteCount: Int { algorithm.byteCount }

    public func hash(_ bytes: [UInt8]) -> [UInt8] { Digest.hash(bytes, with: algorithm) }
    public func hash(_ text: String) -> [UInt8] { hash(Array(text.utf8)) }

    var algorithm: Digest.Algorithm {
        switch self {
        case .md5: .md5
        case .sha1: .sha1
        case .sha256: .sha256
        case .sha384: .sha384
        case .sha512: .sha512
        }
    }
}

/// A hash that is fed piece by piece, such as while a body streams by.
public struct StreamingHash: ~Copyable, Sendable {
    private var digest: Digest

    public init(_ function: HashFunction) { digest = Digest(function.algorithm) }

    public mutating func update(_ bytes: [UInt8]) { digest.update(bytes) }

    public consuming func finish() -> [UInt8] { digest.finish() }
}
