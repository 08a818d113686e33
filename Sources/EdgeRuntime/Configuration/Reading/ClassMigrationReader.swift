/// Reads one element of `migrations`: the same in both formats.
enum ClassMigrationReader {
    static func read(
        _ entry: TableReader, tags: inout [String: SourcePlace], _ collector: DiagnosticCollector
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
        if let first = tags[tag.value] {
            entry.report(
                .duplicateName, tag.place, "tag", "two migrations have the tag \"\(tag.value)\"",
                related: [.init(first, "the first one")])
        }
        tags[tag.value] = tag.place
        return migration
    }

    private static func required(_ key: String, _ reader: inout TableReader) -> String? {
        if let text = reader.name(key) { return text.value }
        if reader.table[key] == nil { reader.missing(key, "a class name") }
        return nil
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
