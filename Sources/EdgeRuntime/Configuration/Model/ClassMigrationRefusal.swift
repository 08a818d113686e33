/// Why migrations of durable object classes can't be applied, or a binding to a class can't be had (spec: durable-objects,
/// section 8). The texts are those that the product's clients know, where it has one.
package enum ClassMigrationRefusal: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Step: String, Sendable {
        case newSQLiteClass = "new-sqlite-class"
        case newClass = "new-class"
        case rename = "rename-class"
        case delete = "delete-class"
        case transfer = "transfer-class"
    }

    /// What was applied last is none of the tags that are named now.
    case unknownTag(applied: String, worker: String)
    /// There were migrations, and there are none now.
    case noMigrations(applied: String, worker: String)
    /// An upload expects another one; `nil`: none was applied.
    case otherTag(applied: String?)
    case classExists(String, Step)
    case classMissing(String, Step, worker: String)
    /// The name that a class is to get is also to be a new one.
    case targetIsNew(String, Step)
    case stillBound(String, binding: String, worker: String)
    /// A binding to a class that no migration has created; `owner`: another worker whose class it is to be.
    case notConfigured(String, owner: String?)
    /// Of a new class, or (`nil`) of one that has objects already.
    case notExported(String, Step?)
    case tooManyClasses(Int, limit: Int)

    /// As the product's API has it; 10021 where it has none of its own.
    package var code: Int {
        switch self {
        case .otherTag, .unknownTag, .noMigrations: 10079
        case .classExists: 10074
        case .stillBound, .notConfigured: 10061
        case .notExported(_, let step): step == nil ? 10064 : 10070
        case .classMissing, .targetIsNew, .tooManyClasses: 10021
        }
    }

    package var description: String {
        switch self {
        case .unknownTag(let tag, let worker):
            "worker \"\(worker)\" has applied its class migrations up to the tag \"\(tag)\", which its configuration doesn't have: "
                + "put that migration back, or deploy with --force-migrations, which sends all steps whose tags weren't applied"
        case .noMigrations(let tag, let worker):
            "worker \"\(worker)\" has applied its class migrations up to the tag \"\(tag)\", and its configuration has none: once a tag "
                + "is set, every deployment carries them; put them back, or deploy with --force-migrations"
        case .otherTag(let tag): "Migration tag precondition failed; current tag is \(tag.map { "'\($0)'" } ?? "not set")"
        case .classExists(let name, .rename), .classExists(let name, .transfer):
            "Cannot apply a migration to the class '\(name)', which already exists and has Durable Objects"
        case .classExists(let name, let step):
            "Cannot apply \(step.rawValue) migration to class '\(name)' that is already depended on by existing Durable Objects"
        case .classMissing(let name, let step, let worker):
            "Cannot apply --\(step.rawValue) migration to class \(name), which the worker \"\(worker)\" doesn't have"
        case .targetIsNew(let name, let step):
            "Cannot apply --\(step.rawValue) migration to class \(name), which is also to be created: a class that takes over "
                + "objects is not to be in new_sqlite_classes or new_classes"
        case .stillBound(let name, let binding, let worker):
            "Cannot apply --delete-class migration to class \(name) without also removing the binding that references it "
                + "(\(binding) of the worker \"\(worker)\")"
        case .notConfigured(let name, nil):
            "Cannot create binding for class '\(name)' because it is not currently configured to implement Durable Objects. "
                + "Did you forget to apply a --new-class migration to it?"
        case .notConfigured(let name, let owner?):
            "Cannot create binding for class '\(name)' in script '\(owner)' because it is not currently configured to implement "
                + "Durable Objects. Did you forget to apply a --new-class migration to it?"
        case .notExported(let name, let step?):
            "Cannot apply \(step.rawValue) migration to class '\(name)' that is not exported by the script"
        case .notExported(let name, nil):
            "New version of script does not export class '\(name)' which is depended on by existing Durable Objects. If you want to "
                + "delete the class's objects, apply a delete-class migration"
        case .tooManyClasses(let count, let limit):
            "the account would have \(count) classes of Durable Objects, and may have \(limit)"
        }
    }
}
