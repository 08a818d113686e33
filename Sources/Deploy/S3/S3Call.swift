internal import HTTP
internal import Host
internal import Interfaces
internal import Stores
internal import StoresR2

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

    /// The next piece of the body; `nil` at its end.
    func nextPiece() async throws(S3Error) -> [UInt8]? {
        do { return try await upload.next() } catch { throw upload.failure ?? .incompleteBody }
    }

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
