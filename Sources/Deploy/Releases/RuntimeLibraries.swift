internal import Glibc

/// Where a development build finds the Swift runtime; static builds need none of it.
enum RuntimeLibraries {
    /// The directories of the Swift shared libraries that this process itself runs on.
    static let directories: [String] = {
        guard let maps = try? String(decoding: ProcessFile.read("/proc/self/maps"), as: UTF8.self) else { return [] }
        var found: [String] = []
        for line in maps.split(separator: "\n") {
            guard let slash = line.firstIndex(of: "/") else { continue }
            let path = line[slash...]
            guard let name = path.lastIndex(of: "/"), path[name...].hasPrefix("/libswift") else { continue }
            let directory = String(path[..<name])
            if !found.contains(directory) { found.append(directory) }
        }
        return found
    }()
}

/// Files of /proc, which have no size.
enum ProcessFile {
    static func read(_ path: String) throws -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var all: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            // SAFETY: read fills at most the array it is lent.
            let count = unsafe Glibc.read(descriptor, &piece, piece.count)
            guard count > 0 else { return all }
            all += piece[..<count]
        }
    }
}
