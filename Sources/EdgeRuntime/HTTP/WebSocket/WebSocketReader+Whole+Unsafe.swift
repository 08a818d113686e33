/// The short way for what most messages are: one frame, not compressed, and all of it here.
extension WebSocketReader {
    /// - Returns: `nil` when the frame at `offset` is anything else, or wrong: nothing of it was read then.
    mutating func readWholeMessage(
        _ bytes: UnsafeRawBufferPointer, _ offset: inout Int
    ) throws(WebSocketFailure) -> Event? {
        let available = bytes.count - offset
        guard available >= 2 else { return nil }
        // SAFETY: each byte that is looked at lies below `available`, as is asked before.
        let (first, second) = unsafe (bytes[offset], bytes[offset + 1])
        guard first == 0x81 || first == 0x82 else { return nil }
        let isMasked = second & 0x80 != 0
        guard mayBeMasked(isMasked) else { return nil }
        var headerByteCount = 2
        var byteCount = Int(second & 0x7F)
        if byteCount == 126 {
            guard available >= 4 else { return nil }
            byteCount = unsafe Int(bytes[offset + 2]) << 8 | Int(bytes[offset + 3])
            headerByteCount = 4
            guard byteCount > 125 else { return nil }
        } else if byteCount == 127 {
            return nil
        }
        var mask: WebSocketMask?
        if isMasked {
            guard available >= headerByteCount + 4 else { return nil }
            let word = unsafe bytes.loadUnaligned(fromByteOffset: offset + headerByteCount, as: UInt32.self)
            mask = WebSocketMask(UInt32(littleEndian: word))
            headerByteCount += 4
        }
        guard byteCount <= wholeBytesMax, available >= headerByteCount + byteCount else { return nil }
        let start = offset + headerByteCount
        var payload: [UInt8] = []
        unsafe payload.append(UnsafeRawBufferPointer(rebasing: bytes[start..<(start + byteCount)]), unmaskedBy: mask, at: 0)
        offset = start + byteCount
        let kind = first == 0x81 ? WebSocketOpcode.text : .binary
        if kind == .text {
            var validator = UTF8Validator()
            // SAFETY: the bytes of an array of plain bytes are initialised, and the span lives for this call.
            guard unsafe validator.accepts(payload.span.bytes), validator.isComplete else { throw .invalidText }
        }
        return message(kind, payload)
    }
}
