/// Reads a multipart form part by part while it arrives.
///
/// ```swift
/// let form = try request.multipart()
/// while let part = try await form.nextPart() {
///     if part.name == "file" { try await bucket.put("upload", part.stream()) }
/// }
/// ```
///
/// Touched by the isolate's thread alone.
public final class MultipartReader: @unchecked Sendable {
    private let body: ByteStream
    private var parser: MultipartParser
    private let limits: MultipartLimits
    private var current: MultipartPart?

    init(_ body: ByteStream, boundary: [UInt8], limits: MultipartLimits) {
        self.body = body
        self.limits = limits
        parser = MultipartParser(boundary: boundary, limits: limits)
    }

    /// The next part, `nil` behind the last one. What was left unread of the part before is skipped.
    public func nextPart() async throws -> MultipartPart? {
        if let current {
            while try await current.next() != nil {}
            self.current = nil
        }
        while true {
            switch try await nextEvent() {
            case .began(let lines):
                let part = MultipartPart(self, lines, bytesMax: limits.partBytesMax)
                current = part
                return part
            case .closed: return nil
            case .needsBytes, .content, .ended: continue
            }
        }
    }

    /// The next piece of the current part.
    fileprivate func nextPiece() async throws -> [UInt8]? {
        switch try await nextEvent() {
        case .content(let bytes): return bytes
        case .ended, .closed, .began, .needsBytes: return nil
        }
    }

    private func nextEvent() async throws -> MultipartParser.Event {
        while true {
            let event = try parser.next()
            guard event == .needsBytes else { return event }
            if let piece = try await body.next() { try parser.feed(piece) } else { parser.finish() }
        }
    }
}

/// One part of a multipart form.
public final class MultipartPart: @unchecked Sendable {
    /// The field's name; empty when the part has none.
    public let name: String
    /// Present when the field is a file. Never a path: only what follows the last `/` or `\`.
    public let filename: String?
    /// `text/plain` when the part doesn't say.
    public let contentType: String
    private let bytesMax: Int
    private let reader: MultipartReader
    private var isRead = false

    fileprivate init(_ reader: MultipartReader, _ lines: [MultipartParser.HeaderLine], bytesMax: Int) {
        self.reader = reader
        self.bytesMax = bytesMax
        let field = MultipartField(lines)
        name = field.name
        filename = field.filename
        contentType = field.contentType ?? "text/plain"
    }

    /// The next piece, never empty; `nil` at the end of the part.
    public func next() async throws -> [UInt8]? {
        guard !isRead else { return nil }
        guard let piece = try await reader.nextPiece() else {
            isRead = true
            return nil
        }
        return piece
    }

    /// The part as a body. It must be read before the next part is asked for.
    public func stream() -> ByteStream { ByteStream { try await self.next() } }

    /// - Throws: `MultipartError.partTooLarge`.
    public func bytes() async throws -> [UInt8] {
        var all: [UInt8] = []
        while let piece = try await next() {
            guard all.count + piece.count <= bytesMax else {
                throw MultipartError.partTooLarge(name: name, limit: bytesMax)
            }
            all += piece
        }
        return all
    }

    public func text() async throws -> String { String(decoding: try await bytes(), as: UTF8.self) }
}

/// A whole multipart form in memory.
public struct MultipartForm: Sendable {
    public struct Field: Equatable, Sendable {
        public let name: String
        public let filename: String?
        public let contentType: String
        public let bytes: [UInt8]
        public var text: String { String(decoding: bytes, as: UTF8.self) }
    }
    /// In the order of the body; names may repeat.
    public let fields: [Field]

    init(collecting reader: MultipartReader) async throws {
        var fields: [Field] = []
        while let part = try await reader.nextPart() {
            fields.append(
                Field(
                    name: part.name, filename: part.filename, contentType: part.contentType,
                    bytes: try await part.bytes()))
        }
        self.fields = fields
    }

    public subscript(_ name: String) -> Field? { fields.first { $0.name == name } }
}
