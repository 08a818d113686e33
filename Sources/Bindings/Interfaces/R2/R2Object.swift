public import HTTP
package import Wire

public enum R2StorageClass: UInt8, Sendable {
    case standard = 1
    case infrequentAccess = 2

    /// As the product spells it.
    public var name: String { self == .standard ? "Standard" : "InfrequentAccess" }

    /// The class that the product calls so.
    ///
    /// - Throws: 10062 for any other name.
    public init(named name: String) throws(CallFailure) {
        switch name {
        case "Standard": self = .standard
        case "InfrequentAccess": self = .infrequentAccess
        default: throw R2Failure.invalidStorageClass(name).failure(of: .put)
        }
    }
}

/// What is known of a stored object, without its bytes.
public struct R2Object: Equatable, Sendable {
    public var key: String
    /// New with each write; opaque.
    public var version: String
    public var size: Int64
    /// Hexadecimal, without quotes. Of an upload in parts it ends in `-` and their number.
    public var etag: String
    /// Milliseconds since 1970.
    public var uploaded: Int64
    public var httpMetadata: R2HTTPMetadata
    public var customMetadata: [String: String]
    /// Only a get that asked for a range sets it.
    public var range: R2ResolvedRange?
    public var checksums: R2Checksums
    public var storageClass: R2StorageClass
    /// The MD5 in hexadecimal of the key that the object is encrypted with; `nil` when it isn't.
    public var ssecKeyMd5: String?

    package init(
        key: String, version: String, size: Int64, etag: String, uploaded: Int64,
        httpMetadata: R2HTTPMetadata, customMetadata: [String: String], range: R2ResolvedRange? = nil,
        checksums: R2Checksums, storageClass: R2StorageClass, ssecKeyMd5: String? = nil
    ) {
        self.key = key
        self.version = version
        self.size = size
        self.etag = etag
        self.uploaded = uploaded
        self.httpMetadata = httpMetadata
        self.customMetadata = customMetadata
        self.range = range
        self.checksums = checksums
        self.storageClass = storageClass
        self.ssecKeyMd5 = ssecKeyMd5
    }

    /// The ETag as header fields carry it: in quotes.
    public var httpEtag: String { "\"\(etag)\"" }

    /// Writes the HTTP metadata that the object has; fields it doesn't have stay as they are.
    public func writeHttpMetadata(_ headers: inout Headers) throws(HeaderError) {
        try httpMetadata.write(to: &headers)
    }

    /// What custom metadata counts against `R2Limits.customMetadataBytesMax`: one per character of a text
    /// whose characters all lie below U+0100, else two per UTF-16 unit of that text.
    public static func countedMetadataBytes(_ metadata: [String: String]) -> Int {
        func count(_ text: String) -> Int {
            let isLatin = text.utf16.allSatisfy { $0 < 0x100 }
            return isLatin ? text.utf16.count : text.utf16.count * 2
        }
        return metadata.reduce(0) { $0 + count($1.key) + count($1.value) }
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(key)
        encoder.put(version)
        encoder.put(size)
        encoder.put(etag)
        encoder.put(uploaded)
        httpMetadata.encode(into: &encoder)
        encoder.put(metadata: customMetadata)
        encoder.put(range) { $1.encode(into: &$0) }
        checksums.encode(into: &encoder)
        encoder.put(storageClass.rawValue)
        encoder.put(ssecKeyMd5)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        key = try decoder.takeString()
        version = try decoder.takeString()
        size = try decoder.takeInt64()
        etag = try decoder.takeString()
        uploaded = try decoder.takeInt64()
        httpMetadata = try R2HTTPMetadata(decoding: &decoder)
        customMetadata = try decoder.takeMetadata()
        range = try decoder.takeOptional { decoder throws(WireError) in
            try R2ResolvedRange(decoding: &decoder)
        }
        checksums = try R2Checksums(decoding: &decoder)
        storageClass = try R2StorageClass(decoding: &decoder)
        ssecKeyMd5 = try decoder.takeOptionalString()
    }
}

extension R2StorageClass {
    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        guard let value = Self(rawValue: try decoder.takeUInt8()) else {
            throw .invalidValue("storage class", offset: decoder.offset - 1)
        }
        self = value
    }
}

extension WireEncoder {
    /// In the order of the names' bytes, so that equal metadata has equal bytes.
    package mutating func put(metadata: [String: String]) {
        put(list: metadata.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) { encoder, entry in
            encoder.put(entry.key)
            encoder.put(entry.value)
        }
    }
}

extension WireDecoder {
    package mutating func takeMetadata() throws(WireError) -> [String: String] {
        let entries = try takeList { decoder throws(WireError) in
            (try decoder.takeString(), try decoder.takeString())
        }
        return Dictionary(entries) { _, last in last }
    }
}
