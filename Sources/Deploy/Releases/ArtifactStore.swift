internal import Glibc
internal import OpenSSL
package import Stores
internal import Synchronization
package import System

/// Executables by their SHA-256: immutable, kept once whatever they are called, checked before they run.
package final class ArtifactStore: Sendable {
    private let directory: String
    private let state = Mutex(State())
    /// For those who must not wait for the disk themselves.
    package let disk = BlockingPool(name: "edge-artifacts", threadCount: 2)

    private struct State {
        /// What each tenant's releases run from.
        var used: [String: Set<String>] = [:]
        /// What nobody has recorded yet.
        var held: [String: Int] = [:]
        /// Found to be what their names say, since the node started.
        var verified: Set<String> = []
    }

    /// Keeps an artifact from being collected until it is recorded.
    package final class Hold: Sendable {
        package let hash: String
        package let byteCount: Int64
        private let store: ArtifactStore

        fileprivate init(_ hash: String, byteCount: Int64, of store: ArtifactStore) {
            self.hash = hash
            self.byteCount = byteCount
            self.store = store
        }

        deinit { store.release(hash) }
    }

    package init(directory: String) throws(SystemError) {
        self.directory = directory
        try FileTree.makeDirectory(directory, mode: 0o700)
        // What a copy that was cut short left behind.
        for name in FileTree.list(directory) where name.hasPrefix(Self.incomingPrefix) {
            try FileTree.remove(directory + "/" + name)
        }
    }

    private static let incomingPrefix = "incoming."

    /// Where a file can be put together.
    func makeIncomingPath() -> String {
        directory + "/\(Self.incomingPrefix)\(getpid()).\(UInt64.random(in: 0...UInt64.max))"
    }

    /// Copies the file at `path` into the store, unless its content is there already. Reads the whole file; not for a reactor.
    package func add(_ path: String) throws(SystemError) -> Hold {
        let source = try FileTree.openFile(path, flags: O_RDONLY)
        var knownByteCount: Int64 = 0
        let known = hold(try Self.hash(source) { knownByteCount += Int64($0.count) }, byteCount: knownByteCount)
        if try verify(known.hash) { return known }
        let temporary = makeIncomingPath()
        let copy = try FileTree.openFile(temporary, flags: O_WRONLY | O_CREAT | O_EXCL, mode: 0o755)
        do throws(SystemError) {
            var byteCount: Int64 = 0
            let hash = try Self.hash(source) { piece throws(SystemError) in
                try copy.writeAll(piece, on: temporary)
                byteCount += Int64(piece.count)
            }
            return try take(copy, at: temporary, hash: hash, byteCount: byteCount)
        } catch {
            try FileTree.remove(temporary)
            throw error
        }
    }

    /// Gives a complete file its place, unless a sound one has it.
    func take(
        _ file: borrowing Descriptor, at temporary: String, hash: String, byteCount: Int64
    ) throws(SystemError) -> Hold {
        // Held first: a collection that runs meanwhile must not take what this finds.
        let hold = hold(hash, byteCount: byteCount)
        if try verify(hash) {
            try FileTree.remove(temporary)
        } else {
            // The mode may have been narrowed by the umask; a tenant's user must be able to run it.
            guard fchmod(file.rawValue, 0o755) == 0, fdatasync(file.rawValue) == 0 else {
                throw SystemError("fdatasync", errno: errno, on: temporary)
            }
            try FileTree.rename(temporary, to: path(hash))
            state.withLock { _ = $0.verified.insert(hash) }
        }
        return hold
    }

    /// Keeps what is in the store from being collected.
    package func hold(_ hash: String, byteCount: Int64 = 0) -> Hold {
        state.withLock { $0.held[hash, default: 0] += 1 }
        return Hold(hash, byteCount: byteCount, of: self)
    }

    private func release(_ hash: String) {
        state.withLock { state in
            let count = (state.held[hash] ?? 1) - 1
            state.held[hash] = count > 0 ? count : nil
        }
    }

    /// Notes what `tenant` runs from and removes what no tenant does, nobody holds and no version is made of. What still runs
    /// keeps its file: it has it open.
    ///
    /// - Parameter recorded: what versions of any tenant are made of; asked under the lock, so that nothing is missed that was
    ///   recorded meanwhile and is held no more.
    package func prune(
        keeping hashes: Set<String>, of tenant: String, recorded: () throws -> Set<String>
    ) throws {
        state.withLock { $0.used[tenant] = hashes }
        try collect(recorded: recorded)
    }

    /// As `prune`, with what tenants are known to run from.
    package func collect(recorded: () throws -> Set<String>) throws {
        try state.withLock { state in
            let kept = state.used.values.reduce(into: try recorded()) { $0.formUnion($1) }
            for name in FileTree.list(directory)
            where !kept.contains(name) && state.held[name] == nil && !name.hasPrefix(Self.incomingPrefix) {
                try FileTree.remove(path(name))
                state.verified.remove(name)
            }
        }
    }

    package func path(_ hash: String) -> String { directory + "/" + hash }

    /// The whole file, for who wants to send it.
    package func open(_ hash: String) throws(SystemError) -> FileSlice {
        let file = try FileTree.openFile(path(hash), flags: O_RDONLY)
        let byteCount = lseek(file.rawValue, 0, SEEK_END)
        guard byteCount >= 0 else { throw SystemError("lseek", errno: errno, on: path(hash)) }
        return FileSlice(file, offset: 0, byteCount: Int(byteCount))
    }

    /// Whether the stored content still has the hash it is filed under. Reads the file when the node asks for the first time.
    package func verify(_ hash: String) throws(SystemError) -> Bool {
        // Of what was found once, whether it is there: whoever asks can bring what somebody has removed.
        guard FileTree.exists(path(hash)) else { return false }
        if state.withLock({ $0.verified.contains(hash) }) { return true }
        let file = try FileTree.openFile(path(hash), flags: O_RDONLY)
        guard try Self.hash(file, { _ in }) == hash else { return false }
        state.withLock { _ = $0.verified.insert(hash) }
        return true
    }

    /// As `verify`, and reads the file whatever is known of it.
    package func verifyAnew(_ hash: String) throws(SystemError) -> Bool {
        state.withLock { _ = $0.verified.remove(hash) }
        return try verify(hash)
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
    /// `nil` for what are no hexadecimal digits, two for each byte.
    static func bytes(_ text: String) -> [UInt8]? {
        let digits = text.utf8.map { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = digits[index], let low = digits[index + 1] else { return nil }
            bytes.append(UInt8(high << 4 | low))
        }
        return bytes
    }

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
