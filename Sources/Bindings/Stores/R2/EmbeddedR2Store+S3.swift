package import Interfaces
internal import LMDB
package import Stores
internal import System

/// Where one part of an object lies that was uploaded in parts.
package struct R2PartExtent: Equatable, Sendable {
    /// `nil` when there is no such part.
    package let range: R2ResolvedRange?
    /// `nil` for an object that came as a whole.
    package let partsCount: Int?

    package init(range: R2ResolvedRange?, partsCount: Int?) {
        self.range = range
        self.partsCount = partsCount
    }
}

/// What only the S3 API asks of buckets.
extension EmbeddedR2Store {
    package func hasBucket(_ name: String) throws(R2Failure) -> Bool {
        try read("bucket") { transaction throws(LMDBError) in try index.bucket(name, transaction) != nil }
    }

    /// An object that came as a whole is part 1 of itself.
    ///
    /// - Returns: `nil` when there is no object.
    package func extent(ofPart number: Int, of key: String, in bucket: String) throws(R2Failure) -> R2PartExtent? {
        try Self.check(key: key)
        let found = try read("part") { transaction throws(LMDBError) -> R2PartExtent?? in
            guard let bucket = try index.bucket(bucket, transaction) else { return nil }
            guard let object = try index.object(key, bucket: bucket, transaction) else { return .some(nil) }
            guard object.location == .pieces else {
                let whole = R2ResolvedRange(offset: 0, length: object.size)
                return R2PartExtent(range: number == 1 ? whole : nil, partsCount: nil)
            }
            let pieces = try index.pieces(of: object.version, transaction)
            guard number <= pieces.count else { return R2PartExtent(range: nil, partsCount: pieces.count) }
            let offset = pieces.prefix(number - 1).reduce(0) { $0 + $1.size }
            return R2PartExtent(
                range: R2ResolvedRange(offset: offset, length: pieces[number - 1].size), partsCount: pieces.count)
        }
        guard let found else { throw .noSuchBucket }
        return found
    }

    /// A stored body as one that can be stored again.
    package func source(of body: StoreBody) -> any BodySource {
        switch body {
        case .bytes(let bytes): StoredSource(.bytes(bytes), threads: threads)
        case .file(let slice): StoredSource(.file(slice), threads: threads)
        case .stream(let source): source
        }
    }
}

/// Reads what is in memory, or in one open file, piece by piece.
private final class StoredSource: BodySource, @unchecked Sendable {  // One reader at a time, by contract.
    enum Content {
        case bytes([UInt8])
        case file(FileSlice)
    }
    private let content: Content
    private let threads: IOThreads
    private var position = 0

    private static let pieceByteCount = 64 << 10

    init(_ content: Content, threads: IOThreads) {
        self.content = content
        self.threads = threads
    }

    func next() async throws -> [UInt8]? {
        let piece: [UInt8]
        switch content {
        case .bytes(let bytes): piece = Array(bytes[position...].prefix(Self.pieceByteCount))
        case .file(let slice):
            let count = min(Self.pieceByteCount, slice.byteCount - position)
            guard count > 0 else { return nil }
            let offset = slice.offset + Int64(position)
            piece = try await threads.run { () throws(SystemError) in
                try slice.descriptor.read(at: offset, count: count)
            }
            // EIO: the blob is too short.
            guard piece.count == count else { throw SystemError("pread", errno: 5, on: "a stored object") }
        }
        position += piece.count
        return piece.isEmpty ? nil : piece
    }

    func cancel() {}
}
