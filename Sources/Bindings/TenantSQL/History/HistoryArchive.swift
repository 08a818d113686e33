package import System

/// The past of one database: a copy of its file as it was once, and the log from there on. Belongs to the writer's
/// thread.
///
/// Files whose paths begin with `HistorySettings.prefix`:
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
package final class HistoryArchive {
    /// One life of the log.
    private struct Segment {
        let number: UInt32
        let salt: [UInt8]
        /// Frames and commits in its files.
        var frameCount: Int
        var commitCount: Int
        var first: HistoryCommit?
        var last: HistoryCommit?
        var byteCount: Int
    }

    /// A state that can be had again.
    package struct State {
        package let commit: HistoryCommit
        /// The segment that holds it; `nil` for the base alone.
        fileprivate let segment: UInt32?
    }

    package static let pageByteCount = 4096
    private let settings: HistorySettings
    private let prefix: String
    private let directory: String
    /// The oldest state.
    package private(set) var floor: HistoryCommit
    private var firstSegment: UInt32
    private var segments: [Segment]
    private var pending: [HistoryCommit]
    private var pendingFile: PositionedFile?
    private var pendingOffset = 0
    /// Files of segments that are merged: a disk that doesn't let them go at once is asked again.
    private var leftovers: [String] = []

    /// Opens what is there.
    ///
    /// - Returns: `nil` when nothing is, or nothing whole: an archive begins with its manifest.
    package init?(_ settings: HistorySettings) throws {
        self.settings = settings
        prefix = settings.prefix
        directory = FileSystem.parent(of: prefix)
        guard let text = try FileSystem.read(prefix + "manifest", settings.faults),
            let (floor, first) = Self.decode(text)
        else { return nil }
        self.floor = floor
        firstSegment = first
        segments = []
        pending = try settings.keepsPending ? HistoryCommit.readAll(prefix + "pending", settings.faults) : []
        try loadSegments()
    }

    /// Begins an archive with the database's file as it is. No connection to it may be open, and all of its log must
    /// have been copied.
    package static func begin(_ settings: HistorySettings, at bookmark: HistoryBookmark) throws {
        guard let source = try PositionedFile.openToRead(settings.path, settings.faults) else {
            throw SystemError("open", errno: 2, on: settings.path)
        }
        try begin(settings, at: bookmark, since: settings.now()) { base in try base.copy(source) }
    }

    /// Begins an archive with a state that `fill` writes.
    ///
    /// - Parameter time: Since when that was the newest one.
    package static func begin(
        _ settings: HistorySettings, at bookmark: HistoryBookmark, since time: UnixTime,
        _ fill: (borrowing PositionedFile) throws -> Void
    ) throws {
        let directory = FileSystem.parent(of: settings.prefix)
        try remove(settings.prefix, ownsDirectory: settings.ownsDirectory, settings.faults)
        try FileSystem.makeDirectory(directory, settings.faults)
        let base = try PositionedFile.openToWrite(settings.prefix + "base", .empty, settings.faults)
        try fill(base)
        try base.synchronize()
        try FileSystem.synchronizeDirectory(directory, settings.faults)
        let pageCount = UInt32(clamping: base.byteCount / Self.pageByteCount)
        let floor = HistoryCommit(bookmark: bookmark, time: time, frameCount: 0, pageCount: pageCount)
        try FileSystem.replace(settings.prefix + "manifest", with: encode(floor, 1), settings.faults)
    }

    /// Forgets the past: the manifest first, so that no half of it is taken for a whole.
    package static func remove(
        _ prefix: String, ownsDirectory: Bool, _ faults: DatabaseFaults = .none
    ) throws(SystemError) {
        let directory = FileSystem.parent(of: prefix)
        let names = try names(of: prefix)
        guard !names.isEmpty || ownsDirectory && FileSystem.exists(directory) else { return }
        if names.contains("manifest") {
            try FileSystem.remove(prefix + "manifest", faults)
            try FileSystem.synchronizeDirectory(directory, faults)
        }
        for name in names { try FileSystem.remove(prefix + name, faults) }
        if ownsDirectory { try FileSystem.removeDirectory(directory, faults) }
    }

    /// What its files are called behind the prefix.
    private static func names(of prefix: String) throws(SystemError) -> [String] {
        let directory = FileSystem.parent(of: prefix)
        let stem = String(prefix.dropFirst(directory.utf8.count + 1))
        return try FileSystem.names(in: directory).filter { $0.hasPrefix(stem) }.map { String($0.dropFirst(stem.utf8.count)) }
    }

    // MARK: Commits

    /// The newest state, or what will be when `pending` has been taken up.
    package var newest: HistoryCommit { pending.last ?? segments.last?.last ?? floor }

    /// Notes a commit that was just made.
    package func note(_ bookmark: HistoryBookmark) {
        let commit = HistoryCommit(
            bookmark: bookmark, time: max(newest.time, settings.now()), frameCount: bookmark.frame,
            pageCount: 0)
        pending.append(commit)
        var bytes: [UInt8] = []
        commit.encode(into: &bytes)
        do {
            if pendingFile == nil {
                pendingFile = try PositionedFile.openToWrite(prefix + "pending", .keeping, settings.faults)
                pendingOffset = pendingFile?.byteCount ?? 0
                pendingOffset -= pendingOffset % HistoryCommit.byteCount
            }
            try pendingFile?.write(bytes[...], at: pendingOffset)
            pendingOffset += bytes.count
        } catch {
            // Its place is known, and its time too unless the process ends before the next checkpoint.
            settings.warn("a commit's time was not written", error)
        }
    }

    /// What commits are called.
    package enum Names {
        /// As they were noted; those that nobody noted after their neighbours, or where this belongs.
        case noted(fallback: HistoryBookmark)
        /// After their place: segment of the archive, and frame.
        case placed(generation: UInt32)
    }

    /// Notes commits that were kept elsewhere.
    package func note(_ commits: [HistoryCommit]) { pending += commits }

    /// Takes up what the database's log holds and the archive doesn't. Durable when it returns.
    ///
    /// - Parameters:
    ///   - limit: The frames that are committed; `nil` before a connection is open: what SQLite will find then.
    ///   - names: What the commits are called.
    package func takeUp(upTo limit: Int?, names: Names) throws {
        guard limit != 0, var log = try LogReader.open(settings.path + "-wal", settings.faults) else { return }
        if let fault = settings.faults.failure(.archive) { throw fault }
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
        let commits = named(found, in: segment, names, logTime: log.modificationTime)
        try list(commits, in: segment, isNew: isNew)
        segment.frameCount = Int(found[found.count - 1].frameCount)
        segment.commitCount += commits.count
        segment.first = segment.first ?? commits.first
        segment.last = commits.last
        segment.byteCount = LogReader.headerByteCount + segment.frameCount * log.frameByteCount
        if isNew { segments.append(segment) } else { segments[segments.count - 1] = segment }
        pending = []
        guard settings.keepsPending else { return }
        if pendingFile == nil { pendingFile = try? PositionedFile.openToWrite(prefix + "pending", .keeping, settings.faults) }
        try? pendingFile?.truncate(to: 0)
        pendingOffset = 0
    }

    /// Copies frames up to the last commit; returns the commits, without names and times.
    private func copy(
        _ log: inout LogReader, into segment: Segment, upTo limit: Int?, isNew: Bool
    ) throws -> [HistoryCommit] {
        let file = try PositionedFile.openToWrite(wal(segment.number), isNew ? .empty : .keeping, settings.faults)
        if isNew { try file.write(log.header[...], at: 0) }
        var commits: [HistoryCommit] = []
        // Written in larger pieces than frames.
        var piece: [UInt8] = []
        var pieceStart = LogReader.headerByteCount + segment.frameCount * log.frameByteCount
        while limit.map({ log.frameCount < $0 }) ?? true, let frame = try log.nextFrame() {
            let start = frame.offset - LogReader.frameHeaderByteCount
            piece += log.bytes[start..<(start + log.frameByteCount)]
            if frame.pagesAfterCommit != 0 {
                commits.append(
                    HistoryCommit(
                        bookmark: HistoryBookmark(generation: 0, segment: 0, frame: 0, digest: frame.digest),
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
        try file.truncate(to: LogReader.headerByteCount + Int(last.frameCount) * log.frameByteCount)
        if let fault = settings.faults.failure(.archiveSync) { throw fault }
        try file.synchronize()
        return commits
    }

    /// Gives commits the bookmarks and times that were noted, and those in between what fits there.
    private func named(
        _ commits: [HistoryCommit], in segment: Segment, _ names: Names, logTime: UnixTime
    ) -> [HistoryCommit] {
        var noted: [[UInt8]: HistoryCommit] = [:]
        for commit in pending { noted[commit.bookmark.digest] = commit }
        let now = settings.now()
        // For each commit the next one that was noted.
        var nexts: [HistoryCommit?] = []
        for commit in commits.reversed() { nexts.append(noted[commit.bookmark.digest] ?? nexts.last ?? nil) }
        nexts.reverse()
        var previous = segment.last
        var time = newestKept.time
        return commits.enumerated().map { index, commit in
            var commit = commit
            let known = noted[commit.bookmark.digest]
            switch (names, known) {
            case (.placed(let generation), _):
                commit.bookmark.generation = generation
                commit.bookmark.segment = segment.number
                commit.bookmark.frame = commit.frameCount
            case (.noted, let known?): commit.bookmark = known.bookmark
            case (.noted(let fallback), nil):
                let neighbour = previous?.bookmark ?? nexts[index]?.bookmark ?? fallback
                commit.bookmark.generation = neighbour.generation
                commit.bookmark.segment = neighbour.segment
                commit.bookmark.frame = commit.frameCount
            }
            commit.time = max(time, known?.time ?? min(now, logTime, nexts[index]?.time ?? now))
            previous = commit
            time = commit.time
            return commit
        }
    }

    /// The newest state that is kept whole.
    package var newestKept: HistoryCommit { segments.last?.last ?? floor }

    private func list(_ commits: [HistoryCommit], in segment: Segment, isNew: Bool) throws {
        if let fault = settings.faults.failure(.archiveList) { throw fault }
        var bytes: [UInt8] = []
        for commit in commits { commit.encode(into: &bytes) }
        let file = try PositionedFile.openToWrite(self.commits(segment.number), isNew ? .empty : .keeping, settings.faults)
        let start = segment.commitCount * HistoryCommit.byteCount
        try file.truncate(to: start)
        try file.write(bytes[...], at: start)
        try file.synchronize()
        if isNew { try FileSystem.synchronizeDirectory(directory, settings.faults) }
    }

    // MARK: States

    /// What `point` means. What the database's log holds must have been taken up.
    package func state(at point: HistoryPoint) throws(HistoryError) -> State {
        switch point {
        case .time(let time):
            guard time <= settings.now() else {
                throw HistoryError.invalid("Invalid timestamp: it is in the future")
            }
            guard time >= floor.time else { throw beforeWindow("timestamp") }
            return try state { $0.time <= time }
        case .bookmark(let text):
            guard let bookmark = HistoryBookmark(text) else {
                throw HistoryError.invalid("Invalid bookmark: \(text)")
            }
            return try state(at: bookmark)
        }
    }

    private func state(at bookmark: HistoryBookmark) throws(HistoryError) -> State {
        if bookmark == floor.bookmark { return floorState }
        guard bookmark > floor.bookmark else { throw beforeWindow("bookmark") }
        // One of an empty log belongs to no commit, nor does the end of a generation, which only those give out that name commits
        // by their place.
        let isEnd = !settings.keepsPending && bookmark == .end(ofGeneration: bookmark.generation)
        if bookmark.digest == HistoryBookmark.zeroDigest || isEnd {
            return try state { $0.bookmark <= bookmark }
        }
        if let segment = segments.last(where: { $0.salt[...] == bookmark.digest.prefix(8) }),
            let commit = try read(segment).first(where: { $0.bookmark.digest == bookmark.digest })
        {
            return State(commit: commit, segment: segment.number)
        }
        throw HistoryError.invalid("Invalid bookmark: \(bookmark) is not of this database's history")
    }

    /// The last state for which `matches` holds, as it does for all before.
    private func state(where matches: (HistoryCommit) -> Bool) throws(HistoryError) -> State {
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

    private func read(_ segment: Segment) throws(HistoryError) -> [HistoryCommit] {
        do { return try HistoryCommit.readAll(commits(segment.number), settings.faults) } catch {
            throw HistoryError.damaged("\(error)")
        }
    }

    private func beforeWindow(_ what: String) -> HistoryError {
        HistoryError.invalid("Invalid \(what): the history of this database begins at \(floor.bookmark)")
    }

    /// How many commits came after the state of `bookmark`. What the database's log holds must have been taken up.
    ///
    /// - Throws: when the history doesn't go back so far.
    package func commitCount(after bookmark: HistoryBookmark) throws(HistoryError) -> Int {
        guard bookmark >= floor.bookmark else { throw beforeWindow("bookmark") }
        func isLater(_ commit: HistoryCommit) -> Bool {
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
    package func build(_ state: State, at path: String) throws {
        if let fault = settings.faults.failure(.image) { throw fault }
        guard let base = try PositionedFile.openToRead(prefix + "base", settings.faults) else {
            throw HistoryError.damaged("the archive has no base")
        }
        let image = try PositionedFile.openToWrite(path, .empty, settings.faults)
        try image.copy(base)
        if state.segment == nil { try image.truncate(to: Int(floor.pageCount) * Self.pageByteCount) }
        for segment in segments {
            guard let last = state.segment, segment.number <= last else { break }
            let end = segment.number == last ? Int(state.commit.frameCount) : segment.frameCount
            try apply(segment, upTo: end, to: image)
        }
        try image.synchronize()
    }

    private func apply(_ segment: Segment, upTo end: Int, to image: borrowing PositionedFile) throws {
        guard var log = try LogReader.open(wal(segment.number), settings.faults) else { throw damaged(segment) }
        var pages: UInt32 = 0
        while log.frameCount < end {
            guard let frame = try log.nextFrame() else { throw damaged(segment) }
            let content = log.bytes[frame.offset..<(frame.offset + log.pageByteCount)]
            try image.write(content, at: Int(frame.page - 1) * log.pageByteCount)
            if frame.pagesAfterCommit != 0 { pages = frame.pagesAfterCommit }
        }
        if pages != 0 { try image.truncate(to: Int(pages) * log.pageByteCount) }
    }

    private func damaged(_ segment: Segment) -> HistoryError {
        HistoryError.damaged("the archive's file \(wal(segment.number)) is damaged")
    }

    // MARK: Retention

    package var byteCount: Int64 {
        segments.reduce(Int64(floor.pageCount) * Int64(Self.pageByteCount)) {
            $0 + Int64($1.byteCount + $1.commitCount * HistoryCommit.byteCount)
        }
    }

    /// Lets go of what is older than the retention, or more than may be kept: the oldest segment goes into the base.
    /// The one that is being written stays.
    ///
    /// - Parameter most: Segments at a time: each is some MiB of work.
    package func prune(most: Int) throws {
        try removeLeftovers()
        for _ in 0..<most {
            guard segments.count > 1, let last = segments[0].last else { return }
            let horizon = settings.now() + (.zero - settings.retention)
            // All of a segment may go once the state at the horizon is in a later one, or its end.
            let isOld = segments[1].first.map { $0.time <= horizon } ?? false
            let limit = max(
                settings.byteCountMin,
                settings.sizesMax * Int64(last.pageCount) * Int64(Self.pageByteCount))
            guard isOld || byteCount > limit else { return }
            try merge()
        }
    }

    private func merge() throws {
        guard let segment = segments.first, let last = segment.last else { return }
        if floor != last {
            try FileSystem.replace(prefix + "manifest", with: Self.encode(last, firstSegment), settings.faults)
            floor = last
        }
        if let fault = settings.faults.failure(.merge) { throw fault }
        let base = try PositionedFile.openToWrite(prefix + "base", .keeping, settings.faults)
        try apply(segment, upTo: segment.frameCount, to: base)
        try base.synchronize()
        if let fault = settings.faults.failure(.mergeEnd) { throw fault }
        try FileSystem.replace(prefix + "manifest", with: Self.encode(floor, segment.number + 1), settings.faults)
        firstSegment = segment.number + 1
        segments.removeFirst()
        leftovers += [wal(segment.number), commits(segment.number)]
        try removeLeftovers()
    }

    private func removeLeftovers() throws {
        while let path = leftovers.first {
            try FileSystem.remove(path, settings.faults)
            leftovers.removeFirst()
        }
    }

    // MARK: Checks

    /// Whether all files are there and whole: what is wrong with them, in sentences.
    package func problems() throws -> [String] {
        var found: [String] = []
        try removeLeftovers()
        if !FileSystem.exists(prefix + "base") { found.append("\(prefix)base is missing") }
        var known: Set<String> = ["manifest", "base", "pending", "restore"]
        var previous: HistoryCommit?
        for segment in segments {
            known.formUnion([wal(segment.number), commits(segment.number)].map { String($0.dropFirst(prefix.count)) })
            if var log = try LogReader.open(wal(segment.number), settings.faults) {
                while log.frameCount < segment.frameCount, try log.nextFrame() != nil {}
                if log.frameCount < segment.frameCount {
                    found.append("\(wal(segment.number)): frame \(log.frameCount + 1) is damaged")
                }
            } else {
                found.append("\(wal(segment.number)): is missing or has no header")
            }
            let commits = try HistoryCommit.readAll(self.commits(segment.number), settings.faults)
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
        for name in try Self.names(of: prefix) where !known.contains(name) {
            found.append("\(prefix)\(name): belongs to nothing")
        }
        return found
    }

    /// The first page in which two database files differ.
    package static func difference(_ left: String, _ right: String) throws(SystemError) -> Int? {
        guard let left = try PositionedFile.openToRead(left), let right = try PositionedFile.openToRead(right) else { return 1 }
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

    package var restorePath: String { prefix + "restore" }
    private func wal(_ number: UInt32) -> String { "\(prefix)segment-\(Self.padded(number)).wal" }
    private func commits(_ number: UInt32) -> String { "\(prefix)segment-\(Self.padded(number)).commits" }

    private static func padded(_ number: UInt32) -> String {
        let digits = String(number)
        return String(repeating: "0", count: 10 - digits.utf8.count) + digits
    }

    /// Finds the segments after the base and removes what an interruption left behind.
    private func loadSegments() throws {
        let names = try Self.names(of: prefix)
        var numbers: Set<UInt32> = []
        for name in names where name.hasPrefix("segment-") {
            guard let number = UInt32(name.dropFirst(8).prefix { $0 != "." }) else { continue }
            numbers.insert(number)
        }
        var expected = firstSegment
        for number in numbers.sorted() {
            let commits = try HistoryCommit.readAll(commits(number), settings.faults)
            // Merged into the base already, or never finished.
            guard number >= firstSegment, let last = commits.last,
                let log = try LogReader.open(wal(number), settings.faults)
            else {
                try FileSystem.remove(wal(number), settings.faults)
                try FileSystem.remove(self.commits(number), settings.faults)
                continue
            }
            guard number == expected else {
                throw HistoryError.damaged("\(wal(expected)) is missing")
            }
            expected += 1
            segments.append(
                Segment(
                    number: number, salt: log.salt, frameCount: Int(last.frameCount), commitCount: commits.count,
                    first: commits.first, last: last,
                    byteCount: LogReader.headerByteCount + Int(last.frameCount) * log.frameByteCount))
        }
        for name in names where name.hasPrefix("restore") || name.hasSuffix(".new") {
            try FileSystem.remove(prefix + name, settings.faults)
        }
    }

    private static func encode(_ floor: HistoryCommit, _ first: UInt32) -> String {
        "edge-d1-archive 1\n\(floor.bookmark) \(floor.time.milliseconds) \(floor.pageCount)\n\(first)\n"
    }

    private static func decode(_ text: String) -> (HistoryCommit, UInt32)? {
        let fields = text.split { $0 == " " || $0 == "\n" }
        guard fields.count == 6, fields[0] == "edge-d1-archive", fields[1] == "1",
            let bookmark = HistoryBookmark(String(fields[2])), let time = Int64(fields[3]), let pages = UInt32(fields[4]),
            let first = UInt32(fields[5])
        else { return nil }
        return (
            HistoryCommit(
                bookmark: bookmark, time: UnixTime(milliseconds: time), frameCount: 0, pageCount: pages), first
        )
    }
}
