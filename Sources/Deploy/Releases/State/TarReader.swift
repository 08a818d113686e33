internal import Stores

/// Reads a tape archive from a body, piece by piece. One reader at a time.
final class TarReader {
    private let source: any BodySource
    private var buffer: [UInt8] = []
    private var start = 0
    /// Of the present file, with what fills its last block.
    private var left: Int64 = 0
    private var padding = 0

    private static let recordsBytesMax: Int64 = 64 << 10

    init(_ source: any BodySource) { self.source = source }

    /// The next file; `nil` at the end of the archive. What was not read of the one before is passed over.
    func next() async throws -> TarHeader.Entry? {
        while try await !read(max: 256 << 10).isEmpty {}
        try await skipPadding()
        var records: [String: String] = [:]
        while true {
            guard let entry = try TarHeader.read(try await bytes(TarHeader.blockByteCount)) else {
                // Whatever stands behind the first empty block is taken, so that the sender can finish.
                while try await source.next() != nil {}
                return nil
            }
            switch entry.kind {
            case .records:
                guard entry.byteCount <= Self.recordsBytesMax else { throw ArchiveError.noHeader }
                records = try TarHeader.records(try await bytes(Int(entry.byteCount)))
                padding = TarHeader.padding(after: entry.byteCount).count
                try await skipPadding()
            case .other: throw ArchiveError.unexpectedMember(entry.path)
            case .file:
                var byteCount = entry.byteCount
                if let text = records["size"] {
                    guard let size = Int64(text), size >= 0 else { throw ArchiveError.noHeader }
                    byteCount = size
                }
                left = byteCount
                padding = TarHeader.padding(after: byteCount).count
                return TarHeader.Entry(path: records["path"] ?? entry.path, byteCount: byteCount, kind: .file)
            }
        }
    }

    /// The next bytes of the present file; empty at its end.
    func read(max: Int) async throws -> ArraySlice<UInt8> {
        guard left > 0 else { return [] }
        if start == buffer.count { try await fill() }
        let count = min(max, buffer.count - start, Int(clamping: left))
        defer {
            start += count
            left -= Int64(count)
        }
        return buffer[start..<start + count]
    }

    private func skipPadding() async throws {
        _ = try await bytes(padding)
        padding = 0
    }

    private func bytes(_ count: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            if start == buffer.count { try await fill() }
            let taken = min(count - bytes.count, buffer.count - start)
            bytes += buffer[start..<start + taken]
            start += taken
        }
        return bytes
    }

    private func fill() async throws {
        guard let piece = try await source.next() else { throw ArchiveError.cutShort }
        buffer = piece
        start = 0
    }
}
