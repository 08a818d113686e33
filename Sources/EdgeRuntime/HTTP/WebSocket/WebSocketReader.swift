internal import Wire

/// Reads what one side of a WebSocket sends (RFC 6455 §5): frames, put together to messages. It takes bytes however they were
/// split, keeps no more of them than the message that is arriving, and finds a mistake at the first byte that shows it.
///
/// After a failure, and after a Close frame, nothing more is to be read.
package struct WebSocketReader {
    /// Who sends, and so whether frames are masked (RFC 6455 §5.1).
    package enum Masking: Sendable {
        /// A client sends.
        case required
        /// A client sends that may have forgotten it: wrangler's tail does. The mask protects proxies between, not the server.
        case optional
        /// A server sends.
        case refused
    }

    /// How messages are handed on.
    package enum Delivery: Sendable {
        case whole
        /// As they arrive: of a message no more is kept than a piece.
        case inPieces
    }

    package enum Event: Equatable, Sendable {
        /// A message; its bytes are UTF-8.
        case text([UInt8])
        case binary([UInt8])
        /// The next bytes of a message. A text is UTF-8 as far as it has come, but may be cut within a character.
        case piece(WebSocketOpcode, [UInt8], isFinal: Bool)
        /// To be answered by a pong with the same payload.
        case ping([UInt8])
        case pong([UInt8])
        /// `nil`: it gives no code.
        case close(WebSocketCloseCode?, reason: String)
    }

    private struct Frame {
        let opcode: WebSocketOpcode
        let isFinal: Bool
        let mask: WebSocketMask?
        let byteCount: Int
        var readByteCount = 0
        var left: Int { byteCount - readByteCount }
    }

    private struct Message {
        let opcode: WebSocketOpcode
        let isCompressed: Bool
        var bytes: [UInt8] = []
        /// Of the bytes before those, which were handed on.
        var deliveredByteCount = 0
        /// Of the frames so far, as they came.
        var wireByteCount = 0
        var validator = UTF8Validator()
    }

    private let masking: Masking
    private let messageBytesMax: Int
    private let delivery: Delivery
    /// `nil`: compression was not agreed upon.
    private var inflater: (any WebSocketInflater)?

    private var header: [UInt8] = []
    private var frame: Frame?
    private var message: Message?
    private var control: [UInt8] = []

    /// A piece is handed on when it has so many bytes, or ends the message.
    private static let pieceByteCount = 16 << 10
    /// Compressed bytes that are looked at before a piece can be handed on: they may become a thousand times as many.
    private static let compressedStepByteCount = 256
    /// What is compressed may be a little longer than what it stands for: five bytes for each block of 16 KiB.
    private static func wireBytesMax(_ messageBytesMax: Int) -> Int { messageBytesMax + messageBytesMax >> 10 + 64 }

    /// - Parameter messageBytesMax: Of a message's payload, all its frames together, uncompressed.
    package init(
        masking: Masking, messageBytesMax: Int, delivery: Delivery = .whole, inflater: (any WebSocketInflater)? = nil
    ) {
        self.masking = masking
        self.messageBytesMax = messageBytesMax
        self.delivery = delivery
        self.inflater = inflater
        header.reserveCapacity(WebSocketLimits.headerBytesMax)
    }

    /// Bytes of messages that it holds.
    package var heldByteCount: Int { (message?.bytes.count ?? 0) + control.count }

    /// Reads on at `offset`, which moves behind what was read.
    ///
    /// - Returns: `nil` when all of `bytes` has been read and nothing is complete yet.
    package mutating func next(
        _ bytes: UnsafeRawBufferPointer, from offset: inout Int
    ) throws(WebSocketFailure) -> Event? {
        if frame == nil, message == nil, header.isEmpty, let event = try unsafe readWholeMessage(bytes, &offset) {
            return event
        }
        while true {
            if frame == nil {
                guard try unsafe readHeader(bytes, &offset) else { return nil }
            }
            guard let opcode = frame?.opcode, let left = frame?.left else { return nil }
            let count = min(left, bytes.count - offset, stepByteCount)
            let piece = unsafe UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + count)])
            offset += count
            if opcode.isControl { unsafe readControl(piece) } else { try unsafe readData(piece) }
            frame?.readByteCount += count
            if count == left {
                if let event = try endFrame() { return event }
            } else if let piece = takePiece(isFinal: false) {
                return piece
            } else if offset == bytes.count {
                return nil
            }
        }
    }

    private var stepByteCount: Int {
        switch delivery {
        case .whole: .max
        case .inPieces: message?.isCompressed == true ? Self.compressedStepByteCount : Self.pieceByteCount
        }
    }

    /// What there is of the message that arrives, when it is enough for a piece.
    private mutating func takePiece(isFinal: Bool) -> Event? {
        guard case .inPieces = delivery, let arriving = message, isFinal || arriving.bytes.count >= Self.pieceByteCount else {
            return nil
        }
        message?.bytes = []
        message?.deliveredByteCount += arriving.bytes.count
        return .piece(arriving.opcode, arriving.bytes, isFinal: isFinal)
    }

    // MARK: Another reader in its place

    /// What brings a new reader to where this one is, in front of the bytes that it hasn't read: the message that is arriving, said
    /// anew as far as it has come.
    ///
    /// - Returns: `nil` within a message whose beginning can't be said anew: it is compressed, or was handed on already.
    package var begun: [UInt8]? {
        var bytes = ByteBuffer()
        if let message {
            guard !message.isCompressed, delivery == .whole else { return nil }
            let mask = masking == .refused ? nil : WebSocketMask(0)
            bytes.appendWebSocketFrame(message.opcode, message.bytes, isFinal: false, mask: mask)
        }
        if let frame, frame.opcode.isControl {
            bytes.appendWebSocketHeader(frame.opcode, payloadByteCount: frame.byteCount, isFinal: true, mask: frame.mask)
            unsafe control.withUnsafeBytes { unsafe bytes.appendWebSocketPayload($0, mask: frame.mask, at: 0) }
        } else if let frame {
            bytes.appendWebSocketHeader(
                .continuation, payloadByteCount: frame.left, isFinal: frame.isFinal,
                mask: frame.mask?.turned(by: frame.readByteCount))
        }
        bytes.append(header)
        return unsafe bytes.withReadable { unsafe Array($0) }
    }

    /// Whether `begun` has nothing to say for it.
    package var canBeReplaced: Bool { message.map { !$0.isCompressed && delivery == .whole } ?? true }

    // MARK: Whole messages

    func mayBeMasked(_ isMasked: Bool) -> Bool {
        switch masking {
        case .required: isMasked
        case .refused: !isMasked
        case .optional: true
        }
    }

    /// Of a message that is handed on as it stands.
    var wholeBytesMax: Int { min(messageBytesMax, Self.pieceByteCount) }

    func message(_ kind: WebSocketOpcode, _ bytes: [UInt8]) -> Event {
        switch delivery {
        case .whole: kind == .text ? .text(bytes) : .binary(bytes)
        case .inPieces: .piece(kind, bytes, isFinal: true)
        }
    }

    // MARK: Headers

    /// - Returns: false when more bytes are needed.
    private mutating func readHeader(_ bytes: UnsafeRawBufferPointer, _ offset: inout Int) throws(WebSocketFailure) -> Bool {
        while true {
            let needed = headerByteCount
            if header.count >= needed { break }
            guard offset < bytes.count else { return false }
            header.append(unsafe bytes[offset])
            offset += 1
            if header.count == 1 { try checkFirstByte() }
            if header.count == 2 { try checkSecondByte() }
        }
        let length = try payloadByteCount()
        guard let opcode = WebSocketOpcode(rawValue: header[0] & 0x0F) else { return false }
        if !opcode.isControl { try admit(length) }
        var mask: WebSocketMask?
        if header[1] & 0x80 != 0 {
            mask = WebSocketMask(header.suffix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
        }
        frame = Frame(opcode: opcode, isFinal: header[0] & 0x80 != 0, mask: mask, byteCount: Int(length))
        if opcode.isControl {
            control = []
        } else if opcode != .continuation {
            message = Message(opcode: opcode, isCompressed: header[0] & 0x40 != 0)
        }
        message?.wireByteCount += opcode.isControl ? 0 : Int(length)
        header.removeAll(keepingCapacity: true)
        return true
    }

    private var headerByteCount: Int {
        guard header.count >= 2 else { return 2 }
        let length = header[1] & 0x7F
        return 2 + (length == 127 ? 8 : length == 126 ? 2 : 0) + (header[1] & 0x80 != 0 ? 4 : 0)
    }

    private func checkFirstByte() throws(WebSocketFailure) {
        guard let opcode = WebSocketOpcode(rawValue: header[0] & 0x0F) else {
            throw .protocolError("reserved opcode \(header[0] & 0x0F)")
        }
        guard header[0] & 0x30 == 0 else { throw .protocolError("reserved bits are set") }
        if header[0] & 0x40 != 0 {
            guard inflater != nil, opcode == .text || opcode == .binary else {
                throw .protocolError("the frame says that it is compressed")
            }
        }
        if opcode.isControl {
            guard header[0] & 0x80 != 0 else { throw .protocolError("a control frame is fragmented") }
        } else if opcode == .continuation {
            guard message != nil else { throw .protocolError("nothing to continue") }
        } else if message != nil {
            throw .protocolError("a message begins within another")
        }
    }

    private func checkSecondByte() throws(WebSocketFailure) {
        let isMasked = header[1] & 0x80 != 0
        switch masking {
        case .required: guard isMasked else { throw .protocolError("a client's frame is not masked") }
        case .refused: guard !isMasked else { throw .protocolError("a server's frame is masked") }
        case .optional: break
        }
        guard header[0] & 0x08 == 0 || header[1] & 0x7F <= WebSocketLimits.controlPayloadBytesMax else {
            throw .protocolError("a control frame is longer than \(WebSocketLimits.controlPayloadBytesMax) bytes")
        }
    }

    private func payloadByteCount() throws(WebSocketFailure) -> UInt64 {
        let short = UInt64(header[1] & 0x7F)
        guard short >= 126 else { return short }
        let digits = header[2..<(short == 126 ? 4 : 10)]
        let length = digits.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length >> 63 == 0 else { throw .protocolError("the length has more than 63 bits") }
        guard length > (short == 126 ? 125 : 0xFFFF) else { throw .protocolError("the length is longer than it need be") }
        return length
    }

    /// Refuses a message that is too large before its payload comes.
    private func admit(_ length: UInt64) throws(WebSocketFailure) {
        let (total, isTooMuch) = length.addingReportingOverflow(UInt64(header[0] & 0x0F == 0 ? message?.wireByteCount ?? 0 : 0))
        let isCompressed = header[0] & 0x0F == 0 ? message?.isCompressed == true : header[0] & 0x40 != 0
        let most = isCompressed ? Self.wireBytesMax(messageBytesMax) : messageBytesMax
        guard !isTooMuch, total <= UInt64(most) else { throw .tooLarge(total, max: messageBytesMax) }
    }

    // MARK: Payloads

    private mutating func readControl(_ piece: UnsafeRawBufferPointer) {
        guard let frame else { return }
        unsafe control.append(piece, unmaskedBy: frame.mask, at: frame.readByteCount)
    }

    private mutating func readData(_ piece: UnsafeRawBufferPointer) throws(WebSocketFailure) {
        guard let frame, let isCompressed = message?.isCompressed, unsafe !piece.isEmpty else { return }
        guard !isCompressed else {
            var compressed: [UInt8] = []
            unsafe compressed.append(piece, unmaskedBy: frame.mask, at: frame.readByteCount)
            return try inflate(compressed, isEnd: false)
        }
        let start = message?.bytes.count ?? 0
        unsafe message?.bytes.append(piece, unmaskedBy: frame.mask, at: frame.readByteCount)
        try checkText(from: start)
    }

    private mutating func inflate(_ bytes: [UInt8], isEnd: Bool) throws(WebSocketFailure) {
        guard let inflater, message != nil else { return }
        let start = message?.bytes.count ?? 0
        var plain = message?.bytes ?? []
        message?.bytes = []  // One reference, or each piece would copy the message.
        let most = messageBytesMax - (message?.deliveredByteCount ?? 0)
        let outcome = inflater.inflate(bytes, isEnd: isEnd, into: &plain, upTo: most)
        message?.bytes = plain
        switch outcome {
        case .done: break
        case .tooLarge: throw .tooLarge(UInt64(messageBytesMax) + 1, max: messageBytesMax)
        case .malformed: throw WebSocketFailure(.invalidPayload, "the compressed data is malformed")
        }
        try checkText(from: start)
    }

    private mutating func checkText(from start: Int) throws(WebSocketFailure) {
        guard let message, message.opcode == .text else { return }
        var validator = message.validator
        // SAFETY: the bytes of an array of plain bytes are initialised, and the span lives for this call.
        guard unsafe validator.accepts(message.bytes.span.bytes.extracting(start...)) else { throw .invalidText }
        self.message?.validator = validator
    }

    // MARK: Ends

    private mutating func endFrame() throws(WebSocketFailure) -> Event? {
        guard let ended = frame else { return nil }
        frame = nil
        switch ended.opcode {
        case .ping: return .ping(takeControl())
        case .pong: return .pong(takeControl())
        case .close: return try close(takeControl())
        case .continuation, .text, .binary:
            guard ended.isFinal else { return takePiece(isFinal: false) }
            if message?.isCompressed == true { try inflate([], isEnd: true) }
            guard let whole = message else { return nil }
            guard whole.opcode != .text || whole.validator.isComplete else { throw .invalidText }
            if let piece = takePiece(isFinal: true) {
                message = nil
                return piece
            }
            message = nil
            return whole.opcode == .text ? .text(whole.bytes) : .binary(whole.bytes)
        }
    }

    private mutating func takeControl() -> [UInt8] {
        defer { control = [] }
        return control
    }

    private func close(_ payload: [UInt8]) throws(WebSocketFailure) -> Event {
        guard !payload.isEmpty else { return .close(nil, reason: "") }
        guard payload.count >= 2 else { throw .protocolError("half a close code") }
        let code = WebSocketCloseCode(rawValue: UInt16(payload[0]) << 8 | UInt16(payload[1]))
        guard code.isAllowedInFrames else { throw .protocolError("close code \(code.rawValue)") }
        guard let reason = String(validating: payload.dropFirst(2), as: UTF8.self) else {
            throw WebSocketFailure(.invalidPayload, "the reason is not UTF-8")
        }
        return .close(code, reason: reason)
    }
}

/// Undoes the compression of messages (RFC 7692). HTTP has no library for that: who makes the reader brings one.
package protocol WebSocketInflater: AnyObject {
    /// Appends what `bytes`, the next ones of a message, stand for.
    ///
    /// - Parameters:
    ///   - isEnd: The message is complete; `bytes` is empty.
    ///   - byteCountMax: What `plain` may hold in all.
    func inflate(_ bytes: [UInt8], isEnd: Bool, into plain: inout [UInt8], upTo byteCountMax: Int) -> WebSocketInflation
}

package enum WebSocketInflation: Sendable { case done, tooLarge, malformed }
