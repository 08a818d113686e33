internal import Glibc
internal import System

/// Says that an object's file is this isolate's, in a way that the kernel checks and that ends with the process: an open file
/// description lock (fcntl(2)) on a byte that no file reaches. SQLite's own locks are the process's, and would end with the first
/// descriptor of the file that is closed; so this one is opened before SQLite's and closed after them.
final class ObjectFileLock {
    private var descriptor: Descriptor?

    /// - Throws: when another process has the file.
    init(_ path: String) throws {
        let opened = try FileTree.openFile(path, flags: O_RDWR | O_CREAT, mode: 0o600)
        guard Self.lock(opened.rawValue) else {
            let code = errno
            guard code == EAGAIN || code == EACCES else { throw SystemError("fcntl", errno: code, on: path) }
            throw DurableObjectError("The Durable Object is still open elsewhere.")
        }
        descriptor = consume opened
    }

    func release() { descriptor = nil }

    // By this descriptor the file can be read while SQLite has it open.

    var byteCount: Int64 {
        guard let number = descriptor?.rawValue else { return 0 }
        var info = stat()
        // SAFETY: fstat fills the struct whose address it is given.
        return unsafe fstat(number, &info) == 0 ? Int64(info.st_size) : 0
    }

    /// Up to `count` bytes; fewer only at the end.
    func read(at offset: Int64, count: Int) throws(SystemError) -> [UInt8] {
        try descriptor?.read(at: offset, count: count) ?? []
    }

    private static func lock(_ number: Int32) -> Bool {
        var wish = flock()
        wish.l_type = Int16(F_WRLCK)
        wish.l_whence = Int16(SEEK_SET)
        wish.l_start = Int.max - 1
        wish.l_len = 1
        // SAFETY: fcntl reads and writes the struct whose address it is given.
        return unsafe fcntl(number, openFileLock, &wish) == 0
    }

    /// F_OFD_SETLK, which the Glibc module doesn't export.
    private static let openFileLock: Int32 = 37
}
