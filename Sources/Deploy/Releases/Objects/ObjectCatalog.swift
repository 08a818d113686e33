package import Configuration

/// The namespaces of a tenant's durable objects, and how far the migrations of its workers' classes have come. Part of a release:
/// what a class is called, and which worker has it, changes with the deployment that brings the migration, and back with it.
///
/// Pure: rows are `ReleaseStore`'s, files are `ObjectFiles`'.
package struct ObjectCatalog: Codable, Equatable, Sendable {
    package enum Storage: String, Codable, Sendable { case sqlite, keyValue = "kv" }

    /// A class of one worker.
    package struct ClassName: Codable, Hashable, Sendable {
        package var worker: String
        package var name: String

        package init(worker: String, name: String) {
            self.worker = worker
            self.name = name
        }
    }

    package struct Namespace: Codable, Equatable, Sendable {
        /// 32 hex digits, made once: a class keeps it when it is renamed or changes its worker.
        package let id: String
        package var `class`: ClassName
        package let storage: Storage
        /// What it was called before: bindings of these names lead to it as long as no class has them.
        package var formerNames: [ClassName] = []

        package init(id: String, class: ClassName, storage: Storage, formerNames: [ClassName] = []) {
            self.id = id
            self.class = `class`
            self.storage = storage
            self.formerNames = formerNames
        }
    }

    /// By id.
    package var namespaces: [Namespace] = []
    /// Of each worker, the tags of what was applied, in their order.
    package var tags: [String: [String]] = [:]

    /// Product limit, of one account.
    package static let classesMax = 500

    package init() {}

    package func namespace(of name: ClassName) -> Namespace? {
        namespaces.first { $0.class == name } ?? namespaces.last { $0.formerNames.contains(name) }
    }

    package func namespaces(of worker: String) -> [Namespace] { namespaces.filter { $0.class.worker == worker } }

    /// The last migration that was applied.
    package func tag(of worker: String) -> String? { tags[worker]?.last }

    /// The first worker whose migrations differ, with the tags on both sides.
    package func difference(from other: ObjectCatalog) -> (worker: String, tag: String?, other: String?)? {
        for worker in Set(tags.keys).union(other.tags.keys).sorted() where tags[worker] != other.tags[worker] {
            return (worker, tag(of: worker), other.tag(of: worker))
        }
        return nil
    }

    /// What was applied since `other`: `worker: tag`.
    func changes(since other: ObjectCatalog) -> [String] {
        var lines: [String] = []
        for (worker, applied) in tags.sorted(by: { $0.key < $1.key }) {
            let known = Set(other.tags[worker] ?? [])
            lines += applied.filter { !known.contains($0) }.map { "\(worker): \($0)" }
        }
        return lines
    }

    /// A worker goes for good, and its classes with it.
    mutating func remove(_ worker: String) {
        namespaces.removeAll { $0.class.worker == worker }
        tags[worker] = nil
    }
}

/// Migrations of several workers that are to be applied together, since a class may go from one of them to another.
struct ClassMigrationBatch {
    /// Those of one worker, in the order of its configuration.
    struct Item {
        var worker: String
        var steps: [ClassMigration]
        /// Recorded once all steps are applied.
        var tags: [String]
    }

    private(set) var catalog: ObjectCatalog
    /// Those that exist from now on.
    private(set) var created: [ObjectCatalog.Namespace] = []
    /// Classes whose objects go.
    private(set) var deleted: Set<ObjectCatalog.ClassName> = []
    /// Of classes that a rollback took out of service with all that they had: the same migration brings them back.
    private var suspended: [ObjectCatalog.Namespace]
    private let makeID: () -> String

    init(_ catalog: ObjectCatalog, suspended: [ObjectCatalog.Namespace], makeID: @escaping () -> String) {
        self.catalog = catalog
        self.suspended = suspended
        self.makeID = makeID
    }

    enum Force { case none, unknownTags }

    /// What of a worker's migrations hasn't been applied yet.
    static func pending(
        _ migrations: [ClassMigration], of worker: String, in catalog: ObjectCatalog, _ force: Force
    ) throws(ClassMigrationRefusal) -> Item {
        func item(_ steps: [ClassMigration]) -> Item { Item(worker: worker, steps: steps, tags: steps.map(\.tag)) }
        let applied = catalog.tags[worker] ?? []
        guard let last = applied.last else { return item(migrations) }
        if let index = migrations.lastIndex(where: { $0.tag == last }) { return item(Array(migrations[(index + 1)...])) }
        guard force == .unknownTags else {
            throw migrations.isEmpty
                ? .noMigrations(applied: last, worker: worker) : .unknownTag(applied: last, worker: worker)
        }
        return item(migrations.filter { !applied.contains($0.tag) })
    }

    /// Applies all of them.
    ///
    /// - Returns: why not; nothing of the batch counts then.
    mutating func apply(_ items: [Item]) -> [ClassMigrationRefusal] {
        var waiting = items
        var refusals: [ClassMigrationRefusal] = []
        // A class that comes from another worker may have been made, or named, by that one's migration in this batch.
        while !waiting.isEmpty {
            var left: [Item] = []
            refusals = []
            for item in waiting {
                let before = self
                do throws(ClassMigrationRefusal) { try apply(item) } catch {
                    self = before
                    left.append(item)
                    refusals.append(error)
                }
            }
            guard left.count < waiting.count else { return refusals }
            waiting = left
        }
        let count = catalog.namespaces.count
        return count > ObjectCatalog.classesMax ? [.tooManyClasses(count, limit: ObjectCatalog.classesMax)] : []
    }

    private mutating func apply(_ item: Item) throws(ClassMigrationRefusal) {
        for step in item.steps {
            let created = Set(step.newClasses + step.newSQLiteClasses)
            for name in step.newSQLiteClasses { try create(name, .sqlite, .newSQLiteClass, of: item.worker) }
            for name in step.newClasses { try create(name, .keyValue, .newClass, of: item.worker) }
            for renaming in step.renamedClasses {
                guard !created.contains(renaming.to) else { throw .targetIsNew(renaming.to, .rename) }
                let from = ObjectCatalog.ClassName(worker: item.worker, name: renaming.from)
                try move(from, to: .init(worker: item.worker, name: renaming.to), .rename)
            }
            for transfer in step.transferredClasses {
                guard !created.contains(transfer.to) else { throw .targetIsNew(transfer.to, .transfer) }
                let from = ObjectCatalog.ClassName(worker: transfer.fromWorker, name: transfer.from)
                try move(from, to: .init(worker: item.worker, name: transfer.to), .transfer)
            }
            for name in step.deletedClasses {
                let deletedClass = ObjectCatalog.ClassName(worker: item.worker, name: name)
                guard let index = catalog.namespaces.firstIndex(where: { $0.class == deletedClass }) else {
                    throw .classMissing(name, .delete, worker: item.worker)
                }
                let gone = catalog.namespaces.remove(at: index)
                self.created.removeAll { $0.id == gone.id }
                deleted.insert(deletedClass)
            }
        }
        if !item.tags.isEmpty { catalog.tags[item.worker, default: []] += item.tags }
    }

    private mutating func create(
        _ name: String, _ storage: ObjectCatalog.Storage, _ step: ClassMigrationRefusal.Step, of worker: String
    ) throws(ClassMigrationRefusal) {
        let newClass = ObjectCatalog.ClassName(worker: worker, name: name)
        guard !catalog.namespaces.contains(where: { $0.class == newClass }) else { throw .classExists(name, step) }
        let namespace: ObjectCatalog.Namespace
        if let index = suspended.firstIndex(where: { $0.class == newClass && $0.storage == storage }) {
            namespace = suspended.remove(at: index)
        } else {
            namespace = ObjectCatalog.Namespace(id: makeID(), class: newClass, storage: storage)
            created.append(namespace)
        }
        catalog.namespaces.append(namespace)
        catalog.namespaces.sort { $0.id < $1.id }
        deleted.remove(newClass)
    }

    private mutating func move(
        _ from: ObjectCatalog.ClassName, to: ObjectCatalog.ClassName, _ step: ClassMigrationRefusal.Step
    ) throws(ClassMigrationRefusal) {
        guard let index = catalog.namespaces.firstIndex(where: { $0.class == from }) else {
            throw .classMissing(from.name, step, worker: from.worker)
        }
        guard !catalog.namespaces.contains(where: { $0.class == to }) else { throw .classExists(to.name, step) }
        catalog.namespaces[index].class = to
        catalog.namespaces[index].formerNames.removeAll { $0 == to }
        catalog.namespaces[index].formerNames.append(from)
        if let made = created.firstIndex(where: { $0.id == catalog.namespaces[index].id }) {
            created[made] = catalog.namespaces[index]
        }
    }
}

/// What an upload says of migrations: steps, and the tags before and behind them.
package struct ClassMigrationUpload: Equatable, Sendable {
    /// `.some(nil)` of JSON `null`: none was applied; `nil`: nobody says.
    package var oldTag: String??
    package var newTag: String?
    package var steps: [ClassMigration]

    package init(oldTag: String??, newTag: String?, steps: [ClassMigration]) {
        self.oldTag = oldTag
        self.newTag = newTag
        self.steps = steps
    }

    func item(of worker: String, in catalog: ObjectCatalog) throws(ClassMigrationRefusal) -> ClassMigrationBatch.Item {
        let applied = catalog.tag(of: worker)
        if let oldTag, oldTag != applied { throw .otherTag(applied: applied) }
        // An upload that was sent twice is no second migration.
        if let newTag, newTag == applied { throw .otherTag(applied: applied) }
        return .init(worker: worker, steps: steps, tags: newTag.map { [$0] } ?? [])
    }
}
