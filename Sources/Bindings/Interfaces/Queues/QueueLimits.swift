/// The limits of queues (spec: queues, section 1), and what is said when one is exceeded. Client and store share them:
/// the client checks first, so that nothing larger than a message of the wire is ever sent.
package enum QueueLimits {
    package static let messageByteCountMax = 128_000
    package static let batchCountMax = 100
    /// Of the bodies, plus `batchMessageByteCount` for each message.
    package static let batchByteCountMax = 256_000
    package static let batchMessageByteCount = 100
    /// The product's table of limits says 43,200 and its client 86,400: what works there must work here.
    package static let delaySecondsMax: Int64 = 86_400

    package enum Form: Sendable { case single, batch }

    package static func check(bodyByteCounts: [Int], _ form: Form) throws(CallFailure) {
        guard bodyByteCounts.count <= batchCountMax else {
            throw failure(
                "batch message count of \(bodyByteCounts.count) exceeds limit of \(batchCountMax)", 10206)
        }
        for byteCount in bodyByteCounts where byteCount > messageByteCountMax {
            switch form {
            case .single:
                throw failure(
                    "message length of \(byteCount) bytes exceeds limit of \(messageByteCountMax)", 10204)
            case .batch:
                throw failure(
                    "message in batch has length \(byteCount) bytes which exceeds single message size limit of "
                        + "\(messageByteCountMax)", 10204)
            }
        }
        let total = bodyByteCounts.reduce(0, +)
        guard total <= batchByteCountMax + batchMessageByteCount * bodyByteCounts.count else {
            throw failure("batch size of \(total) bytes exceeds limit of \(batchByteCountMax)", 10205)
        }
    }

    package static func check(delaySeconds: Int64?) throws(CallFailure) {
        guard let delaySeconds, !(0...delaySecondsMax).contains(delaySeconds) else { return }
        throw failure(
            "message delay \(delaySeconds) is invalid: must be between 0 and \(delaySecondsMax)", 10202)
    }

    package static func failure(_ text: String, _ code: Int) -> CallFailure {
        CallFailure("\(text) (\(code))", code: code)
    }
}
