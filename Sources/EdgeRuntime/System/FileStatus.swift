internal import CLinux
internal import Glibc

/// What a path names, links followed.
package struct FileStatus: Sendable {
    package enum Kind: Sendable { case file, directory, other }

    package let kind: Kind
    package let byteCount: Int
    /// Whether the path itself is a link to that.
    package let isLink: Bool
    /// Device and number: the same for two names of one thing.
    package let identity: [UInt64]
}

extension FileTree {
    /// - Returns: `nil` when nothing is there, or a link to nothing.
    package static func status(_ path: String) -> FileStatus? {
        var status = stat()
        // SAFETY: both calls fill the struct whose address they are given.
        guard unsafe lstat(path, &status) == 0 else { return nil }
        let isLink = status.st_mode & S_IFMT == S_IFLNK
        if isLink, unsafe stat(path, &status) != 0 { return nil }
        let kind: FileStatus.Kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            default: .other
            }
        return FileStatus(
            kind: kind, byteCount: Int(status.st_size), isLink: isLink,
            identity: [UInt64(status.st_dev), UInt64(status.st_ino)])
    }

    /// Who may do what with what `path` leads to: the lowest nine bits of its mode.
    package static func permissions(of path: String) throws(SystemError) -> UInt32 {
        var status = stat()
        // SAFETY: as above.
        guard unsafe stat(path, &status) == 0 else { throw SystemError("open", errno: errno, on: path) }
        return status.st_mode & 0o777
    }

    /// The one path of what `path` leads to, without links.
    package static func realPath(_ path: String) throws(SystemError) -> String {
        guard let resolved = unsafe realpath(path, nil) else { throw SystemError("realpath", errno: errno, on: path) }
        defer { unsafe free(resolved) }
        // SAFETY: realpath gives a string that ends with NUL, which is the caller's to free.
        return unsafe String(cString: resolved)
    }

    /// Makes durable all that was written to the file system of a directory: for many files at once, where a sync for each
    /// would take as long as the disk needs to turn as often.
    package static func syncFileSystem(of directory: String) throws(SystemError) {
        let opened = try openFile(directory, flags: O_RDONLY | O_DIRECTORY)
        guard edge_syncfs(opened.rawValue) == 0 else { throw SystemError("syncfs", errno: errno, on: directory) }
    }

    /// Renames, and leaves it to the caller to sync the directory.
    package static func renameUnsynced(_ source: String, to target: String) throws(SystemError) {
        guard unsafe Glibc.rename(source, target) == 0 else { throw SystemError("rename", errno: errno, on: target) }
    }

    package static func syncDirectory(_ path: String) throws(SystemError) {
        let opened = try openFile(path, flags: O_RDONLY | O_DIRECTORY)
        guard fsync(opened.rawValue) == 0 else { throw SystemError("fsync", errno: errno, on: path) }
    }
}
