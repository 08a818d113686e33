internal import Glibc
internal import System

/// New state for tenants, whole and checked, beside the old one: `new/TENANT` takes the place of the tenant's directory, and
/// `TENANT.json` that of its rows in `control.sqlite`. Once the file `decided` is there, the change will happen, whatever ends
/// the process: each step can be done again, and the next start does what is left.
struct StateReplacement: Sendable {
    let directory: String
    private let state: StateDirectory

    static let purpose = "replacement"

    init(in state: StateDirectory) throws(SystemError) {
        self.state = state
        directory = try state.makeWorkDirectory(Self.purpose)
        try FileTree.makeDirectory(directory + "/new", mode: 0o700)
    }

    private init(_ directory: String, in state: StateDirectory) {
        self.directory = directory
        self.state = state
    }

    func path(of tenant: String) -> String { "\(directory)/new/\(tenant)" }
    func recordsPath(of tenant: String) -> String { "\(directory)/\(tenant).json" }

    /// All that was written is made durable, and the change can't be taken back any more. Blocks.
    func decide() throws(SystemError) {
        try FileTree.syncFileSystem(of: directory)
        try FileTree.replaceFile(directory + "/decided", with: [], mode: 0o600)
    }

    var isDecided: Bool { FileTree.exists(directory + "/decided") }

    /// Puts a tenant's new state into its place. For stores that are closed. Blocks.
    func apply(to tenant: String) throws {
        let (present, fresh, old) = ("\(state.path)/\(tenant)", path(of: tenant), "\(directory)/old-\(tenant)")
        if FileTree.exists(fresh) {
            if FileTree.exists(present) {
                // What lies there was put away in an attempt that was interrupted, and had its successor already.
                try FileTree.removeTree(old)
                try FileTree.rename(present, to: old)
            }
            try FileTree.rename(fresh, to: present)
        }
        try ObjectArchive.find(in: present)?.takePlace(of: tenant, in: present, state.controlDatabase)
        guard FileTree.exists(recordsPath(of: tenant)) else { return }
        try TenantRecords(json: try FileTree.read(recordsPath(of: tenant))).replace(of: tenant, in: state.controlDatabase)
        try FileTree.remove(recordsPath(of: tenant))
    }

    /// Blocks.
    func discard() throws(SystemError) { try FileTree.removeTree(directory) }

    fileprivate static func recover(_ state: StateDirectory) throws {
        for name in FileTree.list(state.work) {
            let replacement = StateReplacement("\(state.work)/\(name)", in: state)
            guard name.hasPrefix(purpose + "-"), replacement.isDecided else { continue }
            let tenants = Set(FileTree.list(replacement.directory + "/new"))
                .union(FileTree.list(replacement.directory).filter { $0.hasSuffix(".json") }.map { String($0.dropLast(5)) })
            for tenant in tenants.sorted() { try replacement.apply(to: tenant) }
        }
        try FileTree.removeTree(state.work)
    }
}

extension StateDirectory {
    /// Finishes what was decided before the last node ended, and removes everything else that was on its way. To be called
    /// before any tenant's stores are opened; blocks.
    package func recover() throws { try StateReplacement.recover(self) }
}
