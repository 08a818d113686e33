internal import HTTP
internal import Interfaces
internal import Wire

/// What this side sends: messages as they come from the owner, in one piece or several, and the frames that the protocol asks for
/// between them.
extension WebSocketLink {
    struct Sending {
        /// Of the frame that is being written, its payload's bytes that are still to come.
        var frameBytesLeft = 0
        /// Of that frame, what went before.
        var frameOffset = 0
        var mask: WebSocketMask?
        /// The message goes on in the next frame.
        var isInMessage = false
        /// A message that is to be compressed, as far as it has come; `nil`: it is written as it comes.
        var collected: [UInt8]?
        var collectedKind = WebSocketOpcode.text
        /// What has to wait for the end of the frame that is being written.
        var pongs: [[UInt8]] = []
        var lastWord: SocketClose?
    }

    private static let outputHighWater = 128 << 10
    /// Messages up to here are compressed as a whole: what a stream's window holds anyway. Larger ones go as they are.
    private static let compressedBytesMax = 192 << 10
    private static let pongsMax = 64

    /// Whether more is to be sent now.
    var hasRoom: Bool { output.readableByteCount < Self.outputHighWater }
    /// A frame has begun whose payload isn't complete.
    var isInFrame: Bool { sending.frameBytesLeft > 0 }
    /// Whether what is begun still goes out: the link is open, or the peer waits for its answer.
    var takesMessages: Bool { phase == .open || phase == .answering || sending.lastWord != nil }

    /// Sends a message; the caller asks `hasRoom` when it has many. It is written with `flush`.
    func send(_ kind: WebSocketOpcode, _ message: UnsafeRawBufferPointer) {
        guard takesMessages else { return }
        begin(kind, byteCount: message.count, isFinal: true)
        unsafe append(message, isLast: true)
    }

    /// Begins a message, or the next part of one that goes on.
    func begin(_ kind: WebSocketOpcode, byteCount: Int, isFinal: Bool) {
        let opcode = sending.isInMessage ? WebSocketOpcode.continuation : kind
        if compression != nil, isFinal, !sending.isInMessage, byteCount >= PerMessageDeflate.byteCountMin,
            byteCount <= Self.compressedBytesMax
        {
            sending.collected = []
            sending.collected?.reserveCapacity(byteCount)
            sending.collectedKind = opcode
        } else {
            let mask = makeMask()
            output.appendWebSocketHeader(opcode, payloadByteCount: byteCount, isFinal: isFinal, mask: mask)
            sending.mask = mask
            sending.frameBytesLeft = byteCount
            sending.frameOffset = 0
        }
        sending.isInMessage = !isFinal
    }

    /// The next bytes of what has begun.
    func append(_ piece: UnsafeRawBufferPointer, isLast: Bool) {
        if sending.collected != nil {
            unsafe sending.collected?.append(contentsOf: piece)
            if isLast { writeCollected() }
        } else {
            unsafe output.appendWebSocketPayload(piece, mask: sending.mask, at: sending.frameOffset)
            sending.frameOffset += piece.count
            sending.frameBytesLeft -= piece.count
        }
        if isLast { frameEnded() }
    }

    private func writeCollected() {
        guard let message = sending.collected else { return }
        sending.collected = nil
        if let compressed = compression?.compress(message) {
            append(sending.collectedKind, compressed, isCompressed: true)
        } else {
            append(sending.collectedKind, message)
        }
    }

    /// What had to wait for the end of a frame is written now.
    private func frameEnded() {
        guard !isInFrame, let close = sending.lastWord else { return }
        sending.lastWord = nil
        write(close)
    }

    /// Appends a frame of its own, which must not be within another one.
    func append(_ opcode: WebSocketOpcode, _ payload: [UInt8], isCompressed: Bool = false) {
        output.appendWebSocketFrame(opcode, payload, isCompressed: isCompressed, mask: makeMask())
    }

    /// A client's frames are masked, with what nobody can predict (RFC 6455 §5.3).
    private func makeMask() -> WebSocketMask? {
        side == .client ? WebSocketMask(UInt32.random(in: 0...(.max))) : nil
    }

    // MARK: Control frames

    func pong(_ payload: [UInt8]) {
        // Of those that can't be written, the last one is enough (RFC 6455 §5.5.3).
        if sending.pongs.count == Self.pongsMax { sending.pongs.removeFirst() }
        sending.pongs.append(payload)
        writePongs()
    }

    func writePongs() {
        guard !sending.pongs.isEmpty, !isInFrame, hasRoom else { return }
        for payload in sending.pongs { append(.pong, payload) }
        sending.pongs = []
    }

    func write(_ close: SocketClose) {
        writePongs()
        // Nothing that an isolate says is believed.
        let code = close.code.map { WebSocketCloseCode(rawValue: $0) }.map { $0.isAllowedInFrames ? $0 : .internalError }
        output.appendWebSocketClose(code, reason: close.reason, mask: makeMask())
    }
}
