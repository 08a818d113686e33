internal import Glibc

/// Plain files, written as durably as the kernel knows.
@safe struct RawFiles {
    let directory: String

    init(_ directory: String) { self.directory = directory }

    /// write, fsync, rename, fsync of the directory.
    func put(_ name: String, _ bytes: [UInt8]) throws {
        let (temporary, path) = (directory + "/temporary", directory + "/" + name)
        let file = unsafe open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw PeerError(description: "open: \(errno)") }
        // SAFETY: the kernel reads the bytes that the array lends.
        let written = unsafe bytes.withUnsafeBytes { unsafe write(file, $0.baseAddress, $0.count) }
        let isDurable = written == bytes.count && fsync(file) == 0
        close(file)
        guard isDurable, unsafe rename(temporary, path) == 0 else {
            throw PeerError(description: "put: \(errno)")
        }
        let folder = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw PeerError(description: "fsync: \(errno)") }
    }

    /// What `cp` does, and a sync.
    ///
    /// - Returns: how many bytes there were.
    static func copyDurably(_ source: String, to target: String) throws -> Int {
        let from = unsafe open(source, O_RDONLY | O_CLOEXEC)
        let to = unsafe open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard from >= 0, to >= 0 else { throw PeerError(description: "open: \(errno)") }
        defer {
            close(from)
            close(to)
        }
        var (count, room) = (0, [UInt8](repeating: 0, count: 1 << 20))
        while true {
            // SAFETY: the kernel writes at most what the array has, and reads what it has written.
            let moved = unsafe room.withUnsafeMutableBytes { bytes -> Int in
                let got = unsafe read(from, bytes.baseAddress, bytes.count)
                return got > 0 ? unsafe write(to, bytes.baseAddress, got) : got
            }
            guard moved >= 0 else { throw PeerError(description: "copy: \(errno)") }
            if moved == 0 { break }
            count += moved
        }
        guard fsync(to) == 0 else { throw PeerError(description: "fsync: \(errno)") }
        return count
    }

    /// open, read, close.
    func get(_ name: String, into room: inout [UInt8]) throws -> Int {
        let file = unsafe open(directory + "/" + name, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw PeerError(description: "open: \(errno)") }
        defer { close(file) }
        // SAFETY: the kernel writes at most what the array has.
        return unsafe room.withUnsafeMutableBytes { unsafe read(file, $0.baseAddress, $0.count) }
    }
}
