internal import Glibc
internal import OpenSSL
package import Stores
internal import Synchronization
package import System

/// The bundles that a node's releases were made from, by their hash: immutable once they have their names. Safe on any thread.
package final class BundleStore: Sendable {
    private let directory: String
    private let held = Mutex<[String: Int]>([:])
    /// For those who must not wait for the disk themselves.
    private let disk = BlockingPool(name: "edge-bundles", threadCount: 1)

    private static let incomingPrefix = ".incoming-"
    /// Of all files of one.
    package static var byteCountMax: Int64 { BundleLayout.byteCountMax }

    package init(directory: String) throws(SystemError) {
        self.directory = directory
        try FileTree.makeDirectory(directory, mode: 0o700)
        // What was cut short.
        for name in FileTree.list(directory) where name.hasPrefix(Self.incomingPrefix) {
            try FileTree.removeTree(directory + "/" + name)
        }
    }

    /// A bundle that nobody collects meanwhile.
    package final class Hold: Sendable {
        package let bundle: ReleaseBundle
        private let store: BundleStore

        fileprivate init(_ bundle: ReleaseBundle, _ store: BundleStore) {
            self.bundle = bundle
            self.store = store
        }

        deinit { store.release(bundle.hash) }
    }

    private func release(_ hash: String) {
        held.withLock { held in
            let count = (held[hash] ?? 1) - 1
            held[hash] = count > 0 ? count : nil
        }
    }

    private func hold(_ hash: String) -> Hold {
        held.withLock { $0[hash, default: 0] += 1 }
        return Hold(ReleaseBundle(hash: hash, directory: "\(directory)/\(hash)"), self)
    }

    /// - Returns: `nil` when there is none.
    package func find(_ hash: String) -> Hold? {
        guard BundleLayout.isHash(hash) else { return nil }
        // Held first: a collection that runs meanwhile must not take what this finds.
        let hold = hold(hash)
        return FileTree.exists(hold.bundle.directory + "/wrangler-like.toml") ? hold : nil
    }

    // MARK: Coming in

    /// Reads an archive of `BundleArchive`, and gives the bundle its name, unless there is an equal one. Durable when it returns.
    ///
    /// - Throws: `BundleError`, `ArchiveError` for what is no bundle; nothing is left of it then.
    package func receive(_ body: any BodySource) async throws -> Hold {
        let incoming = "\(directory)/\(Self.incomingPrefix)\(UInt64.random(in: 0...UInt64.max))"
        do {
            let hash = try await unpack(TarReader(body), into: incoming)
            return try await take(incoming, hash)
        } catch {
            let disk = disk
            try? await disk.run { () throws(SystemError) -> Void in try FileTree.removeTree(incoming) }
            throw error
        }
    }

    /// Takes in the archive that lies at `path`.
    package func receive(archive path: String) async throws -> Hold { try await receive(FileBody(path)) }

    private func unpack(_ tar: TarReader, into incoming: String) async throws -> String {
        let disk = disk
        try await disk.run { () throws(SystemError) -> Void in try FileTree.makeDirectory(incoming, mode: 0o700) }
        var sums = BundleSums()
        while let entry = try await tar.next() {
            try sums.begin(entry.path, byteCount: entry.byteCount)
            let file = try await disk.run { () throws(SystemError) -> IncomingFile in
                try IncomingFile("\(incoming)/\(entry.path)", below: incoming)
            }
            var digest = Digest(.sha256)
            while true {
                let piece = try await tar.read(max: 256 << 10)
                if piece.isEmpty { break }
                digest.update(piece)
                let bytes = Array(piece)
                try await disk.run { () throws(SystemError) -> Void in try file.write(bytes) }
            }
            try await disk.run { () throws(SystemError) -> Void in try file.close() }
            sums.end(entry.path, digest.finish())
        }
        guard sums.has("wrangler-like.toml") else { throw BundleError.noShape }
        guard sums.has(BundleLayout.products) else { throw BundleError.badProducts("(there is no list)") }
        return sums.hash
    }

    private func take(_ incoming: String, _ hash: String) async throws -> Hold {
        let (directory, hold) = (directory, hold(hash))
        try await disk.run { () throws(SystemError) -> Void in
            let target = "\(directory)/\(hash)"
            if FileTree.exists(target) { return try FileTree.removeTree(incoming) }
            try FileTree.syncFileSystem(of: incoming)
            try FileTree.rename(incoming, to: target)
        }
        return hold
    }

    // MARK: Going out

    /// The bundle as an archive that `receive` takes. It is held until the archive has been read or dropped.
    package func archive(_ hold: Hold) async throws -> any BodySource {
        let directory = hold.bundle.directory
        let members = try await disk.run { () throws(SystemError) -> [String] in Self.files(in: directory) }
        return BundleBody(hold, members, disk)
    }

    /// The paths of all files, in their order.
    static func files(in directory: String, below folder: String = "") -> [String] {
        FileTree.list(directory + "/" + folder).flatMap { name in
            let path = folder.isEmpty ? name : "\(folder)/\(name)"
            return FileTree.isDirectory("\(directory)/\(path)") ? files(in: directory, below: path) : [path]
        }
    }

    /// Removes bundles that no release is made from and nobody holds.
    ///
    /// - Parameter recorded: What releases of any tenant are made from; asked under the lock, so that nothing is missed that was
    ///   recorded meanwhile and is held no more.
    package func prune(recorded: @escaping @Sendable () throws -> Set<String>) async throws {
        try await disk.run { [self] () throws -> Void in
            let gone = try held.withLock { held in
                let kept = try recorded()
                var gone: [String] = []
                for name in FileTree.list(directory)
                where BundleLayout.isHash(name) && !kept.contains(name) && held[name] == nil {
                    // Out of the way at once, and away without the lock.
                    let grave = "\(directory)/\(Self.incomingPrefix)gone-\(name)"
                    try FileTree.rename("\(directory)/\(name)", to: grave)
                    gone.append(grave)
                }
                return gone
            }
            for grave in gone { try FileTree.removeTree(grave) }
        }
    }
}

/// A file of a bundle that is being written. Used by one call at a time.
private final class IncomingFile: @unchecked Sendable {  // Each call is awaited before the next.
    private let path: String
    private let number: Int32
    private var isOpen = true

    init(_ path: String, below root: String) throws(SystemError) {
        self.path = path
        if let slash = path.lastIndex(of: "/"), slash > path.index(path.startIndex, offsetBy: root.count) {
            try Self.makeFolders(String(path[..<slash]))
        }
        number = try FileTree.openFile(path, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW).release()
    }

    /// All are synced together, when the bundle is whole.
    private static func makeFolders(_ path: String) throws(SystemError) {
        if FileTree.exists(path) { return }
        if let slash = path.lastIndex(of: "/") { try makeFolders(String(path[..<slash])) }
        guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else { throw SystemError("mkdir", errno: errno, on: path) }
    }

    func write(_ bytes: [UInt8]) throws(SystemError) {
        let file = Descriptor(owning: number)
        do throws(SystemError) { try file.writeAll(bytes, on: path) } catch {
            _ = file.release()
            throw error
        }
        _ = file.release()
    }

    func close() throws(SystemError) {
        isOpen = false
        try Descriptor(owning: number).close()
    }

    deinit {
        if isOpen { _ = Descriptor(owning: number) }
    }
}

/// A file of this machine as a body.
private final class FileBody: BodySource, @unchecked Sendable {  // One reader at a time.
    private let file: Descriptor
    private var offset: Int64 = 0

    init(_ path: String) throws(SystemError) { file = try FileTree.openFile(path, flags: O_RDONLY) }

    func next() async throws -> [UInt8]? {
        let piece = try file.read(at: offset, count: 256 << 10)
        offset += Int64(piece.count)
        return piece.isEmpty ? nil : piece
    }

    func cancel() {}
}

/// A bundle on its way out, file by file.
private final class BundleBody: BodySource, @unchecked Sendable {  // One reader at a time.
    private let hold: BundleStore.Hold
    private let disk: BlockingPool
    private var members: ArraySlice<String>
    private var current: (path: String, byteCount: Int64, offset: Int64)?
    private var hasEnded = false

    init(_ hold: BundleStore.Hold, _ members: [String], _ disk: BlockingPool) {
        self.hold = hold
        self.members = members[...]
        self.disk = disk
    }

    func next() async throws -> [UInt8]? {
        if let (path, byteCount, offset) = current {
            let location = "\(hold.bundle.directory)/\(path)"
            let piece = try await disk.run { () throws(SystemError) -> [UInt8] in
                let file = try FileTree.openFile(location, flags: O_RDONLY)
                return try file.read(at: offset, count: Int(min(256 << 10, byteCount - offset)))
            }
            guard !piece.isEmpty else { throw SystemError("read", errno: EIO, on: "\(path), which became shorter") }
            let done = offset + Int64(piece.count)
            current = done < byteCount ? (path, byteCount, done) : nil
            return done < byteCount ? piece : piece + TarHeader.padding(after: byteCount)
        }
        guard let path = members.popFirst() else {
            defer { hasEnded = true }
            return hasEnded ? nil : TarHeader.end
        }
        let location = "\(hold.bundle.directory)/\(path)"
        let byteCount = Int64(await disk.run { FileTree.status(location)?.byteCount ?? 0 })
        if byteCount > 0 { current = (path, byteCount, 0) }
        return TarHeader.file(path, byteCount: byteCount)
    }

    func cancel() {
        members = []
        current = nil
        hasEnded = true
    }
}
