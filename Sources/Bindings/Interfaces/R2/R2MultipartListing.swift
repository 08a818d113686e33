package import Wire

/// An upload in parts that is neither completed nor given up.
public struct R2UploadInProgress: Equatable, Sendable {
    public var key: String
    public var uploadId: String
    /// Milliseconds since 1970.
    public var initiated: Int64
    public var storageClass: R2StorageClass
    /// Of the S3 API alone: isolates don't see it.
    package var checksumAlgorithm: R2Checksum.Algorithm?

    package init(key: String, uploadId: String, initiated: Int64, storageClass: R2StorageClass) {
        self.key = key
        self.uploadId = uploadId
        self.initiated = initiated
        self.storageClass = storageClass
    }
}

/// One page of the uploads in progress: in order of their keys' bytes, those of one key in order of their ids,
/// which is that of their beginning.
public struct R2Uploads: Equatable, Sendable {
    public var uploads: [R2UploadInProgress]
    /// What keys were folded into: everything up to and including the delimiter, each once.
    public var delimitedPrefixes: [String]
    /// The last entry of this page, when more follow: where the next page goes on.
    public var next: Marker?

    /// A place in the list, behind which it goes on.
    public struct Marker: Equatable, Sendable {
        /// A key, or a folded prefix.
        public var key: String
        /// `nil`: behind all uploads of the key.
        public var uploadId: String?

        public init(key: String, uploadId: String? = nil) {
            self.key = key
            self.uploadId = uploadId
        }
    }

    public var truncated: Bool { next != nil }

    package init(
        uploads: [R2UploadInProgress] = [], delimitedPrefixes: [String] = [], next: Marker? = nil
    ) {
        self.uploads = uploads
        self.delimitedPrefixes = delimitedPrefixes
        self.next = next
    }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 64 + uploads.count * 96)
        encoder.put(list: uploads) { encoder, upload in
            encoder.put(upload.key)
            encoder.put(upload.uploadId)
            encoder.put(upload.initiated)
            encoder.put(upload.storageClass.rawValue)
        }
        encoder.put(list: delimitedPrefixes) { $0.put($1) }
        encoder.put(next) { $1.encode(into: &$0) }
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        uploads = try decoder.takeList { decoder throws(WireError) in
            R2UploadInProgress(
                key: try decoder.takeString(), uploadId: try decoder.takeString(),
                initiated: try decoder.takeInt64(), storageClass: try R2StorageClass(decoding: &decoder))
        }
        delimitedPrefixes = try decoder.takeList { decoder throws(WireError) in try decoder.takeString() }
        next = try decoder.takeOptional { decoder throws(WireError) in try Marker(decoding: &decoder) }
        try decoder.finish()
    }
}

extension R2Uploads.Marker {
    func encode(into encoder: inout WireEncoder) {
        encoder.put(key)
        encoder.put(uploadId)
    }

    init(decoding decoder: inout WireDecoder) throws(WireError) {
        key = try decoder.takeString()
        uploadId = try decoder.takeOptionalString()
    }
}

/// A part that an upload has by now.
public struct R2ListedPart: Equatable, Sendable {
    public var partNumber: Int
    public var etag: String
    public var size: Int64
    /// Milliseconds since 1970.
    public var uploaded: Int64
    /// Of the S3 API alone: isolates don't see it.
    package var checksum: [UInt8]?

    /// As `complete` wants it.
    public var uploadedPart: R2UploadedPart { R2UploadedPart(partNumber: partNumber, etag: etag) }

    package init(partNumber: Int, etag: String, size: Int64, uploaded: Int64) {
        self.partNumber = partNumber
        self.etag = etag
        self.size = size
        self.uploaded = uploaded
    }
}

/// One page of an upload's parts, in order of their numbers.
public struct R2Parts: Equatable, Sendable {
    public var parts: [R2ListedPart]
    public var truncated: Bool
    /// What the parts' checksums are; as these, of the S3 API alone.
    package var checksumAlgorithm: R2Checksum.Algorithm?

    package init(parts: [R2ListedPart] = [], truncated: Bool = false) {
        self.parts = parts
        self.truncated = truncated
    }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 16 + parts.count * 64)
        encoder.put(list: parts) { encoder, part in
            encoder.put(Int64(part.partNumber))
            encoder.put(part.etag)
            encoder.put(part.size)
            encoder.put(part.uploaded)
        }
        encoder.put(truncated)
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        parts = try decoder.takeList { decoder throws(WireError) in
            R2ListedPart(
                partNumber: Int(truncatingIfNeeded: try decoder.takeInt64()), etag: try decoder.takeString(),
                size: try decoder.takeInt64(), uploaded: try decoder.takeInt64())
        }
        truncated = try decoder.takeBool()
        try decoder.finish()
    }
}

/// listMultipartUploads. The reply is one page, `R2Uploads`.
package struct R2ListUploadsMessage: Equatable, Sendable {
    package var limit: Int64
    package var prefix: String
    /// Empty: nothing is folded.
    package var delimiter: String
    package var after: R2Uploads.Marker?

    package init(
        limit: Int64 = 1000, prefix: String = "", delimiter: String = "", after: R2Uploads.Marker? = nil
    ) {
        self.limit = limit
        self.prefix = prefix
        self.delimiter = delimiter
        self.after = after
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(limit)
        encoder.put(prefix)
        encoder.put(delimiter)
        encoder.put(after) { $1.encode(into: &$0) }
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        limit = try decoder.takeInt64()
        prefix = try decoder.takeString()
        delimiter = try decoder.takeString()
        after = try decoder.takeOptional { decoder throws(WireError) in try R2Uploads.Marker(decoding: &decoder) }
        try decoder.finish()
    }
}

/// listParts. The reply is one page, `R2Parts`.
package struct R2ListPartsMessage: Equatable, Sendable {
    package var key: String
    package var uploadId: String
    package var limit: Int64
    /// Exclusive.
    package var afterPartNumber: Int64

    package init(key: String, uploadId: String, limit: Int64 = 1000, afterPartNumber: Int64 = 0) {
        self.key = key
        self.uploadId = uploadId
        self.limit = limit
        self.afterPartNumber = afterPartNumber
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(key)
        encoder.put(uploadId)
        encoder.put(limit)
        encoder.put(afterPartNumber)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        key = try decoder.takeString()
        uploadId = try decoder.takeString()
        limit = try decoder.takeInt64()
        afterPartNumber = try decoder.takeInt64()
        try decoder.finish()
    }
}
