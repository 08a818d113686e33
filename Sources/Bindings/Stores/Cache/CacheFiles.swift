internal import Caching
internal import Glibc
internal import Stores
internal import System
internal import Wire

/// The cache's files. Every call blocks; call it on the store's threads.
struct CacheFiles: Sendable {
    let root: String
    private let faults: CacheFaults

    /// A body up to here stands in the entry's own file.
    static let inlineBytesMax = 64 << 10
    private static let magic = Array("edgecac2".utf8)
    /// Magic, the description's length, the inline body's length (-1: it has a file of its own).
    private static let prefixByteCount = 16
    private static let descriptionBytesMax = 4 << 20

    init(root: String, faults: CacheFaults = .none) throws(SystemError) {
        self.root = root
        self.faults = faults
        try FileTree.makeDirectory(root, mode: 0o700)
        for name in Self.shards + ["tmp"] { try FileTree.makeDirectory("\(root)/\(name)", mode: 0o700) }
    }

    private static let shards = (0..<16).map { String($0, radix: 16) }

    // MARK: Names

    private static func name(_ id: UInt64) -> String {
        let digits = String(id, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private func path(_ id: UInt64, _ suffix: String) -> String {
        "\(root)/\(Self.shards[Int(id & 15)])/\(Self.name(id)).\(suffix)"
    }

    private func temporary(_ id: UInt64, _ suffix: String) -> String { "\(root)/tmp/\(Self.name(id)).\(suffix)" }

    // MARK: Writing

    func createBody(_ id: UInt64) throws(SystemError) -> Descriptor {
        try faults.check(.createBody)
        return try FileTree.openFile(temporary(id, "b"), flags: O_WRONLY | O_CREAT | O_TRUNC)
    }

    func write(_ bytes: [UInt8], to body: borrowing Descriptor) throws(SystemError) {
        try faults.check(.writeBody)
        try body.writeAll(bytes, on: "a cached body")
    }

    /// Gives a complete body its name.
    func publishBody(_ id: UInt64) throws(SystemError) {
        try faults.check(.publishBody)
        try Self.rename(temporary(id, "b"), path(id, "b"))
    }

    /// Writes, or replaces, the entry's file.
    ///
    /// - Parameter inline: the body when it has no file of its own.
    func publishEntry(_ id: UInt64, _ response: StoredResponse, inline: [UInt8]?) throws(SystemError) {
        let description = response.encoded()
        var encoder = WireEncoder(capacity: Self.prefixByteCount + description.count + (inline?.count ?? 0))
        encoder.putRest(Self.magic)
        encoder.put(UInt32(description.count))
        encoder.put(inline.map { UInt32($0.count) } ?? .max)
        encoder.putRest(description)
        if let inline { encoder.putRest(inline) }
        let path = temporary(id, "e")
        try faults.check(.writeEntry)
        let file = try FileTree.openFile(path, flags: O_WRONLY | O_CREAT | O_TRUNC)
        try file.writeAll(encoder.bytes, on: path)
        try file.close()
        try faults.check(.publishEntry)
        try Self.rename(path, self.path(id, "e"))
    }

    /// A cache needs no directory to be synced.
    private static func rename(_ source: String, _ target: String) throws(SystemError) {
        // SAFETY: Swift lends NUL-terminated copies for the call.
        guard unsafe Glibc.rename(source, target) == 0 else { throw SystemError("rename", errno: errno, on: target) }
    }

    /// Removes whatever there is of `id`. The entry goes first: a body without an entry is nobody's.
    func remove(_ id: UInt64) {
        guard faults.failure(.remove) == nil else { return }
        for path in [path(id, "e"), path(id, "b"), temporary(id, "b"), temporary(id, "e")] { try? FileTree.remove(path) }
    }

    func removeTemporary(_ id: UInt64) {
        guard faults.failure(.remove) == nil else { return }
        for suffix in ["b", "e"] { try? FileTree.remove(temporary(id, suffix)) }
    }

    // MARK: Reading

    /// A part of the body.
    ///
    /// - Parameter isInline: whether it stands in the entry's own file.
    func openBody(_ id: UInt64, isInline: Bool, offset: Int64, byteCount: Int) throws(SystemError) -> FileSlice {
        try faults.check(.open)
        guard isInline else {
            return FileSlice(try FileTree.openFile(path(id, "b"), flags: O_RDONLY), offset: offset, byteCount: byteCount)
        }
        let file = try FileTree.openFile(path(id, "e"), flags: O_RDONLY)
        let prefix = try file.read(at: 0, count: Self.prefixByteCount)
        var decoder = WireDecoder(prefix, from: Self.magic.count)
        guard let count = try? decoder.takeUInt32() else { throw SystemError("read", errno: EIO, on: path(id, "e")) }
        return FileSlice(file, offset: Int64(Self.prefixByteCount) + Int64(count) + offset, byteCount: byteCount)
    }

    struct Found {
        var id: UInt64
        var response: StoredResponse
        var inlineByteCount: Int?
    }

    /// All complete entries, older ones first; whatever else lies there is removed.
    func load() -> [Found] {
        for name in FileTree.list("\(root)/tmp") { try? FileTree.remove("\(root)/tmp/\(name)") }
        var found: [Found] = []
        for shard in Self.shards {
            let names = FileTree.list("\(root)/\(shard)")
            var bodies: Set<UInt64> = []
            for name in names {
                let path = "\(root)/\(shard)/\(name)"
                guard let id = UInt64(name.dropLast(2), radix: 16), Self.shards[Int(id & 15)] == shard else {
                    try? FileTree.remove(path)
                    continue
                }
                if name.hasSuffix(".b") {
                    bodies.insert(id)
                } else if name.hasSuffix(".e"), let entry = read(id, path) {
                    found.append(entry)
                    bodies.remove(id)
                } else {
                    remove(id)
                }
            }
            // Sorted, so a body comes before its entry.
            for id in bodies { remove(id) }
        }
        return found.sorted { $0.id < $1.id }
    }

    /// The entry as its files have it; `nil` when they aren't whole.
    func read(_ id: UInt64) -> Found? { read(id, path(id, "e")) }

    /// The numbers of all files that have a number.
    func ids() -> Set<UInt64> {
        var ids: Set<UInt64> = []
        for shard in Self.shards {
            ids.formUnion(FileTree.list("\(root)/\(shard)").compactMap { UInt64($0.dropLast(2), radix: 16) })
        }
        return ids
    }

    private func read(_ id: UInt64, _ path: String) -> Found? {
        do {
            let file = try FileTree.openFile(path, flags: O_RDONLY)
            let prefix = try file.read(at: 0, count: Self.prefixByteCount)
            guard prefix.starts(with: Self.magic) else { return nil }
            var decoder = WireDecoder(prefix, from: Self.magic.count)
            let (count, inline) = (Int(try decoder.takeUInt32()), try decoder.takeUInt32())
            guard count <= Self.descriptionBytesMax else { return nil }
            let description = try file.read(at: Int64(Self.prefixByteCount), count: count)
            let response = try StoredResponse(decoding: description)
            let body: Int64
            if inline == .max {
                guard let size = Self.size(of: self.path(id, "b")) else { return nil }
                body = size
            } else {
                body = (Self.size(of: path) ?? 0) - Int64(Self.prefixByteCount + count)
            }
            guard body == response.bodyByteCount else { return nil }
            return Found(id: id, response: response, inlineByteCount: inline == .max ? nil : Int(inline))
        } catch { return nil }
    }

    private static func size(of path: String) -> Int64? {
        var status = stat()
        // SAFETY: stat fills the struct whose address it is given.
        guard unsafe stat(path, &status) == 0 else { return nil }
        return Int64(status.st_size)
    }

    // MARK: The machine's run

    /// A clock is moved by as much, now and then; one that was moved by more costs what is cached.
    private static let startTolerance: Int64 = 10

    /// Whether the machine is still in the run in which the files were written; notes the present one.
    ///
    /// - Parameter start: when the machine was started, in seconds since 1970.
    func isSameRun(startedAt start: Int64) -> Bool {
        let path = "\(root)/boot"
        let before = (try? FileTree.readTextIfPresent(path)) ?? nil
        if let before = before.flatMap({ Int64($0) }), abs(before - start) <= Self.startTolerance { return true }
        try? FileTree.replaceFile(path, with: Array("\(start)".utf8), mode: 0o600)
        return false
    }

    func removeAll() {
        for shard in Self.shards + ["tmp"] {
            for name in FileTree.list("\(root)/\(shard)") { try? FileTree.remove("\(root)/\(shard)/\(name)") }
        }
    }
}
