package import Configuration
package import Observability
internal import Synchronization
package import System

/// Makes, changes and removes tenants of a running node. What it has made is there again after the next start; tenants of
/// configuration files are none of its business.
package actor TenantHost {
    package nonisolated let state: StateDirectory
    private let environment: String
    private let catalog: TenantCatalog
    private let clock: any NodeClock
    private let logger: Logger
    private let open: @Sendable (String, StoreSettings) throws -> ReleaseRunner
    /// Tenants that a change is going on with.
    private var busy: Set<String> = []

    /// Opens the catalog, and ends removals that were interrupted; blocks.
    ///
    /// - Parameter open: Opens a tenant's stores; blocks.
    package init(
        state: StateDirectory, environment: String, clock: any NodeClock, logger: Logger,
        open: @escaping @Sendable (String, StoreSettings) throws -> ReleaseRunner
    ) throws {
        self.state = state
        self.environment = environment
        self.clock = clock
        self.logger = logger
        self.open = open
        catalog = try TenantCatalog(database: state.controlDatabase)
        for entry in try catalog.all() where entry.isLeaving { try Self.finishRemoval(entry.name, state, catalog) }
    }

    /// Opens the stores of all tenants that were made, and brings into service what was deployed for them.
    ///
    /// - Parameter configured: Those that a configuration has, which wins.
    package func start(except configured: Set<String>) async throws -> [ReleaseRunner] {
        var runners: [ReleaseRunner] = []
        for entry in try catalog.all() where !configured.contains(entry.name) { runners.append(try await start(entry)) }
        return runners
    }

    /// No configuration says anything of its workers.
    private func start(_ entry: TenantCatalog.Entry) async throws -> ReleaseRunner {
        let open = open
        let runner = try await Self.blocking { try open(entry.name, entry.settings.stores) }
        try await runner.apply(
            ReleaseDescription(name: environment, tenant: entry.name, environment: environment, workers: []))
        return runner
    }

    /// `nil` for tenants of configuration files.
    package func entry(_ name: String) throws -> TenantCatalog.Entry? { try catalog.all().first { $0.name == name } }

    /// What is wrong with `control.sqlite`, which has what all tenants share; blocks.
    package nonisolated func controlProblems() throws -> [String] { try catalog.problems() }

    /// Makes a tenant without workers. Durable when it returns, and its stores are open.
    package func create(_ name: String, _ settings: TenantSettings) async throws -> ReleaseRunner {
        guard Self.isName(name) else { throw TenantError.badName(name) }
        guard try entry(name) == nil, !FileTree.exists("\(state.path)/\(name)") else { throw TenantError.exists(name) }
        try begin(name)
        defer { busy.remove(name) }
        try catalog.insert(name, settings, at: clock.wallTime())
        do {
            guard let entry = try entry(name) else { throw TenantError.busy(name) }
            return try await start(entry)
        } catch {
            try catalog.markLeaving(name)
            try Self.finishRemoval(name, state, catalog)
            throw error
        }
    }

    /// Changes what a tenant may have, by taking its stores out of service for a moment. Durable when it returns.
    package func update(_ runner: ReleaseRunner, _ settings: TenantSettings) async throws {
        let name = runner.tenant
        guard try entry(name) != nil else { throw TenantError.isConfigured(name) }
        try begin(name)
        defer { busy.remove(name) }
        try catalog.update(name, settings)
        try await runner.withStoresClosed(opening: settings.stores) {}
    }

    /// Removes a tenant with all that it has: at once for everybody, from the disk a little later. Durable when it returns.
    ///
    /// - Parameter what: `.emptyOne` refuses a tenant that has anything.
    package func remove(_ runner: ReleaseRunner, _ what: Removal) async throws {
        let name = runner.tenant
        guard try entry(name) != nil else { throw TenantError.isConfigured(name) }
        if what == .emptyOne {
            let contents = try await runner.contents().filter { $0.count > 0 }
            guard contents.isEmpty else {
                throw TenantError.notEmpty(name, contents.map { "\($0.count) \($0.kind)" }.joined(separator: ", "))
            }
        }
        try begin(name)
        defer { busy.remove(name) }
        try catalog.markLeaving(name)
        try await runner.retire()
        let (state, catalog) = (state, catalog)
        try await Self.blocking { try Self.finishRemoval(name, state, catalog) }
    }

    package enum Removal: Sendable { case emptyOne, any }

    private func begin(_ name: String) throws {
        guard busy.insert(name).inserted else { throw TenantError.busy(name) }
    }

    /// The directory leaves its place first: a tenant of the same name that is made later has its own. Blocks.
    private static func finishRemoval(_ name: String, _ state: StateDirectory, _ catalog: TenantCatalog) throws {
        let directory = "\(state.path)/\(name)"
        if FileTree.exists(directory) {
            let grave = try state.makeWorkDirectory("removed")
            try FileTree.rename(directory, to: "\(grave)/\(name)")
            try catalog.remove(name)
            try FileTree.removeTree(grave)
        } else {
            try catalog.remove(name)
        }
    }

    private static func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            SystemThread(name: "edge-tenant") { continuation.resume(with: Result { try body() }) }.start()
        }
    }

    /// A name becomes a directory beside those that the node keeps for itself.
    private static func isName(_ name: String) -> Bool {
        guard (1...63).contains(name.utf8.count), let first = name.utf8.first, !isMark(first) else { return false }
        return !["artifacts", "assets", "bundles", "tenants", "lock", "format", "control"].contains(name)
            && name.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || isMark($0) }
    }

    private static func isMark(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") }
}

package enum TenantError: Error, Equatable, Sendable, CustomStringConvertible {
    case badName(String)
    case exists(String)
    case isConfigured(String)
    case notEmpty(String, String)
    case busy(String)

    package var description: String {
        switch self {
        case .badName(let name):
            "\"\(name)\" is no name for a tenant: 1 to 63 lower-case letters, digits, \"-\" and \"_\", a letter or digit first, and "
                + "none that the node uses itself"
        case .exists(let name): "there is a tenant \"\(name)\", or what one has left on the disk"
        case .isConfigured(let name): "the tenant \"\(name)\" comes from a configuration file: change it there"
        case .notEmpty(let name, let contents):
            "the tenant \"\(name)\" still has \(contents): force=true removes it with all that"
        case .busy(let name): "something is going on with the tenant \"\(name)\" already: try again"
        }
    }
}
