internal import Configuration
internal import System

/// Classes of durable objects: what a plan makes of them.
extension ReleasePlan {
    /// Applies migrations, and makes sure that all bindings lead to classes that are there.
    ///
    /// - Throws: `ReleaseError.classMigrations`.
    mutating func migrate(_ items: [ClassMigrationBatch.Item]) throws(ReleaseError) {
        let items = items.filter { !$0.steps.isEmpty || !$0.tags.isEmpty }
        var batch = ClassMigrationBatch(
            stored.objects, suspended: stored.suspendedNamespaces, makeID: { RandomID.hex() })
        if !items.isEmpty {
            let refusals = batch.apply(items)
            guard refusals.isEmpty else { throw .classMigrations(refusals) }
            for namespace in batch.created {
                let key = RandomID.key()
                stored.objectKeys[namespace.id] = key
                change.namespaces.append(.init(namespace: namespace, key: key))
            }
            setObjects(batch.catalog, removing: .delete)
        }
        try checkObjectBindings(deleted: batch.deleted)
    }

    /// Makes `catalog` what holds. Of what it has and `stored` hasn't, there are rows already, or `change` makes them.
    mutating func setObjects(_ catalog: ObjectCatalog, removing removal: ReleaseStore.NamespaceRemoval) {
        guard catalog != stored.objects else { return }
        let kept = Set(catalog.namespaces.map(\.id))
        let gone = stored.objects.namespaces.filter { !kept.contains($0.id) }
        stored.suspendedNamespaces.removeAll { kept.contains($0.id) }
        if removal == .suspend { stored.suspendedNamespaces += gone }
        stored.objects = catalog
        change.objects = catalog
        change.objectRemoval = removal
    }

    /// - Parameter deleted: what a migration of this plan deletes.
    /// - Throws: `ReleaseError.classMigrations`.
    func checkObjectBindings(deleted: Set<ObjectCatalog.ClassName> = []) throws(ReleaseError) {
        var refusals: [ClassMigrationRefusal] = []
        for live in stored.live.values.sorted(by: { $0.deployment.worker < $1.deployment.worker }) {
            for version in live.versions { refusals += brokenBindings(of: version, deleted) }
        }
        guard refusals.isEmpty else { throw .classMigrations(refusals) }
    }

    /// - Throws: `ReleaseError.classMigrations`.
    func checkObjectBindings(of version: ScriptVersion) throws(ReleaseError) {
        let refusals = brokenBindings(of: version, [])
        guard refusals.isEmpty else { throw .classMigrations(refusals) }
    }

    private func brokenBindings(
        of version: ScriptVersion, _ deleted: Set<ObjectCatalog.ClassName>
    ) -> [ClassMigrationRefusal] {
        version.snapshot.bindings.compactMap { binding in
            guard let name = binding.target.objectClass(of: version.worker), stored.objects.namespace(of: name) == nil
            else { return nil }
            return deleted.contains(name)
                ? .stillBound(name.name, binding: binding.name, worker: version.worker)
                : .notConfigured(name.name, owner: name.worker == version.worker ? nil : name.worker)
        }
    }

    /// Which isolates for objects serve a version's classes: those of another assignment of classes are others.
    func objectKey(of version: ScriptVersion, _ runtimeKey: String) -> String {
        runtimeKey
            + stored.objects.namespaces(of: version.worker).map { " \($0.class.name)=\($0.id)" }.joined()
    }
}

extension WorkerDescription.Binding {
    /// The class of durable objects that it names, in a version of `worker`.
    func objectClass(of worker: String) -> ObjectCatalog.ClassName? {
        guard case .object(let name, let owner) = self else { return nil }
        return ObjectCatalog.ClassName(worker: owner ?? worker, name: name)
    }
}
