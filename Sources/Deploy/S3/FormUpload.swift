internal import HTTP
internal import Host
internal import Interfaces
internal import Stores
internal import StoresR2

/// A file that a browser uploads with a form (POST Object). The fields come before the file, and say what it may be.
struct FormUpload {
    private let form: MultipartBody
    private let address: S3Address
    private let host: String
    /// By names in lower case.
    private var fields: [String: String] = [:]
    private var fileName = ""

    private static let fieldsBytesMax = 20 << 10
    private static let malformed = S3Error(
        "MalformedPOSTRequest", 400, "The body of your POST request is not well-formed multipart/form-data.")

    static func isOne(_ request: S3Request) -> Bool {
        request.method == "POST" && request.header("authorization") == nil && request.parameter("X-Amz-Signature") == nil
            && request.header("content-type")?.lowercased().hasPrefix("multipart/form-data") == true
    }

    /// Reads the fields, up to the file.
    init(_ request: S3Request, _ address: S3Address, _ body: (any BodySource)?) async throws {
        guard let body, let contentType = request.header("content-type"), address.bucket != nil, address.key == nil else {
            throw Self.malformed
        }
        self.address = address
        host = request.header("host") ?? ""
        var limits = MultipartLimits()
        limits.partsMax = 200
        limits.totalBytesMax = Int(R2Limits.putBytesMax) + (1 << 20)
        do {
            form = try MultipartBody(body, contentType: contentType, limits: limits)
            try await readFields()
        } catch is MultipartError { throw Self.malformed }
    }

    private mutating func readFields() async throws {
        var left = Self.fieldsBytesMax
        while let field = try await form.nextPart() {
            let name = field.name.lowercased()
            if name == "file" {
                fileName = field.filename ?? ""
                return
            }
            let bytes: [UInt8]
            do { bytes = try await form.bytes(of: field, bytesMax: left) } catch MultipartError.partTooLarge {
                throw S3Error(
                    "MaxPostPreDataLengthExceeded", 400,
                    "Your POST request fields preceding the upload file were too large.")
            }
            left -= bytes.count
            guard let value = String(validating: bytes, as: UTF8.self) else { throw Self.malformed }
            fields[name] = value
        }
        throw S3Error.invalidArgument("POST requires exactly one file upload per request.")
    }

    // MARK: Who signed it

    /// What was signed, with what.
    struct Signature {
        let accessKey: String
        let securityToken: String?
        let policy: String
        let signature: String
        let time: String
        let scope: String
    }

    func signature() throws(S3Error) -> Signature {
        guard let policy = fields["policy"], let signature = fields["x-amz-signature"] else { throw .accessDenied }
        guard fields["x-amz-algorithm"] == "AWS4-HMAC-SHA256" else {
            throw .invalidRequest("Please use AWS4-HMAC-SHA256")
        }
        guard let date = fields["x-amz-date"], HTTPDate(basicISO8601: date) != nil else {
            throw .invalidArgument("Date provided in 'x-amz-date' field didn't parse successfully")
        }
        let (key, scope) = try SignedRequest.credential(
            fields["x-amz-credential"] ?? "", time: date, source: "'x-amz-date' field")
        return Signature(
            accessKey: key, securityToken: fields["x-amz-security-token"], policy: policy, signature: signature, time: date,
            scope: scope)
    }

    // MARK: Storing it

    /// The policy has been signed by `caller`.
    func store(_ signature: Signature, _ caller: S3Caller, in tenant: S3Tenant, now: Int64) async throws -> LocalResponse {
        let policy = try PostPolicy(base64: signature.policy)
        var checked = fields
        checked["bucket"] = address.bucket
        try policy.check(checked, now: now)
        for name in ["tagging", "x-amz-website-redirect-location"] where fields[name] != nil {
            throw S3Error.notImplemented("Form field \(name)")
        }
        guard let name = fields["key"], !name.isEmpty else {
            throw S3Error.invalidArgument("Bucket POST must contain a field named 'key'.")
        }
        let key = name.replacing("${filename}", with: fileName)
        let bucket = address.bucket ?? ""
        guard caller.may(.write, object: key, in: bucket, of: tenant.name) else { throw S3Error.accessDenied }
        // The fields are headers by the same names.
        let request = S3Request(method: "POST", target: "/", headers: fields.map { ($0.key, $0.value) })
        let source = BoundedSource(MultipartPartSource(form), policy.byteCounts)
        let upload = UploadBody(source, nil, md5: try ObjectHeaders.contentMD5(request))
        var message = R2PutMessage(key: key, size: R2PutMessage.sizeUnknown)
        message.attributes = R2Attributes(
            httpMetadata: ObjectHeaders.httpMetadata(request),
            customMetadata: ObjectHeaders.customMetadata(request.headers),
            storageClass: try ObjectHeaders.storageClass(request.header("x-amz-storage-class")) ?? .standard)
        message.checksum = try ObjectHeaders.checksum(request)
        do {
            if let count = try await upload.gather(64 << 10) { message.size = Int64(count) }
        } catch { throw upload.failure ?? Self.malformed }
        let put = message
        let object = try await inStore(upload) { () throws(R2Failure) in
            try await tenant.store.put(put, body: upload, in: bucket)
        }
        guard let object else { throw S3Error.preconditionFailed }
        return answer(object, S3Call.location(of: object.key, address, host: host))
    }

    private func answer(_ object: R2Object, _ location: String) -> LocalResponse {
        let headers = [(name: "etag", value: object.httpEtag), (name: "location", value: location)]
        if let target = fields["success_action_redirect"] ?? fields["redirect"], target.contains("://"),
            target.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        {
            let values = [("bucket", address.bucket ?? ""), ("key", object.key), ("etag", object.httpEtag)]
            let query = values.map { "\($0)=\(CanonicalRequest.encode(Array($1.utf8)))" }.joined(separator: "&")
            return .empty(303, [("location", target + (target.contains("?") ? "&" : "?") + query)])
        }
        switch fields["success_action_status"] {
        case "200": return .empty(200, headers)
        case "201":
            var response = LocalResponse.document(
                XMLDocument("PostResponse") { xml in
                    xml.element("Location", location)
                    xml.element("Bucket", address.bucket ?? "")
                    xml.element("Key", object.key)
                    xml.element("ETag", object.httpEtag)
                }, status: 201)
            response.headers += headers
            return response
        default: return .empty(204, headers)
        }
    }
}

/// A body whose length is within bounds.
private final class BoundedSource: BodySource, @unchecked Sendable {  // One reader at a time, by contract.
    private let source: any BodySource
    private let bounds: ClosedRange<Int64>?
    private var count: Int64 = 0

    init(_ source: any BodySource, _ bounds: ClosedRange<Int64>?) {
        self.source = source
        self.bounds = bounds
    }

    func next() async throws -> [UInt8]? {
        guard let piece = try await source.next() else {
            if let bounds, count < bounds.lowerBound {
                throw S3Error(
                    "EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed object size.")
            }
            return nil
        }
        count += Int64(piece.count)
        if let bounds, count > bounds.upperBound {
            throw S3Error("EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed object size.")
        }
        return piece
    }

    func cancel() { source.cancel() }
}
