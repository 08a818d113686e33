import Stores
import Synchronization
import Testing

@testable import Releases

/// A body of given pieces.
private final class Pieces: BodySource {
    private let pieces: [[UInt8]]
    private let index = Mutex(0)

    init(_ bytes: [UInt8], of size: Int) {
        pieces = stride(from: 0, to: bytes.count, by: size).map { Array(bytes[$0..<min($0 + size, bytes.count)]) }
    }

    func next() async -> [UInt8]? {
        index.withLock { index in
            guard index < pieces.count else { return nil }
            defer { index += 1 }
            return pieces[index]
        }
    }

    func cancel() {}
}

@Suite struct `Tape archives` {
    private static let members: [(path: String, body: [UInt8])] = [
        ("a", []), ("tenants/t/kv/data.mdb", [UInt8](repeating: 7, count: 512)), ("b/c", [1]),
        ("tenants/t/d1/" + String(repeating: "%2f", count: 60) + ".sqlite", Array("long name".utf8)),
        (String(repeating: "x", count: 100), Array("name that just fits".utf8)),
        (String(repeating: "y", count: 101), [UInt8](repeating: 9, count: 1025)),
    ]

    private static var archive: [UInt8] {
        members.reduce(into: []) { archive, member in
            archive += TarHeader.file(member.path, byteCount: Int64(member.body.count)) + member.body
            archive += TarHeader.padding(after: Int64(member.body.count))
        } + TarHeader.end
    }

    @Test(arguments: [1, 7, 511, 512, 513, 4096, 1 << 20])
    func `come back whatever pieces they arrive in`(size: Int) async throws {
        let reader = TarReader(Pieces(Self.archive, of: size))
        for member in Self.members {
            let entry = try #require(try await reader.next())
            #expect(entry.path == member.path)
            #expect(entry.byteCount == Int64(member.body.count))
            var body: [UInt8] = []
            while case let piece = try await reader.read(max: 100), !piece.isEmpty { body += piece }
            #expect(body == member.body)
        }
        #expect(try await reader.next() == nil)
    }

    @Test func `what is not read is passed over`() async throws {
        let reader = TarReader(Pieces(Self.archive, of: 300))
        for member in Self.members { #expect(try await reader.next()?.path == member.path) }
        #expect(try await reader.next() == nil)
    }

    @Test func `sizes beyond eleven octal digits stand in a record`() throws {
        let size: Int64 = 1 << 40
        let header = TarHeader.file("large", byteCount: size)
        #expect(header.count == 3 * TarHeader.blockByteCount)
        let first = try #require(try TarHeader.read(Array(header[..<512])))
        #expect(first.kind == .records)
        #expect(try TarHeader.records(Array(header[512..<512 + Int(first.byteCount)])) == ["size": String(size)])
        #expect(TarHeader.file("small", byteCount: 0o77777777777).count == TarHeader.blockByteCount)
    }

    @Test func `a header with one changed byte is none`() throws {
        let header = TarHeader.file("tenants/t/kv/data.mdb", byteCount: 12345)
        // What ends the sum itself is part of no number.
        for index in 0..<300 where index != 154 && index != 155 {
            var changed = header
            changed[index] ^= 0x11
            #expect(throws: ArchiveError.self) { try TarHeader.read(changed) }
        }
        #expect(try TarHeader.read([UInt8](repeating: 0, count: 512)) == nil)
    }

    @Test(arguments: ["", "9", "9 path=", "99 path=a\n", "9 path=a\n9", "0 a=b\n", "-1 a=b\n", "8 path=a\n", "6 pat\n", "x"])
    func `records that lie about themselves are refused`(text: String) {
        if text.isEmpty {
            #expect((try? TarHeader.records([])) == [:])
        } else {
            #expect(throws: ArchiveError.self) { try TarHeader.records(Array(text.utf8)) }
        }
    }

    @Test func `an archive that ends early is cut short`() async throws {
        for count in [1, 511, 600, 1024 + 511] {
            let reader = TarReader(Pieces(Array(Self.archive[..<count]), of: 512))
            await #expect(throws: ArchiveError.cutShort) { while try await reader.next() != nil {} }
        }
    }
}
