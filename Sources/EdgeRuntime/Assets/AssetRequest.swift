package import HTTP

/// What the rules want to know of a request.
package struct AssetRequest: Sendable {
    package enum Method: Sendable { case get, head, other }

    package var method: Method
    package var host: String
    /// As the URL has it, starting with a slash.
    package var path: String
    /// With its question mark; empty when there is none.
    package var query: String
    package var ifNoneMatch: String?
    package var ifRange: String?
    package var range: String?
    /// Codings that the answer may have.
    package var codings = AcceptedCodings.none
    /// `Sec-Fetch-Mode: navigate`: a person went to this address.
    package var isNavigation = false
    package var hasAuthorization = false

    package init(method: Method, host: String, target: some StringProtocol) {
        self.method = method
        self.host = host
        let bytes = Array(target.utf8)
        let end = bytes.firstIndex(of: UInt8(ascii: "?")) ?? bytes.count
        path = end == 0 ? "/" : String(decoding: bytes[..<end], as: UTF8.self)
        query = String(decoding: bytes[end...], as: UTF8.self)
    }
}

/// What is to be sent.
package struct AssetAnswer: Equatable, Sendable {
    /// Bytes of a file in the store of assets.
    package struct Body: Equatable, Sendable {
        package var name: String
        package var range: Range<Int>
        /// The whole file's.
        package var fileByteCount: Int
    }
    package var status: Int
    /// Without `Content-Length`.
    package var headers: [AssetHeader] = []
    /// `nil`: no body. There for HEAD as well, which has its length.
    package var body: Body?
}
