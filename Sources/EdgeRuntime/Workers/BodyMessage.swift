internal import FoundationEssentials
internal import Interfaces

/// What has headers and a body that can be read once: `Request` and `Response`.
public protocol BodyMessage {
    var headers: Headers { get }
    var body: ByteStream? { get }
}

extension BodyMessage {
    /// Reads the whole body; empty when there is none.
    ///
    /// - Throws: when the body was used already, `BodyTooLarge`, or when the sender gave up.
    public func bytes(upTo limit: Int = 64 << 20) async throws -> [UInt8] {
        guard let body else { return [] }
        guard !body.isUsed else { throw WorkersError.bodyUsed }
        return try await body.collect(upTo: limit)
    }

    /// The body as UTF-8; what isn't becomes U+FFFD. A byte-order mark is dropped.
    public func text(upTo limit: Int = 64 << 20) async throws -> String {
        let bytes = try await bytes(upTo: limit)
        return bytes.starts(with: [0xEF, 0xBB, 0xBF])
            ? String(decoding: bytes[3...], as: UTF8.self) : String(decoding: bytes, as: UTF8.self)
    }

    /// The body decoded as JSON.
    ///
    /// - Throws: `DecodingError` when it isn't JSON or has another form.
    public func json<Value: Decodable>(
        as type: Value.Type = Value.self, upTo limit: Int = 64 << 20
    ) async throws -> Value {
        try JSONDecoder().decode(type, from: Data(try await bytes(upTo: limit)))
    }

    /// The body as a urlencoded form.
    public func form(upTo limit: Int = 1 << 20) async throws -> URLSearchParameters {
        URLSearchParameters(try await text(upTo: limit))
    }

    /// Reads a multipart form part by part, without holding a whole part in memory.
    ///
    /// - Throws: `MultipartError` when the content type is another one or has no boundary.
    public func multipart(limits: MultipartLimits = MultipartLimits()) throws -> MultipartReader {
        guard let body else { throw MultipartError.noBody }
        guard !body.isUsed else { throw WorkersError.bodyUsed }
        let boundary = try MultipartBoundary.find(in: headers["content-type"] ?? "")
        return MultipartReader(body, boundary: boundary, limits: limits)
    }

    /// Collects a multipart form in memory.
    public func multipartForm(limits: MultipartLimits = MultipartLimits()) async throws -> MultipartForm {
        try await MultipartForm(collecting: try multipart(limits: limits))
    }
}
