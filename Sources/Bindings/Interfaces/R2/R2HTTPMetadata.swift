public import HTTP
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
    public init(_ headers: Headers) {
        contentType = headers.get("content-type")
        contentLanguage = headers.get("content-language")
        contentDisposition = headers.get("content-disposition")
        contentEncoding = headers.get("content-encoding")
        cacheControl = headers.get("cache-control")
        cacheExpiry = headers.get("expires").flatMap(Self.milliseconds)
    }

    /// Sets the fields that are known and leaves the others as they are.
    ///
    /// - Throws: when a value was stored that no header can carry.
    public func write(to headers: inout Headers) throws(HeaderError) {
        let fields = [
            ("content-type", contentType), ("content-language", contentLanguage),
            ("content-disposition", contentDisposition), ("content-encoding", contentEncoding),
            ("cache-control", cacheControl), ("expires", cacheExpiry.map(Self.httpDate)),
        ]
        for (name, value) in fields {
            if let value { try headers.set(name, value) }
        }
    }

    /// The time that a header names. Two-digit years are those between 1976 and 2075.
    static func milliseconds(httpDate text: String) -> Int64? {
        HTTPDate(text, now: HTTPDate(unixSeconds: 1_767_225_600)).map { $0.unixSeconds * 1000 }
    }

    private static func httpDate(_ milliseconds: Int64) -> String {
        HTTPDate(unixSeconds: milliseconds >= 0 ? milliseconds / 1000 : (milliseconds - 999) / 1000).text
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
