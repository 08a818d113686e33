internal import Glibc
internal import System

/// The directory tree of blobs. Every call blocks; call it on an I/O thread.
final class BlobFiles: Sendable {
    private let root: String
    private let hook: DiskHook?

    /// Makes the tree if it is missing.
    init(root: String, hook: DiskHook?) throws(SystemError) {
        self.root = root
        self.hook = hook
        for path in [root, "\(root)/tmp", "\(root)/blobs"] { try Self.makeDirectory(path) }
        for shard in 0...UInt8.max { try Self.makeDirectory("\(root)/blobs/\(Self.name(shard))") }
        for path in ["\(root)/blobs", root, "\(root)/.."] { try Self.sync(directory: path) }
    }

    // MARK: A blob on its way in

    func create(_ blob: Identifier) throws(SystemError) -> Descriptor {
        let path = temporaryPath(blob)
        try hook?(.create, path)
        return try Self.open(path, O_WRONLY | O_CREAT | O_EXCL)
    }

    func write(_ bytes: [UInt8], to file: borrowing Descriptor, of blob: Identifier) throws(SystemError) {
        var written = 0
        while written < bytes.count {
            try hook?(.write, temporaryPath(blob))
            let left = bytes.count - written
            let wanted = min(left, max(1, hook?.writable(left) ?? left))
            let count = unsafe bytes.withUnsafeBytes { buffer in
                // SAFETY: the kernel reads a part of the array that is not written yet.
                unsafe Glibc.write(file.rawValue, buffer.baseAddress?.advanced(by: written), wanted)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw SystemError("write", errno: errno, on: temporaryPath(blob))
            }
            written += count
        }
    }

    func sync(_ file: borrowing Descriptor, of blob: Identifier) throws(SystemError) {
        try hook?(.syncFile, temporaryPath(blob))
        guard fdatasync(file.rawValue) == 0 else {
            throw SystemError("fdatasync", errno: errno, on: temporaryPath(blob))
        }
    }

    /// Gives the complete temporary file its final name. Durable after `syncShard`.
    func publish(_ blob: Identifier) throws(SystemError) {
        try hook?(.rename, path(blob))
        // SAFETY, here and for the other calls that take a path: Swift lends a NUL-terminated copy for the
        // call.
        guard unsafe Glibc.rename(temporaryPath(blob), path(blob)) == 0 else {
            throw SystemError("rename", errno: errno, on: path(blob))
        }
    }

    /// Gives a blob a second name. Where the file system can't (it has none, or no more of them), the bytes are copied.
    /// Durable after `syncShard`.
    ///
    /// - Throws: `ENOENT` when the blob isn't there any more.
    func link(_ blob: Identifier, as copy: Identifier) throws(SystemError) {
        do throws(SystemError) {
            try hook?(.link, path(copy))
            guard unsafe Glibc.link(path(blob), path(copy)) == 0 else {
                throw SystemError("link", errno: errno, on: path(blob))
            }
            return
        } catch {
            guard [EMLINK, EPERM, ENOTSUP, EXDEV, ENOSYS].contains(error.errno) else { throw error }
        }
        let source = try open(blob)
        let target = try create(copy)
        do throws(SystemError) {
            var offset: Int64 = 0
            while true {
                let block = try source.read(at: offset, count: 1 << 20)
                if block.isEmpty { break }
                try write(block, to: target, of: copy)
                offset += Int64(block.count)
            }
            try sync(target, of: copy)
            try publish(copy)
        } catch {
            try? removeTemporary(copy)  // What the sweep would do as well.
            throw error
        }
    }

    func syncShard(_ shard: UInt8) throws(SystemError) {
        let path = "\(root)/blobs/\(Self.name(shard))"
        try hook?(.syncDirectory, path)
        try Self.sync(directory: path)
    }

    // MARK: Blobs that are there

    func open(_ blob: Identifier) throws(SystemError) -> Descriptor { try Self.open(path(blob), O_RDONLY) }

    /// Removes the blob's file; one that isn't there is fine.
    func unlink(_ blob: Identifier) throws(SystemError) {
        try hook?(.unlink, path(blob))
        try Self.unlink(path(blob))
    }

    func removeTemporary(_ blob: Identifier) throws(SystemError) {
        try hook?(.removeTemporary, temporaryPath(blob))
        try Self.unlink(temporaryPath(blob))
    }

    /// The size of the blob's file; `nil` when there is none.
    func byteCount(of blob: Identifier) -> Int64? { FileTree.status(path(blob)).map { Int64($0.byteCount) } }

    // MARK: Sweeping

    func blobs(inShard shard: UInt8) throws(SystemError) -> [Identifier] {
        try Self.entries("\(root)/blobs/\(Self.name(shard))").compactMap { Identifier(hexadecimal: $0) }
    }

    func temporaries() throws(SystemError) -> [Identifier] {
        try Self.entries("\(root)/tmp").compactMap { Identifier(hexadecimal: $0) }
    }

    /// What goes through the commit is hooked like the rest of a put.
    func willCommit(_ subject: String) throws(SystemError) { try hook?(.commit, subject) }

    // MARK: The system calls

    func path(_ blob: Identifier) -> String { "\(root)/\(name(of: blob))" }

    /// Its place below the root.
    func name(of blob: Identifier) -> String { "blobs/\(Self.name(blob.shard))/\(blob.hexadecimal)" }

    private func temporaryPath(_ blob: Identifier) -> String { "\(root)/tmp/\(blob.hexadecimal)" }

    private static func name(_ shard: UInt8) -> String {
        let digits = String(shard, radix: 16)
        return digits.utf8.count == 1 ? "0" + digits : digits
    }

    private static func makeDirectory(_ path: String) throws(SystemError) {
        guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else {
            throw SystemError("mkdir", errno: errno, on: path)
        }
    }

    private static func open(_ path: String, _ flags: Int32) throws(SystemError) -> Descriptor {
        let number = unsafe Glibc.open(path, flags | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw SystemError("open", errno: errno, on: path) }
        return Descriptor(owning: number)
    }

    private static func unlink(_ path: String) throws(SystemError) {
        guard unsafe Glibc.unlink(path) == 0 || errno == ENOENT else {
            throw SystemError("unlink", errno: errno, on: path)
        }
    }

    private static func sync(directory path: String) throws(SystemError) {
        let directory = try open(path, O_RDONLY | O_DIRECTORY)
        guard fsync(directory.rawValue) == 0 else { throw SystemError("fsync", errno: errno, on: path) }
    }

    private static func entries(_ path: String) throws(SystemError) -> [String] {
        // SAFETY: the stream is ours until closedir; each entry is copied before the next is read.
        guard let stream = unsafe opendir(path) else { throw SystemError("opendir", errno: errno, on: path) }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                // SAFETY: d_name is a NUL-terminated array inside the entry.
                unsafe String(cString: UnsafeRawPointer(pointer).assumingMemoryBound(to: CChar.self))
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}

/// Reads of blobs by those who can't `sendfile` them.
extension Descriptor {
    /// Up to `count` bytes from `offset`; fewer only at the end of the file.
    borrowing func read(at offset: Int64, count: Int) throws(SystemError) -> [UInt8] {
        var failure: Int32 = 0
        let number = rawValue
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                // SAFETY: the kernel writes at most the rest of the buffer.
                let got = unsafe pread(
                    number, buffer.baseAddress?.advanced(by: filled), count - filled, Int(offset) + filled)
                if got > 0 {
                    filled += got
                } else if got == 0 {
                    return
                } else if errno != EINTR {
                    failure = errno
                    return
                }
            }
        }
        guard failure == 0 else { throw SystemError("pread", errno: failure, on: "fd \(number)") }
        return bytes
    }
}
