internal import Glibc
package import System

/// Where a node keeps everything: `state/<environment>/`. One node at a time owns it.
///
///     format                      the layout's version, one line
///     lock                        held by the running node
///     control.sqlite              versions, deployments, routes, secrets, tokens
///     artifacts/<sha256>          executables, immutable
///     bundles/<sha256>/           what releases were made from: configuration, migrations, assets; immutable
///     assets/<sha256>             static files and, with .br and .gz, their compressed forms; immutable
///     <tenant>/{kv,d1,r2,queues,cache,analytics,objects}  the tenant's stores, each with a `format` of its own
///     <tenant>/requests           how many requests it had today, where a plan limits them
///     control                     where the running node can be asked
///     .work/                      archives on their way in and out, tenants on their way out
package final class StateDirectory: Sendable {
    package let path: String
    private let lock: Descriptor

    package static let format = "edge-state 1"

    /// Makes the directory when it is missing, and takes it over.
    ///
    /// - Throws: `.inUse` while another node has it, `.otherFormat` when another version wrote it.
    package init(path: String) throws(StateError) {
        self.path = path
        do {
            try FileTree.makeDirectory(path, mode: 0o700)
            lock = try FileTree.openFile(path + "/lock", flags: O_RDWR | O_CREAT, mode: 0o600)
        } catch { throw .system(error) }
        guard lock.lockExclusively() else { throw .inUse(path) }
        try Self.check(Self.format, in: path)
    }

    /// Refuses a directory of another format, and marks one that has none yet.
    private static func check(_ format: String, in directory: String) throws(StateError) {
        let file = directory + "/format"
        do {
            guard let found = try FileTree.readTextIfPresent(file) else {
                return try FileTree.replaceFile(file, with: Array((format + "\n").utf8), mode: 0o600)
            }
            let text = found.split(separator: "\n").first.map(String.init) ?? ""
            guard text == format else { throw StateError.otherFormat(text, expected: format, directory: directory) }
        } catch let error as StateError {
            throw error
        } catch let error as SystemError {
            throw .system(error)
        } catch { throw .system(SystemError("open", errno: EIO, on: file)) }
    }

    package var controlDatabase: String { path + "/control.sqlite" }
    package var artifacts: String { path + "/artifacts" }
    package var bundles: String { path + "/bundles" }

    package var assets: String { path + "/assets" }

    /// A file in the directory of the tenant, which its stores make.
    func requestCount(of tenant: String) -> String { "\(path)/\(tenant)/requests" }

    /// For what is on its way in or out: emptied at each start, but for changes that were decided and have to be finished.
    var work: String { path + "/.work" }

    /// Lets another process have the directory. Nothing in it may be touched until `retake`.
    package func release() { _ = flock(lock.rawValue, LOCK_UN) }

    /// Takes the directory back; blocks until the other process has let it go.
    package func retake() { while !lock.lockExclusively() {} }

    /// Writes a byte to the disk; blocks. Throws when that can't be done.
    package func probe() throws(SystemError) {
        try FileTree.replaceFile(path + "/.probe", with: [UInt8(ascii: "\n")], mode: 0o600)
    }

    /// A new, empty directory there.
    func makeWorkDirectory(_ purpose: String) throws(SystemError) -> String {
        let made = "\(work)/\(purpose)-\(UInt64.random(in: 0...UInt64.max))"
        try FileTree.makeDirectory(made, mode: 0o700)
        return made
    }

    /// A tenant's stores, by the names of their directories.
    package enum Store: String, CaseIterable, Sendable {
        case kv, d1, r2, queues, cache, analytics, objects

        /// Counts up with each change of what is on disk that an earlier version can't read.
        var format: String { "edge-\(rawValue) 1" }
    }

    /// The directory of one of a tenant's stores, made when missing.
    ///
    /// - Throws: `.otherFormat` when another version wrote it.
    package func directory(of store: Store, tenant: String) throws(StateError) -> String {
        let tenantPath = path + "/" + tenant
        let storePath = tenantPath + "/" + store.rawValue
        do {
            try FileTree.makeDirectory(tenantPath, mode: 0o700)
            // Isolates for objects, which have users of their own, start in it.
            try FileTree.makeDirectory(storePath, mode: store == .objects ? 0o711 : 0o700)
        } catch { throw .system(error) }
        try Self.check(store.format, in: storePath)
        return storePath
    }
}

package enum StateError: Error, Sendable, CustomStringConvertible {
    case inUse(String)
    case otherFormat(String, expected: String, directory: String)
    case system(SystemError)

    package var description: String {
        switch self {
        case .inUse(let path): "\(path) is in use by another node; stop it, or choose another --state"
        case .otherFormat(let found, let expected, let directory):
            "\(directory) was written in the format \"\(found)\"; this version knows \"\(expected)\": use the version that "
                + "wrote it, or choose another --state"
        case .system(let error): "\(error)"
        }
    }
}
