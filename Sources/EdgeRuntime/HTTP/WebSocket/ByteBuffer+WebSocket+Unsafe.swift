package import Wire

extension ByteBuffer {
    /// Appends one frame (RFC 6455 §5.2).
    ///
    /// - Parameters:
    ///   - payload: At most 125 bytes for control frames.
    ///   - isFinal: false when more frames of the message follow.
    ///   - isCompressed: Of a message's first frame, when its payload was compressed.
    ///   - mask: What a client's frame is masked with; `nil` for a server's.
    package mutating func appendWebSocketFrame(
        _ opcode: WebSocketOpcode, _ payload: UnsafeRawBufferPointer, isFinal: Bool = true, isCompressed: Bool = false,
        mask: WebSocketMask? = nil
    ) {
        precondition(
            !opcode.isControl || isFinal && payload.count <= WebSocketLimits.controlPayloadBytesMax,
            "control frames are short and whole")
        appendWebSocketHeader(
            opcode, payloadByteCount: payload.count, isFinal: isFinal, isCompressed: isCompressed, mask: mask)
        unsafe appendWebSocketPayload(payload, mask: mask, at: 0)
    }

    /// Appends what stands in front of a frame's payload.
    package mutating func appendWebSocketHeader(
        _ opcode: WebSocketOpcode, payloadByteCount: Int, isFinal: Bool, isCompressed: Bool = false, mask: WebSocketMask? = nil
    ) {
        append((isFinal ? 0x80 : 0) | (isCompressed ? 0x40 : 0) | opcode.rawValue)
        let maskBit: UInt8 = mask == nil ? 0 : 0x80
        switch payloadByteCount {
        case ...125: append(maskBit | UInt8(payloadByteCount))
        case ...0xFFFF:
            append(maskBit | 126)
            appendLittleEndian(UInt16(payloadByteCount).byteSwapped)
        default:
            append(maskBit | 127)
            appendLittleEndian(UInt64(payloadByteCount).byteSwapped)
        }
        if let mask { appendLittleEndian(mask.word) }
    }

    /// Appends bytes of a frame's payload, of which `offset` went before.
    package mutating func appendWebSocketPayload(_ payload: UnsafeRawBufferPointer, mask: WebSocketMask?, at offset: Int) {
        guard let mask else { return unsafe append(payload) }
        guard unsafe !payload.isEmpty else { return }
        _ = unsafe withWritable(atLeast: payload.count) { room in
            // SAFETY: the room has at least as many bytes as the payload, and belongs to this buffer alone.
            let target = unsafe UnsafeMutableRawBufferPointer(rebasing: room[..<payload.count])
            unsafe target.copyMemory(from: payload)
            unsafe mask.apply(to: target, at: offset)
            return payload.count
        }
    }

    package mutating func appendWebSocketFrame(
        _ opcode: WebSocketOpcode, _ payload: [UInt8], isFinal: Bool = true, isCompressed: Bool = false,
        mask: WebSocketMask? = nil
    ) {
        unsafe payload.withUnsafeBytes {
            unsafe appendWebSocketFrame(opcode, $0, isFinal: isFinal, isCompressed: isCompressed, mask: mask)
        }
    }

    /// Appends a Close frame.
    ///
    /// - Parameters:
    ///   - code: `nil` for a frame without one.
    ///   - reason: What is beyond 123 bytes is left out, by whole characters.
    package mutating func appendWebSocketClose(
        _ code: WebSocketCloseCode?, reason: String = "", mask: WebSocketMask? = nil
    ) {
        guard let code else { return appendWebSocketFrame(.close, [], mask: mask) }
        var payload = [UInt8(code.rawValue >> 8), UInt8(code.rawValue & 0xFF)]
        for character in reason {
            guard payload.count + character.utf8.count <= WebSocketLimits.controlPayloadBytesMax else { break }
            payload += character.utf8
        }
        appendWebSocketFrame(.close, payload, mask: mask)
    }
}
