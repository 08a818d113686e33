/// A secret for MACs and encryption. Prints itself redacted; compare with `==`, which takes constant time.
public struct SymmetricKey: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    let bytes: [UInt8]

    /// Takes `bytes` as they are. Passwords are no keys: hash them with `Bcrypt`.
    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The UTF-8 of `secret`, as a worker's secret binding carries it.
    public init(_ secret: String) { bytes = Array(secret.utf8) }

    public static func random(byteCount: Int = 32) -> SymmetricKey {
        SymmetricKey(SecureBytes.random(byteCount))
    }

    public var byteCount: Int { bytes.count }

    /// The raw key, for those who must store it.
    public func withBytes<Result>(_ body: ([UInt8]) throws -> Result) rethrows -> Result { try body(bytes) }

    public static func == (left: Self, right: Self) -> Bool { SecureBytes.areEqual(left.bytes, right.bytes) }

    public var description: String { "SymmetricKey(redacted)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
