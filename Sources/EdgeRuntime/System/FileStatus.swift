internal import CLinux
internal import Glibc

/// What a path names, links followed.
package struct FileStatus: Sendable {
    package enum Kind: Sendable { case file, directory, other }

    package let kind: Kind
    package let byteCount: Int
    /// Device and number: the same for two names of one thing.
    package let identity: [UInt64]
}

extension FileTree {
    /// - Returns: `nil` when nothing is there, or a link to nothing.
    package static func status(_ path: String) -> FileStatus? {
        var status = stat()
        // SAFETY: stat fills the struct whose address it is given.
        guard unsafe stat(path, &status) == 0 else { return nil }
        let kind: FileStatus.Kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            default: .other
            }
        return FileStatus(kind: kind, byteCount: Int(status.st_size), identity: [UInt64(status.st_dev), UInt64(status.st_ino)])
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
