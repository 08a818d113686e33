internal import Glibc

extension FileTree {
    /// Removes a directory with all that is in it; one that isn't there is fine. Links are removed, not followed.
    package static func removeTree(_ path: String) throws(SystemError) {
        var status = stat()
        // SAFETY: lstat fills the struct whose address it is given.
        guard unsafe lstat(path, &status) == 0 else {
            guard errno == ENOENT else { throw SystemError("lstat", errno: errno, on: path) }
            return
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { return try remove(path) }
        for name in list(path) { try removeTree(path + "/" + name) }
        guard unsafe rmdir(path) == 0 || errno == ENOENT else { throw SystemError("rmdir", errno: errno, on: path) }
    }
}
