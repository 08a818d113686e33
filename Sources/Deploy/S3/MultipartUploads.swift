internal import HTTP
internal import Host
internal import Interfaces
internal import Stores
internal import StoresR2
internal import XML

/// CreateMultipartUpload, UploadPart, UploadPartCopy, CompleteMultipartUpload and AbortMultipartUpload.
struct MultipartUploads {
    let call: S3Call

    private var uploadId: String { call.parameter("uploadId") ?? "" }

    func create() async throws(S3Error) -> LocalResponse {
        try await ObjectWrites(call: call).createBucketIfMissing()
        let algorithm = try ObjectHeaders.uploadAlgorithm(call.request)
        let key = try ObjectHeaders.customerKey(call.request)
        let message = R2CreateMultipartMessage(
            key: call.key, attributes: try ObjectHeaders.attributes(call), ssecKey: key, checksumAlgorithm: algorithm)
        let id = try await inStore { () throws(R2Failure) in
            try await call.store.createMultipart(message, in: call.bucket)
        }
        var response = LocalResponse.document(
            XMLDocument("InitiateMultipartUploadResult") { xml in
                xml.element("Bucket", call.bucket)
                xml.element("Key", call.key)
                xml.element("UploadId", id)
            })
        if let algorithm {
            response.headers.append(("x-amz-checksum-algorithm", algorithm.s3Name))
            response.headers.append(("x-amz-checksum-type", algorithm.typeOfUploads))
        }
        response.headers += ObjectHeaders.encryption(key)
        return response
    }

    // MARK: Parts

    private func partNumber() throws(S3Error) -> Int64 {
        guard let text = call.parameter("partNumber"), let number = Int64(text),
            (1...Int64(R2Limits.partsMax)).contains(number)
        else { throw .invalidPartNumber }
        guard !uploadId.isEmpty else { throw S3Error(.noSuchUpload) }
        return number
    }

    func uploadPart() async throws -> LocalResponse {
        var message = R2UploadPartMessage(key: call.key, uploadId: uploadId, partNumber: try partNumber(), size: 0)
        message.ssecKey = try ObjectHeaders.customerKey(call.request)
        message.checksum = try ObjectHeaders.checksum(call.request)
        let named = message.checksum
        if message.checksum == nil, call.upload.trailingAlgorithm == nil, let md5 = call.upload.takePromisedMD5() {
            message.checksum = (.md5, md5)
        }
        message.size = try await ObjectWrites.size(of: call)
        let (request, upload) = (message, call.upload)
        let etag = try await inStore(upload) { () throws(R2Failure) in
            try await call.store.uploadPart(request, body: upload, in: call.bucket)
        }
        var headers: [(name: String, value: String)] = [("etag", "\"\(etag)\"")]
        // What was given is what it has: it was compared.
        if let named { headers.append((named.algorithm.headerName, Base64.text(named.bytes))) }
        if let algorithm = upload.trailingAlgorithm, let bytes = upload.trailingChecksum {
            headers.append((algorithm.headerName, Base64.text(bytes)))
        }
        return .empty(200, headers + ObjectHeaders.encryption(message.ssecKey))
    }

    func copyPart() async throws -> LocalResponse {
        let source = try CopySource(call)
        let number = try partNumber()
        let condition = try ObjectHeaders.conditional(call.request, prefix: "x-amz-copy-source-")
        let range = try call.header("x-amz-copy-source-range").map { text throws(S3Error) in
            // Here, S3 takes both ends only, and none behind the object's.
            guard let range = try? ObjectReads.range(text), case .offset(_, .some) = range else {
                throw .invalidArgument(
                    "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
                        + "zero-based offsets of the first and last bytes to copy")
            }
            return range
        }
        let get = R2GetMessage(
            key: source.key, onlyIf: condition, range: range,
            ssecKey: try ObjectHeaders.customerKey(call.request, source: true))
        let found = try await inStore { () throws(R2Failure) in try await call.store.get(get, in: source.bucket) }
        guard case .withBody(let object, let body, let byteCount) = found else {
            if case .withoutBody = found { throw S3Error.preconditionFailed }
            throw S3Error.noSuchKey
        }
        if case .offset(let start, let length?)? = range, start + length > object.size {
            throw S3Error(.invalidRange)
        }
        let message = R2UploadPartMessage(
            key: call.key, uploadId: uploadId, partNumber: number, size: byteCount,
            ssecKey: try ObjectHeaders.customerKey(call.request))
        let etag = try await inStore { () throws(R2Failure) in
            try await call.store.uploadPart(message, body: call.store.source(of: body), in: call.bucket)
        }
        return .document(
            XMLDocument("CopyPartResult") { xml in
                xml.element("LastModified", InternetTimestamp.text(milliseconds: call.now.unixSeconds * 1000))
                xml.element("ETag", "\"\(etag)\"")
            })
    }

    // MARK: The end

    func complete(_ reader: DocumentReader) async throws -> LocalResponse {
        let root = try await reader.read("CompleteMultipartUpload", of: call)
        var parts: [R2UploadedPart] = []
        var checks = try ObjectHeaders.completionChecks(call.request)
        for part in root.children("Part") {
            guard let number = part.child("PartNumber").flatMap({ Int($0.trimmedText) }), let etag = part.child("ETag") else {
                throw S3Error.malformedXML
            }
            guard (1...R2Limits.partsMax).contains(number) else { throw S3Error.invalidPart }
            let text = etag.trimmedText
            let isQuoted = text.utf8.count >= 2 && text.hasPrefix("\"") && text.hasSuffix("\"")
            parts.append(R2UploadedPart(partNumber: number, etag: isQuoted ? String(text.dropFirst().dropLast()) : text))
            checks.parts[number] = try Self.checksum(of: part)
        }
        guard !parts.isEmpty else { throw S3Error.malformedXML }
        // Amazon wants them in order; R2 takes them as they come.
        parts.sort { $0.partNumber < $1.partNumber }
        var message = R2CompleteMultipartMessage(
            key: call.key, uploadId: uploadId, parts: parts, onlyIf: try ObjectHeaders.conditional(call.request))
        message.checks = checks
        let request = message
        let object = try await inStore { () throws(R2Failure) in
            try await call.store.completeMultipart(request, in: call.bucket)
        }
        return .document(
            XMLDocument("CompleteMultipartUploadResult") { xml in
                xml.element("Location", call.location)
                xml.element("Bucket", call.bucket)
                xml.element("Key", call.key)
                xml.element("ETag", object.httpEtag)
                for (name, value) in ObjectReads.checksum(object) {
                    let element =
                        name == "x-amz-checksum-type"
                        ? "ChecksumType" : "Checksum" + name.dropFirst("x-amz-checksum-".utf8.count).uppercased()
                    xml.element(element, value)
                }
            })
    }

    /// The checksum that a completion names beside a part's ETag.
    private static func checksum(of part: XMLElement) throws(S3Error) -> R2CompletionChecks.Checksum? {
        for algorithm in R2Checksum.Algorithm.ofS3 {
            guard let text = part.child(algorithm.elementName)?.trimmedText, !text.isEmpty else { continue }
            guard let bytes = Base64.bytes(text), bytes.count == algorithm.byteCount else { throw .malformedXML }
            return .init(algorithm, bytes)
        }
        return nil
    }

    func abort() async throws(S3Error) -> LocalResponse {
        let message = R2AbortMultipartMessage(key: call.key, uploadId: uploadId)
        try await inStore { () throws(R2Failure) in try await call.store.abortMultipart(message, in: call.bucket) }
        return .empty(204)
    }
}
