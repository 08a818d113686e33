internal import Glibc
internal import System

/// The files of a namespace's objects: `ab/ID.sqlite` for each, `ab` being the first two digits of its id, and what else begins with
/// the id. Nothing here reads them: they are the tenant's. Blocks.
enum ObjectFiles {
    /// Ids that have a file, in order.
    static func list(in directory: String, after cursor: String?, limit: Int) -> [(id: String, hasStoredData: Bool)] {
        var found: [(id: String, hasStoredData: Bool)] = []
        for folder in FileTree.list(directory) where folder.utf8.count == 2 {
            if let cursor, folder < cursor.prefix(2) { continue }
            for name in FileTree.list(directory + "/" + folder) where name.hasSuffix(".sqlite") {
                let id = String(name.dropLast(".sqlite".count))
                guard ObjectID(text: id) != nil, cursor.map({ id > $0 }) ?? true else { continue }
                let size = FileTree.status("\(directory)/\(folder)/\(name)")?.byteCount ?? 0
                let log = FileTree.status("\(directory)/\(folder)/\(name)-wal")?.byteCount ?? 0
                found.append((id, size + log > 0))
                if found.count == limit { return found }
            }
        }
        return found
    }

    static func files(of object: ObjectID, in directory: String) -> [String] {
        let id = object.description
        let folder = directory + "/" + id.prefix(2)
        return FileTree.list(folder).filter { $0.hasPrefix(id) }.map { folder + "/" + $0 }
    }

    static func byteCount(of object: ObjectID, in directory: String) -> Int {
        files(of: object, in: directory).reduce(0) { $0 + (FileTree.status($1)?.byteCount ?? 0) }
    }

    static func remove(_ object: ObjectID, in directory: String) throws(SystemError) {
        // The database last: what is left of an attempt that failed is found again.
        for path in files(of: object, in: directory).sorted(by: { $0.utf8.count > $1.utf8.count }) {
            try FileTree.removeTree(path)
        }
    }
}
