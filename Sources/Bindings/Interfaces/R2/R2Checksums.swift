package import Wire

/// The checksums known of a stored object.
public struct R2Checksums: Equatable, Sendable {
    /// What a checksum is taken over.
    public enum Kind: UInt8, Sendable {
        /// The object's bytes.
        case fullObject = 0
        /// The checksums of the parts that it was uploaded in, one after the other.
        case composite = 1
    }

    public var md5: [UInt8]?
    public var sha1: [UInt8]?
    public var sha256: [UInt8]?
    public var sha384: [UInt8]?
    public var sha512: [UInt8]?
    public var crc32: [UInt8]?
    public var crc32c: [UInt8]?
    public var crc64nvme: [UInt8]?
    public var kind = Kind.fullObject

    public init() {}

    public subscript(algorithm: R2Checksum.Algorithm) -> [UInt8]? {
        get { self[keyPath: Self.path(algorithm)] }
        set { self[keyPath: Self.path(algorithm)] = newValue }
    }

    private static func path(_ algorithm: R2Checksum.Algorithm) -> WritableKeyPath<R2Checksums, [UInt8]?> {
        switch algorithm {
        case .md5: \.md5
        case .sha1: \.sha1
        case .sha256: \.sha256
        case .sha384: \.sha384
        case .sha512: \.sha512
        case .crc32: \.crc32
        case .crc32c: \.crc32c
        case .crc64nvme: \.crc64nvme
        }
    }

    public var isEmpty: Bool { R2Checksum.Algorithm.allCases.allSatisfy { self[$0] == nil } }

    /// The checksums in lower-case hexadecimal by name, as the product's JSON shows them.
    public var hexadecimal: [String: String] {
        var texts: [String: String] = [:]
        for algorithm in R2Checksum.Algorithm.allCases {
            if let bytes = self[algorithm] { texts["\(algorithm)"] = R2Hex.encode(bytes) }
        }
        return texts
    }

    package func encode(into encoder: inout WireEncoder) {
        let present = R2Checksum.Algorithm.allCases.filter { self[$0] != nil }
        encoder.put(list: present) { encoder, algorithm in
            encoder.put(algorithm.rawValue)
            encoder.put(self[algorithm] ?? [])
        }
        encoder.put(kind.rawValue)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        let entries = try decoder.takeList { decoder throws(WireError) in
            (try R2Checksum.Algorithm(decoding: &decoder), try decoder.takeBytes())
        }
        for (algorithm, bytes) in entries {
            guard bytes.count == algorithm.byteCount else {
                throw .invalidValue("checksum", offset: decoder.offset)
            }
            self[algorithm] = bytes
        }
        guard let kind = Kind(rawValue: try decoder.takeUInt8()) else {
            throw .invalidValue("checksum kind", offset: decoder.offset - 1)
        }
        self.kind = kind
    }
}
