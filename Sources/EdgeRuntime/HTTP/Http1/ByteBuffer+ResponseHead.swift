package import Wire

/// Writing heads and chunks. The caller writes in the order of the message: status line, fields,
/// `appendEndOfHead`, body. Nothing is checked here; see `HeaderRules`.
extension ByteBuffer {
    /// `HTTP/1.1`, the status and its registered reason.
    @inline(__always)
    package mutating func appendStatusLine(_ status: Int) {
        if let line = StatusLine.registered(status) { return append(line) }
        append("HTTP/1.1 ")
        appendDecimal(Int64(status))
        append(" \r\n")
    }

    @inline(__always)
    package mutating func appendHeader(_ name: StaticString, _ value: StaticString) {
        append(name)
        append(": ")
        append(value)
        appendLineEnd()
    }

    package mutating func appendHeader(_ name: StaticString, _ value: String) {
        append(name)
        append(": ")
        append(value)
        appendLineEnd()
    }

    @inline(__always)
    package mutating func appendHeader(_ name: StaticString, _ value: RawSpan) {
        append(name)
        append(": ")
        append(value)
        appendLineEnd()
    }

    package mutating func appendContentLength(_ byteCount: Int64) {
        append("Content-Length: ")
        appendDecimal(byteCount)
        appendLineEnd()
    }

    @inline(__always)
    package mutating func appendEndOfHead() { appendLineEnd() }

    /// What stands in front of a chunk's bytes; `appendChunkEnd` stands behind them.
    ///
    /// - Parameter byteCount: > 0, since an empty chunk ends the body.
    package mutating func appendChunkHeader(byteCount: Int) {
        precondition(byteCount > 0, "an empty chunk would end the body")
        let digits = (UInt64.bitWidth - UInt64(byteCount).leadingZeroBitCount + 3) / 4
        for index in (0..<digits).reversed() {
            let digit = UInt8(truncatingIfNeeded: byteCount >> (index * 4)) & 0xF
            append(digit < 10 ? digit + 0x30 : digit + 0x57)
        }
        appendLineEnd()
    }

    @inline(__always)
    package mutating func appendChunkEnd() { appendLineEnd() }

    /// The end of a chunked body without trailers.
    @inline(__always)
    package mutating func appendLastChunk() { append("0\r\n\r\n") }

    @inline(__always)
    package mutating func appendLineEnd() { append("\r\n") }

    package mutating func appendDecimal(_ value: Int64) {
        if value < 0 { append(0x2D) }
        var rest = value.magnitude
        var digits: InlineArray<20, UInt8> = .init(repeating: 0)
        var first = 20
        repeat {
            first -= 1
            digits[first] = UInt8(truncatingIfNeeded: rest % 10) + 0x30
            rest /= 10
        } while rest > 0
        for index in first..<20 { append(digits[index]) }
    }

    /// The form of `appendBlockHeader(name:value:)` for headers that the node makes.
    ///
    /// - Parameter name: lower case.
    package mutating func appendBlockHeader(_ name: StaticString, _ value: String) {
        appendLittleEndian(UInt16(truncatingIfNeeded: name.utf8CodeUnitCount))
        appendLittleEndian(UInt32(truncatingIfNeeded: value.utf8.count))
        append(name)
        append(value)
    }
}
