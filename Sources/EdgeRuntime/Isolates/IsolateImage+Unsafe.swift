internal import CLinux
internal import Glibc
internal import System

/// An executable ready to be started any number of times: opened, checked, and with the file rules of
/// its sandbox. One per version.
///
/// The file is run by descriptor, so its path need not be reachable for the tenant's user, but the file
/// itself must be readable and executable for everybody (mode 755) where the node is root.
package final class IsolateImage: Sendable {
    package let path: String
    let executable: Descriptor
    /// `nil` where the kernel has no Landlock.
    let readableFiles: ReadableFiles?

    /// Where shared libraries come from on the systems we know; missing ones are left out.
    package static let systemLibraryDirectories = [
        "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache",
    ]

    /// Opens `path`.
    ///
    /// - Parameters:
    ///   - libraryDirectories: Read-only in the isolate, next to the system's: for development builds,
    ///     which find the toolchain's libraries by RUNPATH. Empty for static builds.
    ///   - landlock: `.required` refuses to start anything where the kernel has none.
    /// - Note: Reads one page of the file; blocks while it does.
    package init(
        path: String, libraryDirectories: [String] = [], landlock: LandlockUse = .whereAvailable
    ) throws(SpawnError) {
        self.path = path
        let header: ExecutableHeader
        do { header = try ExecutableHeader(Self.readPrefix(path)) } catch let error
            as ExecutableHeader.Problem
        {
            throw .notExecutable(path: path, reason: error.reason)
        } catch let error as SystemError {
            throw .system(error)
        } catch { throw .notExecutable(path: path, reason: "\(error)") }
        do {
            executable = try Self.openPath(path)
            readableFiles = try ReadableFiles.open(
                interpreter: header.interpreter,
                libraryDirectories: Self.systemLibraryDirectories + libraryDirectories)
        } catch { throw .system(error) }
        if landlock == .required, readableFiles == nil {
            throw .invalidSpecification("this kernel has no Landlock, which is required here")
        }
    }

    private static func readPrefix(_ path: String) throws(SystemError) -> [UInt8] {
        let number = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard number >= 0 else { throw SystemError("open", errno: errno, on: path) }
        let file = Descriptor(owning: number)
        var bytes = [UInt8](repeating: 0, count: ExecutableHeader.prefixByteCount)
        // SAFETY: read fills at most the array it is lent.
        let count = unsafe read(file.rawValue, &bytes, bytes.count)
        guard count >= 0 else { throw SystemError("read", errno: errno, on: path) }
        return Array(bytes[..<count])
    }

    static func openPath(_ path: String) throws(SystemError) -> Descriptor {
        let number = unsafe edge_open_path(path)
        guard number >= 0 else { throw SystemError("open", errno: errno, on: path) }
        return Descriptor(owning: number)
    }
}

package enum LandlockUse: Sendable { case required, whereAvailable }

/// The files that an isolate may read: its executable, its loader, system libraries, and /proc as
/// `ProcessView` shows it. They are opened once; the ruleset is made for each spawn, as it also depends
/// on who spawns.
final class ReadableFiles: Sendable {
    private struct Rule {
        let path: Int32
        let access: UInt64
        let subject: String
    }
    private let rules: [Rule]
    private let abi: Int32

    /// `nil` where the kernel has no Landlock.
    static func open(interpreter: String?, libraryDirectories: [String]) throws(SystemError) -> ReadableFiles? {
        let abi = edge_landlock_abi()
        guard abi > 0 else { return nil }
        let read = UInt64(EDGE_LANDLOCK_READ_FILE)
        var rules: [Rule] = []
        if let interpreter {
            let path = try IsolateImage.openPath(interpreter).release()
            rules.append(Rule(path: path, access: read | UInt64(EDGE_LANDLOCK_EXECUTE), subject: interpreter))
        }
        for directory in libraryDirectories {
            let number = unsafe edge_open_path(directory)
            guard number >= 0 else { continue }  // Not every system has all of them.
            rules.append(Rule(path: number, access: read, subject: directory))
        }
        return ReadableFiles(rules, abi: abi)
    }

    private init(_ rules: [Rule], abi: Int32) {
        self.rules = rules
        self.abi = abi
    }

    deinit { for rule in rules { close(rule.path) } }

    /// - Parameter files: What it may also make, write and remove.
    func makeRuleset(
        executable: borrowing Descriptor, processes: borrowing Descriptor, files: WritableFiles?
    ) throws(SystemError) -> Descriptor {
        let number = edge_landlock_create(abi)
        guard number >= 0 else { throw SystemError("landlock_create_ruleset", errno: errno) }
        let ruleset = Descriptor(owning: number)
        let access = UInt64(EDGE_LANDLOCK_READ_FILE | EDGE_LANDLOCK_EXECUTE)
        try Self.allow(executable.rawValue, access, in: ruleset, subject: "executable")
        try Self.allow(processes.rawValue, UInt64(EDGE_LANDLOCK_READ_FILE), in: ruleset, subject: "/proc")
        for rule in rules { try Self.allow(rule.path, rule.access, in: ruleset, subject: rule.subject) }
        for name in files?.names ?? [] {
            let path = (files?.directory ?? "") + "/" + name
            let directory = try IsolateImage.openPath(path)
            try Self.allow(directory.rawValue, writing, in: ruleset, subject: path)
        }
        return ruleset
    }

    private var writing: UInt64 {
        let all =
            EDGE_LANDLOCK_READ_FILE | EDGE_LANDLOCK_WRITE_FILE | EDGE_LANDLOCK_READ_DIR | EDGE_LANDLOCK_REMOVE_FILE
            | EDGE_LANDLOCK_MAKE_DIR | EDGE_LANDLOCK_MAKE_REG | (abi >= 3 ? EDGE_LANDLOCK_TRUNCATE : 0)
        return UInt64(all)
    }

    private static func allow(
        _ path: Int32, _ access: UInt64, in ruleset: borrowing Descriptor, subject: String
    ) throws(SystemError) {
        guard edge_landlock_allow(ruleset.rawValue, path, access) == 0 else {
            throw SystemError("landlock_add_rule", errno: errno, on: subject)
        }
    }
}

extension IsolateImage {
    /// Where the toolchain's shared libraries are, when this process itself runs on them (a development
    /// build); empty in a static one. What is built next to it needs the same in `libraryDirectories`.
    package static func toolchainLibraryDirectories() -> [String] {
        guard let maps = unsafe fopen("/proc/self/maps", "re") else { return [] }
        defer { unsafe fclose(maps) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { unsafe free(line) }
        // SAFETY: getline allocates and terminates the line, which is freed above.
        while unsafe getline(&line, &capacity, maps) > 0 {
            guard let text = unsafe line.map({ unsafe String(cString: $0) }),
                let path = text.split(separator: " ").last?.split(separator: "\n").first,
                path.hasSuffix("/libswiftCore.so")
            else { continue }
            return [String(path.dropLast("/libswiftCore.so".count))]
        }
        return []
    }
}
