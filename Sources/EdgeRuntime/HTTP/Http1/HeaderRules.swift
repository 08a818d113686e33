/// What may stand in a header that goes out: for heads that an isolate made.
package enum HeaderRules {
    /// A token (RFC 9110 §5.1).
    @inline(__always)
    package static func isValidName(_ name: RawSpan) -> Bool {
        !name.isEmpty && name.endOfToken(from: 0, to: name.byteCount) == name.byteCount
    }

    /// Anything but control characters, HTAB apart (RFC 9110 §5.5).
    @inline(__always)
    package static func isValidValue(_ value: RawSpan) -> Bool {
        var offset = 0
        while true {
            offset = value.endOfFieldValue(from: offset, to: value.byteCount)
            guard offset < value.byteCount else { return true }
            guard value[offset] == 0x09 else { return false }
            offset += 1
        }
    }
}
