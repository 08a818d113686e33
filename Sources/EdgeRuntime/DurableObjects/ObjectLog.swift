internal import Glibc
internal import System

/// The log of an object's file, open to be made durable.
final class ObjectLog {
    private let descriptor: Descriptor

    init(_ path: String) throws(SystemError) { descriptor = try FileTree.openFile(path, flags: O_RDWR | O_CREAT, mode: 0o600) }

    var number: Int32 { descriptor.rawValue }

    /// All that was written to it is on the disk; blocks.
    func synchronize() throws(SystemError) {
        while fdatasync(descriptor.rawValue) != 0 {
            let code = errno
            guard code == EINTR else { throw SystemError("fdatasync", errno: code) }
        }
    }

    /// Salt and checksum of frame `number`, counted from 1 (https://www.sqlite.org/fileformat2.html#walformat).
    func digest(ofFrame number: Int) -> [UInt8]? {
        guard number > 0, let digest = try? descriptor.read(at: 32 + Int64(number - 1) * (24 + 4096) + 8, count: 16) else {
            return nil
        }
        return digest.count == 16 ? digest : nil
    }
}
