internal import Glibc

/// What is left of a file system.
enum DiskSpace {
    static func freeBytes(at path: String) -> Int64? {
        var info = statvfs()
        // SAFETY: statvfs fills the struct whose address it is given.
        guard unsafe statvfs(path, &info) == 0 else { return nil }
        return Int64(clamping: UInt64(info.f_bavail).multipliedReportingOverflow(by: UInt64(info.f_frsize)).partialValue)
    }
}
