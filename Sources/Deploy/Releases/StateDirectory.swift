internal import Glibc
package import System

/// Where a node keeps everything: `state/<environment>/`. One node at a time owns it.
///
///     format                      the layout's version, one line
///     lock                        held by the running node
///     control.sqlite              versions, releases, secrets
///     artifacts/<sha256>          executables, immutable
///     assets/<sha256>             static files and, with .br and .gz, their compressed forms; immutable
///     <tenant>/{kv,d1,r2,queues,cache,analytics}  the tenant's stores
///     <tenant>/versions           when each version of its workers first came
package final class StateDirectory: Sendable {
    package let path: String
    private let lock: Descriptor

    private static let format = "edge-state 1"

    /// Makes the directory when it is missing, and takes it over.
    ///
    /// - Throws: `.inUse` while another node has it, `.newerFormat` when a later version wrote it.
    package init(path: String) throws(StateError) {
        self.path = path
        do {
            try FileTree.makeDirectory(path, mode: 0o700)
            lock = try FileTree.openFile(path + "/lock", flags: O_RDWR | O_CREAT, mode: 0o600)
        } catch { throw .system(error) }
        guard lock.lockExclusively() else { throw .inUse(path) }
        do {
            if let found = try FileTree.readTextIfPresent(path + "/format") {
                let text = found.split(separator: "\n").first.map(String.init) ?? ""
                guard text == Self.format else { throw StateError.newerFormat(text, expected: Self.format) }
            } else {
                try FileTree.replaceFile(path + "/format", with: Array((Self.format + "\n").utf8), mode: 0o600)
            }
        } catch let error as StateError {
            throw error
        } catch let error as SystemError {
            throw .system(error)
        } catch { throw .system(SystemError("open", errno: EIO, on: path)) }
    }

    package var controlDatabase: String { path + "/control.sqlite" }
    package var artifacts: String { path + "/artifacts" }

    package var assets: String { path + "/assets" }

    /// The directory of one of a tenant's stores, made when missing.
    package func store(_ name: String, of tenant: String) throws(StateError) -> String {
        let tenantPath = path + "/" + tenant
        let storePath = tenantPath + "/" + name
        do {
            try FileTree.makeDirectory(tenantPath, mode: 0o700)
            try FileTree.makeDirectory(storePath, mode: 0o700)
        } catch { throw .system(error) }
        return storePath
    }
}

package enum StateError: Error, Sendable, CustomStringConvertible {
    case inUse(String)
    case newerFormat(String, expected: String)
    case system(SystemError)

    package var description: String {
        switch self {
        case .inUse(let path): "\(path) is in use by another node; stop it, or choose another --state"
        case .newerFormat(let found, let expected):
            "the state directory was written in the format \"\(found)\"; this version knows \"\(expected)\""
        case .system(let error): "\(error)"
        }
    }
}
