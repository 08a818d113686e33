package import Wire

/// A checksum that a put must match. One per put: that only one can be given is what the type says.
public struct R2Checksum: Equatable, Sendable {
    public enum Algorithm: UInt8, CaseIterable, Sendable {
        case md5 = 1
        case sha1, sha256, sha384, sha512

        public var byteCount: Int {
            switch self {
            case .md5: 16
            case .sha1: 20
            case .sha256: 32
            case .sha384: 48
            case .sha512: 64
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

/// The checksums known of a stored object.
public struct R2Checksums: Equatable, Sendable {
    public var md5: [UInt8]?
    public var sha1: [UInt8]?
    public var sha256: [UInt8]?
    public var sha384: [UInt8]?
    public var sha512: [UInt8]?

    public init() {}

    public subscript(algorithm: R2Checksum.Algorithm) -> [UInt8]? {
        get {
            switch algorithm {
            case .md5: md5
            case .sha1: sha1
            case .sha256: sha256
            case .sha384: sha384
            case .sha512: sha512
            }
        }
        set {
            switch algorithm {
            case .md5: md5 = newValue
            case .sha1: sha1 = newValue
            case .sha256: sha256 = newValue
            case .sha384: sha384 = newValue
            case .sha512: sha512 = newValue
            }
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
