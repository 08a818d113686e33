package import Wire

// The messages of uploads in parts.

/// createMultipartUpload. The reply is the upload's id as text.
package struct R2CreateMultipartMessage: Equatable, Sendable {
    package var key: String
    package var attributes: R2Attributes
    package var ssecKey: R2CustomerKey?
    /// Taken of each part, and of the object when it is completed.
    package var checksumAlgorithm: R2Checksum.Algorithm?

    package init(
        key: String, attributes: R2Attributes = R2Attributes(), ssecKey: R2CustomerKey? = nil,
        checksumAlgorithm: R2Checksum.Algorithm? = nil
    ) {
        self.key = key
        self.attributes = attributes
        self.ssecKey = ssecKey
        self.checksumAlgorithm = checksumAlgorithm
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(key)
        attributes.encode(into: &encoder)
        encoder.put(ssecKey)
        encoder.put(checksumAlgorithm) { $0.put($1.rawValue) }
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        key = try decoder.takeString()
        attributes = try R2Attributes(decoding: &decoder)
        ssecKey = try decoder.takeCustomerKey()
        checksumAlgorithm = try decoder.takeOptional { decoder throws(WireError) in
            try R2Checksum.Algorithm(decoding: &decoder)
        }
        try decoder.finish()
    }
}

/// uploadPart; exactly `size` bytes follow. The reply is the part's ETag as text.
package struct R2UploadPartMessage: Sendable {
    package var key: String
    package var uploadId: String
    package var partNumber: Int64
    package var size: Int64
    package var ssecKey: R2CustomerKey?
    package var checksum: (algorithm: R2Checksum.Algorithm, bytes: [UInt8])?

    package init(
        key: String, uploadId: String, partNumber: Int64, size: Int64, ssecKey: R2CustomerKey? = nil,
        checksum: (algorithm: R2Checksum.Algorithm, bytes: [UInt8])? = nil
    ) {
        self.key = key
        self.uploadId = uploadId
        self.partNumber = partNumber
        self.size = size
        self.ssecKey = ssecKey
        self.checksum = checksum
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(key)
        encoder.put(uploadId)
        encoder.put(partNumber)
        encoder.put(size)
        encoder.put(ssecKey)
        encoder.put(checksum: checksum)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        key = try decoder.takeString()
        uploadId = try decoder.takeString()
        partNumber = try decoder.takeInt64()
        size = try decoder.takeInt64()
        guard size >= 0 else { throw .invalidValue("size", offset: decoder.offset - 8) }
        ssecKey = try decoder.takeCustomerKey()
        checksum = try decoder.takeChecksum()
        try decoder.finish()
    }
}

package struct R2CompleteMultipartMessage: Equatable, Sendable {
    package var key: String
    package var uploadId: String
    package var parts: [R2UploadedPart]
    /// Of the object that stands under the key until now.
    package var onlyIf: R2Conditional?
    /// Of the S3 API alone: isolates can't say it.
    package var checks = R2CompletionChecks()

    package init(key: String, uploadId: String, parts: [R2UploadedPart], onlyIf: R2Conditional? = nil) {
        self.key = key
        self.uploadId = uploadId
        self.parts = parts
        self.onlyIf = onlyIf
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(key)
        encoder.put(uploadId)
        encoder.put(list: parts) { encoder, part in
            encoder.put(Int64(part.partNumber))
            encoder.put(part.etag)
        }
        encoder.put(onlyIf) { $1.encode(into: &$0) }
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        key = try decoder.takeString()
        uploadId = try decoder.takeString()
        parts = try decoder.takeList { decoder throws(WireError) in
            R2UploadedPart(
                partNumber: Int(truncatingIfNeeded: try decoder.takeInt64()), etag: try decoder.takeString())
        }
        onlyIf = try decoder.takeOptional { decoder throws(WireError) in
            try R2Conditional(decoding: &decoder)
        }
        try decoder.finish()
    }
}

/// abortMultipartUpload. Its reply is empty.
package struct R2AbortMultipartMessage: Equatable, Sendable {
    package var key: String
    package var uploadId: String

    package init(key: String, uploadId: String) {
        self.key = key
        self.uploadId = uploadId
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(key)
        encoder.put(uploadId)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        key = try decoder.takeString()
        uploadId = try decoder.takeString()
        try decoder.finish()
    }
}
