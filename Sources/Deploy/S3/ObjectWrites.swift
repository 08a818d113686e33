internal import HTTP
internal import Host
internal import Interfaces
internal import Stores
internal import StoresR2

/// PutObject, CopyObject, DeleteObject and DeleteObjects.
struct ObjectWrites {
    let call: S3Call

    // MARK: Put

    func put() async throws -> LocalResponse {
        try await createBucketIfMissing()
        var message = R2PutMessage(key: call.key, size: 0)
        message.attributes = try ObjectHeaders.attributes(call)
        message.onlyIf = try ObjectHeaders.conditional(call.request)
        message.ssecKey = try ObjectHeaders.customerKey(call.request)
        message.checksum = try ObjectHeaders.checksum(call.request)
        if message.checksum == nil, call.upload.trailingAlgorithm == nil, let md5 = call.upload.takePromisedMD5() {
            message.checksum = (.md5, md5)
        }
        message.size = try await Self.size(of: call)
        let (request, upload) = (message, call.upload)
        let object = try await inStore(upload) { () throws(R2Failure) in
            try await call.store.put(request, body: upload, in: call.bucket)
        }
        guard let object else { throw S3Error.preconditionFailed }
        var headers: [(name: String, value: String)] = [("etag", object.httpEtag)]
        headers += ObjectReads.checksum(object)
        return .empty(200, headers + ObjectHeaders.encryption(message.ssecKey))
    }

    /// How many bytes the store is to expect.
    static func size(of call: S3Call) async throws -> Int64 {
        if let count = call.bodyByteCount { return count }
        // A short body is read to its end, and then its length is known.
        let gathered: Int?
        do { gathered = try await call.upload.gather(64 << 10) } catch {
            throw call.upload.failure ?? S3Error.incompleteBody
        }
        return gathered.map(Int64.init) ?? R2PutMessage.sizeUnknown
    }

    /// R2's own: `cf-create-bucket-if-missing`.
    func createBucketIfMissing() async throws(S3Error) {
        guard call.header("cf-create-bucket-if-missing")?.lowercased() == "true" else { return }
        guard call.caller.mayManage(.write, of: call.tenant.name) else { throw .accessDenied }
        try await inStore { () throws(R2Failure) in try await call.store.createBucket(call.bucket) }
    }

    // MARK: Copy

    func copy() async throws -> LocalResponse {
        let source = try CopySource(call)
        var message = R2CopyMessage(sourceKey: source.key, key: call.key)
        message.sourceOnlyIf = try ObjectHeaders.conditional(call.request, prefix: "x-amz-copy-source-")
        message.onlyIf = try ObjectHeaders.conditional(call.request, prefix: "cf-copy-destination-")
        message.storageClass = try ObjectHeaders.storageClass(call.header("x-amz-storage-class"))
        message.sourceSsecKey = try ObjectHeaders.customerKey(call.request, source: true)
        message.ssecKey = try ObjectHeaders.customerKey(call.request)
        message.metadata = try metadata(call.header("x-amz-metadata-directive"))
        let request = message
        let object = try await inStore { () throws(R2Failure) in
            try await call.store.copy(request, from: source.bucket, to: call.bucket)
        }
        let document = XMLDocument("CopyObjectResult") { xml in
            xml.element("LastModified", InternetTimestamp.text(milliseconds: object.uploaded))
            xml.element("ETag", object.httpEtag)
            for (name, value) in ObjectReads.checksum(object) where name != "x-amz-checksum-type" {
                xml.element("Checksum" + name.dropFirst("x-amz-checksum-".utf8.count).uppercased(), value)
            }
        }
        var response = LocalResponse.document(document)
        response.headers += ObjectHeaders.encryption(message.ssecKey)
        return response
    }

    private func metadata(_ directive: String?) throws(S3Error) -> R2CopyMetadata {
        let http = ObjectHeaders.httpMetadata(call.request)
        let custom = ObjectHeaders.customMetadata(call.request.headers)
        switch directive {
        case nil, "COPY": return .copy
        case "REPLACE": return .replace(httpMetadata: http, customMetadata: custom)
        case "MERGE": return .merge(httpMetadata: http, customMetadata: custom)
        case let directive?: throw .invalidArgument("metadata directive \(directive).")
        }
    }

    // MARK: Delete

    func delete() async throws(S3Error) -> LocalResponse {
        try await inStore { () throws(R2Failure) in try await call.store.delete([call.key], in: call.bucket) }
        return .empty(204)
    }

    private static let keysMax = 1000

    func deleteMany(_ reader: DocumentReader) async throws -> LocalResponse {
        let root = try await reader.read("Delete", of: call)
        let objects = root.children("Object")
        guard (1...Self.keysMax).contains(objects.count) else { throw S3Error.malformedXML }
        let keys = try objects.map { object throws(S3Error) in
            guard let key = object.text(of: "Key"), !key.isEmpty else { throw S3Error.malformedXML }
            return key
        }
        let isQuiet = root.child("Quiet")?.trimmedText == "true"
        let outcomes = try await delete(keys)
        return .document(
            XMLDocument("DeleteResult") { xml in
                for (key, error) in outcomes {
                    if let error {
                        xml.element("Error") { xml in
                            xml.element("Key", key)
                            xml.element("Code", error.code)
                            xml.element("Message", error.message)
                        }
                    } else if !isQuiet {
                        xml.element("Deleted") { $0.element("Key", key) }
                    }
                }
            })
    }

    /// All at once; one by one where that is refused, so that each key has its own answer.
    private func delete(_ keys: [String]) async throws(S3Error) -> [(key: String, error: S3Error?)] {
        let allowed = keys.filter { call.caller.may(.write, object: $0, in: call.bucket, of: call.tenant.name) }
        if allowed.count == keys.count {
            do throws(R2Failure) {
                try await call.store.delete(keys, in: call.bucket)
                return keys.map { ($0, nil) }
            } catch {
                guard error == .objectLocked || error == .invalidObjectName else { throw S3Error(error) }
            }
        }
        var outcomes: [(key: String, error: S3Error?)] = []
        for key in keys {
            guard call.caller.may(.write, object: key, in: call.bucket, of: call.tenant.name) else {
                outcomes.append((key, .accessDenied))
                continue
            }
            do throws(R2Failure) {
                try await call.store.delete([key], in: call.bucket)
                outcomes.append((key, nil))
            } catch {
                if error == .noSuchBucket { throw S3Error(error) }
                outcomes.append((key, S3Error(error)))
            }
        }
        return outcomes
    }
}

/// Runs what takes a body. When that is what is wrong, its own error is the answer.
func inStore<Value>(
    _ upload: UploadBody, _ body: () async throws(R2Failure) -> Value
) async throws(S3Error) -> Value {
    do throws(R2Failure) { return try await body() } catch { throw upload.failure ?? S3Error(error) }
}

/// What `x-amz-copy-source` names.
struct CopySource: Equatable, Sendable {
    let bucket: String
    let key: String

    /// `/b/k` or `b/k`, percent-encoded.
    init(_ call: S3Call) throws(S3Error) {
        let text = call.header("x-amz-copy-source") ?? ""
        let path = text.prefix { $0 != "?" }
        let plain = path.hasPrefix("/") ? path.dropFirst() : path
        let decoded = String(
            validating: CanonicalRequest.decode(plain.utf8, plus: UInt8(ascii: "+")), as: UTF8.self)
        guard let decoded, let slash = decoded.utf8.firstIndex(of: UInt8(ascii: "/")), slash > decoded.startIndex,
            decoded.utf8.index(after: slash) < decoded.endIndex
        else { throw .invalidArgument("copy source bucket name") }
        if text.contains("?") { throw .notImplemented("Copying of object versions") }
        bucket = String(decoded[..<slash])
        key = String(decoded[decoded.utf8.index(after: slash)...])
        guard call.caller.may(.read, object: key, in: bucket, of: call.tenant.name) else { throw .accessDenied }
    }
}
