internal import Assets
internal import HTTP
internal import Interfaces
internal import Wire

/// What the node does to a worker's body on its way to the client.
struct ResponseCompression {
    /// `nil`: the body goes out as it came.
    var coding: ContentCoding?
    /// Whether another client could get it in another coding, which caches in between have to know.
    var varies = false

    static let asIs = ResponseCompression()

    var headers: [(name: String, value: String)] {
        (coding.map { [("Content-Encoding", $0.rawValue)] } ?? []) + (varies ? [("Vary", "Accept-Encoding")] : [])
    }

    func appendHeaders(to output: inout ByteBuffer) {
        if let coding {
            output.append("Content-Encoding: " as StaticString)
            output.append(coding.rawValue)
            output.append("\r\n" as StaticString)
        }
        if varies { output.append("Vary: Accept-Encoding\r\n" as StaticString) }
    }
}

/// What an answer's headers say about compressing it.
struct CompressionFacts {
    private var isCompressibleType = false
    private var mayTransform = true
    private var variesAlready = false
    private(set) var announced: Int?

    /// - Parameter headers: Behind the fixed part of the reply.
    init(_ head: ReplyHead, _ bytes: RawSpan) throws(WireError) {
        var cursor = HeaderBlockCursor(count: head.headerCount, from: ReplyHead.byteCount)
        while let entry = try cursor.next(bytes) {
            let known = KnownHeader.identify(bytes.extracting(entry.name.range))
            switch known {
            case .contentType, .contentLength, .contentEncoding, .contentRange, .cacheControl, .vary:
                add(known, bytes.text(entry.value))
            default: break
            }
        }
    }

    init(_ headers: Headers) {
        for (name, known) in Self.names {
            for value in headers.getAll(name) { add(known, value) }
        }
    }

    private static let names: [(String, KnownHeader)] = [
        ("content-type", .contentType), ("content-length", .contentLength), ("content-encoding", .contentEncoding),
        ("content-range", .contentRange), ("cache-control", .cacheControl), ("vary", .vary),
    ]

    private mutating func add(_ name: KnownHeader, _ value: String) {
        switch name {
        case .contentType: isCompressibleType = MediaType(value)?.isCompressible ?? false
        case .contentLength: announced = Int(value)
        // It is encoded already, or a part of something.
        case .contentEncoding, .contentRange: mayTransform = false
        case .cacheControl: if Self.members(value).contains("no-transform") { mayTransform = false }
        case .vary:
            let names = Self.members(value)
            if names.contains("*") || names.contains("accept-encoding") { variesAlready = true }
        default: break
        }
    }

    private static func members(_ list: String) -> [String] {
        list.utf8.split(separator: UInt8(ascii: ",")).map { member in
            String(decoding: member.filter { $0 != 0x20 && $0 != 0x09 }, as: UTF8.self).lowercased()
        }
    }

    var isCandidate: Bool { isCompressibleType && mayTransform }

    func compression(_ coding: ContentCoding?) -> ResponseCompression {
        ResponseCompression(coding: coding, varies: !variesAlready)
    }
}

extension HTTPStream {
    /// Decides what becomes of the body of a worker's answer, and makes its compressor.
    func compression(of head: ReplyHead, _ bytes: RawSpan) throws(WireError) -> ResponseCompression {
        responseEncoder = nil
        // Most answers are short and end here.
        guard head.hasBody || exchange.isHead, !head.isEncoded else { return .asIs }
        if head.hasBody, let length = head.bodyLength, length < AssetLimits.compressedBytesMin { return .asIs }
        return compression(
            of: try CompressionFacts(head, bytes), status: head.status, hasBody: head.hasBody, bodyLength: head.bodyLength,
            isEncoded: false)
    }

    /// The same for an answer that comes from somewhere else.
    ///
    /// - Parameter bodyLength: `nil`: not known before the body ends.
    func compression(
        of facts: CompressionFacts, status: Int, hasBody: Bool, bodyLength: Int?, isEncoded: Bool
    ) -> ResponseCompression {
        responseEncoder = nil
        guard hasBody || exchange.isHead, !isEncoded, facts.isCandidate else { return .asIs }
        switch status {
        case 101, 204, 205, 206, 304: return .asIs
        default: break
        }
        if hasBody, let length = bodyLength, length < AssetLimits.compressedBytesMin { return .asIs }
        // What a HEAD says nothing of can't be promised for a GET either.
        if !hasBody, facts.announced ?? 0 < AssetLimits.compressedBytesMin { return .asIs }
        guard exchange.minorVersion >= 1, let coding = acceptedCodings().preferred() else { return facts.compression(nil) }
        if !exchange.isHead {
            responseEncoder = BodyEncoder(coding, byteCount: bodyLength, on: reactor)
            guard responseEncoder != nil else { return facts.compression(nil) }
        }
        return facts.compression(coding)
    }

    /// What the client takes; to be asked first while the request's head is there.
    func acceptedCodings() -> AcceptedCodings {
        if let known = exchange.codings { return known }
        guard exchange.unconsumedHead > 0 else { return .none }
        var codings = AcceptedCodings()
        if parser.head.fields.contains(.acceptEncoding) {
            unsafe input.withReadable { bytes in
                for index in 0..<parser.head.fields.count {
                    let field = parser.head.fields[index]
                    guard field.known == .acceptEncoding else { continue }
                    codings.add(unsafe bytes.bytes.text(field.value))
                }
            }
        }
        exchange.codings = codings
        return codings
    }

    /// Sends what came out of the compressor.
    func appendEncoded(_ bytes: UnsafeRawBufferPointer) {
        guard unsafe !bytes.isEmpty else { return }
        guard case .chunked = responseBody else { return unsafe output.append(bytes) }
        output.appendChunkHeader(byteCount: bytes.count)
        unsafe output.append(bytes)
        output.appendChunkEnd()
    }
}
