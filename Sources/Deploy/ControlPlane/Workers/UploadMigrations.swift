internal import Configuration
internal import Releases

/// The migrations of durable object classes that an upload carries: `{ old_tag, new_tag, steps: [{ new_classes, … }] }`, or one step
/// in the place of `steps` (spec: control-plane, section 6).
enum UploadMigrations {
    private static let stepsMax = 1000
    private static let stepKeys: Set<String> = [
        "new_classes", "new_sqlite_classes", "renamed_classes", "deleted_classes", "transferred_classes",
    ]

    static func read(_ json: JSON?) throws(ScriptError) -> ClassMigrationUpload? {
        guard let json, json != .null, json.members?.isEmpty != true else { return nil }
        guard let members = json.members else { throw .invalid("migrations must be an object") }
        for member in members where !stepKeys.union(["old_tag", "new_tag", "steps"]).contains(member.name) {
            throw .invalid("migrations has the unknown key \"\(member.name.prefix(64))\"")
        }
        var steps: [ClassMigration] = []
        if let list = json["steps"], list != .null {
            guard let items = list.items, items.count <= stepsMax else {
                throw .invalid("migrations.steps must be an array of at most \(stepsMax) steps")
            }
            for item in items {
                guard let keys = item.members?.map(\.name), stepKeys.isSuperset(of: keys) else {
                    throw .invalid("a step of migrations must be an object with \(stepKeys.sorted().joined(separator: ", "))")
                }
                steps.append(try step(item))
            }
        }
        let isSingle = members.contains { stepKeys.contains($0.name) && $0.value != .null }
        if isSingle {
            guard steps.isEmpty else { throw .invalid("migrations has steps, and a step beside them") }
            steps = [try step(json)]
        }
        var oldTag: String??
        if let value = json["old_tag"] { oldTag = .some(try tag(value, "old_tag")) }
        var newTag: String?
        if let value = json["new_tag"] { newTag = try tag(value, "new_tag") }
        return ClassMigrationUpload(oldTag: oldTag, newTag: newTag, steps: steps)
    }

    private static func tag(_ value: JSON, _ name: String) throws(ScriptError) -> String? {
        if value == .null { return nil }
        guard let text = value.text, text.utf8.count <= 255 else {
            throw .invalid("migrations.\(name) must be a text of at most 255 bytes")
        }
        return text.isEmpty ? nil : text
    }

    private static func step(_ json: JSON) throws(ScriptError) -> ClassMigration {
        var migration = ClassMigration(
            tag: "", newSQLiteClasses: try names(json, "new_sqlite_classes"), newClasses: try names(json, "new_classes"),
            renamedClasses: [], deletedClasses: try names(json, "deleted_classes"), transferredClasses: [])
        for item in try items(json, "renamed_classes") {
            migration.renamedClasses.append(
                .init(from: try name(item["from"], "renamed_classes.from"), to: try name(item["to"], "renamed_classes.to")))
        }
        for item in try items(json, "transferred_classes") {
            migration.transferredClasses.append(
                .init(
                    from: try name(item["from"], "transferred_classes.from"),
                    fromWorker: try name(item["from_script"], "transferred_classes.from_script"),
                    to: try name(item["to"], "transferred_classes.to")))
        }
        return migration
    }

    private static func items(_ json: JSON, _ key: String) throws(ScriptError) -> [JSON] {
        guard let value = json[key], value != .null else { return [] }
        guard let items = value.items, items.count <= ObjectCatalog.classesMax else {
            throw .invalid("migrations: \(key) must be an array of at most \(ObjectCatalog.classesMax)")
        }
        return items
    }

    private static func names(_ json: JSON, _ key: String) throws(ScriptError) -> [String] {
        var names: [String] = []
        for item in try items(json, key) { names.append(try name(item, key)) }
        return names
    }

    private static func name(_ value: JSON?, _ key: String) throws(ScriptError) -> String {
        guard let text = value?.text, (1...255).contains(text.utf8.count) else {
            throw .invalid("migrations: \(key) must be the name of a class, of 1 to 255 bytes")
        }
        return text
    }
}
