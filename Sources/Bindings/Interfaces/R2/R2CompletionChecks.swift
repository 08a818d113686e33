/// What a client says of the object that its parts become, beyond their ETags. All of it is compared before there is one.
package struct R2CompletionChecks: Equatable, Sendable {
    package struct Checksum: Equatable, Sendable {
        package var algorithm: R2Checksum.Algorithm
        package var bytes: [UInt8]

        package init(_ algorithm: R2Checksum.Algorithm, _ bytes: [UInt8]) {
            self.algorithm = algorithm
            self.bytes = bytes
        }
    }
    /// By the numbers of the parts.
    package var parts: [Int: Checksum] = [:]
    /// Of the object, as `kind` says.
    package var object: Checksum?
    /// What the client takes the checksum to be of.
    package var kind: R2Checksums.Kind?
    /// How many parts the client takes it to be of.
    package var partCount: Int?
    /// Bytes of the object.
    package var size: Int64?

    package init() {}
}

/// Why parts don't become the object that the client means.
public enum R2CompletionFailure: Error, Equatable, Sendable {
    case digest(R2Checksum.Algorithm)
    /// - upload: `nil` for one that was begun without checksums.
    case algorithm(R2Checksum.Algorithm, upload: R2Checksum.Algorithm?)
    /// What the upload's checksum is of.
    case kind(R2Checksums.Kind)
    case size(given: Int64, actual: Int64)

    public var message: String {
        switch self {
        case .digest(let algorithm): "The \(algorithm) you specified did not match the calculated checksum."
        case .algorithm(let given, let upload):
            "Checksum Type mismatch occurred, expected checksum Type: \(upload.map { "\($0)" } ?? "null"), "
                + "actual checksum Type: \(given)"
        case .kind(let kind):
            "The upload was created using the \(kind == .composite ? "COMPOSITE" : "FULL_OBJECT") checksum mode. "
                + "The complete request must use the same checksum mode."
        case .size(let given, let actual):
            "The provided 'x-amz-mp-object-size' header value \(given) does not match what was computed: \(actual)"
        }
    }
}
