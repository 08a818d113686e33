// Loads and searches over bytes, eight at a time. Every load is checked against the span's bounds.

extension RawSpan {
    @inline(__always)
    subscript(_ offset: Int) -> UInt8 {
        // SAFETY: any bit pattern is a UInt8; RawSpan checks the offset.
        unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    @inline(__always)
    func word32(at offset: Int) -> UInt32 {
        // SAFETY: any bit pattern is a UInt32; RawSpan checks the range.
        UInt32(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    @inline(__always)
    func word64(at offset: Int) -> UInt64 {
        // SAFETY: any bit pattern is a UInt64; RawSpan checks the range.
        UInt64(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// The first offset in `start..<end` of a byte that may not stand in a field value as it is: a control
    /// character (HTAB too, the caller lets it pass) or DEL. `end` when there is none.
    @inline(__always)
    func endOfFieldValue(from start: Int, to end: Int) -> Int {
        var offset = start
        while end - offset >= 16 {
            let first = Word(word64(at: offset))
            let second = Word(word64(at: offset + 8))
            let stops = first.stopsOfValue
            if stops | second.stopsOfValue != 0 {
                if stops != 0 { return offset + Word.firstByte(stops) }
                return offset + 8 + Word.firstByte(second.stopsOfValue)
            }
            offset += 16
        }
        if end - offset >= 8 {
            let stops = Word(word64(at: offset)).stopsOfValue
            if stops != 0 { return offset + Word.firstByte(stops) }
            offset += 8
        }
        while offset < end {
            let byte = self[offset]
            if byte < 0x20 || byte == 0x7F { break }
            offset += 1
        }
        return offset
    }

    /// The first offset in `start..<end` of a byte outside `!`...`~`.
    @inline(__always)
    func endOfVisible(from start: Int, to end: Int) -> Int {
        var offset = start
        while end - offset >= 8 {
            let stops = Word(word64(at: offset)).stopsOfVisible
            if stops != 0 { return offset + Word.firstByte(stops) }
            offset += 8
        }
        while offset < end, self[offset] &- 0x21 <= 0x5D { offset += 1 }
        return offset
    }

    /// The first offset in `start..<end` of a byte that is not a token character (RFC 9110 §5.6.2).
    @inline(__always)
    func endOfToken(from start: Int, to end: Int) -> Int {
        var offset = start
        while end - offset >= 8 {
            // Letters, digits and hyphens make up nearly all names; other token characters go one by one.
            let stops = Word(word64(at: offset)).othersThanNames
            if stops == 0 {
                offset += 8
                continue
            }
            offset += Word.firstByte(stops)
            guard self[offset].isTokenByte else { return offset }
            offset += 1
        }
        while offset < end, self[offset].isTokenByte { offset += 1 }
        return offset
    }

    /// Whether the bytes at `offset` are `literal`, letters in any case.
    ///
    /// - Parameter literal: lower case; letters, digits and hyphens only. The bytes must be token characters,
    ///   or a control character could pass for a hyphen or a digit.
    @inline(__always)
    func token(at offset: Int, count: Int, is literal: StaticString) -> Bool {
        let length = literal.utf8CodeUnitCount
        guard count == length else { return false }
        // SAFETY: `span` covers the literal, which lives for ever.
        let text = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(literal.utf8Start), byteCount: length)
        let case8: UInt64 = 0x2020_2020_2020_2020
        let case4: UInt32 = 0x2020_2020
        switch length {
        case 0: return true
        case 1..<4:
            for index in 0..<length where self[offset + index] | 0x20 != text[index] { return false }
            return true
        case 4..<8:
            return word32(at: offset) | case4 == text.word32(at: 0)
                && word32(at: offset + length - 4) | case4 == text.word32(at: length - 4)
        default:
            var index = 0
            while length - index >= 8 {
                if word64(at: offset + index) | case8 != text.word64(at: index) { return false }
                index += 8
            }
            return word64(at: offset + length - 8) | case8 == text.word64(at: length - 8)
        }
    }

    /// Whether two ranges hold the same token, letters in any case.
    func token(_ left: ByteRange, equals right: ByteRange) -> Bool {
        guard left.count == right.count else { return false }
        for index in 0..<left.count
        where self[left.offset + index].asciiLowercased != self[right.offset + index].asciiLowercased {
            return false
        }
        return true
    }
}

/// Eight bytes looked at together, the first in the lowest place. Each question gives a word that has the top
/// bit set in the bytes that are meant. (Swift 6.3 compiles comparisons of `SIMD16<UInt8>` to loops over its
/// lanes.)
struct Word {
    private let bytes: UInt64
    private static let tops: UInt64 = 0x8080_8080_8080_8080
    private static let ones: UInt64 = 0x0101_0101_0101_0101

    @inline(__always) init(_ bytes: UInt64) { self.bytes = bytes }

    /// Which byte the lowest mark stands in.
    @inline(__always)
    static func firstByte(_ marks: UInt64) -> Int { marks.trailingZeroBitCount &>> 3 }

    /// Bytes below 0x20, and 0x7F. Right up to the first mark: a borrow may mark bytes behind it.
    @inline(__always)
    var stopsOfValue: UInt64 {
        let control = (bytes &- Self.ones &* 0x20) & ~bytes
        let delete = bytes ^ Self.ones &* 0x7F
        return (control | (delete &- Self.ones) & ~delete) & Self.tops
    }

    /// Bytes outside 0x21...0x7E. Right up to the first mark.
    @inline(__always)
    var stopsOfVisible: UInt64 {
        ((bytes &- Self.ones &* 0x21) & ~bytes | bytes | (bytes &+ Self.ones)) & Self.tops
    }

    /// Bytes other than letters, digits and hyphens. Right for each byte.
    @inline(__always)
    var othersThanNames: UInt64 {
        let low = bytes & ~Self.tops
        let folded = low | Self.ones &* 0x20
        let letters = (folded &+ Self.ones &* (0x80 - 0x61)) & ~(folded &+ Self.ones &* (0x80 - 0x7B))
        let digits = (low &+ Self.ones &* (0x80 - 0x30)) & ~(low &+ Self.ones &* (0x80 - 0x3A))
        let hyphens = ~((low ^ Self.ones &* 0x2D) &+ Self.ones &* 0x7F)
        return ~(letters | digits | hyphens) & Self.tops | bytes & Self.tops
    }

    /// The bytes with ASCII letters in lower case.
    @inline(__always)
    var lowercased: UInt64 {
        let low = bytes & ~Self.tops
        let upper =
            (low &+ Self.ones &* (0x80 - 0x41)) & ~(low &+ Self.ones &* (0x80 - 0x5B)) & ~bytes & Self.tops
        return bytes | upper &>> 2
    }
}

/// A set of ASCII characters, as two words.
struct ASCIISet: Sendable {
    let low: UInt64
    let high: UInt64

    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        let word = byte & 0x40 == 0 ? low : high
        return byte < 0x80 && word &>> UInt64(byte & 0x3F) & 1 != 0
    }
}

extension UInt8 {
    /// RFC 9110 §5.6.2: letters, digits, and ``!#$%&'*+-.^_`|~``.
    @inline(__always)
    var isTokenByte: Bool {
        ASCIISet(low: 0x03FF_6CFA_0000_0000, high: 0x57FF_FFFF_C7FF_FFFE).contains(self)
    }

    @inline(__always) var isDigit: Bool { self &- 0x30 < 10 }
    @inline(__always) var isASCIILetter: Bool { (self | 0x20) &- 0x61 < 26 }
    @inline(__always) var asciiLowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }
    @inline(__always) var isOptionalWhitespace: Bool { self == 0x20 || self == 0x09 }

    @inline(__always)
    var hexDigitValue: UInt8? {
        if self &- 0x30 < 10 { return self &- 0x30 }
        let letter = (self | 0x20) &- 0x61
        return letter < 6 ? letter + 10 : nil
    }
}
