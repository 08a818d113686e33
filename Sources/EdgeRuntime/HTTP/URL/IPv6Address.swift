/// An IPv6 address as eight numbers, read and written as the URL standard does
/// (https://url.spec.whatwg.org/#concept-ipv6-parser).
struct IPv6Address: Equatable, Sendable {
    private(set) var pieces = SIMD8<UInt16>()

    /// - Parameter bytes: the address without brackets.
    init?(_ bytes: RawSpan) {
        let end = bytes.byteCount
        var offset = 0
        var piece = 0
        var compress: Int?
        if end > 0, bytes[0] == 0x3A {
            guard end > 1, bytes[1] == 0x3A else { return nil }
            offset = 2
            piece = 1
            compress = 1
        }
        while offset < end {
            guard piece < 8 else { return nil }
            if bytes[offset] == 0x3A {
                guard compress == nil else { return nil }
                offset += 1
                piece += 1
                compress = piece
                continue
            }
            let first = offset
            var value: UInt16 = 0
            while offset < end, offset - first < 4, let digit = bytes[offset].hexDigitValue {
                value = value << 4 | UInt16(digit)
                offset += 1
            }
            if offset < end, bytes[offset] == 0x2E {
                guard offset > first, piece <= 6, parseIPv4(bytes, from: first, piece: piece) else {
                    return nil
                }
                piece += 2
                offset = end
                break
            }
            if offset < end {
                guard bytes[offset] == 0x3A, offset + 1 < end else { return nil }
                offset += 1
            }
            pieces[piece] = value
            piece += 1
        }
        if let compress {
            // Move what stands behind `::` to the end.
            var swaps = piece - compress
            var target = 7
            while target != 0, swaps > 0 {
                let source = compress + swaps - 1
                let value = pieces[target]
                pieces[target] = pieces[source]
                pieces[source] = value
                target -= 1
                swaps -= 1
            }
        } else if piece != 8 {
            return nil
        }
    }

    private mutating func parseIPv4(_ bytes: RawSpan, from start: Int, piece: Int) -> Bool {
        var offset = start
        for part in 0..<4 {
            if part > 0 {
                guard offset < bytes.byteCount, bytes[offset] == 0x2E else { return false }
                offset += 1
            }
            let first = offset
            var value: UInt16 = 0
            while offset < bytes.byteCount, bytes[offset].isDigit {
                guard offset == first || value != 0 else { return false }
                value = value * 10 + UInt16(bytes[offset] &- 0x30)
                guard value <= 255 else { return false }
                offset += 1
            }
            guard offset > first else { return false }
            pieces[piece + part / 2] = pieces[piece + part / 2] << 8 | value
        }
        return offset == bytes.byteCount
    }

    /// Appends the address in its shortest form: lower-case digits, the longest run of zeros as `::`.
    func serialize(into text: inout [UInt8]) {
        var longest = 0..<0
        var run = 0..<0
        for index in 0..<8 {
            run =
                pieces[index] == 0
                ? (run.isEmpty ? index..<(index + 1) : run.lowerBound..<(index + 1)) : 0..<0
            if run.count > longest.count { longest = run }
        }
        if longest.count < 2 { longest = 8..<8 }
        var index = 0
        while index < 8 {
            if index == longest.lowerBound {
                text.append(contentsOf: index == 0 ? [0x3A, 0x3A] : [0x3A])
                index = longest.upperBound
                continue
            }
            text.append(contentsOf: String(pieces[index], radix: 16).utf8)
            if index != 7 { text.append(0x3A) }
            index += 1
        }
    }
}
