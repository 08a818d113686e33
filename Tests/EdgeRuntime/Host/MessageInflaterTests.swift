import HTTP
import Testing

@testable import Host

@Suite struct `Message inflater` {
    private func compress(_ bytes: [UInt8]) throws -> [UInt8] {
        let agreed = try #require(PerMessageDeflate(["permessage-deflate; server_max_window_bits=9"]))
        return try #require(agreed.compress(bytes))
    }

    private func inflate(_ pieces: [[UInt8]], upTo most: Int = 1 << 20) -> (plain: [UInt8], outcome: WebSocketInflation) {
        let inflater = MessageInflater()
        var plain: [UInt8] = []
        for piece in pieces {
            let outcome = inflater.inflate(piece, isEnd: false, into: &plain, upTo: most)
            guard case .done = outcome else { return (plain, outcome) }
        }
        return (plain, inflater.inflate([], isEnd: true, into: &plain, upTo: most))
    }

    private func isDone(_ outcome: WebSocketInflation) -> Bool { if case .done = outcome { true } else { false } }
    private func isTooLarge(_ outcome: WebSocketInflation) -> Bool { if case .tooLarge = outcome { true } else { false } }

    @Test(arguments: [256, 1000, 40_000, 300_000])
    func `gives back what was compressed, however it is split`(count: Int) throws {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7 &* $0 % 11) }
        let compressed = try compress(bytes)
        #expect(compressed.count < count)
        let (whole, outcome) = inflate([compressed])
        #expect(whole == bytes && isDone(outcome))
        #expect(inflate(compressed.map { [$0] }).plain == bytes)
    }

    @Test func `begins each message anew`() throws {
        let inflater = MessageInflater()
        let bytes = [UInt8](repeating: 7, count: 1000)
        for _ in 0..<3 {
            var plain: [UInt8] = []
            #expect(isDone(inflater.inflate(try compress(bytes), isEnd: false, into: &plain, upTo: 1000)))
            #expect(isDone(inflater.inflate([], isEnd: true, into: &plain, upTo: 1000)))
            #expect(plain == bytes)
        }
    }

    // The example of RFC 7692 §7.2.3.1, and one of a final block (§7.2.3.4).
    @Test(
        arguments: [
            [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00], [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        ] as [[UInt8]])
    func `reads the examples of the RFC`(bytes: [UInt8]) { #expect(inflate([bytes]).plain == Array("Hello".utf8)) }

    @Test func `stops at the limit, and at what is no compressed data`() throws {
        // A megabyte of nothing in a kilobyte.
        let bomb = try compress([UInt8](repeating: 0, count: 1 << 20))
        #expect(bomb.count < 8 << 10)
        let (plain, outcome) = inflate([bomb], upTo: 100_000)
        #expect(isTooLarge(outcome) && plain.count <= 100_000)
        guard case .malformed = inflate([[0xFF, 0xFF, 0xFF]]).outcome else {
            Issue.record("it was taken for compressed data")
            return
        }
    }

    @Test func `leaves short messages, and those that don't shrink, as they are`() throws {
        let agreed = try #require(PerMessageDeflate(["permessage-deflate"]))
        #expect(agreed.compress([UInt8](repeating: 1, count: 255)) == nil)
        var random = SplitMix64(seed: 1)
        #expect(agreed.compress((0..<1000).map { _ in UInt8.random(in: 0...255, using: &random) }) == nil)
    }
}
