/// Reads one element of `migrations`: the same in both formats.
enum ClassMigrationReader {
    /// What the elements before it said.
    struct History {
        fileprivate var tags: [String: SourcePlace] = [:]
        /// Those that exist as far as this file tells: what was applied may have begun with steps that it has no more.
        fileprivate var classes: Set<String> = []
    }

    static func read(
        _ entry: TableReader, after history: inout History, _ collector: DiagnosticCollector
    ) -> ClassMigration? {
        var entry = entry
        let tag = entry.name("tag")
        var migration = ClassMigration(
            tag: tag?.value ?? "", newSQLiteClasses: entry.strings("new_sqlite_classes")?.map(\.value) ?? [],
            newClasses: entry.strings("new_classes")?.map(\.value) ?? [], renamedClasses: [],
            deletedClasses: entry.strings("deleted_classes")?.map(\.value) ?? [], transferredClasses: [])
        for renaming in entry.tables("renamed_classes") ?? [] {
            var renaming = renaming
            if let from = required("from", &renaming), let to = required("to", &renaming) {
                migration.renamedClasses.append(.init(from: from, to: to))
            }
            renaming.finish()
        }
        for transfer in entry.tables("transferred_classes") ?? [] {
            var transfer = transfer
            if let from = required("from", &transfer), let worker = required("from_script", &transfer),
                let to = required("to", &transfer)
            {
                migration.transferredClasses.append(.init(from: from, fromWorker: worker, to: to))
            }
            transfer.finish()
        }
        entry.finish()
        guard let tag else {
            if entry.table["tag"] == nil {
                entry.missing("tag", "each migration has its own, such as tag = \"v1\"")
            }
            return nil
        }
        if let first = history.tags[tag.value] {
            entry.report(
                .duplicateName, tag.place, "tag", "two migrations have the tag \"\(tag.value)\"",
                related: [.init(first, "the first one")])
        }
        history.tags[tag.value] = tag.place
        for refusal in history.apply(migration) {
            entry.report(.invalidValue, tag.place, "tag", "migration \"\(tag.value)\": \(refusal)")
        }
        return migration
    }

    private static func required(_ key: String, _ reader: inout TableReader) -> String? {
        if let text = reader.name(key) { return text.value }
        if reader.table[key] == nil { reader.missing(key, "a class name") }
        return nil
    }

    /// The classes that a migration deletes and none creates again.
    static func classes(deletedBy migrations: [ClassMigration]) -> Set<String> {
        Set(migrations.flatMap(\.deletedClasses)).subtracting(classes(after: migrations))
    }

    /// The classes that exist after all steps.
    static func classes(after migrations: [ClassMigration]) -> Set<String> {
        var classes: Set<String> = []
        for step in migrations {
            classes.formUnion(step.newSQLiteClasses + step.newClasses + step.transferredClasses.map(\.to))
            for renaming in step.renamedClasses {
                classes.remove(renaming.from)
                classes.insert(renaming.to)
            }
            classes.subtract(step.deletedClasses)
        }
        return classes
    }
}

extension ClassMigrationReader.History {
    /// What is wrong with a step whatever was applied before this file.
    fileprivate mutating func apply(_ migration: ClassMigration) -> [ClassMigrationRefusal] {
        var refusals: [ClassMigrationRefusal] = []
        let created = Set(migration.newClasses + migration.newSQLiteClasses)
        func add(_ name: String, _ step: ClassMigrationRefusal.Step) {
            if !classes.insert(name).inserted { refusals.append(.classExists(name, step)) }
        }
        for name in migration.newSQLiteClasses { add(name, .newSQLiteClass) }
        for name in migration.newClasses { add(name, .newClass) }
        for renaming in migration.renamedClasses {
            classes.remove(renaming.from)
            if created.contains(renaming.to) {
                refusals.append(.targetIsNew(renaming.to, .rename))
            } else {
                add(renaming.to, .rename)
            }
        }
        for transfer in migration.transferredClasses {
            if created.contains(transfer.to) {
                refusals.append(.targetIsNew(transfer.to, .transfer))
            } else {
                add(transfer.to, .transfer)
            }
        }
        classes.subtract(migration.deletedClasses)
        return refusals
    }
}
