internal import Glibc
internal import System

/// Makes files that have what others have, at the least that a file system lets them cost; blocks.
struct FileDuplicator: Sendable {
    /// What its files take of the disk beside the others.
    private(set) var copiedByteCount: Int64 = 0
    private(set) var sharedByteCount: Int64 = 0
    private let makeLink: @Sendable (_ source: String, _ target: String) -> Int32
    private let makeClone: @Sendable (_ source: Int32, _ target: Int32) -> Bool

    /// - Parameters:
    ///   - link: As link(2): 0, or the error's number.
    ///   - clone: Has the second file refer to all that the first one has; `false`: that can't be done here.
    init(
        link: @escaping @Sendable (_ source: String, _ target: String) -> Int32 = FileDuplicator.link,
        clone: @escaping @Sendable (_ source: Int32, _ target: Int32) -> Bool = FileDuplicator.clone
    ) {
        makeLink = link
        makeClone = clone
    }

    /// Another name for a file that never changes; a copy where there can be none. A file that is gone is nothing's copy.
    mutating func share(_ source: String, as target: String, byteCount: Int64) throws(SystemError) {
        switch makeLink(source, target) {
        case 0: sharedByteCount += byteCount
        case ENOENT: return
        // Too many links, or a file system without any.
        case EMLINK, EPERM, EXDEV, EOPNOTSUPP: try copy(source, to: target, byteCount: byteCount)
        case let number: throw SystemError("link", errno: number, on: source)
        }
    }

    /// Its first `byteCount` bytes: it may grow meanwhile. By reference, where the file system can.
    mutating func copy(_ source: String, to target: String, byteCount: Int64) throws(SystemError) {
        let input = try FileTree.openFile(source, flags: O_RDONLY)
        let output = try FileTree.openFile(target, flags: O_WRONLY | O_CREAT | O_EXCL)
        if makeClone(input.rawValue, output.rawValue) {
            // What was added meanwhile isn't part of the copy.
            guard ftruncate(output.rawValue, Int(byteCount)) == 0 else {
                throw SystemError("ftruncate", errno: errno, on: target)
            }
            sharedByteCount += byteCount
            return
        }
        var offset: Int64 = 0
        while offset < byteCount {
            let piece = try input.read(at: offset, count: Int(min(1 << 20, byteCount - offset)))
            guard !piece.isEmpty else { throw SystemError("read", errno: EIO, on: "\(source), which became shorter") }
            try output.writeAll(piece, on: target)
            offset += Int64(piece.count)
        }
        copiedByteCount += byteCount
    }

    /// Counts what came here by itself.
    mutating func countMoved(_ byteCount: Int64) { copiedByteCount += byteCount }

    private static func link(_ source: String, _ target: String) -> Int32 {
        // SAFETY: reads the two strings.
        unsafe Glibc.link(source, target) == 0 ? 0 : errno
    }

    private static func clone(_ source: Int32, _ target: Int32) -> Bool { ioctl(target, cloneRequest, source) == 0 }

    /// FICLONE (ioctl_ficlone(2)), which the headers only have as a macro.
    private static let cloneRequest: UInt = 0x4004_9409
}
