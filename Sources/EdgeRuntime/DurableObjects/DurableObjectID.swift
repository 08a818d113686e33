internal import OpenSSL

/// Names one object of a namespace: 16 bytes of its own, and 16 that prove that they belong to the namespace.
public struct DurableObjectID: Sendable, Hashable, CustomStringConvertible {
    /// 32 bytes.
    package let bytes: [UInt8]
    /// What it was made from, where it was made from a name.
    public let name: String?

    /// 64 lower-case hexadecimal digits.
    public var description: String { bytes.map { Self.digits[Int($0 >> 4)] + Self.digits[Int($0 & 15)] }.joined() }

    private static let digits = "0123456789abcdef".map(String.init)

    /// Whether both name the same object.
    public func equals(_ other: DurableObjectID) -> Bool { bytes == other.bytes }

    public static func == (a: DurableObjectID, b: DurableObjectID) -> Bool { a.bytes == b.bytes }
    public func hash(into hasher: inout Hasher) { hasher.combine(bytes) }
}

/// Makes and checks the ids of a namespace (spec: durable-objects, section 1). Pure functions of its key.
package struct DurableObjectKey: Sendable {
    /// 32 bytes, which nobody outside of the node knows.
    private let key: [UInt8]

    package init(_ key: [UInt8]) { self.key = key }

    /// Of the same namespace in a jurisdiction: its objects are others.
    package func key(in jurisdiction: String) -> DurableObjectKey {
        DurableObjectKey(MessageAuthentication.hmac(Array("jurisdiction \(jurisdiction)".utf8), key: key, .sha256))
    }

    package func id(name: String) -> DurableObjectID {
        id(body: Array(MessageAuthentication.hmac(Array(name.utf8), key: key, .sha256).prefix(16)), name: name)
    }

    package func uniqueID() -> DurableObjectID {
        var generator = SystemRandomNumberGenerator()
        return id(body: (0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) }, name: nil)
    }

    /// - Throws: for text that is no id, and for ids of other namespaces.
    package func id(text: String) throws(DurableObjectError) -> DurableObjectID {
        let digits = text.utf8.compactMap { Character(Unicode.Scalar($0)).hexDigitValue.map(UInt8.init) }
        guard text.utf8.count == 64, digits.count == 64 else {
            throw DurableObjectError("Invalid Durable Object ID: must be 64 hex digits")
        }
        let bytes = stride(from: 0, to: 64, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
        let expected = id(body: Array(bytes.prefix(16)), name: nil)
        guard expected.bytes == bytes else {
            throw DurableObjectError("Durable Object ID is not valid for this namespace.")
        }
        return expected
    }

    private func id(body: [UInt8], name: String?) -> DurableObjectID {
        DurableObjectID(bytes: body + MessageAuthentication.hmac(body, key: key, .sha256).prefix(16), name: name)
    }
}
