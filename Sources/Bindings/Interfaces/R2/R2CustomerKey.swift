package import Wire

/// The key of an object that the caller encrypts (SSE-C): the node keeps only its MD5, so without the key nobody
/// reads the bytes again. It describes itself without what it holds.
public struct R2CustomerKey: Equatable, Sendable, CustomStringConvertible, CustomReflectable {
    static let byteCount = 32

    package let bytes: [UInt8]

    /// - Throws: the product's TypeError unless there are 32 bytes.
    public init(_ bytes: [UInt8]) throws(CallFailure) {
        guard bytes.count == Self.byteCount else {
            throw .typeError("SSE-C Key must be 32 bytes in length")
        }
        self.bytes = bytes
    }

    /// - Throws: the product's TypeError unless there are 64 lower-case hexadecimal digits.
    public init(hexadecimal text: String) throws(CallFailure) {
        guard let bytes = R2Hex.decode(text), bytes.count == Self.byteCount, R2Hex.encode(bytes) == text else {
            throw .typeError("SSE-C Key has invalid format")
        }
        self.bytes = bytes
    }

    public var description: String { "R2CustomerKey(redacted)" }
    public var customMirror: Mirror { Mirror(self, children: []) }

    package func encode(into encoder: inout WireEncoder) { encoder.put(bytes) }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        bytes = try decoder.takeBytes()
        guard bytes.count == Self.byteCount else { throw .invalidValue("SSE-C key", offset: decoder.offset) }
    }
}

extension WireEncoder {
    mutating func put(_ key: R2CustomerKey?) { put(key) { $1.encode(into: &$0) } }
}

extension WireDecoder {
    mutating func takeCustomerKey() throws(WireError) -> R2CustomerKey? {
        try takeOptional { decoder throws(WireError) in try R2CustomerKey(decoding: &decoder) }
    }
}
