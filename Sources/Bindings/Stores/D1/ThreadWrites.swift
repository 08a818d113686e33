internal import System
internal import TenantSQL

/// What the calling thread has written by system calls (proc(5), `/proc/pid/io`).
enum ThreadWrites {
    /// `nil` when the kernel doesn't tell.
    static func byteCount() -> Int64? {
        guard let text = try? FileSystem.read("/proc/thread-self/io") else { return nil }
        for line in text.split(separator: "\n") where line.hasPrefix("wchar: ") { return Int64(line.dropFirst(7)) }
        return nil
    }
}
