internal import CLinux
internal import Glibc

/// Tells when something below some folders changes (inotify(7)). One owner, one thread.
package struct FileWatcher: ~Copyable {
    private let descriptor: Descriptor
    private var folders: [Int32: String] = [:]
    /// Those of which only the files count.
    private var flat: Set<Int32> = []
    /// Folders that are watched again when they are made anew, as builds do with what they put out.
    private var recurring: Set<String> = []
    /// Names of folders that don't count, by the folder they are in.
    private var passedOver: [Int32: Set<String>] = [:]

    package init() throws(SystemError) {
        let number = edge_inotify()
        guard number >= 0 else { throw SystemError("inotify_init1", errno: errno) }
        descriptor = Descriptor(owning: number)
    }

    /// Watches a folder and, unless they are hidden, all below it.
    package mutating func watch(_ path: String) {
        let number = unsafe edge_inotify_watch(descriptor.rawValue, path)
        guard number >= 0 else { return }  // What isn't there can't change.
        folders[number] = path
        flat.remove(number)
        for name in FileTree.list(path) where !name.hasPrefix(".") || name == ".well-known" {
            let child = path + "/" + name
            if FileTree.isDirectory(child) { watch(child) }
        }
    }

    /// Watches a folder and all below it, but hidden ones and those in it that are named.
    package mutating func watch(_ path: String, except names: Set<String>) {
        let number = unsafe edge_inotify_watch(descriptor.rawValue, path)
        guard number >= 0 else { return }
        folders[number] = path
        passedOver[number] = names
        for name in FileTree.list(path) where !name.hasPrefix(".") && !names.contains(name) {
            let child = path + "/" + name
            if FileTree.isDirectory(child) { watch(child) }
        }
    }

    /// Watches a folder for changes of the files in it, not of what lies below.
    package mutating func watchFiles(of path: String) {
        let number = unsafe edge_inotify_watch(descriptor.rawValue, path)
        // With all below it, it is watched already.
        guard number >= 0, folders[number] == nil || flat.contains(number) else { return }
        folders[number] = path
        flat.insert(number)
    }

    /// Watches a folder and all below it, also when it, or one of those that it lies in, is removed and made again.
    ///
    /// - Parameter top: A folder that `path` lies in and that stays; of others, only `path` itself is watched.
    package mutating func watch(_ path: String, below top: String) {
        watch(path)
        guard !path.contains("/../") else { return }  // It begins with `top` and lies outside.
        var folder = path
        while folder.hasPrefix(top + "/") {
            recurring.insert(folder)
            folder = String(folder.prefix(upTo: folder.lastIndex(of: "/") ?? folder.startIndex))
            watchFiles(of: folder)
        }
    }

    /// Blocks until something changed, then until nothing has for `quiet`.
    ///
    /// - Returns: the paths that changed.
    package mutating func next(quiet: Duration) -> Set<String> {
        var changed: Set<String> = []
        var timeout: Int32 = -1
        while true {
            var item = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
            // SAFETY: poll reads and writes the one element it is told about.
            let count = unsafe poll(&item, 1, timeout)
            if count < 0, errno == EINTR { continue }
            if count == 0 { return changed }
            readEvents(into: &changed)
            if !changed.isEmpty { timeout = Int32(quiet.wholeMilliseconds) }
        }
    }

    private mutating func readEvents(into changed: inout Set<String>) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let inotify = descriptor.rawValue
        // SAFETY: read fills at most the array it is lent.
        let count = unsafe read(inotify, &buffer, buffer.count)
        var offset = 0
        // An event: watch Int32, mask, cookie, name length UInt32, then the name, padded with NUL (inotify(7)).
        while count >= offset + 16 {
            let bytes = buffer[offset...]
            func word(_ index: Int) -> UInt32 {
                (0..<4).reduce(0) { $0 | UInt32(bytes[offset + index * 4 + $1]) << (8 * $1) }
            }
            let number = Int32(bitPattern: word(0))
            let folder = folders[number] ?? "."
            let nameCount = Int(word(3))
            guard count >= offset + 16 + nameCount else { return }
            let name = String(decoding: buffer[(offset + 16)..<(offset + 16 + nameCount)].prefix { $0 != 0 }, as: UTF8.self)
            offset += 16 + nameCount
            // Editors write hidden and backup files beside what they edit.
            let isOurs =
                name.hasPrefix(".dev.vars") || name.hasPrefix(".env") || name == ".assetsignore" || name == ".well-known"
            guard !name.hasSuffix("~"), !name.hasSuffix(".swp"), isOurs || !name.hasPrefix(".") else { continue }
            let path = "\(folder)/\(name)"
            let isDirectory = FileTree.isDirectory(path)
            // A pass over what doesn't count ends where something in it does.
            let isSkipped = flat.contains(number) || passedOver[number]?.contains(name) == true
            if isDirectory, isSkipped, !recurring.contains(path) { continue }
            changed.insert(path)
            if isDirectory { watch(path) }
        }
    }
}
