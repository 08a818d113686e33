internal import CLinux
internal import Glibc
internal import System

/// Reads what one process uses. The process must be our child and not yet reaped, so that its number is
/// still its own.
struct ProcessProbe: ~Copyable {
    private let processID: Int32
    private let stat: Descriptor

    /// - Parameter processes: /proc, as whoever asks may see it.
    init(processID: Int32, in processes: borrowing Descriptor) throws(SystemError) {
        self.processID = processID
        let path = "\(processID)/stat"
        let number = unsafe openat(processes.rawValue, path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { throw SystemError("open", errno: errno, on: path) }
        stat = Descriptor(owning: number)
    }

    /// `nil` once the process has ended.
    func cpuNanoseconds() -> UInt64? {
        var nanoseconds: UInt64 = 0
        // SAFETY: fills the integer it is lent.
        return unsafe edge_process_cpu(processID, &nanoseconds) == 0 ? nanoseconds : nil
    }

    /// Threads and resident bytes; `nil` once the process has ended.
    func threadsAndMemory() -> (threadCount: Int, residentBytes: UInt64)? {
        var buffer = [UInt8](repeating: 0, count: 1024)
        // SAFETY: pread fills at most the array it is lent.
        let count = unsafe pread(stat.rawValue, &buffer, buffer.count, 0)
        guard count > 0 else { return nil }
        return Self.parse(buffer[..<count])
    }

    /// Fields 20 (threads) and 24 (pages) of /proc/<pid>/stat, proc(5). They are counted from the last
    /// parenthesis: the name before it can be anything.
    static func parse(_ text: ArraySlice<UInt8>) -> (threadCount: Int, residentBytes: UInt64)? {
        guard let nameEnd = text.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = text[text.index(after: nameEnd)...].split(separator: UInt8(ascii: " "))
        guard fields.count > 21, let threads = number(fields[17]), let pages = number(fields[21]) else {
            return nil
        }
        return (Int(threads), pages * UInt64(sysconf(Int32(_SC_PAGESIZE))))
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        UInt64(String(decoding: digits, as: UTF8.self))
    }
}
