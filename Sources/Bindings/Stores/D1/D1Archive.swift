internal import Observability
internal import SQLite
internal import System

/// The past of one database: a copy of its file as it was once, and the log from there on. Belongs to the writer's
/// thread.
///
/// In the directory `NAME.sqlite.archive`:
///
///     manifest            which state the base stands for, and the first segment that comes after it
///     base                the database file as it was then
///     segment-N.wal       one life of the write-ahead log, byte for byte, from its start to where it started over
///     segment-N.commits   the commits in it: bookmark, time, place
///     pending             those of commits whose frames are only in the database's own log as yet
///
/// Invariants. What SQLite copies into the database file is in a segment before, and synchronized: a log can start over
/// only when all of it has been copied. A commit's frames are listed after they are durable. `pending` is written with
/// each commit and not synchronized: it survives the process, and what is missing after a power failure gets the time
/// of the log file. The base may be a mixture of its state and the first segment while the two are being merged: the
/// manifest then says that no state inside of that segment can be had, and the whole segment lies over it in any case.
final class D1Archive {
    /// One life of the log.
    private struct Segment {
        let number: UInt32
        let salt: [UInt8]
        /// Frames and commits in its files.
        var frameCount: Int
        var commitCount: Int
        var first: D1Commit?
        var last: D1Commit?
        var byteCount: Int
    }

    /// A state that can be had again.
    struct State {
        let commit: D1Commit
        /// The segment that holds it; `nil` for the base alone.
        fileprivate let segment: UInt32?
    }

    static let pageByteCount = 4096
    private let surroundings: D1Surroundings
    private let directory: String
    /// The oldest state.
    private(set) var floor: D1Commit
    private var firstSegment: UInt32
    private var segments: [Segment]
    private var pending: [D1Commit]
    private var pendingFile: D1File?
    private var pendingOffset = 0
    /// Files of segments that are merged: a disk that doesn't let them go at once is asked again.
    private var leftovers: [String] = []

    /// Opens what is there.
    ///
    /// - Returns: `nil` when nothing is, or nothing whole: an archive begins with its manifest.
    init?(_ surroundings: D1Surroundings) throws {
        self.surroundings = surroundings
        directory = surroundings.archivePath
        guard let text = try FileSystem.read(Self.manifestPath(directory), surroundings.faults),
            let (floor, first) = Self.decode(text)
        else { return nil }
        self.floor = floor
        firstSegment = first
        segments = []
        pending = try D1Commit.readAll(directory + "/pending", surroundings.faults)
        try loadSegments()
    }

    /// Begins an archive with the database's file as it is. No connection to it may be open, and all of its log must
    /// have been copied.
    static func begin(_ surroundings: D1Surroundings, at bookmark: D1Bookmark) throws {
        let directory = surroundings.archivePath
        try FileSystem.removeDirectory(directory, surroundings.faults)
        try FileSystem.makeDirectory(directory, surroundings.faults)
        guard let source = try D1File.openToRead(surroundings.path, surroundings.faults) else {
            throw SystemError("open", errno: 2, on: surroundings.path)
        }
        let base = try D1File.openToWrite(directory + "/base", .empty, surroundings.faults)
        try base.copy(source)
        try base.synchronize()
        try FileSystem.synchronizeDirectory(directory, surroundings.faults)
        let pageCount = UInt32(clamping: base.byteCount / Self.pageByteCount)
        let floor = D1Commit(
            bookmark: bookmark, time: surroundings.clock.wallTime(), frameCount: 0, pageCount: pageCount)
        try FileSystem.replace(manifestPath(directory), with: encode(floor, 1), surroundings.faults)
    }

    /// Forgets the past: the manifest first, so that no half of it is taken for a whole.
    static func remove(_ directory: String, _ faults: D1Faults = .none) throws(SystemError) {
        guard FileSystem.exists(directory) else { return }
        try FileSystem.remove(manifestPath(directory), faults)
        try FileSystem.synchronizeDirectory(directory, faults)
        try FileSystem.removeDirectory(directory, faults)
    }

    // MARK: Commits

    /// The newest state, or what will be when `pending` has been taken up.
    private var newest: D1Commit { pending.last ?? segments.last?.last ?? floor }

    /// Notes a commit that was just made.
    func note(_ bookmark: D1Bookmark) {
        let commit = D1Commit(
            bookmark: bookmark, time: max(newest.time, surroundings.clock.wallTime()), frameCount: bookmark.frame,
            pageCount: 0)
        pending.append(commit)
        var bytes: [UInt8] = []
        commit.encode(into: &bytes)
        do {
            if pendingFile == nil {
                pendingFile = try D1File.openToWrite(directory + "/pending", .keeping, surroundings.faults)
                pendingOffset = pendingFile?.byteCount ?? 0
                pendingOffset -= pendingOffset % D1Commit.byteCount
            }
            try pendingFile?.write(bytes[...], at: pendingOffset)
            pendingOffset += bytes.count
        } catch {
            // Its place is known, and its time too unless the process ends before the next checkpoint.
            surroundings.logger.log(.warning, "d1: a commit's time was not written", [("error", "\(error)")])
        }
    }

    /// Takes up what the database's log holds and the archive doesn't. Durable when it returns.
    ///
    /// - Parameters:
    ///   - limit: The frames that are committed; `nil` before a connection is open: what SQLite will find then.
    ///   - fallback: Where the bookmarks of commits belong that nobody noted.
    func takeUp(upTo limit: Int?, fallback: D1Bookmark) throws {
        guard limit != 0, var log = try D1LogReader.open(surroundings.logPath, surroundings.faults) else { return }
        if let fault = surroundings.faults.failure(.archive) { throw fault }
        let isNew = segments.last?.salt != log.salt
        var segment =
            isNew
            ? Segment(
                number: (segments.last?.number ?? firstSegment &- 1) + 1, salt: log.salt, frameCount: 0, commitCount: 0,
                byteCount: 0) : segments[segments.count - 1]
        if let last = segment.last { log.skip(to: segment.frameCount, digest: last.bookmark.digest) }
        if let limit, limit <= segment.frameCount { return }
        let found = try copy(&log, into: segment, upTo: limit, isNew: isNew)
        guard !found.isEmpty else { return }
        let commits = named(found, in: segment, fallback: fallback, logTime: log.modificationTime)
        try list(commits, in: segment, isNew: isNew)
        segment.frameCount = Int(found[found.count - 1].frameCount)
        segment.commitCount += commits.count
        segment.first = segment.first ?? commits.first
        segment.last = commits.last
        segment.byteCount = D1LogReader.headerByteCount + segment.frameCount * log.frameByteCount
        if isNew { segments.append(segment) } else { segments[segments.count - 1] = segment }
        pending = []
        if pendingFile == nil { pendingFile = try? D1File.openToWrite(directory + "/pending", .keeping, surroundings.faults) }
        try? pendingFile?.truncate(to: 0)
        pendingOffset = 0
    }

    /// Copies frames up to the last commit; returns the commits, without names and times.
    private func copy(
        _ log: inout D1LogReader, into segment: Segment, upTo limit: Int?, isNew: Bool
    ) throws -> [D1Commit] {
        let file = try D1File.openToWrite(wal(segment.number), isNew ? .empty : .keeping, surroundings.faults)
        if isNew { try file.write(log.header[...], at: 0) }
        var commits: [D1Commit] = []
        // Written in larger pieces than frames.
        var piece: [UInt8] = []
        var pieceStart = D1LogReader.headerByteCount + segment.frameCount * log.frameByteCount
        while limit.map({ log.frameCount < $0 }) ?? true, let frame = try log.nextFrame() {
            let start = frame.offset - D1LogReader.frameHeaderByteCount
            piece += log.bytes[start..<(start + log.frameByteCount)]
            if frame.pagesAfterCommit != 0 {
                commits.append(
                    D1Commit(
                        bookmark: D1Bookmark(generation: 0, segment: 0, frame: 0, digest: frame.digest),
                        time: UnixTime(milliseconds: 0), frameCount: UInt32(clamping: log.frameCount),
                        pageCount: frame.pagesAfterCommit))
            }
            if piece.count >= 1 << 20 {
                try file.write(piece[...], at: pieceStart)
                pieceStart += piece.count
                piece.removeAll(keepingCapacity: true)
            }
        }
        guard let last = commits.last else { return [] }
        try file.write(piece[...], at: pieceStart)
        try file.truncate(to: D1LogReader.headerByteCount + Int(last.frameCount) * log.frameByteCount)
        if let fault = surroundings.faults.failure(.archiveSync) { throw fault }
        try file.synchronize()
        return commits
    }

    /// Gives commits the bookmarks and times that were noted, and those in between what fits there.
    private func named(
        _ commits: [D1Commit], in segment: Segment, fallback: D1Bookmark, logTime: UnixTime
    ) -> [D1Commit] {
        var noted: [[UInt8]: D1Commit] = [:]
        for commit in pending { noted[commit.bookmark.digest] = commit }
        let now = surroundings.clock.wallTime()
        var previous = segment.last
        var time = newestInSegments.time
        return commits.enumerated().map { index, commit in
            var commit = commit
            if let known = noted[commit.bookmark.digest] {
                commit.bookmark = known.bookmark
                commit.time = max(time, known.time)
            } else {
                let next = commits[(index + 1)...].lazy.compactMap { noted[$0.bookmark.digest]?.bookmark }.first
                let neighbour = previous?.bookmark ?? next ?? fallback
                commit.bookmark.generation = neighbour.generation
                commit.bookmark.segment = neighbour.segment
                commit.bookmark.frame = commit.frameCount
                commit.time = max(time, min(now, logTime))
            }
            previous = commit
            time = commit.time
            return commit
        }
    }

    private var newestInSegments: D1Commit { segments.last?.last ?? floor }

    private func list(_ commits: [D1Commit], in segment: Segment, isNew: Bool) throws {
        if let fault = surroundings.faults.failure(.archiveList) { throw fault }
        var bytes: [UInt8] = []
        for commit in commits { commit.encode(into: &bytes) }
        let file = try D1File.openToWrite(self.commits(segment.number), isNew ? .empty : .keeping, surroundings.faults)
        let start = segment.commitCount * D1Commit.byteCount
        try file.truncate(to: start)
        try file.write(bytes[...], at: start)
        try file.synchronize()
        if isNew { try FileSystem.synchronizeDirectory(directory, surroundings.faults) }
    }

    // MARK: States

    /// What `point` means. What the database's log holds must have been taken up.
    func state(at point: D1PointInTime) throws(D1Failure) -> State {
        switch point {
        case .time(let time):
            guard time <= surroundings.clock.wallTime() else {
                throw D1Failure("Invalid timestamp: it is in the future", code: 7400)
            }
            guard time >= floor.time else { throw beforeWindow("timestamp") }
            return try state { $0.time <= time }
        case .bookmark(let text):
            guard let bookmark = D1Bookmark(text) else {
                throw D1Failure("Invalid bookmark: \(D1Failure.shortened(text))", code: 7400)
            }
            return try state(at: bookmark)
        }
    }

    private func state(at bookmark: D1Bookmark) throws(D1Failure) -> State {
        if bookmark == floor.bookmark { return floorState }
        guard bookmark > floor.bookmark else { throw beforeWindow("bookmark") }
        // One of an empty log belongs to no commit.
        if bookmark.digest == D1Bookmark.zeroDigest { return try state { $0.bookmark <= bookmark } }
        if let segment = segments.last(where: { $0.salt[...] == bookmark.digest.prefix(8) }),
            let commit = try read(segment).first(where: { $0.bookmark.digest == bookmark.digest })
        {
            return State(commit: commit, segment: segment.number)
        }
        throw D1Failure("Invalid bookmark: \(bookmark) is not of this database's history", code: 7400)
    }

    /// The last state for which `matches` holds, as it does for all before.
    private func state(where matches: (D1Commit) -> Bool) throws(D1Failure) -> State {
        guard let segment = segments.last(where: { $0.first.map(matches) ?? false }),
            let commit = try read(segment).last(where: matches)
        else { return floorState }
        return State(commit: commit, segment: segment.number)
    }

    private var floorState: State {
        // While the first segment is being merged, it lies over the base in any case.
        if let segment = segments.first, let last = segment.last, last.bookmark == floor.bookmark {
            return State(commit: last, segment: segment.number)
        }
        return State(commit: floor, segment: nil)
    }

    private func read(_ segment: Segment) throws(D1Failure) -> [D1Commit] {
        do { return try D1Commit.readAll(commits(segment.number), surroundings.faults) } catch { throw D1Failure("\(error)") }
    }

    private func beforeWindow(_ what: String) -> D1Failure {
        D1Failure("Invalid \(what): the history of this database begins at \(floor.bookmark)", code: 7400)
    }

    /// How many commits came after the state of `bookmark`. What the database's log holds must have been taken up.
    ///
    /// - Throws: when the history doesn't go back so far.
    func commitCount(after bookmark: D1Bookmark) throws(D1Failure) -> Int {
        guard bookmark >= floor.bookmark else { throw beforeWindow("bookmark") }
        func isLater(_ commit: D1Commit) -> Bool {
            commit.bookmark > bookmark && !commit.bookmark.isSamePlace(as: bookmark)
        }
        var count = 0
        for segment in segments.reversed() {
            guard let first = segment.first, let last = segment.last, isLater(last) else { break }
            count += isLater(first) ? segment.commitCount : try read(segment).count(where: isLater)
        }
        return count
    }

    /// Makes `path` the database file of `state`, synchronized.
    func build(_ state: State, at path: String) throws {
        if let fault = surroundings.faults.failure(.image) { throw fault }
        guard let base = try D1File.openToRead(directory + "/base", surroundings.faults) else {
            throw D1Failure("the archive has no base")
        }
        let image = try D1File.openToWrite(path, .empty, surroundings.faults)
        try image.copy(base)
        if state.segment == nil { try image.truncate(to: Int(floor.pageCount) * Self.pageByteCount) }
        for segment in segments {
            guard let last = state.segment, segment.number <= last else { break }
            let end = segment.number == last ? Int(state.commit.frameCount) : segment.frameCount
            try apply(segment, upTo: end, to: image)
        }
        try image.synchronize()
    }

    private func apply(_ segment: Segment, upTo end: Int, to image: borrowing D1File) throws {
        guard var log = try D1LogReader.open(wal(segment.number), surroundings.faults) else { throw damaged(segment) }
        var pages: UInt32 = 0
        while log.frameCount < end {
            guard let frame = try log.nextFrame() else { throw damaged(segment) }
            let content = log.bytes[frame.offset..<(frame.offset + log.pageByteCount)]
            try image.write(content, at: Int(frame.page - 1) * log.pageByteCount)
            if frame.pagesAfterCommit != 0 { pages = frame.pagesAfterCommit }
        }
        if pages != 0 { try image.truncate(to: Int(pages) * log.pageByteCount) }
    }

    private func damaged(_ segment: Segment) -> D1Failure {
        D1Failure("the archive's file \(wal(segment.number)) is damaged")
    }

    // MARK: Retention

    var byteCount: Int64 {
        segments.reduce(Int64(floor.pageCount) * Int64(Self.pageByteCount)) {
            $0 + Int64($1.byteCount + $1.commitCount * D1Commit.byteCount)
        }
    }

    /// Lets go of what is older than the retention, or more than may be kept: the oldest segment goes into the base.
    /// The one that is being written stays.
    ///
    /// - Parameter most: Segments at a time: each is some MiB of work.
    func prune(most: Int) throws {
        try removeLeftovers()
        for _ in 0..<most {
            guard segments.count > 1, let last = segments[0].last else { return }
            let horizon = surroundings.clock.wallTime() + (.zero - surroundings.limits.timeTravel)
            // All of a segment may go once the state at the horizon is in a later one, or its end.
            let isOld = segments[1].first.map { $0.time <= horizon } ?? false
            let limit = max(
                surroundings.limits.archiveBytesMin,
                surroundings.limits.archiveSizes * Int64(last.pageCount) * Int64(Self.pageByteCount))
            guard isOld || byteCount > limit else { return }
            try merge()
        }
    }

    private func merge() throws {
        guard let segment = segments.first, let last = segment.last else { return }
        if floor != last {
            try FileSystem.replace(Self.manifestPath(directory), with: Self.encode(last, firstSegment), surroundings.faults)
            floor = last
        }
        if let fault = surroundings.faults.failure(.merge) { throw fault }
        let base = try D1File.openToWrite(directory + "/base", .keeping, surroundings.faults)
        try apply(segment, upTo: segment.frameCount, to: base)
        try base.synchronize()
        if let fault = surroundings.faults.failure(.mergeEnd) { throw fault }
        try FileSystem.replace(Self.manifestPath(directory), with: Self.encode(floor, segment.number + 1), surroundings.faults)
        firstSegment = segment.number + 1
        segments.removeFirst()
        leftovers += [wal(segment.number), commits(segment.number)]
        try removeLeftovers()
    }

    private func removeLeftovers() throws {
        while let path = leftovers.first {
            try FileSystem.remove(path, surroundings.faults)
            leftovers.removeFirst()
        }
    }

    // MARK: Checks

    /// Whether all files are there and whole: what is wrong with them, in sentences.
    func problems() throws -> [String] {
        var found: [String] = []
        try removeLeftovers()
        if !FileSystem.exists(directory + "/base") { found.append("\(directory)/base is missing") }
        var known: Set<String> = ["manifest", "base", "pending", "restore"]
        var previous: D1Commit?
        for segment in segments {
            known.formUnion([wal(segment.number), commits(segment.number)].map { String($0.dropFirst(directory.count + 1)) })
            if var log = try D1LogReader.open(wal(segment.number), surroundings.faults) {
                while log.frameCount < segment.frameCount, try log.nextFrame() != nil {}
                if log.frameCount < segment.frameCount {
                    found.append("\(wal(segment.number)): frame \(log.frameCount + 1) is damaged")
                }
            } else {
                found.append("\(wal(segment.number)): is missing or has no header")
            }
            let commits = try D1Commit.readAll(self.commits(segment.number), surroundings.faults)
            if commits.count != segment.commitCount {
                found.append("\(self.commits(segment.number)): \(commits.count) of \(segment.commitCount) commits")
            }
            for commit in commits {
                if let previous, commit.bookmark <= previous.bookmark || commit.time < previous.time {
                    found.append("\(self.commits(segment.number)): \(commit.bookmark) is out of order")
                }
                previous = commit
            }
        }
        for name in try FileSystem.names(in: directory) where !known.contains(name) {
            found.append("\(directory)/\(name): belongs to nothing")
        }
        return found
    }

    /// The first page in which two database files differ.
    static func difference(_ left: String, _ right: String) throws(SystemError) -> Int? {
        guard let left = try D1File.openToRead(left), let right = try D1File.openToRead(right) else { return 1 }
        guard left.byteCount == right.byteCount else { return min(left.byteCount, right.byteCount) / pageByteCount + 1 }
        var ours: [UInt8] = []
        var theirs: [UInt8] = []
        for page in 0..<(left.byteCount / pageByteCount) {
            try left.read(&ours, count: pageByteCount, at: page * pageByteCount)
            try right.read(&theirs, count: pageByteCount, at: page * pageByteCount)
            if page == 0 {
                // What a copy counts up: changes, the schema's version, and the library's.
                for range in [18..<20, 24..<28, 40..<44, 92..<100] {
                    ours.replaceSubrange(range, with: theirs[range])
                }
            }
            if ours != theirs { return page + 1 }
        }
        return nil
    }

    // MARK: Files

    static func manifestPath(_ directory: String) -> String { directory + "/manifest" }
    var restorePath: String { directory + "/restore" }
    private func wal(_ number: UInt32) -> String { "\(directory)/segment-\(Self.padded(number)).wal" }
    private func commits(_ number: UInt32) -> String { "\(directory)/segment-\(Self.padded(number)).commits" }

    private static func padded(_ number: UInt32) -> String {
        let digits = String(number)
        return String(repeating: "0", count: 10 - digits.utf8.count) + digits
    }

    /// Finds the segments after the base and removes what an interruption left behind.
    private func loadSegments() throws {
        let names = try FileSystem.names(in: directory)
        var numbers: Set<UInt32> = []
        for name in names where name.hasPrefix("segment-") {
            guard let number = UInt32(name.dropFirst(8).prefix { $0 != "." }) else { continue }
            numbers.insert(number)
        }
        var expected = firstSegment
        for number in numbers.sorted() {
            let commits = try D1Commit.readAll(commits(number), surroundings.faults)
            // Merged into the base already, or never finished.
            guard number >= firstSegment, let last = commits.last,
                let log = try D1LogReader.open(wal(number), surroundings.faults)
            else {
                try FileSystem.remove(wal(number), surroundings.faults)
                try FileSystem.remove(self.commits(number), surroundings.faults)
                continue
            }
            guard number == expected else {
                throw D1Failure("\(wal(expected)) is missing")
            }
            expected += 1
            segments.append(
                Segment(
                    number: number, salt: log.salt, frameCount: Int(last.frameCount), commitCount: commits.count,
                    first: commits.first, last: last,
                    byteCount: D1LogReader.headerByteCount + Int(last.frameCount) * log.frameByteCount))
        }
        for name in names where name.hasPrefix("restore") || name.hasSuffix(".new") {
            try FileSystem.remove("\(directory)/\(name)", surroundings.faults)
        }
    }

    private static func encode(_ floor: D1Commit, _ first: UInt32) -> String {
        "edge-d1-archive 1\n\(floor.bookmark) \(floor.time.milliseconds) \(floor.pageCount)\n\(first)\n"
    }

    private static func decode(_ text: String) -> (D1Commit, UInt32)? {
        let fields = text.split { $0 == " " || $0 == "\n" }
        guard fields.count == 6, fields[0] == "edge-d1-archive", fields[1] == "1",
            let bookmark = D1Bookmark(String(fields[2])), let time = Int64(fields[3]), let pages = UInt32(fields[4]),
            let first = UInt32(fields[5])
        else { return nil }
        return (
            D1Commit(
                bookmark: bookmark, time: UnixTime(milliseconds: time), frameCount: 0, pageCount: pages), first
        )
    }
}
