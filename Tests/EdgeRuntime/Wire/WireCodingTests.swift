import Testing
import Wire

/// One value of a message, for messages made at random.
private enum Value: Equatable {
    case byte(UInt8)
    case truth(Bool)
    case short(UInt16)
    case word(UInt32)
    case long(UInt64)
    case signed(Int64)
    case real(UInt64)
    case bytes([UInt8])
    case text(String)
    case optional(String?)
    case list([UInt16])

    func write(_ encoder: inout WireEncoder) {
        switch self {
        case .byte(let value): encoder.put(value)
        case .truth(let value): encoder.put(value)
        case .short(let value): encoder.put(value)
        case .word(let value): encoder.put(value)
        case .long(let value): encoder.put(value)
        case .signed(let value): encoder.put(value)
        case .real(let bits): encoder.put(Double(bitPattern: bits))
        case .bytes(let value): encoder.put(value)
        case .text(let value): encoder.put(value)
        case .optional(let value): encoder.put(value)
        case .list(let value): encoder.put(list: value) { $0.put($1) }
        }
    }

    /// Reads a value of the same kind.
    func read(_ decoder: inout WireDecoder) throws(WireError) -> Value {
        switch self {
        case .byte: return .byte(try decoder.takeUInt8())
        case .truth: return .truth(try decoder.takeBool())
        case .short: return .short(try decoder.takeUInt16())
        case .word: return .word(try decoder.takeUInt32())
        case .long: return .long(try decoder.takeUInt64())
        case .signed: return .signed(try decoder.takeInt64())
        case .real: return .real(try decoder.takeDouble().bitPattern)
        case .bytes: return .bytes(try decoder.takeBytes())
        case .text: return .text(try decoder.takeString())
        case .optional:
            return .optional(try decoder.takeOptional { decoder throws(WireError) in try decoder.takeString() })
        case .list: return .list(try decoder.takeList { decoder throws(WireError) in try decoder.takeUInt16() })
        }
    }

    static func random(_ random: inout SplitMix64) -> Value {
        let bits = random.next()
        let text = String(
            (0..<Int.random(in: 0..<20, using: &random)).map { _ in "aé€😀\u{0}".randomElement(using: &random) ?? "a" })
        switch Int.random(in: 0..<11, using: &random) {
        case 0: return .byte(UInt8(truncatingIfNeeded: bits))
        case 1: return .truth(bits & 1 == 0)
        case 2: return .short(UInt16(truncatingIfNeeded: bits))
        case 3: return .word(UInt32(truncatingIfNeeded: bits))
        case 4: return .long(bits)
        case 5: return .signed(Int64(bitPattern: bits))
        case 6: return .real(bits)
        case 7: return .bytes((0..<Int(bits % 40)).map { UInt8(truncatingIfNeeded: $0) })
        case 8: return .text(text)
        case 9: return .optional(bits & 1 == 0 ? nil : text)
        default: return .list((0..<Int(bits % 10)).map { UInt16($0) })
        }
    }
}

@Suite struct `Wire messages` {
    @Test func `read back as they were written, and not when one byte is missing`() throws {
        let seed: UInt64 = 0x5EED_0002
        var random = SplitMix64(seed: seed)
        for round in 0..<400 {
            let values = (0..<Int.random(in: 1...8, using: &random)).map { _ in Value.random(&random) }
            var encoder = WireEncoder()
            for value in values { value.write(&encoder) }
            let message = encoder.bytes
            let read = try decode(values, message)
            #expect(read == values, "seed \(seed), round \(round)")
            for count in 0..<message.count {
                #expect(throws: WireError.self, "seed \(seed), round \(round), \(count) bytes") {
                    try decode(values, Array(message.prefix(count)))
                }
            }
            #expect(throws: WireError.invalidValue("trailing bytes", offset: message.count)) {
                try decode(values, message + [0])
            }
        }
    }

    private func decode(_ like: [Value], _ message: [UInt8]) throws(WireError) -> [Value] {
        var decoder = WireDecoder(message)
        var read: [Value] = []
        for value in like { read.append(try value.read(&decoder)) }
        try decoder.finish()
        return read
    }

    @Test func `are little-endian, with lengths of four bytes`() {
        var encoder = WireEncoder()
        encoder.put(UInt16(0x0102))
        encoder.put(Int64(-2))
        encoder.put("ab")
        encoder.put(nil as String?)
        #expect(encoder.bytes == [2, 1, 0xFE] + Array(repeating: 0xFF, count: 7) + [2, 0, 0, 0, 97, 98, 0])
    }

    @Test func `claim no more than they have`() {
        let huge: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3]
        #expect(throws: WireError.truncated(offset: 4)) {
            var decoder = WireDecoder(huge)
            _ = try decoder.takeBytes()
        }
        #expect(throws: WireError.truncated(offset: 4)) {
            var decoder = WireDecoder(huge)
            _ = try decoder.takeString()
        }
        #expect(throws: WireError.invalidValue("list length", offset: 0)) {
            var decoder = WireDecoder(huge)
            _ = try decoder.takeList { decoder throws(WireError) in try decoder.takeUInt8() }
        }
        // As many elements as bytes are left, each larger than a byte: refused when they run out, not before.
        #expect(throws: WireError.truncated(offset: 6)) {
            var decoder = WireDecoder([3, 0, 0, 0, 1, 2, 3])
            _ = try decoder.takeList { decoder throws(WireError) in try decoder.takeUInt16() }
        }
    }

    @Test func `hold truth as zero or one, and text as UTF-8`() {
        #expect(throws: WireError.invalidValue("truth value", offset: 0)) {
            var decoder = WireDecoder([2])
            _ = try decoder.takeBool()
        }
        for bytes in [[0x80], [0xC3], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xC0, 0xAF]] as [[UInt8]] {
            #expect(throws: WireError.invalidValue("UTF-8 text", offset: 0)) {
                var decoder = WireDecoder([UInt8(bytes.count), 0, 0, 0] + bytes)
                _ = try decoder.takeString()
            }
        }
    }

    @Test func `can be read from an offset, which may lie behind the end`() throws {
        var decoder = WireDecoder([1, 2, 3], from: 2)
        #expect(try decoder.takeUInt8() == 3)
        #expect(decoder.remainingByteCount == 0)
        #expect(WireDecoder([1], from: 9).remainingByteCount == 0)
        var rest = WireDecoder([1, 2, 3], from: 1)
        #expect(rest.takeRest() == [2, 3])
        #expect(rest.takeRest() == [])
    }

    @Test func `end in an error or a value, whatever their bytes`() {
        let seed: UInt64 = 0x5EED_0003
        var random = SplitMix64(seed: seed)
        for _ in 0..<20_000 {
            let message = (0..<Int.random(in: 0..<64, using: &random)).map { _ in
                // Small numbers make lengths that fit.
                UInt8.random(in: Bool.random(using: &random) ? 0...8 : 0...255, using: &random)
            }
            let values = (0..<6).map { _ in Value.random(&random) }
            guard let read = try? decode(values, message) else { continue }
            // What was read in full writes the same bytes again, but for NaNs' and the like, which are bits here.
            var encoder = WireEncoder()
            for value in read { value.write(&encoder) }
            #expect(encoder.bytes == message, "seed \(seed)")
        }
    }
}
