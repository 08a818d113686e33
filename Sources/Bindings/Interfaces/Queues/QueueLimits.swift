/// The limits of queues (spec: queues, section 1), and what is said when one is exceeded. Client and store
/// share them: the client checks first, so that nothing larger than a message of the wire is ever sent.
package enum QueueLimits {
    package static let messageByteCountMax = 128_000
    package static let batchCountMax = 100
    /// Of the bodies, plus `batchMessageByteCount` for each message.
    package static let batchByteCountMax = 256_000
    package static let batchMessageByteCount = 100
    /// The product's table of limits says 43,200 and its client 86,400: what works there must work here.
    package static let delaySecondsMax: Int64 = 86_400

    /// Delays above are taken, with a warning.
    package static let documentedDelaySecondsMax: Int64 = 43_200
    package static let deliveryDelaySecondsMax: Int64 = 86_400
    package static let retentionSeconds: ClosedRange<Int64> = 60...1_209_600
    /// Of a pull or a peek that doesn't say it.
    package static let pullBatchSize = 5
    package static let visibilityMillisecondsMax: Int64 = 43_200_000
    /// The product's: 25 GB may wait in one queue.
    package static let backlogBytesMax: Int64 = 25_000_000_000
    package static let queueCountMax: Int64 = 10_000
    /// Leases or references that one call may name.
    package static let ticketCountMax = 1000

    package enum Form: Sendable { case single, batch }
    package enum Subject: Sendable { case queue, consumer, request }

    package static func check(bodyByteCounts: [Int], _ form: Form) throws(CallFailure) {
        try check(count: bodyByteCounts.count)
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

    package static func check(count: Int) throws(CallFailure) {
        guard count <= batchCountMax else {
            throw failure("batch message count of \(count) exceeds limit of \(batchCountMax)", 10206)
        }
    }

    package static func check(delaySeconds: Int64?) throws(CallFailure) {
        guard let delaySeconds, !(0...delaySecondsMax).contains(delaySeconds) else { return }
        throw failure(
            "message delay \(delaySeconds) is invalid: must be between 0 and \(delaySecondsMax)", 10202)
    }

    /// A setting that a queue or its consumer is to have, or a value of a pull.
    package static func check(
        _ value: Int64, in range: ClosedRange<Int64>, _ name: String, of subject: Subject
    ) throws(CallFailure) {
        guard !range.contains(value) else { return }
        let reason =
            range.upperBound == .max
            ? "must be at least \(range.lowerBound)"
            : "must be between \(range.lowerBound) and \(range.upperBound)"
        switch subject {
        case .queue:
            throw CallFailure("invalid queue settings: \(name) \(value) \(reason)", code: 100128)
        case .consumer:
            throw CallFailure("invalid consumer settings: \(name) \(value) \(reason)", code: 100127)
        case .request:
            throw CallFailure("invalid request body: \(name) \(value) \(reason)", code: 10026)
        }
    }

    package static func invalidName(_ name: String) -> CallFailure {
        CallFailure("invalid queue name \"\(name)\"", code: 11003)
    }

    package static func nameTaken(_ name: String) -> CallFailure {
        CallFailure("Queue name '\(name)' is already taken. Please use a different name and try again.", code: 11009)
    }

    package static func noQueueHandler(_ script: String) -> CallFailure {
        CallFailure("queue handler is missing: worker \"\(script)\" has none", code: 11001)
    }

    package static var storageLimitExceeded: CallFailure { failure("Storage Limit Exceeded", 10251) }
    package static var tooManyRequests: CallFailure { failure("Too Many Requests", 10250) }

    package static func failure(_ text: String, _ code: Int) -> CallFailure {
        CallFailure("\(text) (\(code))", code: code)
    }
}
