internal import HTTP
internal import Host
internal import Interfaces
internal import Stores
internal import StoresR2
internal import XML

/// A request whose sender is known, and may do what he asks for.
struct S3Call: Sendable {
    let request: S3Request
    let address: S3Address
    let caller: S3Caller
    let tenant: S3Tenant
    let upload: UploadBody
    /// Whether the body has S3's own coding, which says how long it is by ending.
    let isChunked: Bool
    /// Bytes of the body once it is decoded; `nil` when only its end will tell.
    let bodyByteCount: Int64?
    let now: HTTPDate

    var store: EmbeddedR2Store { tenant.store }

    func header(_ name: String) -> String? { request.header(name) }
    func parameter(_ name: String) -> String? { request.parameter(name) }

    /// Of operations that have one, by their route.
    var bucket: String { address.bucket ?? "" }
    var key: String { address.key ?? "" }

    var location: String { Self.location(of: key, address, host: header("host") ?? "") }

    /// Where an object is, as `Location` has it.
    static func location(of key: String, _ address: S3Address, host: String) -> String {
        let path = key.split(separator: "/", omittingEmptySubsequences: false)
            .map { CanonicalRequest.encode(Array($0.utf8)) }.joined(separator: "/")
        return address.isVirtual ? "http://\(host)/\(path)" : "http://\(host)/\(address.bucket ?? "")/\(path)"
    }

    /// Sees to it that a body that nobody asked for is what was signed.
    func drain() async throws(S3Error) {
        while try await nextPiece() != nil {}
    }

    /// The body as a document, which a checksum of the headers is compared with.
    func document(_ root: String, _ budget: Budget) async throws -> XMLElement {
        if let bodyByteCount, bodyByteCount > Int64(Self.documentBytesMax) { throw Self.documentTooLong }
        let share: Budget.Share
        let most = Int(bodyByteCount ?? Int64(Self.documentBytesMax))
        do { share = try await budget.acquire(most) } catch {
            throw S3Error("ServiceUnavailable", 503, "Please reduce your request rate.")
        }
        defer { withExtendedLifetime(share) {} }
        var bytes: [UInt8] = []
        while let piece = try await nextPiece() {
            bytes += piece
            guard bytes.count <= Self.documentBytesMax else { throw Self.documentTooLong }
        }
        // That of a completion is the object's.
        if root != "CompleteMultipartUpload", let checksum = try ObjectHeaders.checksum(request),
            RunningChecksum.of(bytes, checksum.algorithm) != checksum.bytes
        {
            throw S3Error("BadDigest", 400, "The \(checksum.algorithm.s3Name) you specified did not match what we received.")
        }
        guard let element = try? XMLReader.read(bytes), element.name == root else { throw S3Error.malformedXML }
        return element
    }

    private func nextPiece() async throws(S3Error) -> [UInt8]? {
        do { return try await upload.next() } catch { throw upload.failure ?? .incompleteBody }
    }

    /// A completion of 10,000 parts with their checksums, or 1,000 keys with every character escaped.
    static let documentBytesMax = 4 << 20
    private static let documentTooLong = S3Error("MaxMessageLengthExceeded", 400, "Your request was too big.")
}

/// What stores a request may do, or what went wrong in S3's words.
func inStore<Value>(_ body: () async throws(R2Failure) -> Value) async throws(S3Error) -> Value {
    do throws(R2Failure) { return try await body() } catch { throw S3Error(error) }
}

extension LocalResponse {
    static func document(_ document: XMLDocument, status: Int = 200) -> LocalResponse {
        LocalResponse(
            status: status, headers: [("content-type", "application/xml")], body: .bytes(Array(document.text.utf8)))
    }

    static func empty(_ status: Int = 200, _ headers: [(name: String, value: String)] = []) -> LocalResponse {
        LocalResponse(status: status, headers: headers)
    }
}
