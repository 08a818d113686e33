internal import Glibc
internal import System

/// The files of one store. One thread at a time.
struct SegmentFiles {
    /// What one file holds: a dataset's points of one hour.
    struct Name: Hashable, Comparable {
        var dataset: String
        /// Since 1970.
        var hour: Int64
        /// The number of a file that was set aside; 0 is the one that grows.
        var damaged = 0

        init(dataset: String, hour: Int64) {
            self.dataset = dataset
            self.hour = hour
        }

        /// What was set aside is older than what grows.
        static func < (left: Self, right: Self) -> Bool {
            (left.dataset, left.hour, left.age) < (right.dataset, right.hour, right.age)
        }

        private var age: Int { damaged == 0 ? .max : damaged }

        var isSetAside: Bool { damaged > 0 }

        var file: String {
            let digits = String(hour)
            return String(repeating: "0", count: max(0, 10 - digits.utf8.count)) + digits
                + (isSetAside ? ".damaged-\(damaged)" : "") + ".points"
        }

        init?(dataset: String, file: String) {
            let parts = file.split(separator: ".", omittingEmptySubsequences: false)
            guard let hour = Int64(parts[0]), parts.last == "points", parts.count <= 3 else { return nil }
            self.init(dataset: dataset, hour: hour)
            guard parts.count == 3 else { return }
            guard parts[1].hasPrefix("damaged-"), let number = Int(parts[1].dropFirst(8)), number > 0 else { return nil }
            damaged = number
        }
    }

    private let directory: String
    /// The end of the whole records of those files that this process has looked through.
    private var lengths: [Name: Int64] = [:]
    /// Makes operations fail, by name; for tests.
    private let fault: (@Sendable (String) -> Int32?)?

    init(_ directory: String, fault: (@Sendable (String) -> Int32?)?) {
        self.directory = directory
        self.fault = fault
    }

    private func path(_ name: Name) -> String { "\(directory)/\(name.dataset)/\(name.file)" }

    /// Names of the datasets that have files.
    func datasets() -> [String] {
        FileTree.list(directory).filter { dataset in segments(of: dataset).first != nil }
    }

    /// Oldest first.
    func segments(of dataset: String) -> [Name] {
        FileTree.list("\(directory)/\(dataset)").compactMap { Name(dataset: dataset, file: $0) }.sorted()
    }

    /// What can be read of a file now.
    func readable(_ name: Name) throws(SystemError) -> (path: String, byteCount: Int64) {
        let path = path(name)
        if let known = lengths[name] { return (path, known) }
        let file = try FileTree.openFile(path, flags: O_RDONLY)
        return (path, Int64(lseek(file.rawValue, 0, SEEK_END)))
    }

    /// Adds whole records to a file. Durable when it returns; after an error the file is as it was.
    ///
    /// - Returns: where the file was put that had these records' name, when it turned out to be damaged.
    @discardableResult
    mutating func append(_ records: [UInt8], to name: Name) throws(SystemError) -> String? {
        let folder = "\(directory)/\(name.dataset)"
        let path = path(name)
        let damaged = lengths[name] == nil && FileTree.exists(path) ? try mend(name) : nil
        let isNew = !FileTree.exists(path)
        if isNew { try FileTree.makeDirectory(folder, mode: 0o700) }
        let file = try FileTree.openFile(path, flags: O_RDWR | O_CREAT | O_APPEND)
        let length = lengths[name] ?? 0
        do throws(SystemError) {
            if length == 0 { try file.writeAll(SegmentReader.header, on: path) }
            try check("write", path)
            try file.writeAll(records, on: path)
            try check("fdatasync", path)
            guard fdatasync(file.rawValue) == 0 else { throw SystemError("fdatasync", errno: errno, on: path) }
        } catch {
            // If this fails as well, the next look through the file cuts it.
            if ftruncate(file.rawValue, off_t(length)) != 0 { lengths[name] = nil }
            throw error
        }
        lengths[name] = max(length, Int64(SegmentReader.header.count)) + Int64(records.count)
        guard isNew else { return nil }
        for folder in [folder, directory] {
            let opened = try FileTree.openFile(folder, flags: O_RDONLY | O_DIRECTORY)
            guard fsync(opened.rawValue) == 0 else { throw SystemError("fsync", errno: errno, on: folder) }
        }
        return damaged
    }

    /// Looks through a file that was written before this process: cuts off what a crash has torn at its end. A file with whole
    /// records behind what is none, or with another head, isn't touched: it gets another name, and what comes goes into a new one.
    ///
    /// - Returns: the path of such a file.
    private mutating func mend(_ name: Name) throws(SystemError) -> String? {
        let path = path(name)
        let file = try FileTree.openFile(path, flags: O_RDWR)
        let byteCount = Int64(lseek(file.rawValue, 0, SEEK_END))
        let reader = try SegmentReader(path, byteCount: byteCount, isSetAside: true)
        while try reader.next() != nil {}
        let isHeadless = byteCount >= Int64(SegmentReader.header.count) && !reader.hasHeader
        if reader.damage.isEmpty && !isHeadless {
            let whole = reader.endOfRecords
            guard whole == byteCount || ftruncate(file.rawValue, off_t(whole)) == 0 else {
                throw SystemError("ftruncate", errno: errno, on: path)
            }
            lengths[name] = whole
            return nil
        }
        var aside = name
        repeat { aside.damaged += 1 } while FileTree.exists(self.path(aside))
        let target = self.path(aside)
        try check("rename", path)
        guard unsafe rename(path, target) == 0 else { throw SystemError("rename", errno: errno, on: path) }
        lengths[aside] = byteCount
        return target
    }

    private func check(_ operation: String, _ path: String) throws(SystemError) {
        if let code = fault?(operation) { throw SystemError(operation, errno: code, on: path) }
    }

    /// Removes files of hours before `hour`.
    mutating func removeSegments(before hour: Int64) throws(SystemError) {
        for dataset in FileTree.list(directory) {
            for name in segments(of: dataset) where name.hour < hour {
                try FileTree.remove(path(name))
                lengths[name] = nil
            }
        }
    }
}
