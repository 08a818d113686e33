internal import Glibc
package import System

/// A file beside a database, read and written at places. Never the database itself while SQLite has it open: closing
/// would drop SQLite's locks (https://www.sqlite.org/howtocorrupt.html). Blocking.
package struct PositionedFile: ~Copyable {
    private let descriptor: Descriptor
    private let path: String
    private let faults: DatabaseFaults

    private init(_ descriptor: consuming Descriptor, _ path: String, _ faults: DatabaseFaults) {
        self.descriptor = descriptor
        self.path = path
        self.faults = faults
    }

    /// `nil` when there is no such file.
    package static func openToRead(_ path: String, _ faults: DatabaseFaults = .none) throws(SystemError) -> PositionedFile? {
        try faults.check(.open, path)
        let number = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else {
            if errno == ENOENT { return nil }
            throw SystemError("open", errno: errno, on: path)
        }
        return PositionedFile(Descriptor(owning: number), path, faults)
    }

    package enum Start { case keeping, empty }

    /// Makes the file when it is missing.
    package static func openToWrite(
        _ path: String, _ start: Start, _ faults: DatabaseFaults = .none
    ) throws(SystemError) -> PositionedFile {
        try faults.check(.open, path)
        let flags = O_RDWR | O_CREAT | O_CLOEXEC | (start == .empty ? O_TRUNC : 0)
        let number = unsafe Glibc.open(path, flags, 0o600)
        guard number >= 0 else { throw SystemError("open", errno: errno, on: path) }
        return PositionedFile(Descriptor(owning: number), path, faults)
    }

    package var byteCount: Int {
        var info = stat()
        // SAFETY: fstat fills the struct whose address it is given.
        return unsafe fstat(descriptor.rawValue, &info) == 0 ? Int(info.st_size) : 0
    }

    package var modificationTime: UnixTime {
        var info = stat()
        // SAFETY: as above.
        guard unsafe fstat(descriptor.rawValue, &info) == 0 else { return UnixTime(milliseconds: 0) }
        return UnixTime(milliseconds: Int64(info.st_mtim.tv_sec) * 1000 + Int64(info.st_mtim.tv_nsec) / 1_000_000)
    }

    /// Replaces the content of `bytes` with up to `count` bytes of the file from `offset` on: fewer only at its end.
    package func read(_ bytes: inout [UInt8], count: Int, at offset: Int) throws(SystemError) {
        try faults.check(.read, path)
        if bytes.count != count { bytes = [UInt8](repeating: 0, count: count) }
        var done = 0
        while done < count {
            // SAFETY: pread fills at most what is left of the array.
            let number = unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe pread(
                    descriptor.rawValue, UnsafeMutableRawBufferPointer(rebasing: buffer[done...]).baseAddress,
                    count - done, off_t(offset + done))
            }
            guard number >= 0 else {
                if errno == EINTR { continue }
                throw SystemError("read", errno: errno, on: path)
            }
            if number == 0 { break }
            done += number
        }
        if done < count { bytes.removeLast(count - done) }
    }

    package func write(_ bytes: ArraySlice<UInt8>, at offset: Int) throws(SystemError) {
        guard let number = faults.fileFailure(.write, path) else { return try writeAll(bytes, at: offset) }
        try writeAll(bytes.prefix(bytes.count / 2), at: offset)
        throw SystemError("write", errno: number, on: path)
    }

    private func writeAll(_ bytes: ArraySlice<UInt8>, at offset: Int) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            // SAFETY: pwrite reads at most what is left of the slice.
            let number = unsafe bytes.withUnsafeBytes { buffer in
                unsafe pwrite(
                    descriptor.rawValue, UnsafeRawBufferPointer(rebasing: buffer[done...]).baseAddress,
                    bytes.count - done, off_t(offset + done))
            }
            guard number > 0 else {
                if number < 0, errno == EINTR { continue }
                throw SystemError("write", errno: number == 0 ? ENOSPC : errno, on: path)
            }
            done += number
        }
    }

    package func truncate(to count: Int) throws(SystemError) {
        try faults.check(.truncate, path)
        guard ftruncate(descriptor.rawValue, off_t(count)) == 0 else {
            throw SystemError("ftruncate", errno: errno, on: path)
        }
    }

    package func synchronize() throws(SystemError) {
        try faults.check(.synchronize, path)
        guard fdatasync(descriptor.rawValue) == 0 else { throw SystemError("fdatasync", errno: errno, on: path) }
    }

    /// Makes this file's content that of `source`.
    package func copy(_ source: borrowing PositionedFile) throws(SystemError) {
        try truncate(to: 0)
        var piece: [UInt8] = []
        var done = 0
        while true {
            try source.read(&piece, count: 1 << 20, at: done)
            guard !piece.isEmpty else { return }
            try write(piece[...], at: done)
            done += piece.count
        }
    }
}

extension FileSystem {
    package static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    package static func rename(
        _ path: String, to target: String, _ faults: DatabaseFaults = .none
    ) throws(SystemError) {
        try faults.check(.rename, target)
        guard unsafe Glibc.rename(path, target) == 0 else { throw SystemError("rename", errno: errno, on: path) }
    }

    /// The names in a directory; none when there is no such directory.
    package static func names(in directory: String) throws(SystemError) -> [String] {
        guard let handle = unsafe opendir(directory) else {
            if errno == ENOENT { return [] }
            throw SystemError("opendir", errno: errno, on: directory)
        }
        defer { unsafe closedir(handle) }
        var names: [String] = []
        while let entry = unsafe readdir(handle) {
            // SAFETY: the entry's name ends with NUL and lives until the next readdir.
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Removes a directory of files.
    package static func removeDirectory(_ path: String, _ faults: DatabaseFaults = .none) throws(SystemError) {
        for name in try names(in: path) { try remove("\(path)/\(name)", faults) }
        guard unsafe rmdir(path) == 0 || errno == ENOENT else { throw SystemError("rmdir", errno: errno, on: path) }
    }
}
