package import System

/// Reads a write-ahead log, or a piece of one that was kept, as SQLite's recovery would: up to the first frame whose
/// salt or running checksum is wrong (https://www.sqlite.org/fileformat2.html#walformat).
package struct LogReader: ~Copyable {
    package static let headerByteCount = 32
    package static let frameHeaderByteCount = 24
    private static let framesPerRead = 64

    package struct Frame {
        let page: UInt32
        /// Pages of the database after the commit that this frame ends; 0 inside of a transaction.
        let pagesAfterCommit: UInt32
        /// Where the page's content begins in `bytes`.
        let offset: Int
        /// Salt and running checksum, as bookmarks have them; empty inside of a transaction.
        let digest: [UInt8]
    }

    private let file: PositionedFile
    package let pageByteCount: Int
    /// The 8 bytes that all frames of this life of the log share.
    package let salt: [UInt8]
    package let header: [UInt8]
    private let isBigEndian: Bool
    private var checksum: (UInt32, UInt32)
    /// Frames read so far.
    package private(set) var frameCount = 0
    /// What was read last: some frames, whole.
    package private(set) var bytes: [UInt8] = []
    private var next = 0

    package var frameByteCount: Int { Self.frameHeaderByteCount + pageByteCount }

    /// Opens the log at `path`; `nil` when there is none, or nothing in it.
    package static func open(_ path: String, _ faults: DatabaseFaults = .none) throws(SystemError) -> LogReader? {
        guard let opened = try PositionedFile.openToRead(path, faults) else { return nil }
        var header: [UInt8] = []
        try opened.read(&header, count: Self.headerByteCount, at: 0)
        guard header.count == Self.headerByteCount else { return nil }
        let magic = Self.number(header, 0)
        let size = Int(Self.number(header, 8))
        guard magic & 0xffff_fffe == 0x377f_0682, Self.number(header, 4) == 3_007_000, size >= 512, size <= 65536,
            size & (size - 1) == 0
        else { return nil }
        let isBigEndian = magic & 1 != 0
        let checksum = Self.sum(header, 0..<24, (0, 0), isBigEndian)
        guard checksum == (Self.number(header, 24), Self.number(header, 28)) else { return nil }
        return LogReader(
            file: opened, pageByteCount: size, salt: Array(header[16..<24]), header: header, isBigEndian: isBigEndian,
            checksum: checksum)
    }

    private init(
        file: consuming PositionedFile, pageByteCount: Int, salt: [UInt8], header: [UInt8], isBigEndian: Bool,
        checksum: (UInt32, UInt32)
    ) {
        self.file = file
        self.pageByteCount = pageByteCount
        self.salt = salt
        self.header = header
        self.isBigEndian = isBigEndian
        self.checksum = checksum
    }

    /// When the file was written last.
    package var modificationTime: UnixTime { file.modificationTime }

    /// Goes to the frame after frame `count`, whose digest is known.
    package mutating func skip(to count: Int, digest: [UInt8]) {
        frameCount = count
        checksum = (Self.number(digest, 8), Self.number(digest, 12))
        bytes = []
        next = 0
    }

    /// The next valid frame; its content is in `bytes` until the following call.
    package mutating func nextFrame() throws(SystemError) -> Frame? {
        if next + frameByteCount > bytes.count {
            let offset = Self.headerByteCount + frameCount * frameByteCount
            try file.read(&bytes, count: Self.framesPerRead * frameByteCount, at: offset)
            next = 0
            guard bytes.count >= frameByteCount else { return nil }
        }
        let start = next
        let page = Self.number(bytes, start)
        guard page != 0, bytes[(start + 8)..<(start + 16)].elementsEqual(salt) else { return nil }
        var sum = Self.sum(bytes, start..<(start + 8), checksum, isBigEndian)
        let content = start + Self.frameHeaderByteCount
        sum = Self.sum(bytes, content..<(content + pageByteCount), sum, isBigEndian)
        guard sum == (Self.number(bytes, start + 16), Self.number(bytes, start + 20)) else { return nil }
        checksum = sum
        frameCount += 1
        next += frameByteCount
        let pages = Self.number(bytes, start + 4)
        return Frame(
            page: page, pagesAfterCommit: pages, offset: content,
            digest: pages == 0 ? [] : Array(bytes[(start + 8)..<(start + 24)]))
    }

    private static func number(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        UInt32(bytes[offset]) << 24 | UInt32(bytes[offset + 1]) << 16 | UInt32(bytes[offset + 2]) << 8
            | UInt32(bytes[offset + 3])
    }

    /// The log's checksum, going on from `seed`. `range` is a multiple of 8 bytes long.
    private static func sum(
        _ bytes: [UInt8], _ range: Range<Int>, _ seed: (UInt32, UInt32), _ isBigEndian: Bool
    ) -> (UInt32, UInt32) {
        precondition(range.upperBound <= bytes.count && range.count % 8 == 0)
        // SAFETY: the range was checked above, and loads of 4 bytes stay inside of it.
        return unsafe bytes.withUnsafeBytes { buffer in
            var (first, second) = seed
            var offset = range.lowerBound
            while offset < range.upperBound {
                let left = unsafe buffer.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
                let right = unsafe buffer.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
                first = first &+ (isBigEndian ? UInt32(bigEndian: left) : UInt32(littleEndian: left)) &+ second
                second = second &+ (isBigEndian ? UInt32(bigEndian: right) : UInt32(littleEndian: right)) &+ first
                offset += 8
            }
            return (first, second)
        }
    }
}
