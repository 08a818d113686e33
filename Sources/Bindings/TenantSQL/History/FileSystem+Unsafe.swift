internal import Glibc
package import System

/// The few things that are done to files beside SQLite's. Blocking.
package enum FileSystem {
    /// Makes a directory and those above it that are missing.
    package static func makeDirectory(_ path: String, _ faults: DatabaseFaults = .none) throws(SystemError) {
        try faults.check(.makeDirectory, path)
        // SAFETY: Swift lends each path as a NUL-terminated string for the call.
        if unsafe mkdir(path, 0o700) == 0 { return try synchronizeDirectory(parent(of: path), faults) }
        let failure = errno
        switch failure {
        case EEXIST: return
        case ENOENT:
            let above = parent(of: path)
            guard above != path else { throw SystemError("mkdir", errno: failure, on: path) }
            try makeDirectory(above, faults)
            guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else {
                throw SystemError("mkdir", errno: errno, on: path)
            }
            try synchronizeDirectory(above, faults)
        default: throw SystemError("mkdir", errno: failure, on: path)
        }
    }

    /// The content of a small file; `nil` when there is none.
    package static func read(_ path: String, _ faults: DatabaseFaults = .none) throws(SystemError) -> String? {
        try faults.check(.read, path)
        let number = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else {
            if errno == ENOENT { return nil }
            throw SystemError("open", errno: errno, on: path)
        }
        let file = Descriptor(owning: number)
        var bytes = [UInt8](repeating: 0, count: 4096)
        // SAFETY: read fills at most the array's bytes.
        let count = unsafe bytes.withUnsafeMutableBytes {
            unsafe Glibc.read(file.rawValue, $0.baseAddress, $0.count)
        }
        guard count >= 0 else { throw SystemError("read", errno: errno, on: path) }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// Puts `text` in the place of the file's content; after a crash the file holds the old text or the new
    /// one.
    package static func replace(
        _ path: String, with text: String, _ faults: DatabaseFaults = .none
    ) throws(SystemError) {
        let temporary = path + ".new"
        try faults.check(.open, temporary)
        let number = unsafe open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw SystemError("open", errno: errno, on: temporary) }
        let file = Descriptor(owning: number)
        let bytes = Array(text.utf8)
        try faults.check(.write, temporary)
        let count = unsafe bytes.withUnsafeBytes { unsafe write(file.rawValue, $0.baseAddress, $0.count) }
        guard count == bytes.count else { throw SystemError("write", errno: errno, on: temporary) }
        try faults.check(.synchronize, temporary)
        guard fdatasync(file.rawValue) == 0 else {
            throw SystemError("fdatasync", errno: errno, on: temporary)
        }
        try file.close()
        try rename(temporary, to: path, faults)
        try synchronizeDirectory(parent(of: path), faults)
    }

    package static func remove(_ path: String, _ faults: DatabaseFaults = .none) throws(SystemError) {
        try faults.check(.remove, path)
        guard unsafe unlink(path) == 0 || errno == ENOENT else {
            throw SystemError("unlink", errno: errno, on: path)
        }
    }

    /// Makes new and removed names in a directory durable.
    package static func synchronizeDirectory(_ path: String, _ faults: DatabaseFaults = .none) throws(SystemError) {
        try faults.check(.synchronizeDirectory, path)
        let number = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw SystemError("open", errno: errno, on: path) }
        let directory = Descriptor(owning: number)
        guard fsync(directory.rawValue) == 0 else { throw SystemError("fsync", errno: errno, on: path) }
        try directory.close()
    }

    package static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// 0 when there is no such file.
    package static func byteCount(of path: String) -> Int64 {
        var info = stat()
        // SAFETY: stat fills the struct whose address it is given; Swift lends the path as a NUL-terminated string.
        return unsafe stat(path, &info) == 0 ? Int64(info.st_size) : 0
    }

    /// The machine's memory.
    package static var memoryByteCount: Int64 { Int64(sysconf(Int32(_SC_PHYS_PAGES))) * Int64(sysconf(Int32(_SC_PAGESIZE))) }

    /// What an ordinary process may still write to the file system of `path`; 0 when it can't be told.
    package static func freeByteCount(at path: String) -> Int64 {
        var info = statvfs()
        // SAFETY: statvfs fills the struct whose address it is given.
        guard unsafe statvfs(path, &info) == 0 else { return 0 }
        return Int64(
            clamping: UInt64(info.f_bavail).multipliedReportingOverflow(by: UInt64(info.f_frsize))
                .partialValue)
    }
}

/// Reads bits of a write-ahead log. SQLite takes no lock on that file, so opening and closing it here
/// disturbs none (the database file itself must never be opened: closing would drop SQLite's POSIX locks,
/// https://www.sqlite.org/howtocorrupt.html).
package struct LogFile: ~Copyable {
    private let descriptor: Descriptor

    package init(_ path: String) throws(SystemError) {
        let number = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { throw SystemError("open", errno: errno, on: path) }
        descriptor = Descriptor(owning: number)
    }

    /// Salt and checksum in the header of frame `number`, counted from 1
    /// (https://www.sqlite.org/fileformat2.html#walformat).
    package func digest(ofFrame number: Int, pageByteCount: Int64) -> [UInt8]? {
        var header = [UInt8](repeating: 0, count: 24)
        let offset = 32 + Int64(number - 1) * (24 + pageByteCount)
        // SAFETY: pread fills at most the array's bytes.
        let count = unsafe header.withUnsafeMutableBytes {
            unsafe pread(descriptor.rawValue, $0.baseAddress, $0.count, off_t(offset))
        }
        return count == 24 ? Array(header[8...]) : nil
    }
}
