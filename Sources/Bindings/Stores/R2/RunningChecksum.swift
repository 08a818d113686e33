package import Interfaces
internal import OpenSSL

/// One of the checksums of a bucket, fed piece by piece.
package struct RunningChecksum: ~Copyable {
    /// One of the two.
    private var digest: Digest?
    private var crc: CyclicRedundancyCheck?

    init(_ algorithm: R2Checksum.Algorithm) {
        switch algorithm {
        case .md5: digest = Digest(.md5)
        case .sha1: digest = Digest(.sha1)
        case .sha256: digest = Digest(.sha256)
        case .sha384: digest = Digest(.sha384)
        case .sha512: digest = Digest(.sha512)
        case .crc32, .crc32c, .crc64nvme: crc = CyclicRedundancyCheck(algorithm.polynomial)
        }
    }

    mutating func update(_ bytes: [UInt8]) {
        digest?.update(bytes)
        crc?.update(bytes)
    }

    /// Of what was fed until now.
    borrowing func current() -> [UInt8] {
        if let crc { return CyclicRedundancyCheck.bytes(crc.value, width: crc.polynomial.width) }
        return digest?.current() ?? []
    }

    package static func of(_ bytes: [UInt8], _ algorithm: R2Checksum.Algorithm) -> [UInt8] {
        var checksum = RunningChecksum(algorithm)
        checksum.update(bytes)
        return checksum.current()
    }

    /// The checksum of an object from those of its parts (spec: r2, section 3): CRC64NVME of all its bytes, any other
    /// of the parts' checksums.
    static func combine(
        _ parts: [(checksum: [UInt8], byteCount: Int64)], _ algorithm: R2Checksum.Algorithm
    ) -> (bytes: [UInt8], kind: R2Checksums.Kind) {
        guard algorithm == .crc64nvme else {
            return (of(parts.flatMap(\.checksum), algorithm), .composite)
        }
        let polynomial = algorithm.polynomial
        // All parts but the last have one size, so this is computed twice at most.
        var (advance, byteCount) = (polynomial.advance(by: 0), Int64(0))
        var value = CyclicRedundancyCheck(polynomial).value
        for part in parts {
            if part.byteCount != byteCount {
                (advance, byteCount) = (polynomial.advance(by: part.byteCount), part.byteCount)
            }
            value = polynomial.combine(value, CyclicRedundancyCheck.value(part.checksum), advance: advance)
        }
        return (CyclicRedundancyCheck.bytes(value, width: polynomial.width), .fullObject)
    }
}

extension R2Checksum.Algorithm {
    fileprivate var polynomial: CyclicRedundancyCheck.Polynomial {
        switch self {
        case .crc32: .crc32
        case .crc32c: .crc32c
        case .crc64nvme, .md5, .sha1, .sha256, .sha384, .sha512: .crc64nvme
        }
    }
}
