package import Wire

// The messages of the r2 calls, and what stands in their replies. A body (put, uploadPart, the reply of
// get) follows the message as data.

/// head, and a part of others: one key.
package struct R2HeadMessage: Equatable, Sendable {
    package var key: String

    package init(key: String) { self.key = key }

    package func encode(into encoder: inout WireEncoder) { encoder.put(key) }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        key = try decoder.takeString()
        try decoder.finish()
    }
}

/// The reply to head, put and complete: an object, or nothing.
package struct R2ObjectReply: Equatable, Sendable {
    package var object: R2Object?

    package init(object: R2Object?) { self.object = object }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 256)
        encoder.put(object) { $1.encode(into: &$0) }
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        object = try decoder.takeOptional { decoder throws(WireError) in try R2Object(decoding: &decoder) }
        try decoder.finish()
    }
}

package struct R2GetMessage: Equatable, Sendable {
    package var key: String
    package var onlyIf: R2Conditional?
    package var range: R2Range?
    package var ssecKey: R2CustomerKey?

    package init(
        key: String, onlyIf: R2Conditional? = nil, range: R2Range? = nil, ssecKey: R2CustomerKey? = nil
    ) {
        self.key = key
        self.onlyIf = onlyIf
        self.range = range
        self.ssecKey = ssecKey
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(key)
        encoder.put(onlyIf) { $1.encode(into: &$0) }
        encoder.put(range) { $1.encode(into: &$0) }
        encoder.put(ssecKey)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        key = try decoder.takeString()
        onlyIf = try decoder.takeOptional { decoder throws(WireError) in
            try R2Conditional(decoding: &decoder)
        }
        range = try decoder.takeOptional { decoder throws(WireError) in try R2Range(decoding: &decoder) }
        ssecKey = try decoder.takeCustomerKey()
        try decoder.finish()
    }
}

/// The reply to get. With a body, `bodyByteCount` bytes follow.
package enum R2GetReply: Equatable, Sendable {
    case missing
    /// `onlyIf` didn't hold.
    case withoutBody(R2Object)
    case withBody(R2Object, bodyByteCount: Int64)

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 256)
        switch self {
        case .missing: encoder.put(UInt8(0))
        case .withoutBody(let object):
            encoder.put(UInt8(1))
            object.encode(into: &encoder)
        case .withBody(let object, let bodyByteCount):
            encoder.put(UInt8(2))
            encoder.put(bodyByteCount)
            object.encode(into: &encoder)
        }
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        switch try decoder.takeUInt8() {
        case 0: self = .missing
        case 1: self = .withoutBody(try R2Object(decoding: &decoder))
        case 2:
            let count = try decoder.takeInt64()
            self = .withBody(try R2Object(decoding: &decoder), bodyByteCount: count)
        default: throw .invalidValue("get reply", offset: decoder.offset - 1)
        }
        try decoder.finish()
    }
}

/// What a new object or a new upload in parts carries besides its bytes.
package struct R2Attributes: Equatable, Sendable {
    package var httpMetadata: R2HTTPMetadata
    package var customMetadata: [String: String]
    package var storageClass: R2StorageClass

    package init(
        httpMetadata: R2HTTPMetadata = R2HTTPMetadata(), customMetadata: [String: String] = [:],
        storageClass: R2StorageClass = .standard
    ) {
        self.httpMetadata = httpMetadata
        self.customMetadata = customMetadata
        self.storageClass = storageClass
    }

    package func encode(into encoder: inout WireEncoder) {
        httpMetadata.encode(into: &encoder)
        encoder.put(metadata: customMetadata)
        encoder.put(storageClass.rawValue)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        httpMetadata = try R2HTTPMetadata(decoding: &decoder)
        customMetadata = try decoder.takeMetadata()
        storageClass = try R2StorageClass(decoding: &decoder)
    }
}

/// put; exactly `size` bytes follow.
package struct R2PutMessage: Equatable, Sendable {
    package var key: String
    /// `sizeUnknown` for a body whose end tells; never on the wire.
    package var size: Int64
    package var onlyIf: R2Conditional?
    /// Of the length that the algorithm has.
    package var checksum: (algorithm: R2Checksum.Algorithm, bytes: [UInt8])?
    package var attributes: R2Attributes
    package var ssecKey: R2CustomerKey?

    package static let sizeUnknown: Int64 = -1

    package init(
        key: String, size: Int64, onlyIf: R2Conditional? = nil,
        checksum: (algorithm: R2Checksum.Algorithm, bytes: [UInt8])? = nil,
        attributes: R2Attributes = R2Attributes(), ssecKey: R2CustomerKey? = nil
    ) {
        self.ssecKey = ssecKey
        self.key = key
        self.size = size
        self.onlyIf = onlyIf
        self.checksum = checksum
        self.attributes = attributes
    }

    package static func == (left: Self, right: Self) -> Bool {
        left.key == right.key && left.size == right.size && left.onlyIf == right.onlyIf
            && left.checksum?.algorithm == right.checksum?.algorithm
            && left.checksum?.bytes == right.checksum?.bytes && left.attributes == right.attributes
            && left.ssecKey == right.ssecKey
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(key)
        encoder.put(size)
        encoder.put(onlyIf) { $1.encode(into: &$0) }
        encoder.put(checksum: checksum)
        attributes.encode(into: &encoder)
        encoder.put(ssecKey)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        key = try decoder.takeString()
        size = try decoder.takeInt64()
        guard size >= 0 else { throw .invalidValue("size", offset: decoder.offset - 8) }
        onlyIf = try decoder.takeOptional { decoder throws(WireError) in
            try R2Conditional(decoding: &decoder)
        }
        checksum = try decoder.takeChecksum()
        attributes = try R2Attributes(decoding: &decoder)
        ssecKey = try decoder.takeCustomerKey()
        try decoder.finish()
    }
}

/// delete. Its reply is empty.
package struct R2DeleteMessage: Equatable, Sendable {
    package var keys: [String]

    package init(keys: [String]) { self.keys = keys }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(list: keys) { $0.put($1) }
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        keys = try decoder.takeList { decoder throws(WireError) in try decoder.takeString() }
        try decoder.finish()
    }
}

package struct R2ListMessage: Equatable, Sendable {
    package var limit: Int64
    package var prefix: String
    package var cursor: String?
    /// Empty: nothing is folded.
    package var delimiter: String
    /// Exclusive.
    package var startAfter: String?
    package var include: R2ListInclude

    package init(
        limit: Int64 = 1000, prefix: String = "", cursor: String? = nil, delimiter: String = "",
        startAfter: String? = nil, include: R2ListInclude = []
    ) {
        self.limit = limit
        self.prefix = prefix
        self.cursor = cursor
        self.delimiter = delimiter
        self.startAfter = startAfter
        self.include = include
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(limit)
        encoder.put(prefix)
        encoder.put(cursor)
        encoder.put(delimiter)
        encoder.put(startAfter)
        encoder.put(include.rawValue)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        limit = try decoder.takeInt64()
        prefix = try decoder.takeString()
        cursor = try decoder.takeOptionalString()
        delimiter = try decoder.takeString()
        startAfter = try decoder.takeOptionalString()
        include = R2ListInclude(rawValue: try decoder.takeUInt8())
        guard include.rawValue <= 3 else { throw .invalidValue("include", offset: decoder.offset - 1) }
        try decoder.finish()
    }
}

extension R2Objects {
    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 64 + objects.count * 192)
        encoder.put(list: objects) { $1.encode(into: &$0) }
        encoder.put(list: delimitedPrefixes) { $0.put($1) }
        encoder.put(cursor)
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        objects = try decoder.takeList { decoder throws(WireError) in try R2Object(decoding: &decoder) }
        delimitedPrefixes = try decoder.takeList { decoder throws(WireError) in try decoder.takeString() }
        cursor = try decoder.takeOptionalString()
        try decoder.finish()
    }
}
