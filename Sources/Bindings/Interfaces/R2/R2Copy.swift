package import Wire

/// What a copy carries besides its source's bytes.
public enum R2CopyMetadata: Equatable, Sendable {
    /// The source's metadata.
    case copy
    /// This, and nothing of the source's.
    case replace(httpMetadata: R2HTTPMetadata = R2HTTPMetadata(), customMetadata: [String: String] = [:])
    /// The source's, with each field that is given here in its place.
    case merge(httpMetadata: R2HTTPMetadata = R2HTTPMetadata(), customMetadata: [String: String] = [:])

    /// The metadata of the copy of an object that has `source`.
    package func applied(to source: R2Attributes, storageClass: R2StorageClass?) -> R2Attributes {
        var attributes = source
        if let storageClass { attributes.storageClass = storageClass }
        switch self {
        case .copy: break
        case .replace(let httpMetadata, let customMetadata):
            attributes.httpMetadata = httpMetadata
            attributes.customMetadata = customMetadata
        case .merge(let httpMetadata, let customMetadata):
            attributes.httpMetadata.replaceFields(by: httpMetadata)
            attributes.customMetadata.merge(customMetadata) { _, new in new }
        }
        return attributes
    }

    func encode(into encoder: inout WireEncoder) {
        switch self {
        case .copy: encoder.put(UInt8(0))
        case .replace(let httpMetadata, let customMetadata):
            encoder.put(UInt8(1))
            httpMetadata.encode(into: &encoder)
            encoder.put(metadata: customMetadata)
        case .merge(let httpMetadata, let customMetadata):
            encoder.put(UInt8(2))
            httpMetadata.encode(into: &encoder)
            encoder.put(metadata: customMetadata)
        }
    }

    init(decoding decoder: inout WireDecoder) throws(WireError) {
        switch try decoder.takeUInt8() {
        case 0: self = .copy
        case 1:
            self = .replace(
                httpMetadata: try R2HTTPMetadata(decoding: &decoder), customMetadata: try decoder.takeMetadata())
        case 2:
            self = .merge(
                httpMetadata: try R2HTTPMetadata(decoding: &decoder), customMetadata: try decoder.takeMetadata())
        default: throw .invalidValue("metadata directive", offset: decoder.offset - 1)
        }
    }
}

extension R2HTTPMetadata {
    /// Takes over the fields that `other` has.
    mutating func replaceFields(by other: R2HTTPMetadata) {
        contentType = other.contentType ?? contentType
        contentLanguage = other.contentLanguage ?? contentLanguage
        contentDisposition = other.contentDisposition ?? contentDisposition
        contentEncoding = other.contentEncoding ?? contentEncoding
        cacheControl = other.cacheControl ?? cacheControl
        cacheExpiry = other.cacheExpiry ?? cacheExpiry
    }
}

/// copy: inside one bucket, which is all that a binding reaches. The reply is an `R2ObjectReply`.
package struct R2CopyMessage: Equatable, Sendable {
    package var sourceKey: String
    package var key: String
    /// Of the source. When it doesn't hold, the answer is 10031, as it is for the next.
    package var sourceOnlyIf: R2Conditional?
    /// Of what stands under `key` until now.
    package var onlyIf: R2Conditional?
    package var metadata: R2CopyMetadata
    /// `nil` keeps the source's.
    package var storageClass: R2StorageClass?
    /// What the source is encrypted with.
    package var sourceSsecKey: R2CustomerKey?
    /// What the copy is encrypted with: without one it is stored in the clear.
    package var ssecKey: R2CustomerKey?

    package init(
        sourceKey: String, key: String, sourceOnlyIf: R2Conditional? = nil, onlyIf: R2Conditional? = nil,
        metadata: R2CopyMetadata = .copy, storageClass: R2StorageClass? = nil,
        sourceSsecKey: R2CustomerKey? = nil, ssecKey: R2CustomerKey? = nil
    ) {
        self.sourceKey = sourceKey
        self.key = key
        self.sourceOnlyIf = sourceOnlyIf
        self.onlyIf = onlyIf
        self.metadata = metadata
        self.storageClass = storageClass
        self.sourceSsecKey = sourceSsecKey
        self.ssecKey = ssecKey
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(sourceKey)
        encoder.put(key)
        encoder.put(sourceOnlyIf) { $1.encode(into: &$0) }
        encoder.put(onlyIf) { $1.encode(into: &$0) }
        metadata.encode(into: &encoder)
        encoder.put(storageClass) { $0.put($1.rawValue) }
        encoder.put(sourceSsecKey)
        encoder.put(ssecKey)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        sourceKey = try decoder.takeString()
        key = try decoder.takeString()
        sourceOnlyIf = try decoder.takeOptional { decoder throws(WireError) in
            try R2Conditional(decoding: &decoder)
        }
        onlyIf = try decoder.takeOptional { decoder throws(WireError) in
            try R2Conditional(decoding: &decoder)
        }
        metadata = try R2CopyMetadata(decoding: &decoder)
        storageClass = try decoder.takeOptional { decoder throws(WireError) in
            try R2StorageClass(decoding: &decoder)
        }
        sourceSsecKey = try decoder.takeCustomerKey()
        ssecKey = try decoder.takeCustomerKey()
        try decoder.finish()
    }
}
