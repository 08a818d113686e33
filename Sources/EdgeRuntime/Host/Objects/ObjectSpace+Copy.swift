internal import Glibc
internal import System

extension ObjectSpace {
    /// Copies the files of an object into a directory, as they are at one moment: what it does is finished first, and what comes for it
    /// meanwhile waits. Its WebSockets stay.
    ///
    /// - Parameter directory: The names of files there are as they are in the namespace's own.
    /// - Returns: the names of the copies; none when it has stored nothing.
    package func copy(
        _ namespace: ObjectNamespace, _ id: String, to directory: String
    ) async throws(ObjectSpaceError) -> [String] {
        let object = try check(id, in: namespace)
        update { state, effects, now in state.registry.lock(object, in: namespace.id, at: now, &effects) }
        defer { update { state, effects, now in state.registry.unlock(object, at: now, &effects) } }
        try await wait(for: object) { $0.hasOwner }
        let path = self.directory + "/" + namespace.id
        try await onDisk { () throws(SystemError) in
            for file in ObjectFiles.files(of: object, in: path) {
                guard let slash = file.lastIndex(of: "/") else { continue }
                try FileTree.copy(file, to: directory + file[slash...])
            }
        }
        return FileTree.list(directory).filter { $0.hasPrefix(object.description) }
    }
}

extension FileTree {
    /// Copies the bytes of a file, which nobody may be writing to.
    fileprivate static func copy(_ source: String, to target: String) throws(SystemError) {
        let from = try openFile(source, flags: O_RDONLY)
        let to = try openFile(target, flags: O_WRONLY | O_CREAT | O_EXCL)
        var offset: Int64 = 0
        while true {
            let piece = try from.read(at: offset, count: 1 << 20)
            if piece.isEmpty { return }
            try to.writeAll(piece, on: target)
            offset += Int64(piece.count)
        }
    }
}
