internal import Glibc
internal import System

/// What the node and its isolates may use of the machine's memory.
enum NodeMemory {
    /// The machine's, or less where a control group says so (https://docs.kernel.org/admin-guide/cgroup-v2.html#memory); `nil`: not
    /// known.
    static var byteCount: Int? {
        let machine = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        guard machine > 0 else { return nil }
        return ([machine] + groupLimits()).min()
    }

    /// Those of the process' own group and of all above it.
    private static func groupLimits() -> [Int] {
        // `0::/system.slice/edge.service`, of the unified hierarchy alone.
        guard let text = try? FileTree.readTextIfPresent("/proc/self/cgroup"),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("0::") })
        else { return [] }
        var path = String(line.dropFirst(3))
        var limits: [Int] = []
        while true {
            let file = "/sys/fs/cgroup\(path == "/" ? "" : path)/memory.max"
            // `max` is no number.
            if let text = try? FileTree.readTextIfPresent(file), let limit = Int(text.prefix { $0 != "\n" }) {
                limits.append(limit)
            }
            guard path.count > 1, let slash = path.lastIndex(of: "/") else { return limits }
            path = slash == path.startIndex ? "/" : String(path[..<slash])
        }
    }
}
