/// What a get returns: the object and its bytes.
@dynamicMemberLookup
public struct R2ObjectBody: Sendable {
    public let object: R2Object
    /// The bytes of the object or of the range asked for; `nil` when `onlyIf` didn't hold. Nothing is
    /// transferred before it is read, and a response that takes it over unread is sent by the node alone.
    public let body: ByteStream?

    public subscript<Value>(dynamicMember path: KeyPath<R2Object, Value>) -> Value { object[keyPath: path] }

    public var bodyUsed: Bool { body?.isUsed ?? false }

    /// Everything.
    ///
    /// - Throws: a TypeError when there is no body or it was used; `BodyTooLarge` beyond `limit`.
    public func bytes(upTo limit: Int = 64 << 20) async throws -> [UInt8] {
        guard let body else {
            throw CallFailure.typeError("The object has no body because the onlyIf condition did not hold.")
        }
        guard !body.isUsed else {
            throw CallFailure.typeError(
                "Body has already been used. It can only be used once. "
                    + "Use tee() first if you need to read it twice.")
        }
        return try await body.collect(upTo: limit)
    }

    /// Everything as text; invalid UTF-8 is replaced.
    public func text(upTo limit: Int = 64 << 20) async throws -> String {
        String(decoding: try await bytes(upTo: limit), as: UTF8.self)
    }
}
