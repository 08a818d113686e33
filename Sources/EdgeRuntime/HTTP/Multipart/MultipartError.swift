/// Why a multipart body can't be read.
public enum MultipartError: Error, Equatable, Sendable, CustomStringConvertible {
    case noBody
    case notMultipart(contentType: String)
    case badBoundary
    case malformed(String)
    /// The body ended before the closing boundary.
    case truncated
    case tooManyParts(limit: Int)
    case headersTooLarge(limit: Int)
    case partTooLarge(name: String, limit: Int)
    case tooLarge(limit: Int)

    public var description: String {
        switch self {
        case .noBody: "the request has no body"
        case .notMultipart(let type): "content type \"\(type)\" is not multipart/form-data"
        case .badBoundary: "multipart content type has no boundary of 1...70 characters"
        case .malformed(let what): "multipart body: invalid \(what)"
        case .truncated: "multipart body ends before its closing boundary"
        case .tooManyParts(let limit): "multipart body has more than \(limit) parts"
        case .headersTooLarge(let limit): "headers of a multipart part are larger than \(limit) bytes"
        case .partTooLarge(let name, let limit): "multipart part \"\(name)\" is larger than \(limit) bytes"
        case .tooLarge(let limit): "multipart body is larger than \(limit) bytes"
        }
    }
}

/// What a multipart body may cost.
public struct MultipartLimits: Sendable {
    public var partsMax: Int
    public var headerBytesMax: Int
    /// Of one part, when it is collected in memory.
    public var partBytesMax: Int
    public var totalBytesMax: Int

    public init(
        partsMax: Int = 1000, headerBytesMax: Int = 16 << 10, partBytesMax: Int = 32 << 20,
        totalBytesMax: Int = 500 << 20
    ) {
        self.partsMax = partsMax
        self.headerBytesMax = headerBytesMax
        self.partBytesMax = partBytesMax
        self.totalBytesMax = totalBytesMax
    }
}
