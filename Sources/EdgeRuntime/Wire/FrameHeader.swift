/// What a frame is. There are five, and no more are needed: see `Wire.swift`.
public enum FrameKind: UInt8, Sendable {
    case open = 1
    case data = 2
    case end = 3
    case reset = 4
    case credit = 5
}

public struct FrameFlags: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Nothing follows in this direction.
    public static let end = FrameFlags(rawValue: 1)
    /// On the `open` that starts a call: the other direction starts without credit, so the body of the
    /// reply is sent only once its receiver asks for it. It lets the node send a stored body to a client
    /// without a detour through the isolate.
    public static let lazyBody = FrameFlags(rawValue: 2)

    /// On the `open` of an event: its request has a body that is sent only once the isolate gives credit for it.
    public static let heldBody = FrameFlags(rawValue: 4)
    /// On the `open` of a call: its body is that of the event's request, which the isolate has not asked for; the node
    /// passes it on itself.
    public static let requestBody = FrameFlags(rawValue: 8)

    static let known: FrameFlags = [.end, .lazyBody, .heldBody, .requestBody]
}

/// The twelve bytes in front of each payload, little-endian:
/// `payloadByteCount: UInt32, kind: UInt8, flags: UInt8, reserved: UInt16 (zero), stream: UInt32`.
public struct FrameHeader: Equatable, Sendable {
    public static let byteCount = 12

    public var kind: FrameKind
    public var flags: FrameFlags
    /// 1...2³¹−1.
    public var stream: UInt32
    public var payloadByteCount: Int

    public init(_ kind: FrameKind, stream: UInt32, flags: FrameFlags = [], payloadByteCount: Int) {
        self.kind = kind
        self.flags = flags
        self.stream = stream
        self.payloadByteCount = payloadByteCount
    }

    /// Reads the header at the start of `bytes`; `nil` when fewer than twelve bytes are there.
    ///
    /// - Throws: on anything that a well-behaved peer never sends. The channel can't be trusted then.
    public static func read(_ bytes: RawSpan) throws(WireError) -> FrameHeader? {
        guard bytes.byteCount >= byteCount else { return nil }
        let length = bytes.littleEndianUInt32(at: 0)
        let stream = bytes.littleEndianUInt32(at: 8)
        guard let kind = FrameKind(rawValue: bytes.byte(at: 4)) else {
            throw .unknownKind(bytes.byte(at: 4))
        }
        let flags = FrameFlags(rawValue: bytes.byte(at: 5))
        guard FrameFlags.known.isSuperset(of: flags) else { throw .unknownFlags(flags.rawValue) }
        guard bytes.byte(at: 6) == 0, bytes.byte(at: 7) == 0 else { throw .reservedBits }
        guard stream != 0, stream <= UInt32(Int32.max) else { throw .streamOutOfRange(stream) }
        let limit = WireLimits.payloadBytesMax(kind)
        guard length <= limit else { throw .payloadTooLarge(kind, Int(length), limit: limit) }
        switch kind {
        case .credit where length != 4, .end where length != 0:
            throw .wrongPayloadLength(kind, Int(length))
        default: break
        }
        return FrameHeader(kind, stream: stream, flags: flags, payloadByteCount: Int(length))
    }
}

/// Every limit of the wire, each with its reason.
public enum WireLimits {
    /// A request head is at most 16 KiB of URL and 128 KiB of headers; a binding call carries at most
    /// 1 MiB inline (D1 batches, queue batches); larger things are bodies.
    public static let openPayloadBytesMax = 4 << 20
    /// One `data` frame: large enough to amortise a system call, small enough to interleave.
    public static let dataPayloadBytesMax = 64 << 10
    /// An error name and a message.
    public static let resetPayloadBytesMax = 4 << 10
    /// Body bytes in flight per stream and direction before the receiver consumes any.
    public static let initialCredit = 256 << 10
    /// Credit outstanding at any time: a peer that grants more is broken.
    public static let creditMax = 16 << 20

    static func payloadBytesMax(_ kind: FrameKind) -> Int {
        switch kind {
        case .open: openPayloadBytesMax
        case .data: dataPayloadBytesMax
        case .end: 0
        case .reset: resetPayloadBytesMax
        case .credit: 4
        }
    }
}

/// Why bytes from the peer can't be a frame or a message. An isolate that causes one is killed.
public enum WireError: Error, Equatable, Sendable, CustomStringConvertible {
    case unknownKind(UInt8)
    case unknownFlags(UInt8)
    case reservedBits
    case streamOutOfRange(UInt32)
    case payloadTooLarge(FrameKind, Int, limit: Int)
    case wrongPayloadLength(FrameKind, Int)
    /// A message ended before the value that should start at `offset`.
    case truncated(offset: Int)
    case invalidValue(String, offset: Int)
    /// A frame that its stream's state doesn't allow.
    case unexpectedFrame(FrameKind, stream: UInt32)
    case creditExceeded(stream: UInt32)

    public var description: String {
        switch self {
        case .unknownKind(let kind): "frame kind \(kind) does not exist"
        case .unknownFlags(let flags): "frame flags \(flags) do not exist"
        case .reservedBits: "reserved bytes of a frame header are not zero"
        case .streamOutOfRange(let stream): "stream number \(stream) is outside 1...2147483647"
        case .payloadTooLarge(let kind, let count, let limit):
            "\(kind) frame of \(count) bytes is larger than \(limit)"
        case .wrongPayloadLength(let kind, let count): "\(kind) frame cannot have \(count) bytes"
        case .truncated(let offset): "message ends at byte \(offset), inside a value"
        case .invalidValue(let what, let offset): "\(what) at byte \(offset) of the message is invalid"
        case .unexpectedFrame(let kind, let stream): "\(kind) frame is not allowed on stream \(stream) now"
        case .creditExceeded(let stream): "stream \(stream) sent more than its credit"
        }
    }
}
