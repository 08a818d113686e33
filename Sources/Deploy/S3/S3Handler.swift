internal import HTTP
package import Host
internal import Interfaces
package import Observability
internal import OpenSSL
internal import Stores
package import System

/// Answers the requests of S3's clients: who sends them and whether he may, which operation they are, and errors in XML.
package final class S3Handler: LocalHandler {
    package struct Options: Sendable {
        /// Host names that buckets stand before.
        package var domains: [String]
        /// What R2 has not: signed chunks and uploads by form are refused, as there.
        package var isStrict: Bool

        package init(domains: [String] = [], isStrict: Bool = false) {
            self.domains = domains.map { $0.lowercased() } + [Self.localDomain]
            self.isStrict = isStrict
        }

        /// Always there: such names mean this machine (RFC 6761 §6.3).
        package static let localDomain = "s3.localhost"
    }

    private let directory: any S3Directory
    private let options: Options
    private let clock: any NodeClock
    private let logger: Logger
    private let documents: DocumentReader
    private let signingKeys = SigningKeyCache()

    package init(_ directory: any S3Directory, _ options: Options, clock: any NodeClock, logger: Logger) {
        self.directory = directory
        self.options = options
        self.clock = clock
        self.logger = logger
        documents = DocumentReader(clock: clock)
    }

    package func answer(_ request: LocalRequest) async -> LocalResponse {
        let s3 = S3Request(method: request.method, target: request.target, headers: request.headers)
        var response: LocalResponse
        do {
            response = try await respond(s3, request)
        } catch {
            request.body?.cancel()
            response = failure(error, of: s3)
        }
        if let origin = s3.header("origin"), s3.method != "OPTIONS",
            let address = try? S3Address(path: s3.path, host: request.host, domains: options.domains)
        {
            response.headers += CrossOrigin(bucket: address.bucket, of: tenants(of: address))
                .headers(origin: origin, method: s3.method)
        }
        return response
    }

    private func failure(_ error: any Error, of request: S3Request) -> LocalResponse {
        let known: S3Error
        if let error = error as? S3Error {
            known = error
        } else {
            logger.log(.error, "an S3 request failed: \(error)", [("method", request.method), ("path", request.path)])
            known = .internalError
        }
        var headers: [(name: String, value: String)] = [("content-type", "application/xml")]
        if known.status == 503 { headers.append(("retry-after", "1")) }
        return LocalResponse(status: known.status, headers: headers, body: .bytes(Array(known.document.utf8)))
    }

    private func respond(_ request: S3Request, _ local: LocalRequest) async throws -> LocalResponse {
        let address = try S3Address(path: request.path, host: local.host, domains: options.domains)
        if request.method == "OPTIONS" {
            return try CrossOrigin(bucket: address.bucket, of: tenants(of: address)).preflight(request)
        }
        if FormUpload.isOne(request) { return try await store(request, address, local.body) }
        let call = try authenticate(request, address, local.body)
        let operation = try S3Operation(request, address)
        try Self.refuseHeaders(request)
        try allow(operation, call)
        return try await perform(operation, call)
    }

    // MARK: Who it is

    private var now: HTTPDate { HTTPDate(unixSeconds: clock.wallTime().seconds) }

    /// The key of a request, and what is left of it to temporary credentials.
    private func caller(_ accessKey: String, _ securityToken: String?) throws(S3Error) -> (S3Caller, secret: String)? {
        guard let key = directory.accessKey(accessKey, at: clock.wallTime()) else { return nil }
        guard let securityToken else { return (S3Caller(key: key, temporary: nil), key.secret) }
        guard let claims = TemporaryCredentials.claims(of: securityToken, parent: key, now: now.unixSeconds) else {
            return nil
        }
        return (S3Caller(key: key, temporary: claims), TemporaryCredentials.secret(of: securityToken))
    }

    private func authenticate(
        _ request: S3Request, _ address: S3Address, _ body: (any BodySource)?
    ) throws(S3Error) -> S3Call {
        let signed = try SignedRequest(request, now: now)
        let found = try caller(signed.accessKey, signed.securityToken)
        let decoder = try signed.verify(request, secret: found?.secret, cache: signingKeys)
        guard let caller = found?.0 else { throw .unauthorized }
        // What nobody signed, nobody has asked for: a URL that was given away must not do more than it was made for.
        for header in request.headers
        where header.name.hasPrefix("x-amz-") && !signed.isSigned(header.name) && !Self.harmless.contains(header.name) {
            throw S3Error(
                "AccessDenied", 403, "There were headers present in the request which were not signed",
                details: [.init(name: "HeadersNotSigned", text: header.name)])
        }
        if options.isStrict, case .signedChunks(let hasTrailer) = signed.payload {
            throw .notImplemented("STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + (hasTrailer ? "-TRAILER" : ""))
        }
        let trailer: R2Checksum.Algorithm?
        switch signed.payload {
        case .chunked, .signedChunks(hasTrailer: true): trailer = try ObjectHeaders.trailer(request)
        case .digest, .unsigned, .signedChunks(hasTrailer: false): trailer = nil
        }
        return S3Call(
            request: request, address: address, caller: caller, tenant: try tenant(of: address, caller),
            upload: UploadBody(body, decoder, md5: try ObjectHeaders.contentMD5(request), trailer: trailer),
            isChunked: Self.isChunked(signed.payload),
            bodyByteCount: try Self.byteCount(request, signed.payload, body), now: now)
    }

    /// They change nothing.
    private static let harmless: Set<String> = ["x-amz-content-sha256", "x-amz-date", "x-amz-user-agent"]

    private static func isChunked(_ payload: SignedRequest.Payload) -> Bool {
        switch payload {
        case .chunked, .signedChunks: true
        case .digest, .unsigned: false
        }
    }

    private static func byteCount(
        _ request: S3Request, _ payload: SignedRequest.Payload, _ body: (any BodySource)?
    ) throws(S3Error) -> Int64? {
        switch payload {
        case .chunked, .signedChunks:
            guard let text = request.header("x-amz-decoded-content-length") else { return nil }
            guard let count = Int64(text), count >= 0 else {
                throw .invalidArgument("x-amz-decoded-content-length must be a number of bytes, not \(text)")
            }
            return count
        case .digest, .unsigned:
            if let text = request.header("content-length"), let count = Int64(text) { return count }
            return body == nil ? 0 : nil
        }
    }

    // MARK: Where it is

    /// Those that an unsigned request may mean.
    private func tenants(of address: S3Address) -> [S3Tenant] {
        directory.tenants.filter { address.account == nil || $0.accountID == address.account }
    }

    private func tenant(of address: S3Address, _ caller: S3Caller) throws(S3Error) -> S3Tenant {
        let all = directory.tenants
        guard !all.isEmpty else { throw S3Error("ServiceUnavailable", 503, "The stores are being opened. Please try again.") }
        let known = all.filter { caller.knows($0.name) && (address.account == nil || $0.accountID == address.account) }
        guard let first = known.first else { throw .accessDenied }
        if known.count == 1 { return first }
        let holders = known.filter { tenant in address.bucket.map { (try? tenant.store.hasBucket($0)) == true } ?? false }
        if holders.count == 1 { return holders[0] }
        throw .invalidRequest(
            "The access key is good for several accounts: ask ACCOUNT_ID.\(options.domains[0]), or use a key of one account")
    }

    // MARK: Whether it may

    private func allow(_ operation: S3Operation, _ call: S3Call) throws(S3Error) {
        let tenant = call.tenant.name
        let isAllowed: Bool
        switch operation.right {
        case .manage(let level):
            isAllowed = call.caller.mayManage(level, of: tenant)
        case .objects(let level):
            // Lists are about all keys that begin so.
            let object: String? =
                switch operation {
                case .listObjects, .listObjectsV2, .listMultipartUploads: call.parameter("prefix") ?? ""
                default: call.address.key
                }
            isAllowed = call.caller.may(level, object: object, in: call.bucket, of: tenant)
        }
        guard isAllowed else { throw .accessDenied }
    }

    private static let refusedHeaders: Set<String> = [
        "x-amz-tagging", "x-amz-tagging-directive", "x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner",
        "x-amz-bucket-object-lock-enabled", "x-amz-bypass-governance-retention", "x-amz-mfa",
        "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-context",
        "x-amz-server-side-encryption-bucket-key-enabled", "x-amz-website-redirect-location", "x-amz-object-ownership",
        "x-amz-write-offset-bytes",
    ]

    /// What would change the meaning of a request, and isn't done, is refused rather than left out.
    private static func refuseHeaders(_ request: S3Request) throws(S3Error) {
        for (name, value) in request.headers where name.hasPrefix("x-amz-") {
            let isOther = name == "x-amz-server-side-encryption" && value != "AES256"
            guard
                refusedHeaders.contains(name) || name.hasPrefix("x-amz-grant-") || name.hasPrefix("x-amz-object-lock-")
                    || isOther
            else { continue }
            throw .notImplemented("Header '\(name)' with value '\(value)'")
        }
    }

    // MARK: What it does

    private func perform(_ operation: S3Operation, _ call: S3Call) async throws -> LocalResponse {
        switch operation {
        case .putObject, .uploadPart:
            // Only a coding of S3's own says how long a body is by ending.
            if call.bodyByteCount == nil, !call.isChunked { throw S3Error.missingContentLength }
            return operation == .putObject
                ? try await ObjectWrites(call: call).put() : try await MultipartUploads(call: call).uploadPart()
        case .createBucket: return try await Buckets(call: call).create(documents)
        case .deleteObjects: return try await ObjectWrites(call: call).deleteMany(documents)
        case .completeMultipartUpload: return try await MultipartUploads(call: call).complete(documents)
        case .putBucketCors: return try await Buckets(call: call).setCors(documents)
        case .putBucketLifecycle: return try await Buckets(call: call).setLifecycle(documents)
        default:
            // No body: one that is there all the same must be what was signed, and is looked at no further.
            try await call.drain()
            return try await answer(operation, call)
        }
    }

    /// Those that have no body.
    private func answer(_ operation: S3Operation, _ call: S3Call) async throws -> LocalResponse {
        let buckets = Buckets(call: call)
        let lists = Lists(call: call)
        let writes = ObjectWrites(call: call)
        let uploads = MultipartUploads(call: call)
        switch operation {
        case .listBuckets: return try await lists.buckets()
        case .deleteBucket: return try await buckets.delete()
        case .headBucket: return try buckets.head()
        case .getBucketLocation: return try buckets.location()
        case .getBucketEncryption: return try buckets.encryption()
        case .getBucketVersioning: return try buckets.versioning()
        case .getBucketAcl: return try buckets.accessControl()
        case .getBucketCors: return try buckets.cors()
        case .deleteBucketCors: return try await buckets.removeCors()
        case .getBucketLifecycle: return try buckets.lifecycle()
        case .deleteBucketLifecycle: return try await buckets.removeLifecycle()
        case .missing(let error): return try buckets.missing(error)
        case .listObjects: return try await lists.objects()
        case .listObjectsV2: return try await lists.objectsV2()
        case .listMultipartUploads: return try await lists.uploads()
        case .listParts: return try await lists.parts()
        case .getObject: return try await ObjectReads(call).get()
        case .headObject: return try await ObjectReads(call).head()
        case .copyObject: return try await writes.copy()
        case .deleteObject: return try await writes.delete()
        case .createMultipartUpload: return try await uploads.create()
        case .uploadPartCopy: return try await uploads.copyPart()
        case .abortMultipartUpload: return try await uploads.abort()
        case .putObject, .uploadPart, .createBucket, .deleteObjects, .completeMultipartUpload, .putBucketCors,
            .putBucketLifecycle:
            throw S3Error.internalError
        }
    }

    // MARK: Forms

    private func store(
        _ request: S3Request, _ address: S3Address, _ body: (any BodySource)?
    ) async throws -> LocalResponse {
        if options.isStrict { throw S3Error.notImplemented("PostObject") }
        let form = try await FormUpload(request, address, body)
        let signature = try form.signature()
        guard let (caller, secret) = try caller(signature.accessKey, signature.securityToken) else {
            throw S3Error.unauthorized
        }
        let expected = SigningKey(secret: secret, time: signature.time, scope: signature.scope).sign(signature.policy)
        guard ConstantTime.areEqual(Array(expected.utf8), Array(signature.signature.lowercased().utf8)) else {
            throw S3Error.signatureDoesNotMatch
        }
        return try await form.store(
            signature, caller, in: try tenant(of: address, caller), now: clock.wallTime().milliseconds)
    }
}
