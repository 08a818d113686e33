/// The mask of a client's frames (RFC 6455 §5.3): four bytes, over the payload again and again.
package struct WebSocketMask: Equatable, Sendable {
    /// The four bytes as memory has them, the first one lowest.
    let word: UInt32

    /// - Parameter word: Bits that nobody can predict, for frames that a client sends.
    package init(_ word: UInt32) { self.word = word }

    /// The mask of what stands `offset` bytes behind the payload's start.
    func turned(by offset: Int) -> WebSocketMask {
        let shift = UInt32(offset & 3) * 8
        return shift == 0 ? self : WebSocketMask(word >> shift | word << (32 - shift))
    }

    /// Turns `bytes`, whose first stands `offset` bytes behind the payload's start, into the other form.
    func apply(to bytes: UnsafeMutableRawBufferPointer, at offset: Int) {
        guard word != 0 else { return }
        let turned = turned(by: offset).word
        let wide = UInt64(turned) | UInt64(turned) << 32
        var index = 0
        while index + 8 <= bytes.count {
            // SAFETY: eight bytes are left at `index`, at any alignment.
            let value = unsafe bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            unsafe bytes.storeBytes(of: (UInt64(littleEndian: value) ^ wide).littleEndian, toByteOffset: index, as: UInt64.self)
            index += 8
        }
        while index < bytes.count {
            unsafe bytes[index] ^= UInt8(truncatingIfNeeded: turned >> UInt32((index & 3) * 8))
            index += 1
        }
    }
}

extension [UInt8] {
    /// Appends a piece of a payload as it was before it was masked.
    mutating func append(_ bytes: UnsafeRawBufferPointer, unmaskedBy mask: WebSocketMask?, at offset: Int) {
        let start = count
        unsafe append(contentsOf: bytes)
        guard let mask else { return }
        unsafe withUnsafeMutableBytes { all in
            // SAFETY: the slice is what was just appended, and lies within the array.
            unsafe mask.apply(to: UnsafeMutableRawBufferPointer(rebasing: all[start...]), at: offset)
        }
    }
}

extension WebSocketReader {
    /// The form of `next` for a span.
    package mutating func next(_ bytes: RawSpan, from offset: inout Int) throws(WebSocketFailure) -> Event? {
        // SAFETY: the pointer is used during the call only, in which the span lends its bytes.
        try unsafe bytes.withUnsafeBytes { bytes throws(WebSocketFailure) in try unsafe next(bytes, from: &offset) }
    }
}
