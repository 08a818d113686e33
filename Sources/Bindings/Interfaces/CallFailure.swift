package import Wire

/// The answer to a binding call that went wrong, as the handler sees it.
public struct CallFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// The class of the error in the product that we follow, e.g. `TypeError`, `Error`, `RangeError`.
    public let name: String
    /// The documented text, complete, e.g. `KV PUT failed: 413 Value length of …`.
    public let message: String
    /// The documented number where there is one, else 0.
    public let code: Int

    /// What a caller of an object or a service may want to know beyond the text (spec: durable-objects, section 7).
    public let marks: Marks

    public struct Marks: OptionSet, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// Thrown by the code on the other side.
        public static let remote = Marks(rawValue: 1)
        /// The call may be made again, with a new stub, if it is idempotent and isn't marked `overloaded`.
        public static let retryable = Marks(rawValue: 2)
        /// There was too much to do: calling again makes it worse.
        public static let overloaded = Marks(rawValue: 4)
        /// The object lost its memory; the next call makes it anew.
        public static let objectReset = Marks(rawValue: 8)
        /// The stub is of no use any more: all its later calls fail with this.
        package static let stubBroken = Marks(rawValue: 16)
    }

    public init(_ message: String, name: String = "Error", code: Int = 0, marks: Marks = []) {
        self.name = name
        self.message = message
        self.code = code
        self.marks = marks
    }

    public var description: String { name == "Error" ? message : "\(name): \(message)" }

    /// The answer to a call whose message can't be read. Nothing that is built with the SDK sends one, so whoever gets
    /// this from a store ends the isolate: see `isMalformedCall`.
    package static func malformedCall(_ error: WireError) -> CallFailure {
        CallFailure("malformed call: \(error)", name: malformedName)
    }
    private static let malformedName = "WireError"

    package var isMalformedCall: Bool { name == Self.malformedName }

    /// The number of a refusal by a store that takes no writes while a release is deployed. The node answers a request with 503
    /// whose handler lets it through.
    package static let heldStoreCode = 7503

    package var isOfHeldStore: Bool { code == Self.heldStoreCode }

    /// With no more text than anybody reads: what a handler throws may describe itself by megabytes.
    package var shortened: CallFailure {
        guard name.utf8.count + message.utf8.count > Self.textBytesMax else { return self }
        return CallFailure(
            String(decoding: message.utf8.prefix(Self.textBytesMax - 256), as: UTF8.self) + " …",
            name: String(decoding: name.utf8.prefix(128), as: UTF8.self), code: code, marks: marks)
    }
    private static let textBytesMax = 16 << 10

    /// The same with marks beside those that it has.
    package func marked(_ marks: Marks) -> CallFailure {
        CallFailure(message, name: name, code: code, marks: self.marks.union(marks))
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(name)
        encoder.put(message)
        encoder.put(Int64(code))
        encoder.put(marks.rawValue)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        name = try decoder.takeString()
        message = try decoder.takeString()
        code = Int(truncatingIfNeeded: try decoder.takeInt64())
        marks = Marks(rawValue: try decoder.takeUInt8())
    }
}
