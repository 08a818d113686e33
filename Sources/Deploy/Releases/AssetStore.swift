internal import Assets
internal import Brotli
internal import Glibc
internal import HTTP
package import Host
package import Observability
internal import OpenSSL
internal import Synchronization
package import System
internal import Zlib

/// Files of assets by their SHA-256, and beside them their compressed forms: immutable copies, kept once whatever they are
/// called. What changes in a worker's directory afterwards changes nothing in a release that was made from it.
package final class AssetStore: Sendable {
    private let directory: String
    private let state = Mutex(State())

    private struct State {
        /// What each tenant's releases serve.
        var used: [String: Set<String>] = [:]
        /// What is being brought in, for releases that are not there yet.
        var incoming: [String: Int] = [:]
    }

    package init(directory: String) throws(SystemError) {
        self.directory = directory
        try FileTree.makeDirectory(directory, mode: 0o700)
        for name in FileTree.list(directory) where name.hasPrefix(Self.incomingPrefix) {
            try FileTree.remove(directory + "/" + name)
        }
    }

    private static let incomingPrefix = "incoming."

    /// Files that are in the store for as long as it lives, whoever prunes.
    package final class Hold: Sendable {
        package let names: Set<String>
        private let store: AssetStore

        fileprivate init(_ names: Set<String>, _ store: AssetStore) {
            self.names = names
            self.store = store
        }

        deinit { store.release(names) }
    }

    private func release(_ names: Set<String>) {
        state.withLock { state in
            for name in names {
                let count = (state.incoming[name] ?? 1) - 1
                state.incoming[name] = count > 0 ? count : nil
            }
        }
    }

    /// Makes the site of `worker` from what its directory holds now.
    ///
    /// - Throws: `AssetError`; `SystemError` when a file can't be read or stored. Nothing that serves is touched by that.
    /// - Note: Reads and compresses files; not for a reactor.
    package func makeSite(
        _ description: AssetDescription, worker: String, tenant: String, logger: Logger
    ) throws -> (site: AssetSite, hold: Hold) {
        guard FileTree.status(description.directory)?.kind == .directory else {
            throw AssetError.noDirectory(description.directory, worker: worker)
        }
        var rules = AssetRules(manifest: [:])
        rules.html = description.html
        rules.notFound = description.notFound
        rules.workerFirst = description.workerFirst
        rules.navigationPrefersAssets = description.navigationPrefersAssets
        let directory = try AssetDirectory(description)
        let (headers, redirects) = (try directory.text("_headers"), try directory.text("_redirects"))
        do throws(RuleFileError) {
            rules.headers = try AssetHeaderRules(headers)
            rules.redirects = try AssetRedirects(redirects)
        } catch {
            throw AssetError.badRule(error, directory: description.directory)
        }
        let files = try directory.files()
        var delivery = Delivery(store: self, logger: logger)
        do {
            var byPath: [String: AssetDirectory.File] = [:]
            for file in files { byPath[file.path] = file }
            for file in files { rules.manifest[file.path] = try delivery.add(file, siblings: byPath) }
            try delivery.complete()
        } catch {
            delivery.abort()
            throw error
        }
        let site = AssetSite(tenant: tenant, worker: worker, rules: rules, directory: self.directory)
        return (site, Hold(delivery.names, self))
    }

    /// Notes what `tenant` serves and removes what nobody does. What is being sent keeps its file: it is open.
    package func prune(keeping names: Set<String>, of tenant: String) throws(SystemError) {
        // Under the lock, so that nobody finds a file here that is just being removed.
        let failure: SystemError? = state.withLock { state in
            state.used[tenant] = names
            let kept = state.used.values.reduce(into: Set(state.incoming.keys)) { $0.formUnion($1) }
            do throws(SystemError) {
                for name in FileTree.list(directory) where !kept.contains(name) && !name.hasPrefix(Self.incomingPrefix) {
                    try FileTree.remove(directory + "/" + name)
                }
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }

    /// The files of one site on their way into the store: written apart, synced together, then given their names.
    private struct Delivery {
        let store: AssetStore
        let logger: Logger
        private(set) var names: Set<String> = []
        private var written: [(temporary: String, name: String)] = []
        private var writtenNames: Set<String> = []
        /// What came of compressing, by name.
        private var made: [String: AssetFile.Variant?] = [:]

        init(store: AssetStore, logger: Logger) {
            self.store = store
            self.logger = logger
        }

        mutating func add(_ file: AssetDirectory.File, siblings: [String: AssetDirectory.File]) throws -> AssetFile {
            let content = try file.read()
            let hash = Hexadecimal.text(Digest.hash(content, with: .sha256))
            try put(content, hash)
            var asset = AssetFile(hash: hash, byteCount: content.count, type: AssetContentType.of(file.path))
            for coding in ContentCoding.allCases {
                asset.variants[coding] = try variant(coding, of: content, hash, file, siblings)
            }
            return asset
        }

        private static func ending(_ coding: ContentCoding) -> String { coding == .brotli ? ".br" : ".gz" }

        /// The content in another coding: as somebody has put it beside the file, else compressed here, once. `nil` when that
        /// wouldn't make much less of it.
        private mutating func variant(
            _ coding: ContentCoding, of content: [UInt8], _ hash: String, _ file: AssetDirectory.File,
            _ siblings: [String: AssetDirectory.File]
        ) throws -> AssetFile.Variant? {
            if let sibling = siblings[file.path + Self.ending(coding)] {
                let bytes = try sibling.read()
                let decoded =
                    coding == .brotli
                    ? Brotli.decode(bytes, byteCountMax: content.count) : Gzip.decode(bytes, byteCountMax: content.count)
                if decoded == content {
                    let name = Hexadecimal.text(Digest.hash(bytes, with: .sha256))
                    try put(bytes, name)
                    return AssetFile.Variant(name: name, byteCount: bytes.count)
                }
                logger.log(.warning, "not what it was made from: served as a file of its own", [("asset", sibling.path)])
            }
            guard content.count >= AssetLimits.compressedBytesMin,
                MediaType(AssetContentType.of(file.path))?.isCompressible ?? false
            else { return nil }
            let name = hash + Self.ending(coding)
            if let known = made[name] { return known }
            let variant = try compressed(content, name, coding)
            made[name] = .some(variant)
            return variant
        }

        private mutating func compressed(_ content: [UInt8], _ name: String, _ coding: ContentCoding) throws -> AssetFile
            .Variant?
        {
            if !claim(name), let status = FileTree.status(store.directory + "/" + name) {
                return AssetFile.Variant(name: name, byteCount: status.byteCount)
            }
            let made = coding == .brotli ? Brotli.encode(content, quality: 9) : Gzip.encode(content, level: 9)
            guard let made, made.count < content.count - content.count / 20 else { return nil }
            try write(made, name)
            return AssetFile.Variant(name: name, byteCount: made.count)
        }

        private mutating func put(_ content: [UInt8], _ name: String) throws {
            if claim(name) { try write(content, name) }
        }

        /// Keeps the name from being pruned.
        ///
        /// - Returns: whether the file is still to be written.
        private mutating func claim(_ name: String) -> Bool {
            if names.insert(name).inserted { store.state.withLock { $0.incoming[name, default: 0] += 1 } }
            return !FileTree.exists(store.directory + "/" + name) && !writtenNames.contains(name)
        }

        private mutating func write(_ content: [UInt8], _ name: String) throws {
            let temporary = "\(store.directory)/\(AssetStore.incomingPrefix)\(getpid()).\(UInt64.random(in: 0...UInt64.max))"
            written.append((temporary, name))
            writtenNames.insert(name)
            let file = try FileTree.openFile(temporary, flags: O_WRONLY | O_CREAT | O_EXCL)
            try file.writeAll(content, on: temporary)
            try file.close()
        }

        mutating func complete() throws {
            guard !written.isEmpty else { return }
            try FileTree.syncFileSystem(of: store.directory)
            for (temporary, name) in written { try FileTree.renameUnsynced(temporary, to: store.directory + "/" + name) }
            written = []
            try FileTree.syncDirectory(store.directory)
        }

        func abort() {
            // What is left is removed at the next start.
            for (temporary, _) in written { try? FileTree.remove(temporary) }
            store.release(names)
        }
    }
}

/// A worker's directory of assets, as it is now.
struct AssetDirectory {
    struct File {
        /// From the directory on, starting with a slash.
        let path: String
        /// Where it is.
        let location: String

        /// - Throws: `AssetError.fileTooLarge`, also when it has grown since it was found.
        func read() throws -> [UInt8] {
            let content = try FileTree.read(location)
            guard content.count <= AssetLimits.fileBytesMax else {
                throw AssetError.fileTooLarge(location, byteCount: content.count)
            }
            return content
        }
    }
    private let description: AssetDescription
    /// Without links.
    private let root: String
    private static let depthMax = 64

    init(_ description: AssetDescription) throws {
        self.description = description
        root = try FileTree.realPath(description.directory)
    }

    /// What a file of the directory's top says; nothing when there is none.
    func text(_ name: String) throws -> String {
        let location = description.directory + "/" + name
        guard let status = FileTree.status(location) else { return "" }
        try checkLink(location, status)
        return try FileTree.readTextIfPresent(location) ?? ""
    }

    /// All files that are assets.
    func files() throws -> [File] {
        var files: [File] = []
        let ignored = IgnoreRules(try text(".assetsignore"))
        try collect("", ignored, inside: [], into: &files)
        return files
    }

    /// What lies outside was not meant to be shown to the world, and may be a file of another tenant.
    private func checkLink(_ location: String, _ status: FileStatus) throws {
        guard status.isLink else { return }
        let target = try FileTree.realPath(location)
        guard target == root || target.hasPrefix(root == "/" ? root : root + "/") else {
            throw AssetError.leadsOutside(location, target: target)
        }
    }

    /// - Parameter folders: those on the way down, by identity.
    private func collect(
        _ folder: String, _ ignored: IgnoreRules, inside folders: [[UInt64]], into files: inout [File]
    ) throws {
        let location = description.directory + folder
        guard folders.count < Self.depthMax, let identity = FileTree.status(location)?.identity, !folders.contains(identity)
        else {
            throw AssetError.tooDeep(location)
        }
        for name in FileTree.list(location) {
            let path = folder + "/" + name
            let found = description.directory + path
            guard !name.unicodeScalars.contains("\u{FFFD}") else { throw AssetError.nameNotUTF8(found) }
            guard let status = FileTree.status(found) else { continue }
            guard !ignored.ignores(String(path.dropFirst()), isDirectory: status.kind == .directory) else { continue }
            try checkLink(found, status)
            switch status.kind {
            case .directory: try collect(path, ignored, inside: folders + [identity], into: &files)
            case .file:
                guard status.byteCount <= AssetLimits.fileBytesMax else {
                    throw AssetError.fileTooLarge(found, byteCount: status.byteCount)
                }
                guard files.count < description.filesMax else {
                    throw AssetError.tooManyFiles(limit: description.filesMax, directory: description.directory)
                }
                files.append(File(path: path, location: found))
            case .other: break  // Sockets and pipes have no content.
            }
        }
    }
}
