package import Assets
internal import Glibc
internal import Stores
internal import Synchronization
internal import System

/// The files of one worker in one release. Immutable: other files are another site, in another release.
package final class AssetSite: Sendable {
    package let tenant: String
    package let worker: String
    package let rules: AssetRules
    /// Where the files are, each under the name that the rules give.
    private let directory: String
    private let open = Mutex(OpenFiles())

    package init(tenant: String, worker: String, rules: AssetRules, directory: String) {
        self.tenant = tenant
        self.worker = worker
        self.rules = rules
        self.directory = directory
    }

    private struct OpenFiles {
        private var files: [String: (file: FileSlice, used: UInt64)] = [:]
        private var uses: UInt64 = 0
        /// Descriptors are a node's dearest good; what is asked for often is a small part of most sites.
        private static let countMax = 128

        mutating func file(_ name: String) -> FileSlice? {
            guard let file = files[name]?.file else { return nil }
            uses += 1
            files[name]?.used = uses
            return file
        }

        mutating func keep(_ file: FileSlice, _ name: String) {
            if files[name] == nil, files.count >= Self.countMax, let oldest = files.min(by: { $0.value.used < $1.value.used }) {
                files[oldest.key] = nil
            }
            uses += 1
            files[name] = (file, uses)
        }
    }

    /// The whole file, if it is open already. Never waits.
    func openFile(_ name: String) -> FileSlice? { open.withLock { $0.file(name) } }

    /// The whole file. Waits for the disk; not for a reactor.
    func load(_ body: AssetAnswer.Body) throws(SystemError) -> FileSlice {
        let file = FileSlice(
            try FileTree.openFile(directory + "/" + body.name, flags: O_RDONLY), offset: 0, byteCount: body.fileByteCount)
        open.withLock { $0.keep(file, body.name) }
        return file
    }

    /// The bytes of an answer, apart from what is kept open.
    func loadPart(_ body: AssetAnswer.Body) throws(SystemError) -> FileSlice {
        FileSlice(
            try FileTree.openFile(directory + "/" + body.name, flags: O_RDONLY), offset: Int64(body.range.lowerBound),
            byteCount: body.range.count)
    }
}
