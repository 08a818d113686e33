internal import Interfaces
internal import OpenSSL
internal import Stores
internal import StoresR2

/// The body of an upload on its way into a store: decoded, and compared with what was signed and promised, while it flows.
/// It ends in a throw, and is not stored, unless all of that holds.
final class UploadBody: TrailedBody, @unchecked Sendable {  // One reader at a time, by contract.
    private let source: (any BodySource)?
    /// `nil` for a body that is signed otherwise: as it comes.
    private var decoder: PayloadDecoder?
    /// What Content-MD5 promises.
    private var promised: [UInt8]?
    private var digest = Digest(.md5)
    /// What was read ahead.
    private var ahead: [[UInt8]] = []
    private var hasEnded = false
    /// What the client got wrong.
    private(set) var failure: S3Error?

    let trailingAlgorithm: R2Checksum.Algorithm?
    private(set) var trailingChecksum: [UInt8]?

    /// - Parameters:
    ///   - md5: What the body is compared with.
    ///   - trailer: The checksum that comes behind the body.
    init(
        _ source: (any BodySource)?, _ decoder: consuming PayloadDecoder?, md5: [UInt8]? = nil,
        trailer: R2Checksum.Algorithm? = nil
    ) {
        self.source = source
        self.decoder = decoder
        promised = md5
        trailingAlgorithm = trailer
    }

    func next() async throws -> [UInt8]? {
        if !ahead.isEmpty { return ahead.removeFirst() }
        return try await read()
    }

    func cancel() { source?.cancel() }

    /// Leaves the comparison with Content-MD5 to the caller. Before anything is read.
    func takePromisedMD5() -> [UInt8]? {
        defer { promised = nil }
        return promised
    }

    /// Reads ahead until the body has ended, or more than `byteCount` bytes are there.
    ///
    /// - Returns: how long the body is; `nil` when it is longer.
    func gather(_ byteCount: Int) async throws -> Int? {
        var count = 0
        while count <= byteCount {
            guard let piece = try await read() else { return count }
            count += piece.count
            ahead.append(piece)
        }
        return nil
    }

    private func read() async throws -> [UInt8]? {
        guard !hasEnded else { return nil }
        do {
            while let piece = try await source?.next() {
                let decoded = try decode(piece)
                guard !decoded.isEmpty else { continue }
                if promised != nil { digest.update(decoded) }
                return decoded
            }
            hasEnded = true
            try finish()
            return nil
        } catch let error as S3Error {
            failure = error
            cancel()
            throw error
        }
    }

    private func decode(_ piece: [UInt8]) throws(S3Error) -> [UInt8] {
        // A body without a coding is passed on as it is.
        guard decoder != nil else { return piece }
        return try decoder?.decode(piece) ?? piece
    }

    private func finish() throws(S3Error) {
        try decoder?.finish()
        if let promised, !ConstantTime.areEqual(digest.current(), promised) { throw .badContentMD5 }
        guard let algorithm = trailingAlgorithm else { return }
        let name = algorithm.headerName
        guard let text = decoder?.trailers.first(where: { $0.name == name })?.value else {
            throw .malformedTrailer("\(name) is missing")
        }
        guard let bytes = Base64.bytes(text), bytes.count == algorithm.byteCount else {
            throw .invalidRequest("Value for \(name) trailing header is invalid.")
        }
        trailingChecksum = bytes
    }
}

extension S3Error {
    static let badContentMD5 = S3Error(
        "BadDigest", 400, "The Content-MD5 you specified did not match what we received.")
    static func malformedTrailer(_ what: String) -> S3Error {
        S3Error("MalformedTrailerError", 400, "The request contained trailing data that was not well-formed: \(what).")
    }
}
