// Loads and searches over bytes, sixteen at a time. Every load is checked against the span's bounds.

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

    @inline(__always)
    func vector(at offset: Int) -> SIMD16<UInt8> {
        // SAFETY: any bit pattern is a vector of UInt8; RawSpan checks the range.
        unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: SIMD16<UInt8>.self)
    }

    /// The first offset in `start..<end` of a byte that may not stand in a field value as it is: a control
    /// character (HTAB too, the caller lets it pass) or DEL. `end` when there is none.
    @inline(__always)
    func endOfFieldValue(from start: Int, to end: Int) -> Int {
        var offset = start
        while end - offset >= 16 {
            let bytes = vector(at: offset)
            let lane = firstLane((bytes .< 0x20) .| (bytes .== 0x7F))
            if lane < 16 { return offset + lane }
            offset += 16
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
        while end - offset >= 16 {
            let lane = firstLane((vector(at: offset) &- 0x21) .> 0x5D)
            if lane < 16 { return offset + lane }
            offset += 16
        }
        while offset < end, self[offset] &- 0x21 <= 0x5D { offset += 1 }
        return offset
    }

    /// The first offset in `start..<end` of a byte that is not a token character (RFC 9110 §5.6.2).
    @inline(__always)
    func endOfToken(from start: Int, to end: Int) -> Int {
        var offset = start
        while end - offset >= 16 {
            // Letters, digits and hyphens make up nearly all names; other token characters go one by one.
            let bytes = vector(at: offset)
            let letters = ((bytes | 0x20) &- 0x61) .< 26
            let digits = (bytes &- 0x30) .< 10
            let lane = firstLane(.!(letters .| digits .| (bytes .== 0x2D)))
            offset += lane
            if lane < 16 {
                guard self[offset].isTokenByte else { return offset }
                offset += 1
            }
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

/// The first lane that is true; 16 when none is.
@inline(__always)
func firstLane(_ mask: SIMDMask<SIMD16<Int8>>) -> Int {
    // SAFETY: both are sixteen plain bytes; a true lane is 0xFF, a false one 0.
    let words = unsafe unsafeBitCast(mask, to: SIMD2<UInt64>.self)
    if words[0] != 0 { return words[0].littleEndian.trailingZeroBitCount >> 3 }
    if words[1] != 0 { return 8 + words[1].littleEndian.trailingZeroBitCount >> 3 }
    return 16
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
