internal import HTTP
internal import Host
internal import Interfaces
internal import StoresR2

/// ListBuckets, ListObjects in both versions, ListMultipartUploads and ListParts.
struct Lists {
    let call: S3Call

    // MARK: Buckets

    func buckets() async throws(S3Error) -> LocalResponse {
        // R2's own headers, and Amazon's parameters.
        let prefix = call.header("cf-prefix") ?? call.parameter("prefix") ?? ""
        let token = call.header("cf-continuation-token") ?? call.parameter("continuation-token")
        var after = call.header("cf-start-after") ?? ""
        if let token {
            guard let bytes = Base64.bytes(url: token), let name = String(validating: bytes, as: UTF8.self) else {
                throw Self.invalidToken
            }
            after = max(after, name)
        }
        let limitText = call.header("cf-max-keys") ?? call.parameter("max-buckets")
        let limit = limitText.map { Int($0) ?? 0 } ?? 10_000
        guard (1...10_000).contains(limit) else {
            throw .invalidArgument("max-buckets must be an integer between 1 and 10000")
        }
        var query = R2BucketQuery()
        query.startAfter = after.isEmpty ? nil : after
        query.limit = .max
        let (asked, places) = (query, prefix)
        let all = try await inStore { () throws(R2Failure) in try await call.store.buckets(asked).buckets }
        let found = all.filter { $0.name.hasPrefix(places) }
        let page = found.prefix(limit)
        return .document(
            XMLDocument("ListAllMyBucketsResult") { xml in
                xml.element("Buckets") { xml in
                    for bucket in page {
                        xml.element("Bucket") { xml in
                            xml.element("Name", bucket.name)
                            xml.element("CreationDate", InternetTimestamp.text(milliseconds: bucket.properties.createdAt ?? 0))
                        }
                    }
                }
                xml.element("Owner") { Self.owner(call, &$0) }
                if !prefix.isEmpty { xml.element("Prefix", prefix) }
                if found.count > page.count, let last = page.last {
                    xml.element("ContinuationToken", Base64.url(Array(last.name.utf8)))
                }
            })
    }

    static func owner(_ call: S3Call, _ xml: inout XMLDocument) {
        xml.element("ID", call.tenant.accountID)
        xml.element("DisplayName", call.tenant.name)
    }

    // MARK: What lists have in common

    private static let invalidToken = S3Error.invalidArgument("The continuation token provided is incorrect")

    /// - Returns: nothing is more than 1,000.
    private func limit(_ parameter: String = "max-keys") throws(S3Error) -> Int {
        guard let text = call.parameter(parameter) else { return R2Limits.listedMax }
        guard text.utf8.count <= 18, let number = Int(text), number >= 0, !text.hasPrefix("+") else {
            throw S3Error("InvalidMaxKeys", 400, "MaxKeys params must be positive integer <= 1000.")
        }
        return min(number, R2Limits.listedMax)
    }

    private func refuseOthers(than known: Set<String>, _ operation: String) throws(S3Error) {
        for (name, _) in call.request.parameters
        where !known.contains(name) && !S3Operation.isAside(name) {
            throw .notImplemented("\(operation) search parameter \(name)")
        }
    }

    /// How names are written: percent-encoded when that is asked for.
    private func encoder() throws(S3Error) -> (String) -> String {
        switch call.parameter("encoding-type") {
        case nil, "": return { $0 }
        case "url":
            return { text in
                text.split(separator: "/", omittingEmptySubsequences: false)
                    .map { CanonicalRequest.encode(Array($0.utf8)) }.joined(separator: "/")
            }
        case _?: throw .invalidArgument("Invalid Encoding Method specified in Request")
        }
    }

    // MARK: Objects

    private struct Page {
        var objects: [R2Object] = []
        var prefixes: [String] = []
        var isTruncated = false
        /// Where the next one begins, for the stores.
        var cursor: String?
        /// The last key or prefix of this one.
        var last: String?
        var count: Int { objects.count + prefixes.count }
    }

    private func page(after startAfter: String?, cursor: String?, limit: Int) async throws(S3Error) -> Page {
        guard limit > 0 else {
            // There is nothing to see, but the bucket must be.
            _ = try await inStore { () throws(R2Failure) in try await call.store.list(.init(limit: 1), in: call.bucket) }
            return Page()
        }
        let delimiter = call.parameter("delimiter") ?? ""
        let message = R2ListMessage(
            limit: Int64(limit), prefix: call.parameter("prefix") ?? "", cursor: cursor, delimiter: delimiter,
            startAfter: startAfter)
        let found = try await inStore { () throws(R2Failure) in try await call.store.list(message, in: call.bucket) }
        let lastKey = [found.objects.last?.key, found.delimitedPrefixes.last].compactMap { $0 }
            .max { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        return Page(
            objects: found.objects, prefixes: found.delimitedPrefixes, isTruncated: found.truncated, cursor: found.cursor,
            last: lastKey)
    }

    /// A marker that is a folded prefix stands for all keys in it.
    private static func behind(_ marker: String, _ delimiter: String, prefix: String) -> String {
        guard !delimiter.isEmpty, marker.utf8.count > prefix.utf8.count, marker.hasSuffix(delimiter) else { return marker }
        return marker + "\u{10FFFF}"
    }

    func objects() async throws(S3Error) -> LocalResponse {
        if call.parameter("continuation-token") != nil {
            throw .invalidArgument("continuation-token is a parameter of ListObjectsV2")
        }
        try refuseOthers(than: ["prefix", "delimiter", "marker", "max-keys", "encoding-type"], "ListObjects")
        let (limit, encode) = (try limit(), try encoder())
        let marker = call.parameter("marker") ?? ""
        let start = Self.behind(marker, call.parameter("delimiter") ?? "", prefix: call.parameter("prefix") ?? "")
        let page = try await page(after: start.isEmpty ? nil : start, cursor: nil, limit: limit)
        return .document(
            XMLDocument("ListBucketResult") { xml in
                describe(&xml, limit, page, encode)
                xml.element("Marker", encode(marker))
                if page.isTruncated, let last = page.last { xml.element("NextMarker", encode(last)) }
                write(page, &xml, encode, withOwner: true)
            })
    }

    func objectsV2() async throws(S3Error) -> LocalResponse {
        try refuseOthers(
            than: [
                "list-type", "prefix", "delimiter", "max-keys", "encoding-type", "continuation-token", "start-after",
                "fetch-owner",
            ], "ListObjectsV2")
        guard call.parameter("list-type") == "2" else { throw .invalidArgument("Invalid list-type") }
        let (limit, encode) = (try limit(), try encoder())
        let (token, startAfter) = (call.parameter("continuation-token"), call.parameter("start-after"))
        var cursor: String?
        if let token {
            guard let bytes = Base64.bytes(url: token), !bytes.isEmpty else { throw Self.invalidToken }
            cursor = R2Hex.encode(bytes)
        }
        let page = try await page(after: startAfter.flatMap { $0.isEmpty ? nil : $0 }, cursor: cursor, limit: limit)
        return .document(
            XMLDocument("ListBucketResult") { xml in
                describe(&xml, limit, page, encode)
                xml.element("KeyCount", page.count)
                if let token { xml.element("ContinuationToken", token) }
                if let startAfter { xml.element("StartAfter", encode(startAfter)) }
                if page.isTruncated, let bytes = page.cursor.flatMap(R2Hex.decode) {
                    xml.element("NextContinuationToken", Base64.url(bytes))
                }
                write(page, &xml, encode, withOwner: call.parameter("fetch-owner") == "true")
            })
    }

    private func describe(_ xml: inout XMLDocument, _ limit: Int, _ page: Page, _ encode: (String) -> String) {
        xml.element("Name", call.bucket)
        xml.element("Prefix", encode(call.parameter("prefix") ?? ""))
        if let delimiter = call.parameter("delimiter"), !delimiter.isEmpty { xml.element("Delimiter", encode(delimiter)) }
        xml.element("MaxKeys", limit)
        if call.parameter("encoding-type") == "url" { xml.element("EncodingType", "url") }
        xml.element("IsTruncated", page.isTruncated)
    }

    private func write(_ page: Page, _ xml: inout XMLDocument, _ encode: (String) -> String, withOwner: Bool) {
        for object in page.objects {
            xml.element("Contents") { xml in
                xml.element("Key", encode(object.key))
                xml.element("LastModified", InternetTimestamp.text(milliseconds: object.uploaded))
                xml.element("ETag", object.httpEtag)
                xml.element("Size", object.size)
                if let algorithm = R2Checksum.Algorithm.ofS3.first(where: { object.checksums[$0] != nil }) {
                    xml.element("ChecksumAlgorithm", algorithm.s3Name)
                    xml.element("ChecksumType", object.checksums.kind == .composite ? "COMPOSITE" : "FULL_OBJECT")
                }
                if withOwner { xml.element("Owner") { Self.owner(call, &$0) } }
                xml.element("StorageClass", ObjectHeaders.name(of: object.storageClass))
            }
        }
        for prefix in page.prefixes { xml.element("CommonPrefixes") { $0.element("Prefix", encode(prefix)) } }
    }

    // MARK: Uploads in parts

    func uploads() async throws(S3Error) -> LocalResponse {
        try refuseOthers(
            than: ["uploads", "prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"],
            "ListMultipartUploads")
        let (limit, encode) = (try limit("max-uploads"), try encoder())
        let (prefix, delimiter) = (call.parameter("prefix") ?? "", call.parameter("delimiter") ?? "")
        let (keyMarker, idMarker) = (call.parameter("key-marker") ?? "", call.parameter("upload-id-marker") ?? "")
        let marker =
            keyMarker.isEmpty ? nil : R2Uploads.Marker(key: keyMarker, uploadId: idMarker.isEmpty ? nil : idMarker)
        let message = R2ListUploadsMessage(limit: Int64(max(1, limit)), prefix: prefix, delimiter: delimiter, after: marker)
        var page = try await inStore { () throws(R2Failure) in
            try await call.store.listUploads(message, in: call.bucket)
        }
        if limit == 0 { page = R2Uploads() }
        let found = page
        return .document(
            XMLDocument("ListMultipartUploadsResult") { xml in
                xml.element("Bucket", call.bucket)
                xml.element("KeyMarker", encode(keyMarker))
                xml.element("UploadIdMarker", idMarker)
                if let next = found.next {
                    xml.element("NextKeyMarker", encode(next.key))
                    xml.element("NextUploadIdMarker", next.uploadId ?? "")
                }
                if !prefix.isEmpty { xml.element("Prefix", encode(prefix)) }
                if !delimiter.isEmpty { xml.element("Delimiter", encode(delimiter)) }
                if call.parameter("encoding-type") == "url" { xml.element("EncodingType", "url") }
                xml.element("MaxUploads", limit)
                xml.element("IsTruncated", found.truncated)
                for upload in found.uploads {
                    xml.element("Upload") { xml in
                        xml.element("Key", encode(upload.key))
                        xml.element("UploadId", upload.uploadId)
                        for role in ["Initiator", "Owner"] { xml.element(role) { Self.owner(call, &$0) } }
                        xml.element("StorageClass", ObjectHeaders.name(of: upload.storageClass))
                        xml.element("Initiated", InternetTimestamp.text(milliseconds: upload.initiated))
                        describe(upload.checksumAlgorithm, &xml)
                    }
                }
                for prefix in found.delimitedPrefixes {
                    xml.element("CommonPrefixes") { $0.element("Prefix", encode(prefix)) }
                }
            })
    }

    /// The checksums of an upload that was begun with some.
    private func describe(_ algorithm: R2Checksum.Algorithm?, _ xml: inout XMLDocument) {
        guard let algorithm else { return }
        xml.element("ChecksumAlgorithm", algorithm.s3Name)
        xml.element("ChecksumType", algorithm.typeOfUploads)
    }

    func parts() async throws(S3Error) -> LocalResponse {
        let (limit, encode) = (try limit("max-parts"), try encoder())
        let markerText = call.parameter("part-number-marker") ?? "0"
        guard let marker = Int64(markerText), (0...Int64(Int32.max)).contains(marker) else {
            throw .invalidArgument("Argument part-number-marker must be an integer between 0 and 2147483647")
        }
        let uploadId = call.parameter("uploadId") ?? ""
        let message = R2ListPartsMessage(
            key: call.key, uploadId: uploadId, limit: Int64(max(1, limit)), afterPartNumber: marker)
        var page = try await inStore { () throws(R2Failure) in try await call.store.listParts(message, in: call.bucket) }
        if limit == 0 { page = R2Parts() }
        let found = page
        return .document(
            XMLDocument("ListPartsResult") { xml in
                xml.element("Bucket", call.bucket)
                xml.element("Key", encode(call.key))
                xml.element("UploadId", uploadId)
                for role in ["Initiator", "Owner"] { xml.element(role) { Self.owner(call, &$0) } }
                xml.element("PartNumberMarker", marker)
                if found.truncated, let last = found.parts.last { xml.element("NextPartNumberMarker", last.partNumber) }
                xml.element("MaxParts", limit)
                xml.element("IsTruncated", found.truncated)
                describe(found.checksumAlgorithm, &xml)
                for part in found.parts {
                    xml.element("Part") { xml in
                        xml.element("PartNumber", part.partNumber)
                        xml.element("LastModified", InternetTimestamp.text(milliseconds: part.uploaded))
                        xml.element("ETag", "\"\(part.etag)\"")
                        xml.element("Size", part.size)
                        if let algorithm = found.checksumAlgorithm, let checksum = part.checksum {
                            xml.element(algorithm.elementName, Base64.text(checksum))
                        }
                    }
                }
            })
    }
}
