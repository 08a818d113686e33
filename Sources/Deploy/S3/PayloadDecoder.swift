internal import OpenSSL

/// Takes a body as it arrives, gives what it carries, and says at its end whether it is what was signed. A body in
/// `aws-chunked` coding is `size[;chunk-signature=…]` CRLF, the bytes and CRLF for each chunk, one of size 0, then trailer
/// lines and an empty one. Bytes go on before their chunk's signature has been checked, so that a chunk of any size needs no
/// memory: whoever stores them keeps nothing before `finish` has returned.
package struct PayloadDecoder: ~Copyable {
    private enum State: Equatable {
        case plain
        case head
        case data(rest: Int64)
        case lineEnd
        case trailer
        case ended
    }

    private let payload: SignedRequest.Payload
    private let key: SigningKey
    private let decodedByteCount: Int64?
    private var previous: String
    private var expected = ""
    private var state: State
    private var digest = Digest(.sha256)
    private var line: [UInt8] = []
    private var trailerByteCount = 0
    private var byteCount: Int64 = 0
    /// Those of the coding's trailer, names in lower case. Complete when `finish` has returned.
    package private(set) var trailers: [(name: String, value: String)] = []

    private static let lineBytesMax = 4096
    private static let trailerBytesMax = 16 << 10

    init(_ payload: SignedRequest.Payload, key: SigningKey, seed: String, decodedByteCount: Int64?) {
        self.payload = payload
        self.key = key
        previous = seed
        self.decodedByteCount = decodedByteCount
        state =
            switch payload {
            case .digest, .unsigned: .plain
            case .chunked, .signedChunks: .head
            }
    }

    private var isSigned: Bool { if case .signedChunks = payload { true } else { false } }

    /// What `bytes`, the next piece of the body, carry.
    package mutating func decode(_ bytes: [UInt8]) throws(S3Error) -> [UInt8] {
        if state == .plain {
            if case .digest = payload { digest.update(bytes) }
            byteCount += Int64(bytes.count)
            return bytes
        }
        var decoded: [UInt8] = []
        var offset = 0
        while offset < bytes.count {
            switch state {
            case .plain, .ended: throw Self.malformed("bytes follow the last chunk")
            case .head, .lineEnd, .trailer:
                guard let text = try takeLine(bytes, &offset) else { break }
                try received(text)
            case .data(let rest):
                let count = Int(min(rest, Int64(bytes.count - offset)))
                let piece = bytes[offset..<(offset + count)]
                if isSigned { digest.update(piece) }
                decoded += piece
                offset += count
                byteCount += Int64(count)
                if let decodedByteCount, byteCount > decodedByteCount { throw .incompleteBody }
                state = Int64(count) == rest ? .lineEnd : .data(rest: rest - Int64(count))
            }
        }
        return decoded
    }

    /// The body has ended.
    package mutating func finish() throws(S3Error) {
        if case .digest(let signed) = payload {
            guard ConstantTime.areEqual(digest.current(), signed) else { throw .payloadMismatch }
        }
        // Not everybody sends the last empty line.
        if state == .trailer, hasTrailerSignature { try received("") }
        guard state == .plain || state == .ended else { throw .incompleteBody }
        if let decodedByteCount, decodedByteCount != byteCount, state == .ended { throw .incompleteBody }
    }

    // MARK: Lines

    /// - Returns: A line without its CRLF, `nil` while it isn't complete.
    private mutating func takeLine(_ bytes: [UInt8], _ offset: inout Int) throws(S3Error) -> String? {
        while offset < bytes.count {
            let byte = bytes[offset]
            offset += 1
            if byte == 0x0A {
                if line.last == 0x0D {
                    line.removeLast()
                } else if state != .trailer {  // There, minio-go sends bare ones.
                    throw Self.malformed("a line that doesn't end with CR LF")
                }
                defer { line.removeAll(keepingCapacity: true) }
                guard let text = String(validating: line, as: UTF8.self) else { throw Self.malformed("a line that is no text") }
                return text
            }
            guard line.count < Self.lineBytesMax else { throw Self.malformed("a line of more than \(Self.lineBytesMax) bytes") }
            line.append(byte)
        }
        return nil
    }

    private mutating func received(_ line: String) throws(S3Error) {
        switch state {
        case .head: try startChunk(line)
        case .lineEnd:
            guard line.isEmpty else { throw Self.malformed("a chunk that is longer than its size") }
            try checkChunk()
            state = .head
        case .trailer: try readTrailer(line)
        case .plain, .data, .ended: break
        }
    }

    private mutating func startChunk(_ line: String) throws(S3Error) {
        let parts = line.split(separator: ";", omittingEmptySubsequences: false)
        let size = parts[0].utf8
        guard (1...16).contains(size.count), size.allSatisfy({ $0.isHexDigit }), let count = Int64(parts[0], radix: 16) else {
            throw Self.malformed("a chunk without a size")
        }
        if isSigned {
            let name = "chunk-signature="
            guard let field = parts.dropFirst().first(where: { $0.hasPrefix(name) }) else {
                throw Self.malformed("a chunk without a signature")
            }
            expected = field.dropFirst(name.utf8.count).lowercased()
        }
        digest = Digest(.sha256)
        if count > 0 {
            state = .data(rest: count)
        } else {
            try checkChunk()
            state = .trailer
        }
    }

    private mutating func checkChunk() throws(S3Error) {
        guard isSigned else { return }
        let signature = key.signature(ofChunk: digest.current(), after: previous)
        guard ConstantTime.areEqual(Array(signature.utf8), Array(expected.utf8)) else { throw .signatureDoesNotMatch }
        previous = signature
    }

    private var hasTrailerSignature: Bool { trailers.last?.name == "x-amz-trailer-signature" }

    /// An empty line ends the trailer; the signature of a signed one is its last line, and some clients send an empty one
    /// before it.
    private mutating func readTrailer(_ line: String) throws(S3Error) {
        if line.isEmpty {
            if payload == .signedChunks(hasTrailer: true), !hasTrailerSignature { return }
            try checkTrailer()
            state = .ended
            return
        }
        trailerByteCount += line.utf8.count
        guard trailerByteCount <= Self.trailerBytesMax else { throw Self.malformed("a trailer that is too long") }
        guard let colon = line.utf8.firstIndex(of: UInt8(ascii: ":")), colon != line.startIndex else {
            throw Self.malformed("a trailer line without a name")
        }
        let value = line[line.index(after: colon)...]
        trailers.append((line[..<colon].lowercased(), CanonicalRequest.collapse(String(value))))
    }

    private mutating func checkTrailer() throws(S3Error) {
        guard payload == .signedChunks(hasTrailer: true) else { return }
        guard hasTrailerSignature, let last = trailers.popLast() else { throw .incompleteBody }
        let text = trailers.map { "\($0.name):\($0.value)\n" }.joined()
        let signature = key.signature(ofTrailer: text, after: previous)
        guard ConstantTime.areEqual(Array(signature.utf8), Array(last.value.lowercased().utf8)) else {
            throw .signatureDoesNotMatch
        }
    }

    private static func malformed(_ what: String) -> S3Error {
        S3Error("InvalidChunk", 400, "The body is not in the aws-chunked coding: \(what).")
    }
}

extension UInt8 {
    fileprivate var isHexDigit: Bool {
        switch self {
        case 0x30...0x39, 0x41...0x46, 0x61...0x66: true
        default: false
        }
    }
}
