package import Wire

/// A checksum that a put must match. One per put: that only one can be given is what the type says.
public struct R2Checksum: Equatable, Sendable {
    public enum Algorithm: UInt8, CaseIterable, Sendable {
        case md5 = 1
        case sha1, sha256, sha384, sha512
        /// As zlib computes it (ITU-T V.42).
        case crc32
        /// Castagnoli's (RFC 3720, appendix B.4).
        case crc32c
        /// Of NVM Express; the only one that S3 keeps for a whole object that was uploaded in parts.
        case crc64nvme

        public var byteCount: Int {
            switch self {
            case .md5: 16
            case .sha1: 20
            case .sha256: 32
            case .sha384: 48
            case .sha512: 64
            case .crc32, .crc32c: 4
            case .crc64nvme: 8
            }
        }

        /// As error messages spell it.
        var title: String {
            switch self {
            case .md5: "MD5"
            case .sha1: "SHA-1"
            case .sha256: "SHA-256"
            case .sha384: "SHA-384"
            case .sha512: "SHA-512"
            case .crc32: "CRC32"
            case .crc32c: "CRC32C"
            case .crc64nvme: "CRC64NVME"
            }
        }
    }

    private enum Value: Equatable, Sendable {
        case bytes([UInt8])
        case hexadecimal(String)
    }

    public let algorithm: Algorithm
    private let value: Value

    public init(_ algorithm: Algorithm, _ bytes: [UInt8]) {
        self.algorithm = algorithm
        value = .bytes(bytes)
    }

    public init(_ algorithm: Algorithm, hexadecimal: String) {
        self.algorithm = algorithm
        value = .hexadecimal(hexadecimal)
    }

    public static func md5(_ hexadecimal: String) -> R2Checksum { R2Checksum(.md5, hexadecimal: hexadecimal) }
    public static func sha1(_ hexadecimal: String) -> R2Checksum {
        R2Checksum(.sha1, hexadecimal: hexadecimal)
    }
    public static func sha256(_ hexadecimal: String) -> R2Checksum {
        R2Checksum(.sha256, hexadecimal: hexadecimal)
    }
    public static func sha384(_ hexadecimal: String) -> R2Checksum {
        R2Checksum(.sha384, hexadecimal: hexadecimal)
    }
    public static func sha512(_ hexadecimal: String) -> R2Checksum {
        R2Checksum(.sha512, hexadecimal: hexadecimal)
    }
    /// Eight digits; the first are the most significant.
    public static func crc32(_ hexadecimal: String) -> R2Checksum {
        R2Checksum(.crc32, hexadecimal: hexadecimal)
    }
    public static func crc32c(_ hexadecimal: String) -> R2Checksum {
        R2Checksum(.crc32c, hexadecimal: hexadecimal)
    }
    public static func crc64nvme(_ hexadecimal: String) -> R2Checksum {
        R2Checksum(.crc64nvme, hexadecimal: hexadecimal)
    }

    /// Exactly `algorithm.byteCount` bytes.
    ///
    /// - Throws: the product's TypeError for a wrong length or a text that isn't hexadecimal.
    package func validatedBytes() throws(CallFailure) -> [UInt8] {
        switch value {
        case .bytes(let bytes):
            guard bytes.count == algorithm.byteCount else {
                throw .typeError("\(algorithm.title) is \(algorithm.byteCount) bytes, not \(bytes.count)")
            }
            return bytes
        case .hexadecimal(let text):
            let count = text.utf16.count
            guard count == algorithm.byteCount * 2 else {
                throw .typeError(
                    "\(algorithm.title) is \(algorithm.byteCount * 2) hex characters, not \(count)")
            }
            guard let bytes = R2Hex.decode(text) else {
                throw .typeError("Provided \(algorithm.title) wasn't a valid hex string")
            }
            return bytes
        }
    }
}

extension R2Checksum.Algorithm {
    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        guard let algorithm = Self(rawValue: try decoder.takeUInt8()) else {
            throw .invalidValue("checksum algorithm", offset: decoder.offset - 1)
        }
        self = algorithm
    }
}

extension WireEncoder {
    mutating func put(checksum: (algorithm: R2Checksum.Algorithm, bytes: [UInt8])?) {
        put(checksum) { encoder, checksum in
            encoder.put(checksum.algorithm.rawValue)
            encoder.put(checksum.bytes)
        }
    }
}

extension WireDecoder {
    /// Of the length that the algorithm has.
    mutating func takeChecksum() throws(WireError) -> (algorithm: R2Checksum.Algorithm, bytes: [UInt8])? {
        try takeOptional { decoder throws(WireError) in
            let algorithm = try R2Checksum.Algorithm(decoding: &decoder)
            let bytes = try decoder.takeBytes()
            guard bytes.count == algorithm.byteCount else {
                throw .invalidValue("checksum", offset: decoder.offset)
            }
            return (algorithm, bytes)
        }
    }
}
