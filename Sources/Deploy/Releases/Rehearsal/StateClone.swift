internal import SQLite
package import System

/// What a tenant has at this moment, as a state directory of its own that another node may serve and change as it likes. What
/// never changes (executables, bundles, assets, files of buckets) is shared by hard links; the rest is copied by the engines
/// themselves, each store as it was at one moment, or by reference where the file system can (ioctl_ficlone(2)).
///
/// It lies in the work directory of the state that it was taken from: whatever becomes of who wanted it, the next start of the node
/// removes it.
package final class StateClone: Sendable {
    package let directory: String
    /// What it took of the disk.
    package let copiedByteCount: Int64
    /// What it has in common with the state.
    package let sharedByteCount: Int64

    /// What stays free beside a clone: the node needs as much to be ready.
    private static let reserve: Int64 = 256 << 20

    private init(_ directory: String, _ files: FileDuplicator) {
        self.directory = directory
        copiedByteCount = files.copiedByteCount
        sharedByteCount = files.sharedByteCount
    }

    /// - Parameter free: `nil`: nobody knows, and that is no room.
    static func checkRoom(for needed: Int64, free: Int64?) throws(RehearsalError) {
        guard let free, free - needed >= reserve else {
            throw .noSpace(needed: needed, free: free ?? 0, reserve: reserve)
        }
    }

    /// Everything goes on meanwhile.
    ///
    /// - Throws: `RehearsalError`.
    package static func make(of runner: ReleaseRunner, in state: StateDirectory) async throws -> StateClone {
        if let running = await runner.deployments.inProgress { throw RehearsalError.deploying(running.number) }
        let (tenant, disk) = (runner.tenant, runner.artifactStore.disk)
        let needed = await disk.run { FileSizes.toCopy(of: tenant, in: state) }
        try checkRoom(for: needed, free: DiskSpace.freeBytes(at: state.path))
        let place = try state.makeWorkDirectory("rehearsal")
        do {
            let (directory, copies) = ("\(place)/state", "\(place)/copies")
            for path in [directory, copies] { try FileTree.makeDirectory(path, mode: 0o700) }
            let snapshot = try await runner.stores.snapshot(to: copies, control: state.controlDatabase)
            defer { snapshot.release() }
            let linker = try await disk.run { () throws -> TreeLinker in
                var linker = TreeLinker()
                try linker.place(snapshot, of: tenant, copies: copies, in: directory)
                for name in ["artifacts", "bundles", "assets"] {
                    try linker.share("\(state.path)/\(name)", as: "\(directory)/\(name)")
                }
                try copyControl(of: tenant, from: state, to: directory)
                try FileTree.removeTree(copies)
                return linker
            }
            return StateClone(directory, linker.files)
        } catch {
            try? FileTree.removeTree(place)
            throw error
        }
    }

    /// Blocks.
    package func remove() throws(SystemError) {
        try FileTree.removeTree(String(directory.dropLast("/state".utf8.count)))
    }

    /// `control.sqlite` as it is, with this tenant alone; blocks.
    private static func copyControl(of tenant: String, from state: StateDirectory, to directory: String) throws {
        let source = try SQLiteConnection(path: state.controlDatabase, .readOnly)
        source.setBusyTimeout(milliseconds: 10_000)
        let target = try SQLiteConnection(path: directory + "/control.sqlite", .create)
        try source.backUp(to: target)
        let others = try target.prepare("DELETE FROM tenants WHERE name <> ?1")
        try others.bind(tenant, at: 1)
        while try others.step() {}
        for name in ["format", "tenants"] {
            guard let text = try FileTree.readTextIfPresent("\(state.path)/\(name)") else { continue }
            try FileTree.makeFile("\(directory)/\(name)", with: Array(text.utf8), mode: 0o600)
        }
    }
}

package enum RehearsalError: Error, Sendable, CustomStringConvertible {
    case deploying(Int64)
    case noSpace(needed: Int64, free: Int64, reserve: Int64)

    package var description: String {
        switch self {
        case .deploying(let number):
            "deployment \(number) is in progress: rehearse when it has ended, or it would be rehearsed too"
        case .noSpace(let needed, let free, let reserve):
            "a copy of the state takes up to \(needed) bytes, and \(reserve) are to stay free: there are \(free)"
        }
    }
}

/// Puts a clone's files in their places; blocks.
private struct TreeLinker {
    private(set) var files = FileDuplicator()

    mutating func place(
        _ snapshot: TenantSnapshot, of tenant: String, copies: String, in directory: String
    ) throws {
        let prefix = "tenants/\(tenant)/"
        func target(_ member: ArchiveMember) throws(SystemError) -> String {
            let path = "\(directory)/\(tenant)/\(member.path.dropFirst(prefix.utf8.count))"
            try Self.makeParents(of: path, below: directory)
            return path
        }
        for member in snapshot.members where member.path.hasPrefix(prefix) && member.path != prefix + "control.json" {
            switch member.content {
            case .bytes(let bytes): try FileTree.makeFile(try target(member), with: bytes, mode: 0o600)
            case .file(let path, let byteCount):
                if path.hasPrefix(copies + "/") {
                    try FileTree.rename(path, to: try target(member))
                    files.countMoved(byteCount)
                } else {
                    // It may grow under its own name.
                    try files.copy(path, to: try target(member), byteCount: byteCount)
                }
            }
        }
        for portion in 0..<TenantSnapshot.portionCount {
            for member in try snapshot.members(inPortion: portion) {
                guard case .file(let path, let byteCount) = member.content else { continue }
                try files.share(path, as: try target(member), byteCount: byteCount)
            }
        }
    }

    /// All files of a tree, none of which ever changes.
    mutating func share(_ source: String, as target: String) throws {
        guard FileTree.isDirectory(source) else { return }
        try FileTree.makeDirectory(target, mode: 0o700)
        for name in FileTree.list(source) {
            let (from, to) = ("\(source)/\(name)", "\(target)/\(name)")
            if FileTree.isDirectory(from) {
                try share(from, as: to)
            } else if let status = FileTree.status(from) {
                try files.share(from, as: to, byteCount: Int64(status.byteCount))
            }
        }
    }

    private static func makeParents(of path: String, below directory: String) throws(SystemError) {
        var parent = directory
        for name in path.dropFirst(directory.utf8.count + 1).split(separator: "/").dropLast() {
            parent += "/\(name)"
            if !FileTree.isDirectory(parent) { try FileTree.makeDirectory(parent, mode: 0o700) }
        }
    }
}

/// How much a clone may have to copy.
private enum FileSizes {
    static func toCopy(of tenant: String, in state: StateDirectory) -> Int64 {
        let base = "\(state.path)/\(tenant)"
        var count: Int64 = 0
        for name in FileTree.list(base) {
            // The files of buckets are shared, their index isn't; what is cached is left out.
            switch name {
            case "r2": count += size("\(base)/r2/index")
            case "cache": continue
            default: count += size("\(base)/\(name)")
            }
        }
        return count + size(state.controlDatabase) + size(state.controlDatabase + "-wal")
    }

    private static func size(_ path: String) -> Int64 {
        guard FileTree.isDirectory(path) else { return FileTree.status(path).map { Int64($0.byteCount) } ?? 0 }
        return FileTree.list(path).reduce(0) { $0 + size("\(path)/\($1)") }
    }
}
