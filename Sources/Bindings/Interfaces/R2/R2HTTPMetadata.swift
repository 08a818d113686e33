package import Wire

/// The header fields that an object carries for those who serve it over HTTP.
public struct R2HTTPMetadata: Equatable, Sendable {
    public var contentType: String?
    public var contentLanguage: String?
    public var contentDisposition: String?
    public var contentEncoding: String?
    public var cacheControl: String?
    /// Milliseconds since 1970; `Expires` in HTTP.
    public var cacheExpiry: Int64?

    public init(
        contentType: String? = nil, contentLanguage: String? = nil, contentDisposition: String? = nil,
        contentEncoding: String? = nil, cacheControl: String? = nil, cacheExpiry: Int64? = nil
    ) {
        self.contentType = contentType
        self.contentLanguage = contentLanguage
        self.contentDisposition = contentDisposition
        self.contentEncoding = contentEncoding
        self.cacheControl = cacheControl
        self.cacheExpiry = cacheExpiry
    }

    /// Takes over the six fields from a request or a response. An `Expires` that is no date is left out.
    public init(_ headers: some R2HeaderFields) {
        contentType = headers.r2Value(of: "content-type")
        contentLanguage = headers.r2Value(of: "content-language")
        contentDisposition = headers.r2Value(of: "content-disposition")
        contentEncoding = headers.r2Value(of: "content-encoding")
        cacheControl = headers.r2Value(of: "cache-control")
        cacheExpiry = headers.r2Value(of: "expires").flatMap(R2Date.parse)
    }

    public func write(to headers: inout some R2HeaderFields) {
        if let contentType { headers.r2Set("content-type", to: contentType) }
        if let contentLanguage { headers.r2Set("content-language", to: contentLanguage) }
        if let contentDisposition { headers.r2Set("content-disposition", to: contentDisposition) }
        if let contentEncoding { headers.r2Set("content-encoding", to: contentEncoding) }
        if let cacheControl { headers.r2Set("cache-control", to: cacheControl) }
        if let cacheExpiry { headers.r2Set("expires", to: R2Date.format(cacheExpiry)) }
    }

    package var isEmpty: Bool { self == R2HTTPMetadata() }

    package var byteCount: Int {
        [contentType, contentLanguage, contentDisposition, contentEncoding, cacheControl]
            .reduce(0) { $0 + ($1?.utf8.count ?? 0) }
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(contentType)
        encoder.put(contentLanguage)
        encoder.put(contentDisposition)
        encoder.put(contentEncoding)
        encoder.put(cacheControl)
        encoder.put(cacheExpiry)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        contentType = try decoder.takeOptionalString()
        contentLanguage = try decoder.takeOptionalString()
        contentDisposition = try decoder.takeOptionalString()
        contentEncoding = try decoder.takeOptionalString()
        cacheControl = try decoder.takeOptionalString()
        cacheExpiry = try decoder.takeOptionalInt64()
    }
}

extension WireDecoder {
    mutating func takeOptionalString() throws(WireError) -> String? {
        try takeOptional { decoder throws(WireError) in try decoder.takeString() }
    }

    mutating func takeOptionalInt64() throws(WireError) -> Int64? {
        try takeOptional { decoder throws(WireError) in try decoder.takeInt64() }
    }
}
