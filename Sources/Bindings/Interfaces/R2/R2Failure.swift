/// What a bucket refuses or can't do (spec: r2, "Codes"; `R2ErrorCode` is the whole table). The text of each
/// case is the documented one; where the product documents only a number, ours says what was seen and what
/// the limit is.
///
/// A call is checked in this order: what the message says of itself (key, metadata, sizes, limits), the rate
/// of writes, the bucket, the object or upload, the condition, the encryption key, the range, and last the
/// bytes and their checksums. The first thing that is wrong is the answer.
package enum R2Failure: Error, Equatable, Sendable {
    case internalError
    case invalidBucketName
    case noSuchBucket
    case bucketNotEmpty
    case entityTooSmall
    case metadataTooLarge
    case incompleteBody(expected: Int64, received: Int64)
    case invalidObjectName
    case invalidMaxKeys
    case tooManyKeys(Int)
    case invalidCursor
    case noSuchUpload
    case invalidPart
    case badDigest(R2Checksum.Algorithm, expected: [UInt8], actual: [UInt8])
    case invalidRange
    case badUpload
    case entityTooLarge
    case partNumberOutOfRange(Int64)
    /// The source of a copy.
    case noSuchKey
    case tooManyBuckets(Int)
    /// Where a failed condition is an error: complete and copy. Put and get answer it without one.
    case preconditionFailed
    /// The key was written less than a second ago.
    case tooManyRequests
    case invalidStorageClass(String)
    /// A part's checksum is another one than the upload was begun with.
    case partChecksumAlgorithm(R2Checksum.Algorithm, upload: R2Checksum.Algorithm)
    case encryption(R2EncryptionFailure)
    case completion(R2CompletionFailure)
    /// More waits for the disk than the store lets wait; nothing was done.
    case unavailable
    /// A lock rule keeps the object.
    case objectLocked
    /// A rule or limit that can't be meant.
    case invalidRules(String)
    case malformedJSON(String)
    case noNotificationConfiguration
    case domain(R2DomainFailure)
    /// Ours: the product sells all that is wanted.
    case storageLimitExceeded(StorageLimit)

    package enum StorageLimit: Equatable, Sendable {
        case bytes(Int64, ofTenant: Bool)
        case objects(Int64, ofTenant: Bool)
    }

    package var code: Int {
        switch self {
        case .internalError: 10001
        case .invalidBucketName: 10005
        case .noSuchBucket: 10006
        case .bucketNotEmpty: 10008
        case .entityTooSmall: 10011
        case .metadataTooLarge: 10012
        case .incompleteBody: 10013
        case .invalidObjectName: 10020
        case .invalidMaxKeys: 10022
        case .noSuchUpload: 10024
        case .invalidPart, .partNumberOutOfRange: 10025
        case .tooManyKeys, .invalidCursor, .partChecksumAlgorithm: 10029
        case .noSuchKey: 10007
        case .tooManyBuckets: 10009
        case .preconditionFailed: 10031
        case .tooManyRequests: 10058
        case .invalidStorageClass: 10062
        case .encryption(let failure): failure.code
        case .badDigest, .completion(.digest): 10037
        case .completion: 10029
        case .invalidRange: 10039
        case .unavailable: 10043
        case .badUpload: 10048
        case .entityTooLarge: 100100
        case .objectLocked: 10069
        case .invalidRules: 10029
        case .malformedJSON: 10040
        case .noNotificationConfiguration: 11015
        case .domain: 10029
        case .storageLimitExceeded: 100101
        }
    }

    package var message: String {
        switch self {
        case .internalError: "We encountered an internal error. Please try again."
        case .invalidBucketName: "The specified bucket name is not valid."
        case .noSuchBucket: "The specified bucket does not exist."
        case .bucketNotEmpty: "The bucket you tried to delete is not empty."
        case .entityTooSmall:
            "Your proposed upload is smaller than the minimum allowed object size."
        case .metadataTooLarge:
            "Your metadata headers exceed the maximum allowed metadata size."
        case .incompleteBody(let expected, let received):
            "The body ended after \(received) bytes; its declared length is \(expected)."
        case .invalidObjectName: "The specified object name is not valid."
        case .invalidMaxKeys: "MaxKeys params must be positive integer <= 1000."
        case .tooManyKeys(let count):
            "At most \(R2Limits.deletedKeysMax) keys can be deleted at once, not \(count)."
        case .invalidCursor: "The cursor was not returned by a list of this bucket."
        case .noSuchUpload: "The specified multipart upload does not exist."
        case .invalidPart, .partNumberOutOfRange:
            "One or more of the specified parts could not be found."
        case .badDigest(let algorithm, let expected, let actual):
            """
            The \(algorithm.title) checksum you specified did not match what we received.
            You provided a \(algorithm.title) checksum with value: \(R2Hex.encode(expected))
            Actual \(algorithm.title) was: \(R2Hex.encode(actual))
            """
        case .unavailable: "The store is overloaded. Please try again."
        case .noSuchKey: "The specified key does not exist."
        case .tooManyBuckets(let limit): "At most \(limit) buckets can exist."
        case .preconditionFailed: "At least one of the pre-conditions you specified did not hold."
        case .tooManyRequests: "The same object can be written once per second. Please reduce your request rate."
        case .invalidStorageClass(let name):
            "The storage class \(name) is not valid: it is Standard or InfrequentAccess."
        case .partChecksumAlgorithm(let part, let upload):
            "The upload was begun with \(upload.title) checksums; the part has a \(part.title) checksum."
        case .encryption(let failure): failure.message
        case .completion(let failure): failure.message
        case .invalidRange: "The requested range is not satisfiable"
        case .badUpload: "There was a problem with the multipart upload."
        case .entityTooLarge: "Your proposed upload exceeds the maximum allowed object size."
        case .objectLocked: "The object is locked by the bucket policy."
        case .invalidRules(let reason): "Invalid argument: \(reason)."
        case .malformedJSON(let reason): "The JSON you provided was not well formed: \(reason)."
        case .noNotificationConfiguration: "The bucket has no event notification configuration for this queue."
        case .domain(let failure): failure.message
        case .storageLimitExceeded(.bytes(let limit, let ofTenant)):
            "Storage limit exceeded: the \(ofTenant ? "account" : "bucket") may hold \(limit) bytes."
        case .storageLimitExceeded(.objects(let limit, let ofTenant)):
            "Storage limit exceeded: the \(ofTenant ? "account" : "bucket") may hold \(limit) objects."
        }
    }

    /// The failure as the handler sees it: `<action>: <message> (<code>)`.
    package func failure(of action: R2Action) -> CallFailure {
        if case .partNumberOutOfRange(let number) = self { return .partNumberOutOfRange(number) }
        return CallFailure("\(action.rawValue): \(message) (\(code))", code: code)
    }
}

/// What is wrong with a name under which a bucket is to be public. The product documents no numbers for them.
package enum R2DomainFailure: Error, Equatable, Sendable {
    /// Another bucket has it.
    case taken(String)
    case unknown(String)
    /// One of the node's own names, or no domain at all.
    case notYours(String)
    case tooMany(Int, ofTenant: Bool)

    package var message: String {
        switch self {
        case .taken(let name): "The domain \(name) belongs to another bucket."
        case .unknown(let name): "The bucket has no domain \(name)."
        case .notYours(let name): "\(name) is no domain that a bucket can have: name one of yours, as files.example.com."
        case .tooMany(let limit, let ofTenant): "\(ofTenant ? "An account" : "A bucket") has at most \(limit) domains."
        }
    }
}

/// The names of the operations as errors spell them.
package enum R2Action: String, Sendable {
    case head, get, put, delete, list
    case createMultipartUpload, uploadPart, completeMultipartUpload, abortMultipartUpload
    // Ours: the product has them in its S3 API only.
    case copy, listMultipartUploads, listParts
}

/// What is wrong with the key of an encrypted object (SSE-C). The product documents that such calls fail, not
/// how: names and texts are those of S3, under the nearest of the product's codes.
package enum R2EncryptionFailure: Error, Equatable, Sendable {
    /// The object is encrypted, the call has no key.
    case keyMissing
    /// The call has a key, the object isn't encrypted.
    case keyNotApplicable
    /// The key isn't the one that the object was written with.
    case keyMismatch
    /// The upload in parts was begun with a key, or without one.
    case partKeyMissing
    case partKeyMismatch

    package var code: Int {
        self == .keyMismatch ? R2ErrorCode.accessDenied.rawValue : R2ErrorCode.invalidArgument.rawValue
    }

    package var message: String {
        switch self {
        case .keyMissing:
            "The object was stored using a form of Server Side Encryption. The correct parameters must be "
                + "provided to retrieve the object."
        case .keyNotApplicable: "The encryption parameters are not applicable to this object."
        case .keyMismatch: "Access Denied"
        case .partKeyMissing:
            "The multipart upload initiate requested encryption. Subsequent part requests must include the "
                + "appropriate encryption parameters."
        case .partKeyMismatch:
            "The provided encryption parameters did not match the ones used originally."
        }
    }
}

/// The sizes of spec r2, section 1.
public enum R2Limits {
    public static let keyBytesMax = 1024
    /// Counted as `R2Object.countedMetadataBytes` does.
    public static let customMetadataBytesMax = 8192
    /// 5 GiB − 5 MiB: one put, or one part.
    public static let putBytesMax: Int64 = 5_363_466_240
    public static let partBytesMin: Int64 = 5 << 20
    public static let partsMax = 10_000
    /// 5 TiB − 5 GiB: what all parts of an object may come to ("4.995 TiB").
    public static let objectBytesMax: Int64 = (5 << 40) - (5 << 30)
    public static let bucketsMax = 1_000_000
    public static let listedMax = 1000
    public static let deletedKeysMax = 1000
}

extension CallFailure {
    static func typeError(_ message: String) -> CallFailure { CallFailure(message, name: "TypeError") }
    static func rangeError(_ message: String) -> CallFailure { CallFailure(message, name: "RangeError") }

    static func partNumberOutOfRange(_ number: Int64) -> CallFailure {
        .typeError("Part number must be between 1 and 10000 (inclusive). Actual value was: \(number)")
    }
}

/// Lower-case hexadecimal text.
package enum R2Hex {
    package static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var digits: [UInt8] = []
        digits.reserveCapacity(bytes.underestimatedCount * 2)
        for byte in bytes {
            digits.append(digit(byte >> 4))
            digits.append(digit(byte & 15))
        }
        return String(decoding: digits, as: UTF8.self)
    }

    /// `nil` unless `text` is an even number of hexadecimal digits of either case.
    package static func decode(_ text: String) -> [UInt8]? {
        let digits = text.utf8
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count / 2)
        var high: UInt8?
        for digit in digits {
            guard let value = value(digit) else { return nil }
            if let upper = high {
                bytes.append(upper << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        return bytes
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 87 + value }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - 48
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - 87
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - 55
        default: nil
        }
    }
}
