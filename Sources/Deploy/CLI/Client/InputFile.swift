internal import Glibc
internal import System

/// A file, or standard input (`-`), that is read once, from its beginning to its end.
final class InputFile: Sendable {
    /// For messages.
    let name: String
    /// `nil` when it isn't known before the end.
    let byteCount: Int64?
    /// Of standard input when there is no `opened`, which closes it.
    private let number: Int32
    private let opened: Descriptor?

    /// - Throws: when there is no such file, so before anything is asked of anybody.
    init(_ path: String) throws(SystemError) {
        guard path != "-" else {
            name = "standard input"
            byteCount = Self.size(0)
            number = 0
            opened = nil
            return
        }
        let file = try FileTree.openFile(path, flags: O_RDONLY)
        guard !FileTree.isDirectory(path) else { throw SystemError("read", errno: EISDIR, on: path) }
        name = path
        number = file.rawValue
        byteCount = Self.size(file.rawValue)
        opened = consume file
    }

    /// What is left of a regular file.
    private static func size(_ descriptor: Int32) -> Int64? {
        var status = stat()
        // SAFETY: fstat fills the struct whose address it is given.
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return max(0, Int64(status.st_size) - Int64(max(0, lseek(descriptor, 0, SEEK_CUR))))
    }

    static let pieceBytesMax = 256 << 10

    /// The next piece, at most `limit` bytes; empty at the end. Blocks.
    func read(limit: Int = pieceBytesMax) throws(SystemError) -> [UInt8] {
        var piece = [UInt8](repeating: 0, count: min(limit, Self.pieceBytesMax))
        while true {
            // SAFETY: read fills at most the array it is lent.
            let count = unsafe Glibc.read(number, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemError("read", errno: errno, on: name) }
            piece.removeLast(piece.count - count)
            return piece
        }
    }

    /// All that is there.
    ///
    /// - Throws: `EFBIG` when that is more than `bytesMax`.
    func readAll(bytesMax: Int) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let piece = try read()
            if piece.isEmpty { return bytes }
            bytes += piece
            guard bytes.count <= bytesMax else { throw SystemError("read", errno: EFBIG, on: name) }
        }
    }
}
