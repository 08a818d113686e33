internal import Glibc
internal import System

/// Where a download goes: a file, which has its name only once it is whole, or standard output (`-`).
final class OutputFile {
    private let path: String
    /// `nil`: standard output.
    private let temporary: String?
    private let file: Descriptor
    private var isCommitted = false

    /// - Throws: when the file can't be made, so before anything is asked of anybody.
    init(_ path: String) throws(SystemError) {
        self.path = path
        guard path != "-" else {
            let copy = dup(1)
            guard copy >= 0 else { throw SystemError("dup", errno: errno, on: "standard output") }
            temporary = nil
            file = Descriptor(owning: copy)
            return
        }
        guard !FileTree.isDirectory(path) else { throw SystemError("open", errno: EISDIR, on: path) }
        let beside = "\(path).\(getpid()).part"
        // As the umask has it: it is the user's own file.
        file = try FileTree.openFile(beside, flags: O_WRONLY | O_CREAT | O_TRUNC, mode: 0o666)
        temporary = beside
    }

    func write(_ piece: [UInt8]) throws(SystemError) {
        try file.writeAll(piece, on: temporary == nil ? "standard output" : path)
    }

    /// Gives the file its name, in the place of an older one. Durable when it returns.
    func commit() throws(SystemError) {
        isCommitted = true
        guard let temporary else { return }
        guard fdatasync(file.rawValue) == 0 else { throw SystemError("fdatasync", errno: errno, on: temporary) }
        try FileTree.rename(temporary, to: path)
    }

    deinit {
        // What broke off leaves nothing.
        if !isCommitted, let temporary { unsafe unlink(temporary) }
    }
}
