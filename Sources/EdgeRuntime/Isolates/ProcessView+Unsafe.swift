internal import CLinux
internal import Glibc
internal import System

/// What the isolates see under /proc. They can't do without: the C library finds the bounds of the main
/// thread's stack in /proc/self/maps, by which Swift finds the process' arguments; and Dispatch reads
/// /proc/<thread>/stat of its own threads, whose numbers nobody can know before, and traps when it
/// can't.
///
/// So Landlock lets them read all of /proc, and where the node is root /proc itself shows a process
/// nothing but what it may trace, which in a Landlock domain is itself alone. Elsewhere they can read
/// what everybody can about other processes (names, arguments, states), but neither memory nor
/// environment, which is up to Landlock again.
struct ProcessView: ~Copyable {
    enum Extent { case own, everybodys }

    let extent: Extent
    /// For the rules of the isolates: /proc as they see it.
    let seenByIsolates: Descriptor
    /// For the supervisor: /proc as the node sees it.
    let seenByNode: Descriptor

    /// Narrows the view of the calling thread, which must be the one that spawns.
    init() throws(SystemError) {
        let whole = try IsolateImage.openPath("/proc")
        let extent = geteuid() == 0 && edge_narrow_proc() == 0 ? Extent.own : .everybodys
        let narrowed = try IsolateImage.openPath("/proc")
        self.extent = extent
        seenByNode = whole
        seenByIsolates = narrowed
    }
}
