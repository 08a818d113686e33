internal import Interfaces

extension S3Error {
    static let invalidBucketName = S3Error("InvalidBucketName", 400, "The specified bucket name is not valid.")
    static let noSuchBucket = S3Error("NoSuchBucket", 404, "The specified bucket does not exist.")
    static let noSuchKey = S3Error("NoSuchKey", 404, "The specified key does not exist.")
    static let accessDenied = S3Error("AccessDenied", 403, "Access Denied")
    static let malformedXML = S3Error(
        "MalformedXML", 400,
        "The XML you provided was not well formed or did not validate against our published schema.")
    static let preconditionFailed = S3Error(
        "PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold.")
    static let missingContentLength = S3Error(
        "MissingContentLength", 411, "You must provide the Content-Length HTTP header.")
    static let internalError = S3Error("InternalError", 500, "We encountered an internal error. Please try again.")
    static let invalidPart = S3Error("InvalidPart", 400, "One or more of the specified parts could not be found.")
    static let invalidPartNumber = S3Error.invalidArgument("Part number must be an integer between 1 and 10000, inclusive.")

    /// What a store refuses, in S3's words (spec r2.md §2, "Codes").
    init(_ failure: R2Failure) {
        switch failure {
        case .partNumberOutOfRange: self = .invalidPartNumber
        case .invalidObjectName: self = S3Error("KeyTooLongError", 400, "Your key is too long")
        case .encryption(.keyMismatch): self = .accessDenied
        case .encryption(let failure): self = .invalidRequest(failure.message)
        case .partChecksumAlgorithm(let part, let upload):
            self = .invalidRequest(R2CompletionFailure.algorithm(part, upload: upload).message)
        case .completion(.digest): self = S3Error("BadDigest", 400, failure.message)
        case .completion(let failure): self = .invalidRequest(failure.message)
        case .storageLimitExceeded: self = S3Error("QuotaExceeded", 403, failure.message)
        case .incompleteBody: self = .incompleteBody
        default:
            let code = R2ErrorCode(rawValue: failure.code)
            self.init(code?.s3Name ?? "InvalidRequest", code?.status ?? 400, failure.message)
        }
    }
}
