internal import HTTP
internal import Interfaces
internal import OpenSSL

/// What the headers of a request say of an object that is stored or read (spec r2.md §3, "Details").
enum ObjectHeaders {
    // MARK: Attributes

    static func attributes(_ call: S3Call) throws(S3Error) -> R2Attributes {
        R2Attributes(
            httpMetadata: httpMetadata(call.request), customMetadata: customMetadata(call.request.headers),
            storageClass: try storageClass(call.header("x-amz-storage-class")) ?? ofBucket(call))
    }

    /// Of objects that come without one. Whether there is such a bucket at all, whoever stores says.
    private static func ofBucket(_ call: S3Call) -> R2StorageClass {
        (try? call.store.properties(of: call.bucket))?.storageClass ?? .standard
    }

    static func httpMetadata(_ request: S3Request) -> R2HTTPMetadata {
        var metadata = R2HTTPMetadata()
        metadata.contentType = request.header("content-type")
        metadata.contentLanguage = request.header("content-language")
        metadata.contentDisposition = request.header("content-disposition")
        metadata.contentEncoding = contentEncoding(request.header("content-encoding"))
        metadata.cacheControl = request.header("cache-control")
        metadata.cacheExpiry = request.header("expires").flatMap(time)
        return metadata
    }

    /// `aws-chunked` is how the body came, and nothing that is stored.
    static func contentEncoding(_ value: String?) -> String? {
        guard let value else { return nil }
        let codings = value.split(separator: ",").map { CanonicalRequest.collapse(String($0)) }
        let kept = codings.filter { $0.lowercased() != "aws-chunked" && !$0.isEmpty }
        return kept.isEmpty ? nil : kept.joined(separator: ",")
    }

    private static let metadataPrefix = "x-amz-meta-"

    /// Names in lower case. Several headers of one name are one value.
    static func customMetadata(_ headers: [(name: String, value: String)]) -> [String: String] {
        var metadata: [String: String] = [:]
        for header in headers where header.name.hasPrefix(metadataPrefix) {
            let name = String(header.name.dropFirst(metadataPrefix.utf8.count))
            let value = EncodedWords.decode(header.value)
            metadata[name] = metadata[name].map { $0 + "," + value } ?? value
        }
        return metadata
    }

    static func storageClass(_ text: String?) throws(S3Error) -> R2StorageClass? {
        switch text {
        case nil: return nil
        case "STANDARD": return .standard
        case "STANDARD_IA": return .infrequentAccess
        case _?: throw S3Error("InvalidStorageClass", 400, "The storage class you specified is not valid")
        }
    }

    static func name(of storageClass: R2StorageClass) -> String {
        storageClass == .standard ? "STANDARD" : "STANDARD_IA"
    }

    /// Milliseconds since 1970.
    private static func time(_ text: String) -> Int64? {
        HTTPDate(text, now: HTTPDate(unixSeconds: 1_767_225_600)).map { $0.unixSeconds * 1000 }
    }

    // MARK: Conditions

    /// - Parameter prefix: What stands before `if-match` and its siblings.
    static func conditional(_ request: S3Request, prefix: String = "") throws(S3Error) -> R2Conditional? {
        var headers = Headers()
        do {
            for name in ["if-match", "if-none-match"] {
                if let value = request.header(prefix + name) { try headers.set(name, quoted(value)) }
            }
            if let value = request.header(prefix + "if-modified-since") { try headers.set("if-modified-since", value) }
            // S3's is fulfilled by the very second of the upload, the stores' only by a later one.
            if let value = request.header(prefix + "if-unmodified-since"), let time = time(value) {
                try headers.set("if-unmodified-since", HTTPDate(unixSeconds: time / 1000 + 1).text)
            }
            return headers.isEmpty ? nil : try R2Conditional(headers)
        } catch let failure as CallFailure {
            throw .invalidArgument(failure.message)
        } catch {
            throw .invalidArgument("\(error)")
        }
    }

    /// Many clients leave the quotes of an ETag away.
    private static func quoted(_ list: String) -> String {
        list.split(separator: ",").map { item in
            let tag = CanonicalRequest.collapse(String(item))
            return tag == "*" || tag.hasPrefix("\"") || tag.hasPrefix("W/") ? tag : "\"\(tag)\""
        }.joined(separator: ", ")
    }

    /// The same as two: what must hold (412), and what makes a read worthless (304).
    static func reading(_ request: S3Request) throws(S3Error) -> (required: R2Conditional?, fresh: R2Conditional?) {
        func only(_ names: [String]) throws(S3Error) -> R2Conditional? {
            try conditional(
                S3Request(
                    method: request.method, target: "/", headers: request.headers.filter { names.contains($0.name) }))
        }
        return (try only(["if-match", "if-unmodified-since"]), try only(["if-none-match", "if-modified-since"]))
    }

    // MARK: Checksums

    /// The one checksum that a header gives; `nil` without one.
    static func checksum(_ request: S3Request) throws(S3Error) -> (algorithm: R2Checksum.Algorithm, bytes: [UInt8])? {
        var found: (algorithm: R2Checksum.Algorithm, bytes: [UInt8])?
        for algorithm in R2Checksum.Algorithm.ofS3 {
            guard let text = request.header(algorithm.headerName) else { continue }
            guard found == nil else {
                throw .invalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
            }
            guard let bytes = Base64.bytes(text), bytes.count == algorithm.byteCount else {
                throw .invalidRequest("Value for \(algorithm.headerName) header is invalid.")
            }
            found = (algorithm, bytes)
        }
        return found
    }

    /// The checksum that comes behind the body.
    static func trailer(_ request: S3Request) throws(S3Error) -> R2Checksum.Algorithm? {
        guard let names = request.header("x-amz-trailer") else { return nil }
        let wanted = names.lowercased().split(separator: ",").map { CanonicalRequest.collapse(String($0)) }
        guard wanted.count == 1, let algorithm = R2Checksum.Algorithm.ofS3.first(where: { wanted.contains($0.headerName) })
        else {
            throw .invalidRequest("The value specified in the x-amz-trailer header is not supported")
        }
        return algorithm
    }

    static func contentMD5(_ request: S3Request) throws(S3Error) -> [UInt8]? {
        guard let text = request.header("content-md5") else { return nil }
        guard let bytes = Base64.bytes(text), bytes.count == 16 else {
            throw S3Error("InvalidDigest", 400, "The Content-MD5 you specified was invalid.")
        }
        return bytes
    }

    /// The algorithm that an upload in parts is begun with.
    static func uploadAlgorithm(_ request: S3Request) throws(S3Error) -> R2Checksum.Algorithm? {
        guard let text = request.header("x-amz-checksum-algorithm") else { return nil }
        guard let algorithm = R2Checksum.Algorithm.ofS3.first(where: { $0.s3Name == text.uppercased() }) else {
            throw .invalidRequest(
                "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
                    + "[CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
        }
        if let type = request.header("x-amz-checksum-type"), type.uppercased() != algorithm.typeOfUploads {
            throw .notImplemented("Header 'x-amz-checksum-type' with value '\(type)'")
        }
        return algorithm
    }

    /// What the headers of a completion say of the object that the parts become.
    static func completionChecks(_ request: S3Request) throws(S3Error) -> R2CompletionChecks {
        var checks = R2CompletionChecks()
        if let text = request.header("x-amz-mp-object-size") {
            guard let size = Int64(text), size >= 0 else {
                throw .invalidRequest("Value for x-amz-mp-object-size header is invalid.")
            }
            checks.size = size
        }
        switch request.header("x-amz-checksum-type")?.uppercased() {
        case nil: break
        case "COMPOSITE": checks.kind = .composite
        case "FULL_OBJECT": checks.kind = .fullObject
        case _?: throw .invalidRequest("Value for x-amz-checksum-type header is invalid.")
        }
        for algorithm in R2Checksum.Algorithm.ofS3 {
            guard let text = request.header(algorithm.headerName) else { continue }
            guard checks.object == nil else {
                throw .invalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
            }
            // One of the parts' checksums may end in their number.
            let halves = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            guard let bytes = Base64.bytes(String(halves[0])), bytes.count == algorithm.byteCount,
                halves.count == 1 || Int(halves[1]).map({ $0 > 0 }) ?? false
            else { throw .invalidRequest("Value for \(algorithm.headerName) header is invalid.") }
            checks.object = .init(algorithm, bytes)
            checks.partCount = halves.count == 2 ? Int(halves[1]) : nil
        }
        return checks
    }

    // MARK: Keys of the customer (SSE-C)

    private static let encryptionPrefix = "x-amz-server-side-encryption-customer-"

    /// - Parameter prefix: `x-amz-copy-source-` for the source of a copy.
    static func customerKey(_ request: S3Request, source: Bool = false) throws(S3Error) -> R2CustomerKey? {
        let prefix = source ? "x-amz-copy-source-server-side-encryption-customer-" : encryptionPrefix
        let (algorithm, text) = (request.header(prefix + "algorithm"), request.header(prefix + "key"))
        let digest = request.header(prefix + "key-md5")
        guard algorithm != nil || text != nil || digest != nil else { return nil }
        guard let algorithm, let text else {
            throw .invalidArgument(
                "Requests specifying Server Side Encryption with Customer provided keys must provide "
                    + (algorithm == nil ? "a valid encryption algorithm." : "an appropriate secret key."))
        }
        guard algorithm == "AES256" else {
            throw S3Error(
                "InvalidEncryptionAlgorithmError", 400,
                "The encryption request you specified is not valid. The valid value is AES256.")
        }
        guard let bytes = Base64.bytes(text), let key = try? R2CustomerKey(bytes) else {
            throw .invalidArgument("The secret key was invalid for the specified algorithm.")
        }
        if let digest, Base64.bytes(digest) != Digest.hash(bytes, with: .md5) {
            throw .invalidArgument("The calculated MD5 hash of the key did not match the hash that was provided.")
        }
        return key
    }

    /// What an answer says of the key that the object is encrypted with.
    static func encryption(_ key: R2CustomerKey?) -> [(name: String, value: String)] {
        guard let key else { return [] }
        return [
            (encryptionPrefix + "algorithm", "AES256"),
            (encryptionPrefix + "key-md5", Base64.text(Digest.hash(key.bytes, with: .md5))),
        ]
    }
}

extension R2Checksum.Algorithm {
    /// Those that S3 knows.
    static let ofS3: [R2Checksum.Algorithm] = [.crc32, .crc32c, .crc64nvme, .sha1, .sha256]

    var s3Name: String {
        switch self {
        case .crc32: "CRC32"
        case .crc32c: "CRC32C"
        case .crc64nvme: "CRC64NVME"
        case .sha1: "SHA1"
        case .sha256: "SHA256"
        case .md5: "MD5"
        case .sha384: "SHA384"
        case .sha512: "SHA512"
        }
    }

    var headerName: String { "x-amz-checksum-" + s3Name.lowercased() }

    /// In documents.
    var elementName: String { "Checksum" + s3Name }

    /// What the checksum of an object is taken over that came in parts.
    var typeOfUploads: String { self == .crc64nvme ? "FULL_OBJECT" : "COMPOSITE" }
}
