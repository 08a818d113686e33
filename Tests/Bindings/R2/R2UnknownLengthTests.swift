import Interfaces
import Stores
import StoresR2
import Testing

@Suite struct `R2 bodies that end when they end` {
    /// Pieces, and a checksum behind them.
    private final class Trailed: TrailedBody, @unchecked Sendable {  // One reader at a time.
        private var pieces: [[UInt8]]
        let trailingAlgorithm: R2Checksum.Algorithm?
        private let checksum: [UInt8]
        private(set) var trailingChecksum: [UInt8]?

        init(_ pieces: [[UInt8]], _ algorithm: R2Checksum.Algorithm? = nil, _ checksum: [UInt8] = []) {
            self.pieces = pieces
            trailingAlgorithm = algorithm
            self.checksum = checksum
        }

        func next() async throws -> [UInt8]? {
            if pieces.isEmpty {
                trailingChecksum = checksum
                return nil
            }
            return pieces.removeFirst()
        }

        func cancel() { pieces = [] }
    }

    private static let pieces = (0..<5).map { [UInt8](repeating: $0, count: 60_000) }

    @Test func `are stored, small ones and large ones`() async throws {
        let fixture = try await Fixture()
        for pieces in [[], [Array("small".utf8)], Self.pieces] {
            let message = R2PutMessage(key: "k", size: R2PutMessage.sizeUnknown)
            let object = try #require(try await fixture.store.put(message, body: Trailed(pieces), in: "photos"))
            #expect(object.size == Int64(pieces.reduce(0) { $0 + $1.count }))
            #expect(try await fixture.store.head("k", in: "photos")?.size == object.size)
        }
    }

    @Test func `are parts, too`() async throws {
        let fixture = try await Fixture()
        let id = try await fixture.store.createMultipart(R2CreateMultipartMessage(key: "k"), in: "photos")
        let part = R2UploadPartMessage(key: "k", uploadId: id, partNumber: 1, size: R2PutMessage.sizeUnknown)
        let etag = try await fixture.store.uploadPart(part, body: Trailed(Self.pieces), in: "photos")
        let object = try await fixture.store.completeMultipart(
            R2CompleteMultipartMessage(key: "k", uploadId: id, parts: [R2UploadedPart(partNumber: 1, etag: etag)]), in: "photos"
        )
        #expect(object.size == 300_000)
        let extent = try fixture.store.extent(ofPart: 1, of: "k", in: "photos")
        #expect(extent == R2PartExtent(range: R2ResolvedRange(offset: 0, length: 300_000), partsCount: 1))
        #expect(try fixture.store.extent(ofPart: 2, of: "k", in: "photos")?.range == nil)
        #expect(try fixture.store.extent(ofPart: 1, of: "none", in: "photos") == nil)
    }

    @Test(arguments: [false, true]) func `are compared with the checksum behind them`(_ isLarge: Bool) async throws {
        let fixture = try await Fixture()
        let pieces = isLarge ? Self.pieces : [Array("hello".utf8)]
        // CRC-32 of 300,000 bytes and of `hello`, by zlib.
        let right: [UInt8] = isLarge ? Self.largeChecksum : [0x36, 0x10, 0xA6, 0x86]
        let size = Int64(pieces.reduce(0) { $0 + $1.count })
        for size in [size, R2PutMessage.sizeUnknown] {
            let message = R2PutMessage(key: "k", size: size)
            let object = try await fixture.store.put(message, body: Trailed(pieces, .crc32, right), in: "photos")
            #expect(object?.checksums.crc32 == right)
            await #expect(throws: R2Failure.self) {
                try await fixture.store.put(message, body: Trailed(pieces, .crc32, [0, 0, 0, 0]), in: "photos")
            }
            #expect(try await fixture.store.head("k", in: "photos")?.checksums.crc32 == right)
        }
    }

    private static let largeChecksum: [UInt8] = [0x7E, 0xE4, 0xED, 0xAC]
}
