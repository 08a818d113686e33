/// A `Host` value or the authority of an absolute target: `uri-host [ ":" port ]` (RFC 9110 §7.2).
package struct HostAndPort: Equatable, Sendable {
    /// Without the port; an IPv6 address with its brackets.
    package let name: ByteRange
    /// `nil` when none is given, or an empty one.
    package let port: UInt16?
    /// Whether name and port are written as the URL standard would write them, the default port apart. When
    /// not, `WebURL` must have its say before anyone compares the name.
    package let isNormalized: Bool

    /// `nil` unless the range is a name of letters, digits, `-`, `.`, `_` and `~`, or an IPv6 address in
    /// brackets, with an optional port. Percent-encoded and other punctuated names, which RFC 3986 allows,
    /// name no host on earth.
    init?(_ bytes: RawSpan, _ range: ByteRange) {
        var isNormalized = true
        var offset = range.offset
        let end = range.end
        guard offset < end else { return nil }
        if bytes[offset] == 0x5B {
            guard let close = Self.endOfAddress(bytes, from: offset + 1, to: end) else { return nil }
            offset = close + 1
            isNormalized = false
        } else {
            // The last label that isn't empty.
            var label = offset
            while offset < end, bytes[offset] != 0x3A {
                let byte = bytes[offset]
                if byte == 0x2E {
                    guard offset > range.offset, bytes[offset - 1] != 0x2E else { return nil }
                    if offset + 1 < end, bytes[offset + 1] != 0x3A { label = offset + 1 }
                } else if byte &- 0x41 < 26 {
                    isNormalized = false
                } else if !(byte &- 0x61 < 26 || byte.isDigit || byte == 0x2D) {
                    guard byte == 0x5F || byte == 0x7E else { return nil }
                }
                offset += 1
            }
            guard offset > range.offset else { return nil }
            // A last label that starts with a digit is an IPv4 address, or nothing.
            if bytes[label].isDigit, !Self.isDottedQuad(bytes, from: range.offset, to: offset) {
                isNormalized = false
            }
        }
        name = ByteRange(offset: range.offset, count: offset - range.offset)
        guard offset < end else {
            port = nil
            self.isNormalized = isNormalized
            return
        }
        guard bytes[offset] == 0x3A, end - offset <= 6 else { return nil }
        var number: UInt32 = 0
        for index in (offset + 1)..<end {
            guard bytes[index].isDigit else { return nil }
            number = number * 10 + UInt32(bytes[index] &- 0x30)
        }
        guard number <= 0xFFFF else { return nil }
        let hasDigits = end > offset + 1
        port = hasDigits ? UInt16(number) : nil
        self.isNormalized = isNormalized && hasDigits && (bytes[offset + 1] != 0x30 || number == 0)
    }

    /// Where the bracket closes; `nil` when what it holds is no IPv6 address.
    private static func endOfAddress(_ bytes: RawSpan, from start: Int, to end: Int) -> Int? {
        var close = start
        while close < end, bytes[close] != 0x5D { close += 1 }
        guard close < end, close - start <= 45, IPv6Address(bytes.extracting(start..<close)) != nil else {
            return nil
        }
        return close
    }

    /// Four decimal numbers up to 255, none with a leading zero: what IPv4 addresses are normalised to.
    private static func isDottedQuad(_ bytes: RawSpan, from start: Int, to end: Int) -> Bool {
        var parts = 0
        var offset = start
        while offset < end {
            let first = offset
            var number = 0
            while offset < end, bytes[offset].isDigit, offset - first < 4 {
                number = number * 10 + Int(bytes[offset] &- 0x30)
                offset += 1
            }
            guard offset > first, number < 256, offset - first == 1 || bytes[first] != 0x30 else {
                return false
            }
            parts += 1
            if offset < end {
                guard bytes[offset] == 0x2E, offset + 1 < end else { return false }
                offset += 1
            }
        }
        return parts == 4
    }
}
