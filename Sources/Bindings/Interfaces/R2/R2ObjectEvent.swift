internal import HTTP

/// One change of a bucket's objects, on its way to a queue.
package struct R2ObjectEvent: Equatable, Sendable {
    package struct Source: Equatable, Sendable {
        package var bucket: String
        package var key: String

        package init(bucket: String, key: String) {
            self.bucket = bucket
            self.key = key
        }
    }

    package var action: R2EventAction
    package var bucket: String
    package var key: String
    /// With `etag`, of the new object; absent when one went.
    package var size: Int64?
    package var etag: String?
    /// Milliseconds since 1970.
    package var time: Int64
    package var copySource: Source?

    package init(
        _ action: R2EventAction, bucket: String, key: String, size: Int64? = nil, etag: String? = nil, time: Int64,
        copySource: Source? = nil
    ) {
        self.action = action
        self.bucket = bucket
        self.key = key
        self.size = size
        self.etag = etag
        self.time = time
        self.copySource = copySource
    }

    /// The message's body: JSON as documented.
    package func message(account: String) throws -> [UInt8] {
        struct Message: Encodable {
            struct Object: Encodable {
                var key: String
                var size: Int64?
                var eTag: String?
            }
            struct CopySource: Encodable {
                var bucket: String
                var object: String
            }
            var account: String
            var action: R2EventAction
            var bucket: String
            var object: Object
            var eventTime: String
            var copySource: CopySource?
        }
        return try JSONText.encode(
            Message(
                account: account, action: action, bucket: bucket,
                object: .init(key: key, size: size, eTag: etag),
                eventTime: InternetTimestamp.text(milliseconds: time),
                copySource: copySource.map { .init(bucket: $0.bucket, object: $0.key) }))
    }
}
