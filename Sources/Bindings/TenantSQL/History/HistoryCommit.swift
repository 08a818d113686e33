package import System

/// A commit as the archive keeps it: 48 bytes.
package struct HistoryCommit: Equatable {
    package static let byteCount = 48

    /// What its callers were told.
    package var bookmark: HistoryBookmark
    /// Never goes back from one commit to the next.
    package var time: UnixTime
    /// Frames of its segment of the archive up to it.
    package var frameCount: UInt32
    /// Pages of the database after it.
    package var pageCount: UInt32

    package func encode(into bytes: inout [UInt8]) {
        let start = bytes.count
        for number in [bookmark.generation, bookmark.segment, bookmark.frame, frameCount, pageCount] {
            Self.put(number, &bytes)
        }
        let time = UInt64(bitPattern: time.milliseconds)
        Self.put(UInt32(truncatingIfNeeded: time), &bytes)
        Self.put(UInt32(truncatingIfNeeded: time >> 32), &bytes)
        bytes += bookmark.digest
        Self.put(Self.check(bytes[start...]), &bytes)
    }

    /// `nil` for a record that was torn.
    package init?(decoding bytes: ArraySlice<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        func number(_ index: Int) -> UInt32 {
            let start = bytes.startIndex + 4 * index
            return (0..<4).reduce(0) { $0 | UInt32(bytes[start + $1]) << UInt32(8 * $1) }
        }
        guard Self.check(bytes.dropLast(4)) == number(11) else { return nil }
        bookmark = HistoryBookmark(
            generation: number(0), segment: number(1), frame: number(2), digest: Array(bytes.dropFirst(28).prefix(16)))
        frameCount = number(3)
        pageCount = number(4)
        time = UnixTime(milliseconds: Int64(bitPattern: UInt64(number(5)) | UInt64(number(6)) << 32))
    }

    package init(bookmark: HistoryBookmark, time: UnixTime, frameCount: UInt32, pageCount: UInt32) {
        self.bookmark = bookmark
        self.time = time
        self.frameCount = frameCount
        self.pageCount = pageCount
    }

    /// The records of a file, up to the first torn one.
    package static func readAll(_ path: String, _ faults: DatabaseFaults = .none) throws(SystemError) -> [HistoryCommit] {
        guard let file = try PositionedFile.openToRead(path, faults) else { return [] }
        var bytes: [UInt8] = []
        try file.read(&bytes, count: file.byteCount, at: 0)
        var commits: [HistoryCommit] = []
        commits.reserveCapacity(bytes.count / byteCount)
        var rest = bytes[...]
        while let commit = HistoryCommit(decoding: rest.prefix(byteCount)) {
            commits.append(commit)
            rest = rest.dropFirst(byteCount)
        }
        return commits
    }

    private static func put(_ number: UInt32, _ bytes: inout [UInt8]) {
        for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
    }

    /// FNV-1a.
    private static func check(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.reduce(2_166_136_261) { ($0 ^ UInt32($1)) &* 16_777_619 }
    }
}
