internal import System

/// What a request carries: bytes that are there, and files that are read while they are sent.
struct UploadBody: Sendable {
    enum Part: Sendable {
        case bytes([UInt8])
        case file(InputFile)
    }
    let parts: [Part]
    let contentType: String?

    init(_ parts: [Part], contentType: String?) {
        self.parts = parts
        self.contentType = contentType
    }

    static func json(_ bytes: [UInt8]) -> UploadBody { UploadBody([.bytes(bytes)], contentType: "application/json") }

    static func bytes(_ bytes: [UInt8], contentType: String? = "application/octet-stream") -> UploadBody {
        UploadBody([.bytes(bytes)], contentType: contentType)
    }

    static func file(_ file: InputFile, contentType: String? = "application/octet-stream") -> UploadBody {
        UploadBody([.file(file)], contentType: contentType)
    }

    /// `nil` when a file doesn't tell: then it is sent in chunks.
    var byteCount: Int64? {
        var count: Int64 = 0
        for part in parts {
            switch part {
            case .bytes(let bytes): count += Int64(bytes.count)
            case .file(let file):
                guard let size = file.byteCount else { return nil }
                count += size
            }
        }
        return count
    }
}

/// A form as browsers send it (RFC 7578), which may have files in it.
struct MultipartForm {
    private var parts: [UploadBody.Part] = []
    private let boundary: String

    init() {
        // So much chance that no file has it.
        boundary = "edge-" + (0..<4).map { _ in String(UInt64.random(in: 0...UInt64.max), radix: 36) }.joined()
    }

    mutating func add(_ name: String, _ text: String, contentType: String? = nil) {
        begin(name, nil, contentType)
        parts.append(.bytes(Array((text + "\r\n").utf8)))
    }

    mutating func add(
        _ name: String, _ file: InputFile, filename: String, contentType: String = "application/octet-stream"
    ) {
        begin(name, filename, contentType)
        parts.append(.file(file))
        parts.append(.bytes(Array("\r\n".utf8)))
    }

    private mutating func begin(_ name: String, _ filename: String?, _ contentType: String?) {
        var head = "--\(boundary)\r\nContent-Disposition: form-data; name=\"\(Self.quoted(name))\""
        if let filename { head += "; filename=\"\(Self.quoted(filename))\"" }
        if let contentType { head += "\r\nContent-Type: \(contentType)" }
        parts.append(.bytes(Array((head + "\r\n\r\n").utf8)))
    }

    /// As the standard of HTML has it (https://html.spec.whatwg.org/#multipart-form-data).
    private static func quoted(_ text: String) -> String {
        text.reduce(into: "") { quoted, character in
            switch character {
            case "\"": quoted += "%22"
            case "\r": quoted += "%0D"
            case "\n": quoted += "%0A"
            case "\r\n": quoted += "%0D%0A"
            default: quoted.append(character)
            }
        }
    }

    var body: UploadBody {
        UploadBody(
            parts + [.bytes(Array("--\(boundary)--\r\n".utf8))], contentType: "multipart/form-data; boundary=\(boundary)")
    }
}
