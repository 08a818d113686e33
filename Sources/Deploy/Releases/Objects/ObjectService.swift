internal import Host

/// Which versions of a release have the objects of each namespace, and the pools of isolates that these are in.
struct ObjectService: Sendable {
    struct Entry: Sendable {
        var namespace: ObjectNamespace
        /// The oldest version first; their shares make up the whole line. None: the namespace's worker doesn't serve.
        var servers: [ObjectServer]
    }

    /// By the namespace's id.
    var entries: [String: Entry] = [:]
    /// Isolates for objects, by the version and its classes: see `ReleasePlan.objectKey`.
    var runtimes: [String: WorkerRuntime] = [:]

    /// What each namespace is served by while `candidate` has `percent` of all objects: the upper end of the line of their ids, so that
    /// an object that has moved there stays there while the share grows. Namespaces that are the candidate's alone are its own, and
    /// those that only this one has stay with it.
    func sharing(with candidate: ObjectService, percent: Int) -> [Entry] {
        let border = TrafficSplit.pointCount - percent * TrafficSplit.pointCount / 100
        return Set(entries.keys).union(candidate.entries.keys).sorted().compactMap { id in
            guard var entry = entries[id] else { return candidate.entries[id] }
            guard let new = candidate.entries[id], percent > 0 else { return entry }
            func share(_ server: ObjectServer, _ share: Int) -> ObjectServer {
                ObjectServer(worker: server.worker, release: server.release, className: server.className, share: share)
            }
            let parts = ShareLine.join(
                entry.servers.map { ($0, $0.share) }, new.servers.map { ($0, $0.share) }, at: border
            ) { $0.worker === $1.worker }
            entry.servers = parts.map { share($0.owner, $0.share) }
            return entry
        }
    }
}

/// Shares side by side on the line of all points.
enum ShareLine {
    /// `old` up to the border, then `new`. Owners that meet and are the same, by `isSame`, are one: the older.
    static func join<Owner>(
        _ old: [(owner: Owner, share: Int)], _ new: [(owner: Owner, share: Int)], at border: Int,
        isSame: (Owner, Owner) -> Bool
    ) -> [(owner: Owner, share: Int)] {
        var joined: [(owner: Owner, share: Int)] = []
        func add(_ parts: [(owner: Owner, share: Int)], from lower: Int, to upper: Int) {
            var start = 0
            for part in parts {
                let end = start + part.share
                let share = min(end, upper) - max(start, lower)
                start = end
                guard share > 0 else { continue }
                if let last = joined.last, isSame(last.owner, part.owner) {
                    joined[joined.count - 1].share += share
                } else {
                    joined.append((part.owner, share))
                }
            }
        }
        add(old, from: 0, to: border)
        add(new, from: border, to: TrafficSplit.pointCount)
        return joined
    }
}

/// Makes bindings to namespaces, and isolates for their objects.
struct ObjectBinder: Sendable {
    let space: ObjectSpace
    let catalog: ObjectCatalog
    /// By the namespace's id.
    let keys: [String: [UInt8]]

    init(_ space: ObjectSpace, _ stored: ReleaseStore.Stored) {
        self.space = space
        catalog = stored.objects
        keys = stored.objectKeys
    }

    /// - Throws: `ReleaseError.classMigrations` for a class that isn't there.
    func namespace(of name: ObjectCatalog.ClassName, for worker: String) throws(ReleaseError) -> ObjectNamespace {
        guard let found = catalog.namespace(of: name) else {
            throw .classMigrations([.notConfigured(name.name, owner: name.worker == worker ? nil : name.worker)])
        }
        return try make(found)
    }

    func namespaces(of worker: String) throws(ReleaseError) -> [ObjectNamespace] {
        var namespaces: [ObjectNamespace] = []
        for namespace in catalog.namespaces(of: worker) { namespaces.append(try make(namespace)) }
        return namespaces
    }

    func make(_ namespace: ObjectCatalog.Namespace) throws(ReleaseError) -> ObjectNamespace {
        guard let key = keys[namespace.id] else { throw .objectsNotKept("the namespace \(namespace.id) has no key") }
        return ObjectNamespace(
            id: namespace.id, key: key, worker: namespace.class.worker, className: namespace.class.name,
            hasSQL: namespace.storage == .sqlite, space: space)
    }
}

extension ObjectMoveReport {
    static func += (sum: inout Self, more: Self) {
        sum.objects += more.objects
        sum.cut += more.cut
        sum.sockets += more.sockets
        sum.longest = max(sum.longest, more.longest)
    }
}
