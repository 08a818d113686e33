import Brotli
import System
import Testing
import Zlib

@Suite struct `Compressors` {
    /// Prose, noise, and nothing.
    private func body(_ random: inout SystemRandomNumberGenerator, _ count: Int) -> [UInt8] {
        Bool.random(using: &random)
            ? (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            : (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7 % 64 + 32) }
    }

    @Test func `give back what they took, in pieces and with flushes`() throws {
        var random = SystemRandomNumberGenerator()
        for count in [0, 1, 1000, 16 << 10, 100_000, 300_000] {
            let body = body(&random, count)
            let gzip = try #require(GzipEncoder(level: 4))
            let brotli = try #require(BrotliEncoder(quality: 4, windowBits: 17))
            var (zipped, squeezed): ([UInt8], [UInt8]) = ([], [])
            var rest = body[...]
            while !rest.isEmpty {
                let piece = Array(rest.prefix(Int.random(in: 1...70_000, using: &random)))
                rest = rest.dropFirst(piece.count)
                let step: EncodingStep = Bool.random(using: &random) ? .flush : .more
                unsafe piece.withUnsafeBytes { bytes in
                    #expect(unsafe gzip.encode(bytes, step) { unsafe zipped.append(contentsOf: $0) })
                    #expect(unsafe brotli.encode(bytes, step) { unsafe squeezed.append(contentsOf: $0) })
                }
            }
            let nothing = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
            // Twice a flush of nothing is no end.
            for step in [EncodingStep.flush, .flush, .finish] {
                #expect(unsafe gzip.encode(nothing, step) { unsafe zipped.append(contentsOf: $0) })
                #expect(unsafe brotli.encode(nothing, step) { unsafe squeezed.append(contentsOf: $0) })
            }
            #expect(Gzip.decode(zipped, byteCountMax: count) == body)
            #expect(Brotli.decode(squeezed, byteCountMax: count) == body)
            // One byte beyond the limit, and streams that were cut.
            if count > 0 {
                #expect(Gzip.decode(zipped, byteCountMax: count - 1) == nil)
                #expect(Brotli.decode(squeezed, byteCountMax: count - 1) == nil)
            }
            #expect(Gzip.decode(Array(zipped.dropLast()), byteCountMax: count) == nil)
            #expect(Brotli.decode(Array(squeezed.dropLast()), byteCountMax: count) == nil)
            #expect(Gzip.decode(zipped + [0], byteCountMax: count) == nil)
        }
    }

    @Test func `a flush gives out all that was said`() throws {
        let text = Array("data: event 1\n\n".utf8)
        let encoder = try #require(GzipEncoder(level: 4))
        var early: [UInt8] = []
        unsafe text.withUnsafeBytes { bytes in
            #expect(unsafe encoder.encode(bytes, .flush) { unsafe early.append(contentsOf: $0) })
        }
        // A reader gets at it: an end put behind it (an empty last block, checksum and length) makes it whole.
        #expect(early.count > text.count / 2 && early.suffix(4) == [0, 0, 0xFF, 0xFF])
    }

    @Test func `whole bodies`() throws {
        let body = Array(String(repeating: "a line of text\n", count: 1000).utf8)
        let zipped = try #require(Gzip.encode(body, level: 9))
        let squeezed = try #require(Brotli.encode(body, quality: 9))
        #expect(zipped.count < 500 && squeezed.count < 500)
        #expect(Gzip.decode(zipped, byteCountMax: 1 << 20) == body)
        #expect(Brotli.decode(squeezed, byteCountMax: 1 << 20) == body)
        #expect(Gzip.decode(body, byteCountMax: 1 << 20) == nil)
        #expect(Brotli.decode([], byteCountMax: 1 << 20) == nil)
    }
}
