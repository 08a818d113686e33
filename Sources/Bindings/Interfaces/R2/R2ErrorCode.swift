/// The product's error codes for R2 (spec: r2, "Codes"): number, S3's name, HTTP status and documented text.
///
/// `R2Failure` says what a bucket's engine itself refuses. The other codes belong to those who speak HTTP for it: who
/// authenticates, signs, or keeps a bucket's settings.
package enum R2ErrorCode: Int, CaseIterable, Sendable {
    case internalError = 10001
    case unauthorized = 10002
    case accessDenied = 10003
    case bucketAlreadyExists = 10004
    case invalidBucketName = 10005
    case noSuchBucket = 10006
    case noSuchKey = 10007
    case bucketNotEmpty = 10008
    case tooManyBuckets = 10009
    case entityTooSmall = 10011
    case metadataTooLarge = 10012
    case incompleteBody = 10013
    case invalidDigest = 10014
    case expiredRequest = 10018
    case invalidObjectName = 10020
    case invalidMaxKeys = 10022
    case noSuchUpload = 10024
    case invalidPart = 10025
    case invalidArgument = 10029
    case preconditionFailed = 10031
    case missingContentLength = 10033
    case signatureDoesNotMatch = 10035
    case badDigest = 10037
    case invalidRange = 10039
    case malformedJSON = 10040
    case serviceUnavailable = 10043
    case badUpload = 10048
    case tooManyRequests = 10058
    case noCorsConfiguration = 10059
    case invalidStorageClass = 10062
    case objectLockedByBucketPolicy = 10069
    case bucketConflict = 10073
    case bucketUnknownToNotifications = 10085
    case noNotificationConfiguration = 11015
    case entityTooLarge = 100100

    /// `nil` where the product has a number only.
    package var s3Name: String? {
        switch self {
        case .internalError: "InternalError"
        case .unauthorized: "Unauthorized"
        case .accessDenied: "AccessDenied"
        case .bucketAlreadyExists: "BucketAlreadyExists"
        case .invalidBucketName: "InvalidBucketName"
        case .noSuchBucket: "NoSuchBucket"
        case .noSuchKey: "NoSuchKey"
        case .bucketNotEmpty: "BucketNotEmpty"
        case .tooManyBuckets: "TooManyBuckets"
        case .entityTooSmall: "EntityTooSmall"
        case .metadataTooLarge: "MetadataTooLarge"
        case .incompleteBody: "IncompleteBody"
        case .invalidDigest: "InvalidDigest"
        case .expiredRequest: "ExpiredRequest"
        case .invalidObjectName: "InvalidObjectName"
        case .invalidMaxKeys: "InvalidMaxKeys"
        case .noSuchUpload: "NoSuchUpload"
        case .invalidPart, .badUpload: "InvalidPart"
        case .invalidArgument: "InvalidArgument"
        case .preconditionFailed: "PreconditionFailed"
        case .missingContentLength: "MissingContentLength"
        case .signatureDoesNotMatch: "SignatureDoesNotMatch"
        case .badDigest: "BadDigest"
        case .invalidRange: "InvalidRange"
        case .serviceUnavailable: "ServiceUnavailable"
        case .tooManyRequests: "TooManyRequests"
        case .noCorsConfiguration: "NoCorsConfiguration"
        case .invalidStorageClass: "InvalidStorageClass"
        case .objectLockedByBucketPolicy: "ObjectLockedByBucketPolicy"
        case .bucketConflict: "BucketConflict"
        case .entityTooLarge: "EntityTooLarge"
        case .malformedJSON, .bucketUnknownToNotifications, .noNotificationConfiguration: nil
        }
    }

    package var status: Int {
        switch self {
        case .internalError: 500
        case .unauthorized: 401
        case .accessDenied, .expiredRequest, .signatureDoesNotMatch, .objectLockedByBucketPolicy: 403
        case .noSuchBucket, .noSuchKey, .noSuchUpload, .noCorsConfiguration, .bucketUnknownToNotifications,
            .noNotificationConfiguration:
            404
        case .bucketAlreadyExists, .bucketNotEmpty, .bucketConflict: 409
        case .missingContentLength: 411
        case .preconditionFailed: 412
        case .invalidRange: 416
        case .tooManyRequests: 429
        case .serviceUnavailable: 503
        case .invalidBucketName, .tooManyBuckets, .entityTooSmall, .metadataTooLarge, .incompleteBody, .invalidDigest,
            .invalidObjectName, .invalidMaxKeys, .invalidPart, .invalidArgument, .badDigest, .malformedJSON, .badUpload,
            .invalidStorageClass, .entityTooLarge:
            400
        }
    }

    /// `nil` where the product documents none.
    package var text: String? {
        switch self {
        case .internalError: "We encountered an internal error. Please try again."
        case .unauthorized: "Unauthorized"
        case .accessDenied: "Access Denied"
        case .bucketAlreadyExists: "The bucket you tried to create already exists, and you own it."
        case .invalidBucketName: "The specified bucket name is not valid."
        case .noSuchBucket: "The specified bucket does not exist."
        case .noSuchKey: "The specified key does not exist."
        case .bucketNotEmpty: "The bucket you tried to delete is not empty."
        case .entityTooSmall: "Your proposed upload is smaller than the minimum allowed object size."
        case .entityTooLarge: "Your proposed upload exceeds the maximum allowed object size."
        case .metadataTooLarge: "Your metadata headers exceed the maximum allowed metadata size."
        case .invalidObjectName: "The specified object name is not valid."
        case .invalidMaxKeys: "MaxKeys params must be positive integer <= 1000."
        case .noSuchUpload: "The specified multipart upload does not exist."
        case .invalidPart: "One or more of the specified parts could not be found."
        case .badUpload: "There was a problem with the multipart upload."
        case .preconditionFailed: "At least one of the pre-conditions you specified did not hold."
        case .invalidRange: "The requested range is not satisfiable"
        case .noCorsConfiguration: "The CORS configuration does not exist."
        case .tooManyBuckets, .incompleteBody, .invalidDigest, .expiredRequest, .invalidArgument, .missingContentLength,
            .signatureDoesNotMatch, .badDigest, .malformedJSON, .serviceUnavailable, .tooManyRequests,
            .invalidStorageClass, .objectLockedByBucketPolicy, .bucketConflict, .bucketUnknownToNotifications,
            .noNotificationConfiguration:
            nil
        }
    }
}
