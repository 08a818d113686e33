import Testing
import Wire

@Suite struct `Byte buffer` {
    @Test func `behaves as an array that is read from the front`() {
        let seed: UInt64 = 0x5EED_0004
        var random = SplitMix64(seed: seed)
        var buffer = ByteBuffer()
        var model: [UInt8] = []
        var next: UInt8 = 0
        func bytes(_ count: Int) -> [UInt8] {
            (0..<count).map { _ in
                next &+= 1
                return next
            }
        }
        for step in 0..<20_000 {
            // Mostly short, now and then past the capacity.
            let count = Int.random(in: 0..<(Int.random(in: 0..<50, using: &random) == 0 ? 20_000 : 60), using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0...2:
                let piece = bytes(count)
                buffer.append(piece)
                model += piece
            case 3:
                let piece = bytes(count)
                let written = unsafe buffer.withWritable(atLeast: count) { room in
                    for (index, byte) in piece.enumerated() { unsafe room[index] = byte }
                    return piece.count
                }
                #expect(written == count)
                model += piece
            case 4:
                buffer.appendLittleEndian(UInt32(truncatingIfNeeded: step))
                model += (0..<4).map { UInt8(truncatingIfNeeded: step >> (8 * $0)) }
            case 5:
                guard model.count >= 2 else { continue }
                let offset = Int.random(in: 0...(model.count - 2), using: &random)
                buffer.patch(UInt16(0xABCD), at: offset)
                model[offset] = 0xCD
                model[offset + 1] = 0xAB
            case 6:
                let removed = Int.random(in: 0...min(count, model.count), using: &random)
                buffer.removeLast(removed)
                model.removeLast(removed)
            case 7: buffer.releaseIfEmpty()
            default:
                let consumed = Int.random(in: 0...model.count, using: &random)
                buffer.consume(consumed)
                model.removeFirst(consumed)
            }
            guard buffer.readableByteCount == model.count, buffer.isEmpty == model.isEmpty,
                unsafe buffer.withReadable({ unsafe $0.elementsEqual(model) })
            else {
                Issue.record("differs from its model after step \(step), seed \(seed)")
                return
            }
            #expect(buffer.allocatedByteCount >= model.count)
        }
    }

    @Test func `holds no memory before the first byte and none after it was given back`() {
        var buffer = ByteBuffer()
        #expect(buffer.allocatedByteCount == 0)
        buffer.append([1])
        buffer.releaseIfEmpty()
        #expect(buffer.readableByteCount == 1)
        buffer.consume(1)
        buffer.releaseIfEmpty()
        #expect(buffer.allocatedByteCount == 0)
        let count = unsafe buffer.withReadable { $0.count }
        #expect(count == 0)
    }

    @Test func `does not grow while as much is read as written`() {
        var buffer = ByteBuffer()
        let piece = [UInt8](repeating: 7, count: 3000)
        buffer.append(piece)
        for _ in 0..<1000 {
            buffer.append(piece)
            buffer.consume(3000)
        }
        #expect(buffer.allocatedByteCount <= 16 << 10)
    }

    @Test func `writes the length of a frame behind its payload`() throws {
        var buffer = ByteBuffer()
        buffer.append([9, 9, 9])
        buffer.consume(2)
        buffer.appendFrame(.open, stream: 5, flags: .end) { $0.append([UInt8](repeating: 1, count: 5000)) }
        buffer.consume(1)
        let bytes = unsafe buffer.withReadable { unsafe Array($0) }
        let expected = FrameHeader(.open, stream: 5, flags: .end, payloadByteCount: 5000)
        let header = try unsafe FrameHeader.read(bytes.span.bytes)
        #expect(header == expected)
        #expect(bytes.count == 5012)
    }
}
