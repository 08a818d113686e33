package import HTTP
package import Stores

/// Reads the form of a local request part by part while it arrives: it holds one piece, whatever the length of a part.
/// One reader at a time.
package final class MultipartBody: @unchecked Sendable {
    private let source: any BodySource
    private var parser: MultipartParser
    private var isInPart = false

    /// - Throws: `MultipartError` when `contentType` is not that of a form.
    package init(_ source: any BodySource, contentType: String, limits: MultipartLimits) throws(MultipartError) {
        self.source = source
        parser = MultipartParser(boundary: try MultipartBoundary.find(in: contentType), limits: limits)
    }

    /// The next part; `nil` behind the last one. What was left unread of the part before is skipped.
    ///
    /// - Throws: `MultipartError`, or what the source throws.
    package func nextPart() async throws -> MultipartField? {
        while isInPart { _ = try await nextPiece() }
        while true {
            switch try await nextEvent() {
            case .began(let lines):
                isInPart = true
                return MultipartField(lines)
            case .closed: return nil
            case .needsBytes, .content, .ended: continue
            }
        }
    }

    /// The next piece of the part, never empty; `nil` at its end.
    package func nextPiece() async throws -> [UInt8]? {
        guard isInPart else { return nil }
        if case .content(let bytes) = try await nextEvent() { return bytes }
        isInPart = false
        return nil
    }

    /// The whole part.
    ///
    /// - Throws: `MultipartError.partTooLarge` when it has more than `bytesMax` bytes.
    package func bytes(of field: MultipartField, bytesMax: Int) async throws -> [UInt8] {
        var all: [UInt8] = []
        while let piece = try await nextPiece() {
            guard all.count + piece.count <= bytesMax else {
                throw MultipartError.partTooLarge(name: field.name, limit: bytesMax)
            }
            all += piece
        }
        return all
    }

    private func nextEvent() async throws -> MultipartParser.Event {
        while true {
            let event = try parser.next()
            guard event == .needsBytes else { return event }
            if let piece = try await source.next() { try parser.feed(piece) } else { parser.finish() }
        }
    }
}

/// The rest of one part, as the body that stores take.
package final class MultipartPartSource: BodySource {
    private let form: MultipartBody

    package init(_ form: MultipartBody) { self.form = form }

    package func next() async throws -> [UInt8]? { try await form.nextPiece() }
    package func cancel() {}
}
