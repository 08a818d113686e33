internal import Glibc
package import Isolates
internal import Observability
package import Stores
internal import Synchronization
internal import System

/// The durable objects of one tenant: which isolate has which of them, and what waits for one. It lives as long as the tenant's
/// stores. Safe on any thread.
package final class ObjectSpace: Sendable {
    /// `state/<environment>/<tenant>/objects`. Each namespace has a directory in it, named after its id.
    package let directory: String
    let tenant: String
    let node: Node
    let logger: Logger
    let identity: TenantIdentity?

    private struct State {
        var settings: ObjectSettings
        var servers: [String: [ObjectServer]] = [:]
    }
    private let state: Mutex<State>

    /// - Parameters:
    ///   - identity: Whom the files belong to, where the node is root.
    ///   - openIndex: Opens the index of alarms; blocks. Called again after `suspend`.
    package init(
        directory: String, tenant: String, settings: ObjectSettings = ObjectSettings(), identity: TenantIdentity?, node: Node,
        openIndex: @escaping @Sendable () throws -> any ObjectAlarmIndex
    ) throws {
        self.directory = directory
        self.tenant = tenant
        self.identity = identity
        self.node = node
        logger = node.logger.with("tenant", tenant)
        state = Mutex(State(settings: settings))
    }

    package var settings: ObjectSettings {
        get { state.withLock { $0.settings } }
        set { state.withLock { $0.settings = newValue } }
    }

    // MARK: Namespaces

    /// Where an isolate finds a namespace's files: `IsolateConfiguration.ObjectClass.directory`. Isolates for objects run in
    /// `directory`, and have to reach nothing above it.
    package static func directoryInIsolates(of namespace: String) -> String { "/proc/self/cwd/\(namespace)" }

    /// Makes the directory of a namespace, if it is missing; blocks. Before its first isolate is started.
    package func prepare(_ namespace: ObjectNamespace) throws(ObjectSpaceError) {
        do {
            let path = directory + "/" + namespace.id
            try FileTree.makeDirectory(directory, mode: 0o711)
            try FileTree.makeDirectory(path, mode: 0o700)
            if let identity, unsafe lchown(path, identity.userID, identity.groupID) != 0 {
                throw SystemError("chown", errno: errno, on: path)
            }
        } catch { throw .system("\(error)") }
    }

    /// Says which versions have the namespace's objects from now on: the oldest one first, its share of ids at the lower end. None:
    /// calls fail. Objects whose version changes move there, a few at a time: see `moved`.
    package func serve(_ namespace: ObjectNamespace, by servers: [ObjectServer]) {
        state.withLock { $0.servers[namespace.id] = servers }
    }

    /// Waits until no object is with `worker` any more; earlier when the task is cancelled.
    package func moved(from worker: WorkerRuntime) async -> ObjectMoveReport { ObjectMoveReport() }

    // MARK: Looking and acting from outside

    /// What the objects of one worker are at; `nil`: of all.
    package func counts(of worker: WorkerRuntime? = nil) -> ObjectCounts { ObjectCounts() }

    /// The ids of objects that have files, in order.
    package func list(
        _ namespace: ObjectNamespace, after cursor: String?, limit: Int
    ) async throws(ObjectSpaceError) -> [(id: String, hasStoredData: Bool)] { [] }

    package func inspect(_ namespace: ObjectNamespace, _ id: String) async throws(ObjectSpaceError) -> ObjectStatus {
        throw .badID(id)
    }

    /// Has an object leave memory: what it is doing may finish.
    ///
    /// - Returns: false when it wasn't in memory.
    package func evict(_ namespace: ObjectNamespace, _ id: String) async throws(ObjectSpaceError) -> Bool { throw .badID(id) }

    /// Removes all that an object has: its files, its alarm, its WebSockets.
    package func delete(_ namespace: ObjectNamespace, _ id: String) async throws(ObjectSpaceError) { throw .badID(id) }

    // MARK: Taking away and giving back

    /// Has all objects leave memory, and closes the index: their files can be replaced. Events wait, WebSockets stay, alarms rest until
    /// `resume`.
    package func suspend() async throws(ObjectSpaceError) {}

    package func resume() throws(ObjectSpaceError) {}

    /// Has the namespace's objects leave memory for good, closes their WebSockets, forgets their alarms, and moves their files to
    /// `trash/`.
    package func remove(_ namespace: ObjectNamespace) async throws(ObjectSpaceError) {}

    /// Takes `remove` back: files are in their place again, and alarms are asked of the objects.
    package func restore(_ namespace: ObjectNamespace) async throws(ObjectSpaceError) {}

    /// Removes for good what `remove` has put into `trash/`.
    package func purge(_ namespace: String) async throws(ObjectSpaceError) {}

    /// Ends everything.
    package func close() async {}
}
