import Testing
import Wire

/// Twelve bytes, one field at a time.
private func header(
    length: UInt32 = 0, kind: UInt8 = 2, flags: UInt8 = 0, reserved: (UInt8, UInt8) = (0, 0), stream: UInt32 = 1
) -> [UInt8] {
    func bytes(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * UInt32($0))) } }
    return bytes(length) + [kind, flags, reserved.0, reserved.1] + bytes(stream)
}

private func read(_ bytes: [UInt8]) throws(WireError) -> FrameHeader? { try unsafe FrameHeader.read(bytes.span.bytes) }

@Suite struct `Frame header` {
    @Test(arguments: [FrameKind.open, .data, .end, .reset, .credit])
    func `reads back what the buffer wrote`(kind: FrameKind) throws {
        let byteCount = kind == .end ? 0 : kind == .credit ? 4 : 1000
        for (stream, flags) in [(1, []), (2, .end), (2_147_483_647, [.end, .lazyBody])] as [(UInt32, FrameFlags)] {
            let written = FrameHeader(kind, stream: stream, flags: flags, payloadByteCount: byteCount)
            var buffer = ByteBuffer()
            buffer.append(written)
            #expect(buffer.readableByteCount == FrameHeader.byteCount)
            let bytes = unsafe buffer.withReadable { unsafe Array($0) }
            #expect(try read(bytes) == written)
        }
    }

    @Test func `is not read before all twelve bytes are there`() throws {
        let whole = header(length: 7)
        for count in 0..<12 { #expect(try read(Array(whole.prefix(count))) == nil) }
        #expect(try read(whole + [1, 2, 3])?.payloadByteCount == 7)
    }

    @Test func `refuses kinds that do not exist`() {
        for kind in 0...UInt8.max where !(1...5).contains(kind) {
            #expect(throws: WireError.unknownKind(kind)) { try read(header(kind: kind)) }
        }
    }

    @Test func `refuses flags that do not exist`() throws {
        for flags in 0...UInt8.max {
            if flags < 16 {
                #expect(try read(header(flags: flags))?.flags.rawValue == flags)
            } else {
                #expect(throws: WireError.unknownFlags(flags)) { try read(header(flags: flags)) }
            }
        }
    }

    @Test func `refuses reserved bytes that are not zero`() {
        #expect(throws: WireError.reservedBits) { try read(header(reserved: (1, 0))) }
        #expect(throws: WireError.reservedBits) { try read(header(reserved: (0, 0x80))) }
    }

    @Test func `refuses stream numbers outside its range`() throws {
        for stream in [0, 0x8000_0000, UInt32.max] {
            #expect(throws: WireError.streamOutOfRange(stream)) { try read(header(stream: stream)) }
        }
        #expect(try read(header(stream: 0x7FFF_FFFF))?.stream == 0x7FFF_FFFF)
    }

    @Test(arguments: [
        (FrameKind.open, WireLimits.openPayloadBytesMax), (.data, WireLimits.dataPayloadBytesMax),
        (.reset, WireLimits.resetPayloadBytesMax),
    ])
    func `refuses a payload above the limit before reading any of it`(kind: FrameKind, limit: Int) throws {
        #expect(try read(header(length: UInt32(limit), kind: kind.rawValue))?.payloadByteCount == limit)
        for length in [UInt32(limit) + 1, .max] {
            #expect(throws: WireError.payloadTooLarge(kind, Int(length), limit: limit)) {
                try read(header(length: length, kind: kind.rawValue))
            }
        }
    }

    @Test func `refuses an end with a payload and a credit of another length than four`() throws {
        #expect(throws: WireError.payloadTooLarge(.end, 1, limit: 0)) { try read(header(length: 1, kind: 3)) }
        for length in [UInt32(0), 1, 2, 3] {
            #expect(throws: WireError.wrongPayloadLength(.credit, Int(length))) {
                try read(header(length: length, kind: 5))
            }
        }
        #expect(throws: WireError.payloadTooLarge(.credit, 5, limit: 4)) { try read(header(length: 5, kind: 5)) }
        #expect(try read(header(length: 4, kind: 5))?.kind == .credit)
    }

    @Test func `takes any twelve bytes without a trap`() {
        let seed: UInt64 = 0x5EED_0001
        var random = SplitMix64(seed: seed)
        var accepted = 0
        for _ in 0..<100_000 {
            var bytes = header(
                length: UInt32.random(in: 0...70_000, using: &random), kind: .random(in: 0...6, using: &random),
                flags: .random(in: 0...4, using: &random), stream: .random(in: 0...(.max), using: &random))
            if Bool.random(using: &random) {
                bytes[Int.random(in: 0..<12, using: &random)] = .random(in: 0...255, using: &random)
            }
            guard let header = try? read(bytes) else { continue }
            accepted += 1
            #expect((1...UInt32(Int32.max)).contains(header.stream), "seed \(seed)")
            #expect(header.payloadByteCount <= WireLimits.openPayloadBytesMax, "seed \(seed)")
        }
        #expect(accepted > 1000)
    }
}
