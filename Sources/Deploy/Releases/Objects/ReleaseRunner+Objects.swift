package import Host
internal import Interfaces
internal import Isolates
internal import Observability
internal import OpenSSL
package import System

/// The tenant's durable objects as releases change: which versions have them, and where their files are.
extension ReleaseRunner {
    // MARK: Starting

    /// The isolates for objects of the versions that `prepared` has; they are started when objects need them.
    func prepareObjects(_ prepared: inout Prepared, _ plan: ReleasePlan, _ description: ReleaseDescription) async throws {
        for (live, runtimes) in prepared.live {
            let worker = live.deployment.worker
            guard !plan.stored.objects.namespaces(of: worker).isEmpty else { continue }
            for version in live.versions {
                guard let runtime = runtimes[version.id] else { continue }
                let key = plan.objectKey(of: version, runtimeKey(of: version, description))
                if let shared = slots.lazy.compactMap({ $0.objects.runtimes[key] }).first {
                    prepared.objects[key] = shared
                    continue
                }
                let made = try await starter.makeObjects(
                    version, as: plan.worker(version, artifacts), like: runtime, ObjectBinder(objects, plan.stored))
                prepared.objects[key] = made
                prepared.freshObjects.append(made)
            }
        }
    }

    /// Who has which objects when `prepared` is in service.
    func objectService(
        _ plan: ReleasePlan, _ description: ReleaseDescription, _ prepared: Prepared, _ split: TrafficSplit
    ) -> ObjectService {
        var service = ObjectService()
        service.runtimes = prepared.objects
        let binder = ObjectBinder(objects, plan.stored)
        for namespace in plan.stored.objects.namespaces {
            // What has no key was refused when its worker was made.
            guard let bound = try? binder.make(namespace) else { continue }
            var servers: [ObjectServer] = []
            if let (live, runtimes) = prepared.live.first(where: { $0.live.deployment.worker == namespace.class.worker }) {
                for version in live.versions {
                    let share = live.deployment.shares.first { $0.versionID == version.id }?.basisPoints ?? 0
                    let key = plan.objectKey(of: version, runtimeKey(of: version, description))
                    guard share > 0, let worker = prepared.objects[key], let runtime = runtimes[version.id] else { continue }
                    servers.append(
                        ObjectServer(
                            worker: worker, release: split.release(of: runtime), className: namespace.class.name, share: share))
                }
            }
            service.entries[namespace.id] = .init(namespace: bound, servers: servers)
        }
        return service
    }

    // MARK: Serving

    /// Gives objects to the versions that have them now. Those that nobody has any more are refused.
    func serveObjects(_ entries: [ObjectService.Entry]) {
        var served: [String: ObjectNamespace] = [:]
        for entry in entries {
            objects.serve(entry.namespace, by: entry.servers)
            served[entry.namespace.id] = entry.namespace
        }
        for (id, namespace) in servedNamespaces where served[id] == nil { objects.serve(namespace, by: []) }
        servedNamespaces = served
    }

    /// Brings files of namespaces back that a migration had deleted and that the release to come has.
    func restoreObjects() async {
        await objectWork?.value
        let rows: [ReleaseStore.NamespaceRow]
        do { rows = try await read { try $0.namespaceRows() } } catch {
            return logger.log(.error, "namespaces of durable objects can't be read: \(error)")
        }
        for row in rows where row.state == .live && FileTree.exists("\(objects.directory)/trash/\(row.namespace.id)") {
            do { try await objects.restore(namespace(row)) } catch { complain(of: row, "aren't restored", error) }
        }
    }

    /// Takes away what migrations have deleted: files go to the trash, as long as somebody may go back. One after the other, behind
    /// whoever waits for the release.
    func removeObjects() {
        let before = objectWork
        // Owned by the runner: the last one ends after all others.
        objectWork = Task {
            await before?.value
            await self.removeDeleted()
        }
    }

    private func removeDeleted() async {
        let rows = (try? await read { try $0.namespaceRows() }) ?? []
        for row in rows where row.state == .deleted && servedNamespaces[row.namespace.id] == nil {
            guard FileTree.exists("\(objects.directory)/\(row.namespace.id)") else { continue }
            do { try await objects.remove(namespace(row)) } catch { complain(of: row, "stay where they are", error) }
        }
    }

    /// Removes for good what no release that may serve again has.
    func purgeObjects() async {
        await objectWork?.value
        let kept = keptReleases
        let rows: [ReleaseStore.NamespaceRow]
        do {
            rows = try await read { store in
                let rows = try store.namespaceRows().filter { $0.state == .deleted || $0.state == .planned }
                guard !rows.isEmpty else { return [] }
                var protected: Set<String> = []
                var numbers = kept
                for item in try store.openDeployments() where item.record.state != .draining {
                    numbers.formUnion([item.record.release, item.record.previous ?? item.record.release])
                }
                for number in numbers {
                    protected.formUnion(try store.release(number)?.content.objects?.namespaces.map(\.id) ?? [])
                }
                return rows.filter { !protected.contains($0.namespace.id) }
            }
        } catch { return logger.log(.error, "namespaces of durable objects can't be read: \(error)") }
        var gone: [String] = []
        for row in rows where servedNamespaces[row.namespace.id] == nil {
            do {
                if FileTree.exists("\(objects.directory)/\(row.namespace.id)") { try await objects.remove(namespace(row)) }
                try await objects.purge(row.namespace.id)
                gone.append(row.namespace.id)
                logger.log(
                    .info, "a namespace of durable objects is gone",
                    [("worker", row.namespace.class.worker), ("class", row.namespace.class.name)])
            } catch { complain(of: row, "aren't removed", error) }
        }
        let ids = gone
        guard !ids.isEmpty else { return }
        do { try await read { try $0.forget(namespaces: ids) } } catch {
            logger.log(.error, "namespaces of durable objects that are gone can't be forgotten: \(error)")
        }
    }

    private func namespace(_ row: ReleaseStore.NamespaceRow) -> ObjectNamespace {
        ObjectNamespace(
            id: row.namespace.id, key: row.key, worker: row.namespace.class.worker, className: row.namespace.class.name,
            hasSQL: row.namespace.storage == .sqlite, space: objects)
    }

    private func complain(of row: ReleaseStore.NamespaceRow, _ what: String, _ error: any Error) {
        logger.log(
            .error, "files of durable objects \(what): \(error)",
            [("worker", row.namespace.class.worker), ("class", row.namespace.class.name), ("namespace", row.namespace.id)])
    }

    // MARK: The end of a release

    /// Waits until no object is with isolates that `previous` alone has.
    func moveObjects(from previous: Running) async -> ObjectMoveReport {
        var report = ObjectMoveReport()
        let kept = slots.filter { $0.release != previous.release || $0.release == nil }.map(\.objects.runtimes)
        for (key, worker) in previous.objects.runtimes where !kept.contains(where: { $0[key] === worker }) {
            report += await objects.moved(from: worker)
        }
        if report.objects > 0 || report.sockets > 0 {
            logger.log(
                report.cut > 0 ? .warning : .info, "durable objects have moved",
                [
                    ("release", previous.description.name), ("objects", "\(report.objects)"), ("cut", "\(report.cut)"),
                    ("sockets", "\(report.sockets)"), ("longestMilliseconds", "\(report.longest.wholeMilliseconds)"),
                ])
        }
        return report
    }

    /// Those that run.
    var slots: [Running] { [current, candidate?.running].compactMap { $0 } + warm.values }
}

extension WorkerStarter {
    /// The isolates for objects of a version, beside those that answer its requests. None is started.
    func makeObjects(
        _ version: ScriptVersion, as worker: WorkerDescription, like runtime: WorkerRuntime, _ binder: ObjectBinder
    ) async throws -> WorkerRuntime {
        let namespaces = try binder.namespaces(of: worker.name)
        let space = binder.space
        try await artifacts.disk.run { () throws -> Void in
            // One that is in the trash comes back with its files.
            for namespace in namespaces where !FileTree.exists("\(space.directory)/trash/\(namespace.id)") {
                do { try space.prepare(namespace) } catch { throw ReleaseError.objectsNotKept("\(error)") }
            }
        }
        var configuration = runtime.configuration
        let history = UInt32(clamping: space.settings.timeTravel.wholeMilliseconds / 1000)
        configuration.objectClasses = namespaces.map { namespace in
            IsolateConfiguration.ObjectClass(
                name: namespace.className, key: namespace.key, directory: ObjectSpace.directoryInIsolates(of: namespace.id),
                hasSQL: namespace.hasSQL, historySeconds: history)
        }
        let pool = node.makeObjectPool(
            configuration: configuration, image: try await image(version, worker), limits: worker.limits, space: space)
        let node = node
        return WorkerRuntime(
            configuration: configuration, bindings: runtime.bindings, limits: worker.limits, pool: pool, origin: worker.origin,
            cache: runtime.cache, onUnreachable: { node.release($0) })
    }
}

// MARK: - For the API

/// A class of durable objects, as the API shows it.
package struct ObjectNamespaceStatus: Sendable {
    package var namespace: ObjectCatalog.Namespace
    package var createdAt: UnixTime
}

extension ReleaseRunner {
    /// Those in service, by their ids.
    package func objectNamespaces() async throws -> [ObjectNamespaceStatus] {
        try await read { store in
            try store.namespaceRows().filter { $0.state == .live }.map {
                ObjectNamespaceStatus(namespace: $0.namespace, createdAt: $0.createdAt)
            }
        }
    }

    /// - Throws: `ObjectSpaceError.unknownNamespace`; `ReleaseError.notReady`.
    package func objectNamespace(_ id: String) throws -> ObjectNamespace {
        guard let stored else { throw ReleaseError.notReady }
        guard let found = stored.objects.namespaces.first(where: { $0.id == id }) else {
            throw ObjectSpaceError.unknownNamespace(id)
        }
        return try ObjectBinder(objects, stored).make(found)
    }
}

extension ObjectNamespace {
    /// What `idFromName` makes of a name: 64 hexadecimal digits (spec: durable-objects, section 1).
    package func id(ofName name: String) -> String {
        func code(_ bytes: [UInt8]) -> [UInt8] {
            Array(MessageAuthentication.hmac(bytes, key: key, .sha256).prefix(16))
        }
        let body = code(Array(name.utf8))
        return Hexadecimal.text(body + code(body))
    }
}
