internal import Glibc

/// Files and directories that the node owns: made with a mode, replaced as a whole, synced to the disk.
package enum FileTree {
    /// Makes a directory and its parents, whose names last through a power failure; one that exists is left as it is.
    package static func makeDirectory(_ path: String, mode: UInt32) throws(SystemError) {
        if unsafe mkdir(path, mode) == 0 { return try syncDirectory(of: path) }
        let failure = errno
        if failure == EEXIST { return }
        guard failure == ENOENT, let slash = path.lastIndex(of: "/"), slash > path.startIndex else {
            throw SystemError("mkdir", errno: failure, on: path)
        }
        try makeDirectory(String(path[..<slash]), mode: 0o711)
        guard unsafe mkdir(path, mode) == 0 || errno == EEXIST else { throw SystemError("mkdir", errno: errno, on: path) }
        try syncDirectory(of: path)
    }

    /// Makes the name of `path` durable in its directory.
    private static func syncDirectory(of path: String) throws(SystemError) {
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let opened = try openFile(directory.isEmpty ? "/" : directory, flags: O_RDONLY | O_DIRECTORY)
        guard fsync(opened.rawValue) == 0 else { throw SystemError("fsync", errno: errno, on: directory) }
    }

    package static func openFile(_ path: String, flags: Int32, mode: UInt32 = 0o600) throws(SystemError) -> Descriptor {
        let number = unsafe Glibc.open(path, flags | O_CLOEXEC, mode)
        guard number >= 0 else { throw SystemError("open", errno: errno, on: path) }
        return Descriptor(owning: number)
    }

    package static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    package static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        // SAFETY: stat fills the struct whose address it is given.
        return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// The whole file. For small files: it is read into memory.
    package static func read(_ path: String) throws(SystemError) -> [UInt8] {
        let file = try openFile(path, flags: O_RDONLY)
        var bytes: [UInt8] = []
        var offset: Int64 = 0
        while true {
            let piece = try file.read(at: offset, count: 64 << 10)
            bytes += piece
            offset += Int64(piece.count)
            if piece.count < 64 << 10 { return bytes }
        }
    }

    package static func readTextIfPresent(_ path: String) throws(SystemError) -> String? {
        guard exists(path) else { return nil }
        return String(decoding: try read(path), as: UTF8.self)
    }

    /// Replaces a file: temporary file, sync, rename, sync of the directory. A reader sees the old or the new content,
    /// also after a power failure.
    package static func replaceFile(_ path: String, with bytes: [UInt8], mode: UInt32) throws(SystemError) {
        let temporary = "\(path).\(getpid()).new"
        let file = try openFile(temporary, flags: O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        try file.writeAll(bytes, on: temporary)
        guard fdatasync(file.rawValue) == 0 else { throw SystemError("fdatasync", errno: errno, on: temporary) }
        try file.close()
        try rename(temporary, to: path)
    }

    /// Renames and syncs the directory that now has the name.
    /// Makes a file as a whole, unless there is one: of several processes that make it at once, one has its way.
    package static func makeFile(_ path: String, with bytes: [UInt8], mode: UInt32) throws(SystemError) {
        let draft = "\(path).\(getpid())"
        try replaceFile(draft, with: bytes, mode: mode)
        defer { unsafe unlink(draft) }
        guard unsafe link(draft, path) == 0 || errno == EEXIST else { throw SystemError("link", errno: errno, on: path) }
        try syncDirectory(of: path)
    }

    package static func rename(_ source: String, to target: String) throws(SystemError) {
        guard unsafe Glibc.rename(source, target) == 0 else { throw SystemError("rename", errno: errno, on: target) }
        try syncDirectory(of: target)
    }

    package static func remove(_ path: String) throws(SystemError) {
        guard unsafe unlink(path) == 0 || errno == ENOENT else { throw SystemError("unlink", errno: errno, on: path) }
    }

    /// The names in a directory, sorted; empty when there is none.
    package static func list(_ path: String) -> [String] {
        guard let directory = unsafe opendir(path) else { return [] }
        defer { unsafe closedir(directory) }
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            // SAFETY: d_name is a NUL-terminated array inside the entry, which lives until the next readdir.
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}

extension Descriptor {
    /// Writes all of `bytes` at the current position.
    package borrowing func writeAll(_ bytes: [UInt8], on path: String) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let rawValue = rawValue
            let written = unsafe bytes.withUnsafeBytes { buffer in
                // SAFETY: reads only the bytes of the array behind `done`.
                unsafe Glibc.write(rawValue, buffer.baseAddress?.advanced(by: done), bytes.count - done)
            }
            if written > 0 {
                done += written
            } else if errno != EINTR {
                throw SystemError("write", errno: errno, on: path)
            }
        }
    }
}

extension Descriptor {
    /// Takes the whole file for this open description, or finds out that another one has it.
    ///
    /// A process that is being started holds copies of its parent's descriptors, and so their locks, until it runs its own
    /// program: a lock that was just given up can look taken for a moment. So this asks for up to a second; blocks.
    package borrowing func lockExclusively() -> Bool {
        for attempt in 0..<100 {
            if flock(rawValue, LOCK_EX | LOCK_NB) == 0 { return true }
            guard errno == EWOULDBLOCK || errno == EINTR else { return false }
            if attempt < 99 { usleep(10_000) }
        }
        return false
    }
}
