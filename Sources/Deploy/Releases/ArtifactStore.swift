internal import Glibc
internal import OpenSSL
internal import Synchronization
package import System

/// Executables by their SHA-256: immutable, kept once whatever they are called, checked before they run.
package final class ArtifactStore: Sendable {
    private let directory: String
    /// What each tenant's releases run from.
    private let used = Mutex<[String: Set<String>]>([:])

    package init(directory: String) throws(SystemError) {
        self.directory = directory
        try FileTree.makeDirectory(directory, mode: 0o700)
        // What a copy that was cut short left behind.
        for name in FileTree.list(directory) where name.hasPrefix("incoming.") {
            try FileTree.remove(directory + "/" + name)
        }
    }

    /// Copies the file at `path` into the store, unless its content is there already.
    ///
    /// - Returns: the SHA-256 as 64 lowercase hex digits.
    /// - Note: Reads the whole file; not for a reactor.
    package func add(_ path: String) throws(SystemError) -> String {
        let source = try FileTree.openFile(path, flags: O_RDONLY)
        let temporary = directory + "/incoming.\(getpid()).\(UInt64.random(in: 0...UInt64.max))"
        let copy = try FileTree.openFile(temporary, flags: O_WRONLY | O_CREAT | O_EXCL, mode: 0o755)
        do throws(SystemError) {
            let hash = try Self.hash(source) { piece throws(SystemError) in
                try copy.writeAll(piece, on: temporary)
            }
            let target = self.path(hash)
            if FileTree.exists(target) {
                try FileTree.remove(temporary)
            } else {
                // The mode may have been narrowed by the umask; a tenant's user must be able to run it.
                guard fchmod(copy.rawValue, 0o755) == 0, fdatasync(copy.rawValue) == 0 else {
                    throw SystemError("fdatasync", errno: errno, on: temporary)
                }
                try FileTree.rename(temporary, to: target)
            }
            return hash
        } catch {
            try FileTree.remove(temporary)
            throw error
        }
    }

    /// Notes what `tenant` runs from and removes what no tenant does. What still runs keeps its file: it has it open.
    package func prune(keeping hashes: Set<String>, of tenant: String) throws(SystemError) {
        let kept = used.withLock { used in
            used[tenant] = hashes
            return used.values.reduce(into: Set()) { $0.formUnion($1) }
        }
        for name in FileTree.list(directory) where !kept.contains(name) && !name.hasPrefix("incoming.") {
            try FileTree.remove(path(name))
        }
    }

    package func path(_ hash: String) -> String { directory + "/" + hash }

    /// Whether the stored content still has the hash it is filed under.
    package func verify(_ hash: String) throws(SystemError) -> Bool {
        let file = try FileTree.openFile(path(hash), flags: O_RDONLY)
        return try Self.hash(file) { _ in } == hash
    }

    /// Hashes the whole file, handing each piece to `copy`.
    private static func hash(
        _ source: borrowing Descriptor, _ copy: ([UInt8]) throws(SystemError) -> Void
    ) throws(SystemError) -> String {
        var digest = Digest(.sha256)
        var offset: Int64 = 0
        while true {
            let piece = try source.read(at: offset, count: 1 << 20)
            guard !piece.isEmpty else { break }
            digest.update(piece)
            try copy(piece)
            offset += Int64(piece.count)
        }
        return Hexadecimal.text(digest.finish())
    }
}

enum Hexadecimal {
    static func text(_ bytes: [UInt8]) -> String {
        var text = ""
        for byte in bytes {
            text.append(Character(UnicodeScalar(digit(byte >> 4))))
            text.append(Character(UnicodeScalar(digit(byte & 15))))
        }
        return text
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
}
