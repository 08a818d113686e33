internal import HTTP
internal import Host
internal import Interfaces
internal import OpenSSL
internal import Stores
internal import StoresR2

/// GetObject and HeadObject.
struct ObjectReads {
    private enum Wanted {
        case whole
        case range(R2Range)
        /// The bytes of one part, of an upload in parts.
        case part(Int)
    }

    let call: S3Call
    private let wanted: Wanted
    private let required: R2Conditional?
    private let fresh: R2Conditional?
    private let customerKey: R2CustomerKey?
    private let overrides: [String: String]

    init(_ call: S3Call) throws(S3Error) {
        self.call = call
        (required, fresh) = try ObjectHeaders.reading(call.request)
        customerKey = try ObjectHeaders.customerKey(call.request)
        overrides = Self.overrides(call.request)
        if let text = call.parameter("partNumber") {
            guard let number = Int(text), (1...R2Limits.partsMax).contains(number), call.header("range") == nil else {
                throw .invalidPartNumber
            }
            wanted = .part(number)
        } else if let text = call.header("range") {
            wanted = .range(try Self.range(text))
        } else {
            wanted = .whole
        }
    }

    // MARK: Reading

    func head() async throws(S3Error) -> LocalResponse {
        guard
            let object = try await inStore({ () throws(R2Failure) in
                try await call.store.head(call.key, in: call.bucket)
            })
        else { throw .noSuchKey }
        if let refusal = try precondition(object) { return refusal }
        try checkKey(of: object)
        var (range, partsCount) = (R2ResolvedRange?.none, Int?.none)
        switch wanted {
        case .whole: break
        case .range(let asked): range = try resolve(asked, object)
        case .part(let number): (range, partsCount) = try extent(ofPart: number)
        }
        var response = LocalResponse(
            status: range == nil ? 200 : 206, headers: headers(of: object, range: range, partsCount: partsCount))
        response.bodyByteCount = Int(range?.length ?? object.size)
        return response
    }

    func get() async throws(S3Error) -> LocalResponse {
        if required != nil || fresh != nil {
            // Before anything else of the request: a range that can't be had is no matter of who has the object already.
            guard
                let object = try await inStore({ () throws(R2Failure) in
                    try await call.store.head(call.key, in: call.bucket)
                })
            else { throw .noSuchKey }
            if let refusal = try precondition(object) { return refusal }
        }
        var (range, partsCount) = (R2Range?.none, Int?.none)
        switch wanted {
        case .whole: break
        case .range(let asked): range = asked
        case .part(let number):
            let (extent, count) = try extent(ofPart: number)
            range = extent.map { .offset($0.offset, length: $0.length) }
            partsCount = count
        }
        let message = R2GetMessage(key: call.key, range: range, ssecKey: customerKey)
        let found = try await inStore { () throws(R2Failure) in try await call.store.get(message, in: call.bucket) }
        switch found {
        case .missing, .withoutBody: throw .noSuchKey
        case .withBody(let object, let body, let byteCount):
            // It may have been replaced since it was looked at.
            if let refusal = try precondition(object) { return refusal }
            var response = LocalResponse(
                status: object.range == nil ? 200 : 206,
                headers: headers(of: object, range: object.range, partsCount: partsCount), body: body)
            response.bodyByteCount = Int(byteCount)
            return response
        }
    }

    /// - Returns: the answer of an object that the client has already.
    private func precondition(_ object: R2Object) throws(S3Error) -> LocalResponse? {
        if let required, !required.passes(etag: object.etag, uploaded: object.uploaded) { throw .preconditionFailed }
        guard let fresh, !fresh.passes(etag: object.etag, uploaded: object.uploaded) else { return nil }
        let kept = ["etag", "last-modified", "cache-control", "expires"]
        return .empty(304, headers(of: object, range: nil, partsCount: nil).filter { kept.contains($0.name) })
    }

    private func checkKey(of object: R2Object) throws(S3Error) {
        switch (object.ssecKeyMd5, customerKey) {
        case (nil, nil): return
        case (nil, _): throw S3Error(.encryption(.keyNotApplicable))
        case (_, nil): throw S3Error(.encryption(.keyMissing))
        case (let md5?, let key?):
            guard md5 == R2Hex.encode(Digest.hash(key.bytes, with: .md5)) else { throw .accessDenied }
        }
    }

    private func resolve(_ range: R2Range, _ object: R2Object) throws(S3Error) -> R2ResolvedRange? {
        do throws(R2Failure) { return try range.resolve(size: object.size) } catch { throw S3Error(error) }
    }

    private func extent(ofPart number: Int) throws(S3Error) -> (range: R2ResolvedRange?, partsCount: Int?) {
        let found: R2PartExtent?
        do throws(R2Failure) { found = try call.store.extent(ofPart: number, of: call.key, in: call.bucket) } catch {
            throw S3Error(error)
        }
        guard let found else { throw .noSuchKey }
        guard let extent = found.range else {
            throw S3Error("InvalidPartNumber", 416, "The requested partnumber is not satisfiable")
        }
        return (extent.length == 0 ? nil : extent, found.partsCount)
    }

    // MARK: What it says

    private func headers(
        of object: R2Object, range: R2ResolvedRange?, partsCount: Int?
    ) -> [(name: String, value: String)] {
        var headers: [(name: String, value: String)] = [
            ("etag", object.httpEtag), ("last-modified", Self.date(object.uploaded)), ("accept-ranges", "bytes"),
        ]
        func add(_ name: String, _ value: String?) {
            guard let value = overrides[name] ?? value, !Self.isUnprintable(value) else { return }
            headers.append((name, value))
        }
        let metadata = object.httpMetadata
        add("content-type", metadata.contentType ?? "application/octet-stream")
        add("content-encoding", metadata.contentEncoding)
        add("content-disposition", metadata.contentDisposition)
        add("content-language", metadata.contentLanguage)
        add("cache-control", metadata.cacheControl)
        add("expires", metadata.cacheExpiry.map(Self.date))
        if let range {
            headers.append(("content-range", "bytes \(range.offset)-\(range.offset + range.length - 1)/\(object.size)"))
        }
        if let partsCount { headers.append(("x-amz-mp-parts-count", "\(partsCount)")) }
        if object.storageClass != .standard {
            headers.append(("x-amz-storage-class", ObjectHeaders.name(of: object.storageClass)))
        }
        headers += ObjectHeaders.encryption(customerKey)
        headers += Self.custom(object.customMetadata)
        // Of the whole object: to a part of it, clients would compare it in vain.
        if range == nil, call.header("x-amz-checksum-mode")?.uppercased() == "ENABLED" { headers += Self.checksum(object) }
        return headers
    }

    private static func date(_ milliseconds: Int64) -> String {
        HTTPDate(unixSeconds: milliseconds >= 0 ? milliseconds / 1000 : (milliseconds - 999) / 1000).text
    }

    private static func custom(_ metadata: [String: String]) -> [(name: String, value: String)] {
        var headers: [(name: String, value: String)] = []
        var missing = 0
        for (name, value) in metadata.sorted(by: { $0.key < $1.key }) {
            // The binding stores names and values that no header can carry.
            guard isName(name), !isUnprintable(value) else {
                missing += 1
                continue
            }
            headers.append(("x-amz-meta-" + name.lowercased(), value))
        }
        if missing > 0 { headers.append(("x-amz-missing-meta", "\(missing)")) }
        return headers
    }

    static func checksum(_ object: R2Object) -> [(name: String, value: String)] {
        for algorithm in R2Checksum.Algorithm.ofS3 {
            guard let bytes = object.checksums[algorithm] else { continue }
            let isComposite = object.checksums.kind == .composite
            let suffix = isComposite ? object.etag.drop { $0 != "-" } : ""
            return [
                (algorithm.headerName, Base64.text(bytes) + suffix),
                ("x-amz-checksum-type", isComposite ? "COMPOSITE" : "FULL_OBJECT"),
            ]
        }
        return []
    }

    private static func isName(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x41...0x5A).contains($0 & 0xDF) || "!#$%&'*+-.^_`|~".utf8.contains($0)
            }
    }

    /// Whether a header can't carry it as it is.
    private static func isUnprintable(_ value: String) -> Bool {
        !value.utf8.allSatisfy { (0x20..<0x7F).contains($0) || $0 == 0x09 }
    }

    // MARK: What it asks for

    private static let overridable = [
        "content-type", "content-language", "expires", "cache-control", "content-disposition", "content-encoding",
    ]

    /// `response-content-type` and its siblings.
    private static func overrides(_ request: S3Request) -> [String: String] {
        var found: [String: String] = [:]
        for name in overridable {
            if let value = request.parameter("response-" + name) { found[name] = value }
        }
        return found
    }

    private static let rangeForm = S3Error.invalidArgument(
        "range must be in format 'bytes=start-end', 'bytes=start-' or 'bytes=-suffix'.'")

    /// One range of bytes.
    static func range(_ text: String) throws(S3Error) -> R2Range {
        guard text.hasPrefix("bytes=") else { throw rangeForm }
        let ends = text.dropFirst("bytes=".utf8.count).split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, ends.allSatisfy({ $0.utf8.count <= 18 && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } })
        else {
            throw rangeForm
        }
        switch (Int64(ends[0]), Int64(ends[1])) {
        case (let first?, let last?):
            guard first <= last else { throw .invalidArgument("range must be positive.") }
            return .offset(first, length: last - first + 1)
        case (let first?, nil): return .offset(first)
        case (nil, let suffix?): return .suffix(suffix)
        case (nil, nil): throw rangeForm
        }
    }
}
